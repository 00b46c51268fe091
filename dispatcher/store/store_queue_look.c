/* SPDX-License-Identifier: MIT */
/*
 * store_queue_look.c - the fallback poll: is something ready, and when is the
 * next thing due? What is due is made ready here.
 */
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#define DUE_AT_ONCE 200

struct due {
    uint64_t batch_id[DUE_AT_ONCE], idx[DUE_AT_ONCE];
    unsigned n;
};

static void fill_due(void *arg, unsigned row, struct db_cell *cells)
{
    const struct due *due = arg;
    cells[0].n = due->batch_id[row];
    cells[1].n = due->idx[row];
}

static enum db_rc due_tx(struct db *db, void *arg)
{
    struct due *due = arg;
    due->n = 0;
    TRY(db_query(
        db,
        "SELECT batch_id, idx FROM chasqui_items FORCE INDEX (due) WHERE due_at <= NOW(6) ORDER BY due_at LIMIT 200 FOR UPDATE SKIP "
        "LOCKED",
        ""));
    while (due->n < DUE_AT_ONCE && db_next(db)) {
        due->batch_id[due->n] = db_u64(db, 0);
        due->idx[due->n++] = db_u64(db, 1);
    }
    return due->n ? db_bulk(db, "UPDATE chasqui_items SET {become ready.due} WHERE batch_id = ? AND idx = ?", "uu",
                            due->n, fill_due, due)
                  : DB_OK;
}

static enum db_rc look(struct db *db, struct store_queue_look *op)
{
    TRY(db_query(
        db,
        "SELECT EXISTS (SELECT 1 FROM chasqui_items FORCE INDEX (ready) WHERE ready = 1), (SELECT CAST(TIMESTAMPDIFF(MICROSECOND, "
        "NOW(6), d.due_at) / 1000 AS INT) FROM chasqui_items d FORCE INDEX (due) WHERE d.due_at IS NOT NULL ORDER BY d.due_at LIMIT 1)",
        ""));
    if (!db_next(db))
        return DB_FAIL;
    op->is_ready = db_u64(db, 0) != 0;
    op->due_in_ms = db_is_null(db, 1) ? -1 : db_i64(db, 1) > 0 ? db_i64(db, 1) : 0;
    return DB_OK;
}

void store_queue_look(struct db *db, void *arg)
{
    struct store_queue_look *op = arg;
    struct due due;
    op->rc = store_rc_of(db ? look(db, op) : DB_GONE);
    if (op->rc != STORE_OK || op->due_in_ms != 0)
        return;
    op->rc = store_tx(db, due_tx, NULL, &due);
    op->is_ready |= op->rc == STORE_OK && due.n;
}
