/* SPDX-License-Identifier: MIT */
/* http.h - connections, and the only file that includes libmicrohttpd. */
#ifndef CHASQUI_BROKER_HTTP_H
#define CHASQUI_BROKER_HTTP_H

#include "broker/broker.h"

/* Binds both listeners and opens the operators' one. NULL after logging why. */
struct http *http_new(struct broker *b);
void http_open(struct broker *b); /* opens the app listener; no-op when it is open */
bool http_is_open(const struct http *h);
void http_destroy(struct http **hp);
void http_resume(struct exchange *x);       /* continues x: exchange_step() will be called */
void http_quiesce(struct http *h);          /* no new connections; earlier ones are served */
uint64_t http_busy(const struct http *h);   /* requests not fully answered, and listeners not closed yet */
bool http_has_unread(const struct http *h); /* on a connection that seems idle */
void http_stats(const struct http *h);

#endif
