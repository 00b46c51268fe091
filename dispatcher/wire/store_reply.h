/* SPDX-License-Identifier: MIT */
/*
 * store_reply.h - the answer to a caller when the database is unreachable, or refuses.
 */
#ifndef CHASQUI_STORE_REPLY_H
#define CHASQUI_STORE_REPLY_H

#include "dispatcher/dispatcher.h"

#define REFUSAL_WORDS_ROOM 600

/* ERR_OK, ERR_DATABASE_UNAVAILABLE or ERR_REFUSED_BY_DATABASE. */
enum err store_err(enum store_rc rc);
/* {"errors": {"table": [...], "constraint": [...] or "column": [...], "reason": [...]}}; NULL without a refusal.
 * The caller frees it. */
struct jv *refusal_extra(const struct db_refusal *r);
/* The message of a refusal, as one sentence; "" without a refusal. */
const char *refusal_message(const struct db_refusal *r, char out[REFUSAL_WORDS_ROOM]);
/* The reason why the database is unavailable, as a sentence; NULL while it is up. */
const char *store_down_words(const struct dispatcher *d);
/* Answers a request whose op ended with a result other than STORE_OK. Only inside the op's done callback. */
void reply_store(struct dispatcher *d, struct request *r, enum store_rc rc);
/* As reply_store, for an error of store_err() or any other. A refusal is described with the names in it. */
void reply_store_err(struct dispatcher *d, struct request *r, enum err e, const char *message);

#endif
