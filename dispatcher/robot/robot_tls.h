/* SPDX-License-Identifier: MIT */
/*
 * robot_tls.h - the one property of a TLS connection that curl does not report. robot_tls.c is the only file of
 * the dispatcher that includes OpenSSL, the library that Debian's curl is built with.
 */
#ifndef CHASQUI_ROBOT_TLS_H
#define CHASQUI_ROBOT_TLS_H

#include <stdbool.h>

/* Whether decrypted bytes are waiting unread. `ssl` is curl's SSL object (CURLINFO_TLS_SSL_PTR). */
bool tls_has_bytes(const void *ssl);

#endif
