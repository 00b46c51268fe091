/* SPDX-License-Identifier: MIT */
/* web_session.h - people who logged in with a browser. */
#ifndef CHASQUI_BROKER_WEB_SESSION_H
#define CHASQUI_BROKER_WEB_SESSION_H

#include "broker/auth.h"

struct web_sessions *web_sessions_new(struct broker *b); /* NULL after logging why */
void web_sessions_destroy(struct web_sessions **wp);
/* Whose cookie came with x? False when none is good. */
bool web_session_read(const struct exchange *x, struct token_key *key);
/* Does x, which changes something, come from a page of this listener? A browser always says so (RFC 6454). */
bool web_is_same_origin(const struct exchange *x);
void web_refuse_origin(struct exchange *x);
/* Is the Host among broker.ops_hosts? A page whose name was made to point here (DNS rebinding) comes with its own. */
bool web_host_ok(const struct exchange *x);
void web_refuse_host(struct exchange *x);

#endif
