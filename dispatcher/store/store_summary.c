/* SPDX-License-Identifier: MIT */
/*
 * store_summary.c - the durable queue and the robots' places in a few numbers.
 * Counts stop at a cap and say so; nothing here reads a table from end to end.
 */
#include "dispatcher/store/store_summary.h"
#include "dispatcher/store/store_depth.h"
#include "dispatcher/store/store_down.h"
#include "dispatcher/store/store_portal.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#include "common/clock.h"
#include "db/robot_row.h"

#include <stdlib.h>
#include <string.h>

static enum db_rc waiting_read(struct db *db, struct jv *queue)
{
    struct jv *ready = jv_new_array();
    uint64_t sum, scheduled;
    int64_t oldest_ms;
    jv_set(queue, "ready", ready);
    jv_set(queue, "oldest_age_ms", NULL);
    TRY(depth_read(db, ready, &sum));
    if (sum) {
        TRY(depth_oldest(db, &oldest_ms));
        if (oldest_ms >= 0)
            jv_set_int(queue, "oldest_age_ms", oldest_ms);
    }
    TRY(depth_scheduled(db, &scheduled));
    jv_set(queue, "scheduled", count_jv(scheduled, DEPTH_CAP));
    TRY(db_query(
        db,
        "SELECT COUNT(*) FROM (SELECT 1 FROM chasqui_batches FORCE INDEX (by_status) WHERE status IN ('open', 'running') LIMIT ?) b",
        "u", (uint64_t)SUMMARY_BATCHES_CAP + 1));
    jv_set(queue, "batches_open", count_jv(db_next(db) ? db_u64(db, 0) : 0, SUMMARY_BATCHES_CAP));
    return DB_OK;
}

static enum db_rc paused_read(struct db *db, struct jv *queue)
{
    struct pause pause;
    TRY(pause_read(db, &pause));
    jv_set(queue, "paused", NULL);
    if (!pause.is_on)
        return DB_OK;
    struct jv *paused = jv_new_object();
    jv_set_str(paused, "by", pause.by);
    jv_set_str(paused, "reason", pause.reason);
    jv_set_int(paused, "since_ms", pause.since_ms);
    if (pause.until_ms)
        jv_set_int(paused, "until_ms", pause.until_ms);
    jv_set(queue, "paused", paused);
    return DB_OK;
}

static void held_set(void *arg, const char *portal, uint64_t n)
{
    jv_set_int(arg, portal, (int64_t)n);
}

/* Portals that are not well, and parts of the queue that are paused; how many wait for either. */
static enum db_rc portals_sum(struct db *db, struct jv *body)
{
    struct jv *list = jv_new_array(), *held = jv_new_object();
    struct scope_pause *pauses;
    unsigned n;
    jv_set(body, "portals", list);
    jv_set(body, "held", held);
    TRY(held_count(db, SUMMARY_HELD_CAP, held_set, held));
    TRY(db_query(
        db,
        "SELECT portal, state, since_us DIV 1000, why FROM chasqui_portals WHERE state IN ('tripped', 'returning') ORDER BY portal LIMIT 64",
        ""));
    while (db_next(db)) {
        struct jv *one = jv_new_object();
        jv_set_str(one, "name", db_str(db, 0, NULL));
        jv_set_str(one, "state", db_str(db, 1, NULL));
        jv_set_int(one, "since_ms", db_i64(db, 2));
        jv_set_str(one, "why", db_str(db, 3, NULL));
        jv_push(list, one);
    }
    struct jv *doubtful = jv_new_array();
    jv_set(body, "doubtful", doubtful);
    TRY(db_query(db, "SELECT portal FROM chasqui_portals WHERE state = 'doubtful' ORDER BY portal LIMIT 64", ""));
    while (db_next(db))
        jv_push_str(doubtful, db_str(db, 0, NULL));
    enum db_rc rc = scope_pauses_read(db, &pauses, &n);
    jv_set(body, "pauses", scope_pauses_jv(pauses, rc == DB_OK ? n : 0));
    free(pauses);
    return rc;
}

/* Who ended a pause in the last minute, newest first: a pause that is gone does not tell. */
static enum db_rc resumes_read(struct db *db, struct jv *body)
{
    struct jv *list = jv_new_array();
    jv_set(body, "resumes", list);
    TRY(db_query(
        db,
        "SELECT subject, actor FROM (SELECT id, at, actor, action, subject FROM chasqui_audit ORDER BY id DESC LIMIT 200) a WHERE action = "
        "'queue.resume' AND at > NOW(6) - INTERVAL 60 SECOND ORDER BY id DESC LIMIT 20",
        ""));
    while (db_next(db)) {
        struct jv *one = jv_new_object();
        jv_set_str(one, "subject", db_str(db, 0, NULL));
        jv_set_str(one, "by", db_str(db, 1, NULL));
        jv_push(list, one);
    }
    return DB_OK;
}

/* What the database refused lately: how often, and what it was the last time. */
static enum db_rc refused_read(struct db *db, struct jv *body)
{
    TRY(db_query(
        db,
        "SELECT COUNT(*), MAX(id) FROM (SELECT id FROM chasqui_refusals FORCE INDEX (at) WHERE at > NOW(6) - INTERVAL 10 MINUTE ORDER BY at "
        "DESC LIMIT ?) x",
        "u", (uint64_t)DEPTH_CAP));
    uint64_t n = db_next(db) ? db_u64(db, 0) : 0, last = n ? db_u64(db, 1) : 0;
    jv_set(body, "refused", NULL);
    if (!n)
        return DB_OK;
    TRY(db_query(db, "SELECT what FROM chasqui_refusals WHERE id = ?", "u", last));
    if (db_next(db))
        jv_set(body, "refused", summary_refused((int64_t)n, db_str(db, 0, NULL)));
    return DB_OK;
}

struct jv *summary_refused(int64_t n, const char *why)
{
    struct jv *refused = jv_new_object();
    jv_set_int(refused, "n", n);
    jv_set_str(refused, "why", why);
    return refused;
}

static enum db_rc robots_read(struct db *db, struct jv *list)
{
    TRY(db_query(
        db,
        "SELECT r.name, " ROBOT_CAPACITY ", (SELECT "
        "COUNT(*) FROM chasqui_places p FORCE INDEX (free_places) WHERE p.robot_id = r.id AND p.session_ref IS NOT NULL), (SELECT "
        "COUNT(*) FROM chasqui_sessions a FORCE INDEX (pending) WHERE a.close_pending = 1 AND a.robot_id = r.id), r.wanted = 'draining', "
        "CAST(UNIX_TIMESTAMP(r.drain_since) * 1000 AS INT), CAST(UNIX_TIMESTAMP(r.drain_deadline) * 1000 AS INT), IF(r.wanted = "
        "'draining', (SELECT COUNT(*) FROM chasqui_sessions s FORCE INDEX (by_robot) WHERE s.robot_id = r.id AND s.live = 1), 0), "
        "IF(r.wanted = 'draining', (SELECT COUNT(*) FROM chasqui_sessions s FORCE INDEX (by_robot) JOIN chasqui_credentials c ON "
        "c.company_id = s.company_id AND c.portal = s.portal WHERE s.robot_id = r.id AND s.live = 1), 0), " WAITING_COLUMNS(
            "r") " FROM "
                 "chasqui_robots r WHERE r.removed = 0 ORDER BY r.name LIMIT 5000",
        ""));
    while (db_next(db)) {
        struct jv *row = jv_new_object();
        jv_set_str(row, "name", db_str(db, 0, NULL));
        jv_set_int(row, "total", db_i64(db, 1));
        jv_set_int(row, "used", db_i64(db, 2));
        jv_set_int(row, "abandoned", db_i64(db, 3));
        if (db_u64(db, 4)) {
            jv_set_int(row, "drain_since_ms", db_i64(db, 5));
            jv_set_int(row, "drain_deadline_ms", db_i64(db, 6));
            jv_set_int(row, "left", db_i64(db, 7));
            jv_set_int(row, "movable", db_i64(db, 8));
        }
        if (strcmp(db_str(db, 9, NULL), "silent") == 0) {
            jv_set_int(row, "waiting", db_i64(db, 10));
            jv_set_int(row, "waiting_movable", db_i64(db, 11));
            jv_set_int(row, "silent_ms", db_i64(db, 12));
        }
        jv_push(list, row);
    }
    return DB_OK;
}

static enum db_rc summary_read(struct db *db, struct jv *body)
{
    struct jv *queue = jv_new_object(), *robots = jv_new_array();
    jv_set(body, "queue", queue);
    jv_set(body, "robots", robots);
    TRY(waiting_read(db, queue));
    TRY(paused_read(db, queue));
    TRY(refused_read(db, body));
    TRY(portals_sum(db, body));
    TRY(resumes_read(db, body));
    return robots_read(db, robots);
}

void store_summary(struct db *db, void *arg)
{
    struct store_summary *op = arg;
    uint64_t begun_ms = clock_ms();
    op->json = jv_new_object();
    op->rc = store_rc_of(db ? summary_read(db, op->json) : DB_GONE);
    op->took_ms = (int64_t)(clock_ms() - begun_ms);
    if (op->rc == STORE_OK)
        return;
    jv_free(op->json);
    op->json = NULL;
    if (op->rc != STORE_REFUSED)
        return;
    /* Tables or columns of ours are gone: that is all there is to be said. */
    char words[500];
    struct jv *queue = jv_new_object();
    db_refusal_words(db_refusal(db), words, sizeof(words));
    op->json = jv_new_object();
    jv_set(queue, "ready", jv_new_array());
    jv_set(op->json, "queue", queue);
    jv_set(op->json, "robots", jv_new_array());
    jv_set(op->json, "refused", summary_refused(1, words));
}
