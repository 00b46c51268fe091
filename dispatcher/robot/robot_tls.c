/* SPDX-License-Identifier: MIT */
/* robot_tls.c - queries OpenSSL about one of curl's connections. Never changes one. */
#include "dispatcher/robot/robot_tls.h"

#include <openssl/ssl.h>

bool tls_has_bytes(const void *ssl)
{
    return SSL_pending(ssl) > 0;
}
