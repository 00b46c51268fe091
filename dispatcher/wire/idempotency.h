/* SPDX-License-Identifier: MIT */
/*
 * idempotency.h - Idempotency-Key (design section 4): the key of a request, and answers stored under a key.
 */
#ifndef CHASQUI_IDEMPOTENCY_H
#define CHASQUI_IDEMPOTENCY_H

#include "dispatcher/dispatcher.h"

/* Reads the request's key within a route and for `who` (a company, or a token). Returns false when the request was
 * answered: there is no key to hash with. Without the header key->is_set is false. */
bool idempotency_of(struct dispatcher *d, struct request *r, const char *route, uint64_t who,
                    struct idempotency *key);
/* Answers the request (if it still waits) once the answer is stored under its key; at once when there is no key. e
 * ERR_OK: `body` is the answer; else it is merged into the error's body. Takes ownership of body (may be NULL). */
void answer_keep(struct dispatcher *d, const struct idempotency *key, uint64_t company_id, const char *portal,
                 uint64_t request_key, int status, enum err e, const char *message, struct jv *body);
/* Sends a stored answer to another request of the same company and portal. Returns false, without answering, when
 * it cannot be opened. */
bool answer_again(struct dispatcher *d, struct request *r, const struct buf *sealed);
/* Waits for the outcome of the key's job, and answers with it (job_wait.c). */
void answer_await(struct dispatcher *d, struct request *r, const struct idempotency *key, uint64_t job_id);

#endif
