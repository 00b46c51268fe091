/* SPDX-License-Identifier: MIT */
/*
 * introspect.h - asks auth.introspect_url what a token is worth (RFC 7662). The
 * call is one of robot_http's; no thread waits for it.
 */
#ifndef CHASQUI_INTROSPECT_H
#define CHASQUI_INTROSPECT_H

#include "dispatcher/dispatcher.h"

#define INTROSPECT_MAX 64 /* calls at once */

struct introspector;

/* NULL after saying why: a credential that cannot be used. Without auth.introspect_url it makes no calls. */
struct introspector *introspector_new(struct dispatcher *d);
void introspector_destroy(struct introspector **ip); /* after the calls have ended or were dropped */
bool introspector_is_on(const struct introspector *i);

enum introspected { INTROSPECTED_GOOD, INTROSPECTED_REFUSED, INTROSPECTED_NOT };
/* body (good): that of TOKEN_VERIFY, the callee's to free. why (not): the cause, in words, without the URL. */
typedef void introspected_fn(struct dispatcher *d, uint64_t key, enum introspected verdict, struct jv *body,
                             const char *why);
/* About the token whose text is r's payload. fn is called once, perhaps at once; r may be gone by then. */
void introspect(struct introspector *i, const struct request *r, introspected_fn *fn);

#endif
