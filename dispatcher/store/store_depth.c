/* SPDX-License-Identifier: MIT */
/*
 * store_depth.c - how deep the durable queue is, and how old. The summary of every few seconds and what an operator
 * asks for both count here, so that they say the same.
 *
 * Must never read a table from end to end: counts stop at a cap, and each statement goes by an index that holds only
 * what waits.
 */
#include "dispatcher/store/store_depth.h"
#include "dispatcher/store/store_sql.h"

#define SINGLES_LOOKED_AT 1000 /* of the oldest single jobs, when those that are ready are looked for */

struct jv *count_jv(uint64_t n, uint64_t cap)
{
    struct jv *count = jv_new_object();
    jv_set_int(count, "n", (int64_t)(n < cap ? n : cap));
    jv_set_bool(count, "capped", n > cap);
    return count;
}

/* From one urgency to the next that has any. */
enum db_rc depth_read(struct db *db, struct jv *list, uint64_t *sum)
{
    *sum = 0;
    for (uint64_t urgency = 0; *sum < DEPTH_CAP; urgency++) {
        TRY(db_query(
            db,
            "SELECT urgency FROM chasqui_items FORCE INDEX (ready) WHERE ready = 1 AND urgency >= ? ORDER BY urgency, turn LIMIT 1",
            "u", urgency));
        if (!db_next(db))
            break;
        urgency = db_u64(db, 0);
        uint64_t left = DEPTH_CAP - *sum;
        TRY(db_query(
            db,
            "SELECT COUNT(*) FROM (SELECT 1 FROM chasqui_items FORCE INDEX (ready) WHERE ready = 1 AND urgency = ? LIMIT ?) t",
            "uu", urgency, left + 1));
        uint64_t n = db_next(db) ? db_u64(db, 0) : 0;
        struct jv *row = count_jv(n, left);
        jv_set_int(row, "priority", 9 - (int64_t)urgency);
        jv_push(list, row);
        *sum += n;
    }
    return DB_OK;
}

/* A batch's items are as old as the batch. Single jobs are looked at by themselves. */
enum db_rc depth_oldest(struct db *db, int64_t *ms)
{
    *ms = -1;
    TRY(db_query(
        db,
        "SELECT MAX(TIMESTAMPDIFF(MICROSECOND, x.since, NOW(6))) DIV 1000 FROM (SELECT GREATEST(b.created_at, COALESCE(b.available_at, "
        "b.created_at)) since FROM chasqui_batches b FORCE INDEX (unfinished) WHERE b.finished_at IS NULL AND b.status <> 'cancelled' AND "
        "(SELECT 1 FROM chasqui_items i FORCE INDEX (by_state) WHERE i.batch_id = b.id AND i.state = 'queued' AND i.ready = 1 LIMIT 1) IS NOT "
        "NULL UNION ALL SELECT COALESCE({utc j.available_at}, {utc j.created_at}) FROM (SELECT MIN(f.job_id) id FROM (SELECT job_id, ready FROM "
        "chasqui_items FORCE INDEX (by_state) WHERE batch_id = 0 AND state = 'queued' ORDER BY idx LIMIT ?) f WHERE f.ready = 1) o JOIN "
        "portal_jobs j ON j.id = o.id) x",
        "u", (uint64_t)SINGLES_LOOKED_AT));
    if (db_next(db) && !db_is_null(db, 0))
        *ms = db_i64(db, 0) > 0 ? db_i64(db, 0) : 0;
    return DB_OK;
}

enum db_rc depth_scheduled(struct db *db, uint64_t *n)
{
    TRY(db_query(
        db,
        "SELECT COUNT(*) FROM (SELECT 1 FROM chasqui_items FORCE INDEX (due) WHERE due_at IS NOT NULL LIMIT ?) d",
        "u", (uint64_t)DEPTH_CAP + 1));
    *n = db_next(db) ? db_u64(db, 0) : 0;
    return DB_OK;
}
