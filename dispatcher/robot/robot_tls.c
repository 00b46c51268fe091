/* SPDX-License-Identifier: MIT */
/* robot_tls.c - asks OpenSSL about a connection of curl's. Never changes one. */
#include "dispatcher/robot/robot_tls.h"

#include <openssl/ssl.h>

bool tls_has_bytes(const void *ssl)
{
    return SSL_pending(ssl) > 0;
}
