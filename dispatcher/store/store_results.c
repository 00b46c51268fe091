/* SPDX-License-Identifier: MIT */
/*
 * store_results.c - what robots answered to the steps of rounds, a page at a
 * time: as many as fit RESULTS_BYTES, so that a batch of any size is read in a
 * bounded piece of memory. Reads only.
 */
#include "dispatcher/store/store_round.h"
#include "dispatcher/store/store_sql.h"

#include <string.h>

#define FROM "r.batch_id = ? AND r.idx >= ? AND (r.idx > ? OR r.step >= ?) AND (? = 0 OR r.idx = ?)"
#define FROM_TYPES "uuuuuu"
#define FROM_VALUES(op)                                                                                           \
    (op)->batch_id, (op)->from_idx, (op)->from_idx, (uint64_t)(op)->from_step, (uint64_t)(op)->is_one, (op)->index

/* How many of the next rows are read at once. */
static enum db_rc page_size(struct db *db, struct store_results *op, unsigned *n)
{
    uint64_t bytes = 0;
    *n = 0;
    op->more = false;
    TRY(db_query(db, "SELECT LENGTH(r.body) FROM chasqui_results r WHERE " FROM " ORDER BY r.idx, r.step LIMIT ?",
                 FROM_TYPES "u", FROM_VALUES(op), (uint64_t)RESULTS_AT_ONCE + 1));
    while (db_next(db)) {
        bytes += db_u64(db, 0);
        if (*n == RESULTS_AT_ONCE || (*n && bytes > RESULTS_BYTES)) {
            op->more = true;
            while (db_next(db))
                ;
            break;
        }
        ++*n;
    }
    return DB_OK;
}

static enum db_rc page_read(struct db *db, struct store_results *op)
{
    unsigned n;
    TRY(page_size(db, op, &n));
    if (!n)
        return DB_OK;
    TRY(db_query(
        db,
        "SELECT r.idx, r.step, r.company_id, r.job_id, r.status, r.body FROM chasqui_results r WHERE " FROM
        " ORDER BY r.idx, r.step "
        "LIMIT ?",
        FROM_TYPES "u", FROM_VALUES(op), (uint64_t)n));
    while (op->n < n && db_next(db)) {
        struct round_result *r = &op->row[op->n++];
        size_t len;
        r->idx = db_u64(db, 0);
        r->step = (unsigned)db_u64(db, 1);
        r->company_id = db_u64(db, 2);
        r->job_id = db_u64(db, 3);
        r->status = (unsigned)db_u64(db, 4);
        const char *body = db_str(db, 5, &len);
        buf_add(&r->body, body, len);
    }
    if (op->n) {
        op->from_idx = op->row[op->n - 1].idx;
        op->from_step = op->row[op->n - 1].step + 1;
    }
    return DB_OK;
}

static enum db_rc results_read(struct db *db, struct store_results *op)
{
    op->n = 0;
    op->item_found = true;
    TRY(batch_is_seen(db, op->batch_id, &op->viewer, &op->found));
    if (!op->found)
        return DB_OK;
    TRY(db_query(db, "SELECT portal, steps FROM chasqui_batches WHERE id = ?", "u", op->batch_id));
    if (!(op->found = db_next(db)))
        return DB_OK;
    db_str_copy(db, 0, op->portal, sizeof(op->portal));
    db_str_copy(db, 1, op->names, sizeof(op->names));
    if (op->is_one) {
        TRY(db_find(db, &op->item_found, "SELECT 1 FROM chasqui_items WHERE batch_id = ? AND idx = ?", "uu",
                    op->batch_id, op->index));
        if (!op->item_found)
            return DB_OK;
    }
    return page_read(db, op);
}

void store_results(struct db *db, void *arg)
{
    struct store_results *op = arg;
    op->rc = store_rc_of(db ? results_read(db, op) : DB_GONE);
}
