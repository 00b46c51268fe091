/* SPDX-License-Identifier: MIT */
/*
 * store_reply.h - what a caller is told when the database did not do what was
 * asked: it cannot be reached, or it refuses.
 */
#ifndef CHASQUI_STORE_REPLY_H
#define CHASQUI_STORE_REPLY_H

#include "dispatcher/dispatcher.h"

#define REFUSAL_WORDS_ROOM 600

/* ERR_OK, ERR_DATABASE_UNAVAILABLE or ERR_REFUSED_BY_DATABASE. */
enum err store_err(enum store_rc rc);
/* {"errors": {"table": [...], "constraint": [...] or "column": [...], "reason": [...]}}; NULL without a refusal. The caller's to free. */
struct jv *refusal_extra(const struct db_refusal *r);
/* The message of a refusal: one sentence. "" without a refusal. */
const char *refusal_message(const struct db_refusal *r, char out[REFUSAL_WORDS_ROOM]);
/* Why the database is unavailable, in a sentence; NULL while it is up. */
const char *store_down_words(const struct dispatcher *d);
/* Answers a request whose op came back with anything but STORE_OK. Only inside the op's done callback. */
void reply_store(struct dispatcher *d, struct request *r, enum store_rc rc);
/* The same for an error that came from store_err(), or any other: what the database refused is named with it. */
void reply_store_err(struct dispatcher *d, struct request *r, enum err e, const char *message);

#endif
