/* SPDX-License-Identifier: MIT */
/* web_session.h - sessions of people who logged in with a browser. */
#ifndef CHASQUI_BROKER_WEB_SESSION_H
#define CHASQUI_BROKER_WEB_SESSION_H

#include "broker/auth.h"

struct web_sessions *web_sessions_new(struct broker *b); /* NULL after logging why */
void web_sessions_destroy(struct web_sessions **wp);
/* Reads the token of the cookie that came with x. Returns false when no cookie is valid. */
bool web_session_read(const struct exchange *x, struct token_key *key);
/* Whether x, a request that changes something, comes from a page of this listener. A browser always sends the
 * origin (RFC 6454). */
bool web_is_same_origin(const struct exchange *x);
void web_refuse_origin(struct exchange *x);
/* Whether the Host is in broker.ops_hosts. A page whose name was made to point here (DNS rebinding) sends its own
 * host. */
bool web_host_ok(const struct exchange *x);
void web_refuse_host(struct exchange *x);

#endif
