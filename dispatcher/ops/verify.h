/* SPDX-License-Identifier: MIT */
/*
 * verify.h - TOKEN_VERIFY: whose token it is. Ours, else Laravel's by a view,
 * else whose an introspection server says.
 */
#ifndef CHASQUI_VERIFY_H
#define CHASQUI_VERIFY_H

#include "dispatcher/dispatcher.h"

struct verifier;

/* NULL after saying why: a view's name that is none, a credential that cannot be used. */
struct verifier *verifier_new(struct dispatcher *d);
void verifier_destroy(struct verifier **vp);
/* Which tokens that are not ours it verifies: enum foreign. */
unsigned verifier_foreign(const struct dispatcher *d);
/* Adds why such tokens cannot be verified now, as a line of store_troubles(); nothing while they can. */
void verifier_trouble(const struct dispatcher *d, char text[TROUBLE_TEXT_MAX + 1]);

void verify_start(struct dispatcher *d, struct request *r); /* TOKEN_VERIFY */

#endif
