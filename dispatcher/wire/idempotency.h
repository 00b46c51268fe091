/* SPDX-License-Identifier: MIT */
/*
 * idempotency.h - Idempotency-Key (design section 4): the key of a request, and
 * answers that are kept under one.
 */
#ifndef CHASQUI_IDEMPOTENCY_H
#define CHASQUI_IDEMPOTENCY_H

#include "dispatcher/dispatcher.h"

/* The request's key within a route and for `who` (a company, or a token). false: answered, there is no key to hash with. Without the
 * header key->is_set is false. */
bool idempotency_of(struct dispatcher *d, struct request *r, const char *route, uint64_t who,
                    struct idempotency *key);
/* Answers the request (when it still waits) once the answer is kept under its key; at once when there is no key. e ERR_OK: `body` is the
 * answer; else it is merged into the error's body. Takes body (may be NULL). */
void answer_keep(struct dispatcher *d, const struct idempotency *key, uint64_t company_id, const char *portal,
                 uint64_t request_key, int status, enum err e, const char *message, struct jv *body);
/* Gives a kept answer to another request of the same company and portal. false: it does not open; nothing was answered. */
bool answer_again(struct dispatcher *d, struct request *r, const struct buf *sealed);
/* Waits for the outcome of the job that the key stands for, and answers with it (await.c). */
void answer_await(struct dispatcher *d, struct request *r, const struct idempotency *key, uint64_t job_id);

#endif
