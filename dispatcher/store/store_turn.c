/* SPDX-License-Identifier: MIT */
/*
 * store_turn.c - whose turn it is among queued work of one priority. The items of a batch have one turn each, from that after the queue's
 * head on; so batches share, whatever their sizes. A token that queues many log-ins of their own, or many batches, gets them one turn
 * apart: another token's next item waits for one of them, not for all.
 *
 * Owns: the last turn that each token was given, by database thread; a small table in which tokens that meet take each other's place.
 * So a flood takes as many places in a turn as there are threads, at most. What no longer waits is forgotten: a token is never
 * behind by work that ended.
 */
#include "dispatcher/store/store_queue.h"

#include "dispatcher/store/store_sql.h"

#define LASTS 256

struct last {
    uint64_t token_id, batch_id, idx, turn; /* 0 = none */
    uint8_t priority;
};

static _Thread_local struct last lasts[2][LASTS]; /* of log-ins of their own, and of batches */

static struct last *last_of(uint64_t token_id, uint8_t priority, bool is_batch)
{
    return &lasts[is_batch][(token_id * 10 + priority) % LASTS];
}

enum db_rc turn_next(struct db *db, uint8_t priority, uint64_t token_id, bool is_batch, uint64_t *turn)
{
    const struct last *l = last_of(token_id, priority, is_batch);
    TRY(db_query(
        db,
        "SELECT turn FROM chasqui_items FORCE INDEX (ready) WHERE ready = 1 AND urgency = ? ORDER BY turn LIMIT 1",
        "u", (uint64_t)(9 - priority)));
    *turn = (db_next(db) ? db_u64(db, 0) : 0) + 1;
    if (l->turn < *turn || l->token_id != token_id || l->priority != priority)
        return DB_OK;
    TRY(db_query(
        db,
        "SELECT 1 FROM chasqui_items WHERE batch_id = ? AND idx = ? AND ready = 1 UNION ALL SELECT 1 FROM chasqui_batches WHERE id = ? AND "
        "status = 'open'",
        "uuu", l->batch_id, l->idx, l->batch_id));
    if (db_next(db))
        *turn = l->turn + 1;
    return DB_OK;
}

void turn_given(uint8_t priority, uint64_t token_id, bool is_batch, uint64_t batch_id, uint64_t idx, uint64_t turn)
{
    *last_of(token_id, priority, is_batch) = (struct last){token_id, batch_id, idx, turn, priority};
}
