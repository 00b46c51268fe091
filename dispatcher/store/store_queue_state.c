/* SPDX-License-Identifier: MIT */
/*
 * store_queue_state.c - the queue as operators see it: how deep, how old, paused
 * or not; pausing and resuming it. store_depth.c counts.
 *
 * A pause ends by itself when its time has passed.
 */
#include "dispatcher/store/store_depth.h"
#include "dispatcher/store/store_portal.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#include "common/clock.h"
#include "common/jv.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- looking ------------------------------------------------------------------------------------------------ */

static enum db_rc waiting_read(struct db *db, struct jv *queue)
{
    struct jv *list = jv_new_array();
    uint64_t sum, scheduled;
    int64_t oldest_ms;
    enum db_rc rc = depth_read(db, list, &sum);
    jv_set(queue, "ready", count_jv(sum, DEPTH_CAP));
    jv_set(queue, "by_priority", list);
    TRY(rc);
    TRY(depth_oldest(db, &oldest_ms));
    if (oldest_ms < 0)
        jv_set(queue, "oldest_s", NULL);
    else
        jv_set_int(queue, "oldest_s", oldest_ms / 1000);
    TRY(depth_scheduled(db, &scheduled));
    jv_set(queue, "scheduled", count_jv(scheduled, DEPTH_CAP));
    return DB_OK;
}

static enum db_rc others_read(struct db *db, struct jv *queue, uint64_t *held)
{
    TRY(db_query(
        db,
        "SELECT (SELECT COUNT(*) FROM chasqui_sessions FORCE INDEX (idle) WHERE state = 'opening'), (SELECT COUNT(*) FROM (SELECT 1 FROM "
        "chasqui_items FORCE INDEX (ready) WHERE ready = 2 LIMIT ?) h)",
        "u", (uint64_t)DEPTH_CAP + 1));
    bool is_there = db_next(db);
    jv_set_int(queue, "running", is_there ? db_i64(db, 0) : 0);
    *held = is_there ? db_u64(db, 1) : 0;
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
    TRY(waiting_read(db, queue));
    uint64_t held;
    TRY(others_read(db, queue, &held));
    TRY(paused_read(db, queue));
    jv_set(queue, "held", count_jv(held, DEPTH_CAP));
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
