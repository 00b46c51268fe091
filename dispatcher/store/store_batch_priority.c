/* SPDX-License-Identifier: MIT */
/*
 * store_batch_priority.c - another priority for what waits of a batch. Its row says it first, so that items that come in later have it
 * too; then the items follow in steps. Done again it changes nothing; what was cut short goes on when it is asked again.
 */
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#include <stdio.h>
#include <string.h>

#define STEP 1000

struct change {
    struct store_batch_priority *op;
    uint64_t turn, from;
    bool begun;
};

/* The batch's row: its turn comes behind what is next of its new priority. */
static enum db_rc begin(struct db *db, struct change *c)
{
    struct store_batch_priority *op = c->op;
    char subject[40], before[8], after[8];
    TRY(db_find(db, &op->found,
                "SELECT priority, finished_at IS NOT NULL FROM chasqui_batches WHERE id = ? FOR UPDATE", "u",
                op->batch_id));
    if (!op->found)
        return DB_OK;
    snprintf(before, sizeof(before), "%u", (unsigned)db_u64(db, 0));
    if ((op->wrong_state = db_u64(db, 1) != 0))
        return DB_OK;
    TRY(turn_next(db, op->priority, 0, true, &c->turn));
    TRY(db_exec(db, "UPDATE chasqui_batches SET priority = ?, turn = ? WHERE id = ?", "uuu",
                (uint64_t)op->priority, c->turn, op->batch_id));
    c->begun = true;
    snprintf(subject, sizeof(subject), "batch:%llu", (unsigned long long)op->batch_id);
    snprintf(after, sizeof(after), "%u", (unsigned)op->priority);
    struct audit audit = {&op->by, "batch.priority", subject};
    return audit_change(db, &audit, before, after, NULL);
}

/* The next items, in order; those that began meanwhile keep what they have. */
static enum db_rc step(struct db *db, struct change *c)
{
    struct store_batch_priority *op = c->op;
    uint64_t last = c->from;
    unsigned n = 0;
    TRY(db_query(db, "SELECT idx FROM chasqui_items WHERE batch_id = ? AND idx >= ? ORDER BY idx LIMIT ?", "uuu",
                 op->batch_id, c->from, (uint64_t)STEP));
    for (; db_next(db); n++)
        last = db_u64(db, 0);
    TRY(db_exec(
        db,
        "UPDATE chasqui_items SET urgency = ?, turn = ? + idx WHERE batch_id = ? AND idx BETWEEN ? AND ? AND state IN ('queued', 'retrying')",
        "uuuuu", (uint64_t)(9 - op->priority), c->turn, op->batch_id, c->from, last));
    op->more = n == STEP;
    c->from = last + 1;
    return DB_OK;
}

static enum db_rc priority_tx(struct db *db, void *arg)
{
    struct change *c = arg;
    struct store_batch_priority *op = c->op;
    c->turn = op->turn;
    c->from = op->from;
    c->begun = op->begun;
    op->more = false;
    if (!c->begun)
        TRY(begin(db, c));
    return c->begun ? step(db, c) : DB_OK;
}

void store_batch_priority(struct db *db, void *arg)
{
    struct store_batch_priority *op = arg;
    struct change c = {.op = op};
    op->rc = store_tx(db, priority_tx, NULL, &c);
    if (op->rc != STORE_OK)
        return;
    op->turn = c.turn;
    op->from = c.from;
    op->begun = c.begun;
}
