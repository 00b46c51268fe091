/* SPDX-License-Identifier: MIT */
/*
 * store_queue_state.c - the queue as operators see it: how deep, how old, paused
 * or not; pausing and resuming it.
 *
 * Counts stop at a bound: a long queue must not cost the database more to look
 * at than to run. A pause ends by itself when its time has passed.
 */
#include "dispatcher/store/store_portal.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#include "common/clock.h"
#include "common/jv.h"

#include <stdio.h>
#include <stdlib.h>

#define COUNTED_MAX 100000 /* items of a priority that are counted */

static struct jv *capped_jv(uint64_t n)
{
    struct jv *count = jv_new_object();
    jv_set_int(count, "n", (int64_t)n);
    jv_set_bool(count, "capped", n >= COUNTED_MAX);
    return count;
}

/* ---- looking ------------------------------------------------------------------------------------------------ */

static enum db_rc depth_read(struct db *db, struct jv *queue)
{
    struct jv *list = jv_new_array();
    uint64_t sum = 0;
    enum db_rc rc = DB_OK;
    bool capped = false;
    for (uint64_t urgency = 0; rc == DB_OK && urgency < 10; urgency++) {
        uint64_t n;
        rc = ready_count(db, urgency, COUNTED_MAX, &n);
        if (!n)
            continue;
        struct jv *depth = capped_jv(n);
        jv_set_int(depth, "priority", 9 - (int64_t)urgency);
        jv_push(list, depth);
        sum += n;
        capped |= n >= COUNTED_MAX;
    }
    struct jv *ready = capped_jv(sum);
    jv_set_bool(ready, "capped", capped);
    jv_set(queue, "ready", ready);
    jv_set(queue, "by_priority", list);
    return rc;
}

/* Since when the one that waits longest might have begun. */
static enum db_rc oldest_read(struct db *db, struct jv *queue)
{
    TRY(db_query(
        db,
        "SELECT MAX(TIMESTAMPDIFF(SECOND, x.since, NOW(6))) FROM (SELECT GREATEST(b.created_at, COALESCE(b.available_at, b.created_at)) since "
        "FROM chasqui_batches b FORCE INDEX (unfinished) WHERE b.finished_at IS NULL AND b.status <> 'cancelled' AND (SELECT 1 FROM "
        "chasqui_items i FORCE INDEX (by_state) WHERE i.batch_id = b.id AND i.state = 'queued' AND i.ready = 1 LIMIT 1) IS NOT NULL UNION ALL (SELECT "
        "COALESCE({utc j.available_at}, {utc j.created_at}) FROM chasqui_items o FORCE INDEX (by_state) JOIN portal_jobs j ON j.id = o.job_id WHERE "
        "o.batch_id = 0 AND o.state = 'queued' AND o.ready = 1 ORDER BY o.idx LIMIT 1)) x",
        ""));
    if (db_next(db) && !db_is_null(db, 0))
        jv_set_int(queue, "oldest_s", db_i64(db, 0) > 0 ? db_i64(db, 0) : 0);
    else
        jv_set(queue, "oldest_s", NULL);
    return DB_OK;
}

static enum db_rc others_read(struct db *db, struct jv *queue, uint64_t *n_held)
{
    TRY(db_query(
        db,
        "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM chasqui_items FORCE INDEX (due) WHERE due_at IS NOT NULL LIMIT ?) d), (SELECT "
        "COUNT(*) FROM chasqui_sessions FORCE INDEX (idle) WHERE state = 'opening'), (SELECT COUNT(*) FROM (SELECT 1 FROM chasqui_items "
        "FORCE INDEX (ready) WHERE ready = 2 LIMIT ?) h)",
        "uu", (uint64_t)COUNTED_MAX, (uint64_t)COUNTED_MAX));
    uint64_t scheduled = 0, running = 0;
    if (db_next(db)) {
        scheduled = db_u64(db, 0);
        running = db_u64(db, 1);
        *n_held = db_u64(db, 2);
    }
    jv_set(queue, "scheduled", capped_jv(scheduled));
    jv_set_int(queue, "running", (int64_t)running);
    return DB_OK;
}

static enum db_rc paused_read(struct db *db, struct jv *queue)
{
    struct pause pause;
    struct scope_pause *pauses;
    unsigned n;
    TRY(pause_read(db, &pause));
    jv_set(queue, "paused", NULL);
    if (pause.is_on) {
        struct jv *paused = jv_new_object();
        jv_set_str(paused, "by", pause.by);
        jv_set_str(paused, "reason", pause.reason);
        jv_set_time(paused, "since", pause.since_ms);
        jv_set_time(paused, "until", pause.until_ms);
        jv_set(queue, "paused", paused);
    }
    enum db_rc rc = scope_pauses_read(db, &pauses, &n);
    jv_set(queue, "pauses", scope_pauses_jv(pauses, rc == DB_OK ? n : 0));
    free(pauses);
    return rc;
}

static enum db_rc state_read(struct db *db, struct jv *queue)
{
    TRY(depth_read(db, queue));
    TRY(oldest_read(db, queue));
    uint64_t held = 0;
    TRY(others_read(db, queue, &held));
    TRY(paused_read(db, queue));
    jv_set(queue, "held", capped_jv(held));
    return DB_OK;
}

/* ---- pausing ------------------------------------------------------------------------------------------------ */

static bool is_part(const struct store_queue_state *op)
{
    return op->portal[0] || op->action[0] || op->batch_id;
}

/* "queue", or the part of it: "queue portal=sunat batch=7". */
static void subject_write(const struct store_queue_state *op, char out[200])
{
    char batch[30] = "";
    if (op->batch_id)
        snprintf(batch, sizeof(batch), " batch=%llu", (unsigned long long)op->batch_id);
    snprintf(out, 200, "queue%s%s%s%s%s", op->portal[0] ? " portal=" : "", op->portal,
             op->action[0] ? " action=" : "", op->action, batch);
}

static enum db_rc until_look(struct db *db, struct store_queue_state *op)
{
    op->is_past = op->no_batch = op->too_many = false;
    if (op->until_ms) {
        TRY(db_query(db, "SELECT FROM_UNIXTIME(? / 1000) <= NOW(6)", "u", (uint64_t)op->until_ms));
        op->is_past = db_next(db) && db_u64(db, 0);
    }
    if (op->batch_id && op->change == PAUSE_SET) {
        TRY(db_query(db, "SELECT 1 FROM chasqui_batches WHERE id = ?", "u", op->batch_id));
        op->no_batch = !db_next(db);
    }
    if (op->change != PAUSE_SET || !is_part(op))
        return DB_OK;
    TRY(db_exec(db, "DELETE FROM chasqui_pauses WHERE until_at <= NOW(6)", ""));
    TRY(db_query(db, "SELECT COUNT(*) FROM chasqui_pauses WHERE NOT (portal = ? AND action = ? AND batch_id = ?)",
                 "ssu", op->portal, op->action, op->batch_id));
    op->too_many = db_next(db) && db_u64(db, 0) >= PAUSES_MAX;
    return DB_OK;
}

static enum db_rc whole_change(struct db *db, const struct store_queue_state *op, int64_t *until_ms)
{
    if (op->change != PAUSE_SET)
        return db_exec(db, "DELETE FROM chasqui_pause WHERE one = 1", "");
    TRY(db_exec(
        db,
        "INSERT INTO chasqui_pause (one, actor, reason, since, until_at) VALUES (1, ?, NULLIF(?, ''), NOW(6), COALESCE(FROM_UNIXTIME(? / 1000), NOW(6) + INTERVAL ? * 1000 MICROSECOND)) ON "
        "DUPLICATE KEY UPDATE actor = VALUES(actor), reason = VALUES(reason), since = VALUES(since), until_at = VALUES(until_at)",
        "ssNN", op->by.name, op->reason, (uint64_t)op->until_ms, (uint64_t)op->for_ms));
    TRY(db_query(db, "SELECT CAST(UNIX_TIMESTAMP(until_at) * 1000 AS INT) FROM chasqui_pause WHERE one = 1", ""));
    *until_ms = db_next(db) ? db_i64(db, 0) : 0;
    return DB_OK;
}

static enum db_rc part_change(struct db *db, const struct store_queue_state *op, int64_t *until_ms)
{
    if (op->change != PAUSE_SET)
        return db_exec(db, "DELETE FROM chasqui_pauses WHERE portal = ? AND action = ? AND batch_id = ?", "ssu",
                       op->portal, op->action, op->batch_id);
    TRY(db_exec(
        db,
        "INSERT INTO chasqui_pauses (portal, action, batch_id, actor, reason, since, until_at) VALUES (?, ?, ?, ?, NULLIF(?, ''), NOW(6), "
        "COALESCE(FROM_UNIXTIME(? / 1000), NOW(6) + INTERVAL ? * 1000 MICROSECOND)) ON DUPLICATE KEY UPDATE actor = VALUES(actor), reason = "
        "VALUES(reason), since = VALUES(since), until_at = VALUES(until_at)",
        "ssussNN", op->portal, op->action, op->batch_id, op->by.name, op->reason, (uint64_t)op->until_ms,
        (uint64_t)op->for_ms));
    TRY(db_query(
        db,
        "SELECT CAST(UNIX_TIMESTAMP(until_at) * 1000 AS INT) FROM chasqui_pauses WHERE portal = ? AND action = ? AND batch_id = ?",
        "ssu", op->portal, op->action, op->batch_id));
    *until_ms = db_next(db) ? db_i64(db, 0) : 0;
    return DB_OK;
}

static enum db_rc change_tx(struct db *db, void *arg)
{
    struct store_queue_state *op = arg;
    bool is_pause = op->change == PAUSE_SET;
    char after[20 + CLOCK_TEXT_BYTES] = "going", at[CLOCK_TEXT_BYTES], subject[200];
    struct audit audit = {&op->by, is_pause ? "queue.pause" : "queue.resume", subject};
    int64_t until_ms = 0;
    subject_write(op, subject);
    TRY(until_look(db, op));
    if (op->is_past || op->no_batch || op->too_many)
        return DB_OK;
    if (is_part(op))
        TRY(db_query(
            db,
            "SELECT 1 FROM chasqui_pauses WHERE portal = ? AND action = ? AND batch_id = ? AND (until_at IS NULL OR until_at > NOW(6)) FOR "
            "UPDATE",
            "ssu", op->portal, op->action, op->batch_id));
    else
        TRY(db_query(
            db, "SELECT 1 FROM chasqui_pause WHERE one = 1 AND (until_at IS NULL OR until_at > NOW(6)) FOR UPDATE",
            ""));
    const char *before = db_next(db) ? "paused" : "going";
    TRY(is_part(op) ? part_change(db, op, &until_ms) : whole_change(db, op, &until_ms));
    if (is_pause)
        snprintf(after, sizeof(after), "paused%s%s", until_ms ? " until " : "",
                 until_ms ? clock_text(until_ms, at) : "");
    return audit_change(db, &audit, before, after, op->reason);
}

void store_queue_state(struct db *db, void *arg)
{
    struct store_queue_state *op = arg;
    op->rc = op->change == PAUSE_LOOK ? STORE_OK : store_tx(db, change_tx, NULL, op);
    if (op->rc != STORE_OK)
        return;
    struct jv *queue = jv_new_object(), *body = jv_new_object();
    op->rc = store_rc_of(db ? state_read(db, queue) : DB_GONE);
    jv_set_bool(body, "ok", true);
    jv_set(body, "queue", queue);
    json_take(body, &op->json);
}
