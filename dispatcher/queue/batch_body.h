/* SPDX-License-Identifier: MIT */
/*
 * batch_body.h - the lines of one BATCH_BODY, recorded step by step on database
 * threads: read, sealed, hashed and inserted, at most 1000 items a step.
 */
#ifndef CHASQUI_BATCH_BODY_H
#define CHASQUI_BATCH_BODY_H

#include "db/batch_line.h"
#include "db/seal.h"
#include "dispatcher/store/store_queue.h"

#define BATCH_REJECTED_MAX 1000 /* reasons kept of one body; all are counted */

enum body_outcome {
    BODY_MORE, /* submit it again */
    BODY_DONE,
    BODY_GONE,     /* no such batch of this token */
    BODY_DIFFERS,  /* an item is recorded otherwise, or the batch is closed without it */
    BODY_CANCELLED /* the batch was cancelled before all of it was recorded */
};

struct batch_body;
/* Takes over `payload` and `companies` (malloc'ed; sorted here). seal may be NULL; it outlives the body. */
struct batch_body *batch_body_new(const struct seal *seal, uint64_t batch_id, uint64_t token_id, bool all,
                                  uint64_t *companies, unsigned n_companies, char *payload, size_t len,
                                  uint64_t first_index);
void batch_body_free(struct batch_body **bp); /* wipes what was sent */
/* A store_fn: the next step. */
void batch_body_step(struct db *db, void *body);
/* Of the last step; with STORE_DOWN or STORE_UNKNOWN the step may be asked again. */
enum store_rc batch_body_rc(const struct batch_body *b);
enum body_outcome batch_body_outcome(const struct batch_body *b);
uint64_t batch_body_added(const struct batch_body *b);
uint64_t batch_body_rejected(const struct batch_body *b);
/* lines refused */ /* items that were not there before */
/* {ok,accepted,rejected_total,rejected}. The caller frees it. */
struct jv *batch_body_answer(struct batch_body *b);

#endif
