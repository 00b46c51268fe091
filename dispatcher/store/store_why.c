/* SPDX-License-Identifier: MIT */
/*
 * store_why.c - what a job waits for, told as reasons an operator can act on.
 *
 * Reads only, each a row or a bounded count. What it tells was true a moment
 * ago: several reasons may hold at once, and the claim decides anew.
 */
#include "dispatcher/store/store_down.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"
#include "dispatcher/store/store_waits.h"

#include "common/jv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job {
    uint64_t id, company_id;
    bool has_item;
    char status[21], error[65], worker[NAME_ROOM], portal[PORTAL_ROOM];
    int64_t started_ms, finished_ms, due_ms;
    bool is_ready, is_held;
    char action[65];
    uint64_t batch_id;
    uint64_t urgency, turn;
};

static enum db_rc job_read(struct db *db, struct store_why *op, struct job *j)
{
    static const char columns[] =
        "SELECT j.id, j.company_id, {status j.status}, j.error, j.worker, j.portal, CAST(UNIX_TIMESTAMP({utc j.started_at}) * 1000 AS INT), "
        "CAST(UNIX_TIMESTAMP({utc j.finished_at}) * 1000 AS INT), i.ready, i.urgency, i.turn, "
        "CAST(UNIX_TIMESTAMP(i.due_at) * 1000 AS INT), j.action, i.batch_id FROM portal_jobs j LEFT JOIN chasqui_jobs q ON q.job_id = j.id LEFT "
        "JOIN chasqui_items i ON i.batch_id = q.batch_id AND i.idx = q.idx WHERE j.id = ?";
    if (!op->job_id) {
        TRY(db_find(
            db, &op->found,
            "SELECT j.id FROM portal_jobs j LEFT JOIN chasqui_jobs q ON q.job_id = j.id WHERE j.job_uid = ? ORDER BY q.job_id IS NULL, "
            "j.id DESC LIMIT 1",
            "s", op->job_uid));
        op->job_id = op->found ? db_u64(db, 0) : 0;
    }
    TRY(db_find(db, &op->found, columns, "u", op->job_id));
    if (!op->found)
        return DB_OK;
    j->id = db_u64(db, 0);
    j->company_id = db_u64(db, 1);
    db_str_copy(db, 2, j->status, sizeof(j->status));
    db_str_copy(db, 3, j->error, sizeof(j->error));
    db_str_copy(db, 4, j->worker, sizeof(j->worker));
    db_str_copy(db, 5, j->portal, sizeof(j->portal));
    j->started_ms = db_i64(db, 6);
    j->finished_ms = db_i64(db, 7);
    j->has_item = !db_is_null(db, 9);
    j->is_ready = db_u64(db, 8) == 1;
    j->is_held = db_u64(db, 8) == 2;
    db_str_copy(db, 12, j->action, sizeof(j->action));
    j->batch_id = db_u64(db, 13);
    j->urgency = db_u64(db, 9);
    j->turn = db_u64(db, 10);
    j->due_ms = db_i64(db, 11);
    return DB_OK;
}

/* ---- of one that waits -------------------------------------------------------------------------------------- */

static enum db_rc company_look(struct db *db, const struct job *j, struct jv *list)
{
    TRY(db_query(
        db,
        "SELECT s.job_id, s.state, m.job_id IS NOT NULL, r.name, " IS_DOWN(
            "r") " FROM chasqui_sessions s LEFT JOIN chasqui_session_migrations m "
                 "ON m.job_id = s.job_id LEFT JOIN chasqui_robots r ON r.id = s.robot_id WHERE s.company_id = ? AND s.portal = ? AND s.live = 1",
        "us", j->company_id, j->portal));
    if (!db_next(db))
        return DB_OK;
    const char *state = db_str(db, 1, NULL);
    bool is_moving = db_u64(db, 2) != 0;
    if (strcmp(state, "active") == 0 && !is_moving && db_u64(db, 4)) {
        struct jv *waits = why_say(
            list, "robot_down",
            "The session of this company and portal is on a robot that does not answer: it waits for that.");
        jv_set_int(waits, "job_id", db_i64(db, 0));
        jv_set_str(waits, "robot", db_str(db, 3, NULL));
        return DB_OK;
    }
    if (strcmp(state, "active") == 0 && !is_moving)
        return DB_OK; /* it is done with that session as soon as it is claimed */
    struct jv *why =
        why_say(list, "company_busy",
                is_moving ? "A session of this company and portal is moving to another robot."
                : strcmp(state, "opening") == 0 ? "A log-in of this company and portal is running."
                                                : "A session of this company and portal is being closed.");
    jv_set_int(why, "job_id", db_i64(db, 0));
    return DB_OK;
}

enum db_rc queue_before(struct db *db, uint64_t urgency, uint64_t turn, uint64_t *n)
{
    *n = 0;
    TRY(db_query(
        db,
        "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM chasqui_items FORCE INDEX (ready) WHERE ready = 1 AND urgency < ? LIMIT ?) a), (SELECT "
        "COUNT(*) FROM (SELECT 1 FROM chasqui_items FORCE INDEX (ready) WHERE ready = 1 AND urgency = ? AND turn < ? LIMIT ?) b)",
        "uuuuu", urgency, (uint64_t)QUEUE_BEFORE_MAX, urgency, turn, (uint64_t)QUEUE_BEFORE_MAX));
    *n = db_next(db) ? db_u64(db, 0) + db_u64(db, 1) : 0;
    if (*n > QUEUE_BEFORE_MAX)
        *n = QUEUE_BEFORE_MAX;
    return DB_OK;
}

static enum db_rc before_look(struct db *db, const struct job *j, struct jv *list)
{
    char detail[80];
    uint64_t n;
    TRY(queue_before(db, j->urgency, j->turn, &n));
    bool capped = n >= QUEUE_BEFORE_MAX;
    if (!n) {
        if (!jv_len(list))
            why_say(list, "next", "It is the next to be claimed.");
        return DB_OK;
    }
    snprintf(detail, sizeof(detail), "%llu%s jobs stand before it.", (unsigned long long)n, capped ? "+" : "");
    struct jv *why = why_say(list, "behind", detail);
    jv_set_int(why, "n", (int64_t)n);
    jv_set_bool(why, "capped", capped);
    return DB_OK;
}

static enum db_rc waiting_look(struct db *db, const struct store_why *op, const struct job *j, struct jv *list)
{
    bool stands;
    if (!j->has_item) {
        why_say(list, "not_ours", "Laravel made it: it is not in this queue.");
        return DB_OK;
    }
    TRY(waits_look(db, op->portals, &(struct waits_of){j->portal, j->action, j->batch_id}, list, &stands));
    TRY(company_look(db, j, list));
    if (!j->is_ready && !j->is_held) {
        bool is_retry = strcmp(j->status, "retrying") == 0, is_back = !is_retry && j->error[0];
        struct jv *why =
            why_say(list, is_retry ? "retrying" : "scheduled",
                    is_retry  ? "Its last attempt failed; it is tried again then."
                    : is_back ? "Its last attempt was given back and does not count; it may begin again then."
                              : "It may not begin before then.");
        jv_set_time(why, "at", j->due_ms);
        if (is_retry || is_back)
            jv_set_str(why, "error", j->error[0] ? j->error : NULL);
        return DB_OK;
    }
    TRY(places_look(db, &op->room, true, list));
    return before_look(db, j, list);
}

/* ---- of the others ------------------------------------------------------------------------------------------ */

static enum db_rc running_look(struct db *db, const struct job *j, struct jv *list)
{
    TRY(db_query(db, "SELECT cancel, holder, expires_at <= NOW(6) FROM chasqui_leases WHERE job_id = ?", "u",
                 j->id));
    bool is_held = db_next(db);
    if (!is_held && !j->has_item && !j->worker[0]) {
        why_say(list, "not_ours", "Laravel runs it.");
        return DB_OK;
    }
    struct jv *why = why_say(list, is_held && db_u64(db, 0) ? "cancelling" : "running",
                             is_held && db_u64(db, 0)   ? "It was asked to stop."
                             : is_held && db_u64(db, 2) ? "Its dispatcher is gone; another one takes it over."
                                                        : "Its robot is at work.");
    jv_set_str(why, "robot", j->worker[0] ? j->worker : NULL);
    jv_set_str(why, "dispatcher", is_held ? db_str(db, 1, NULL) : NULL);
    jv_set_time(why, "since", j->started_ms);
    return DB_OK;
}

static void ended_say(const struct job *j, struct jv *list)
{
    char detail[100];
    snprintf(detail, sizeof(detail), "%s%s%s", j->status, j->error[0] ? ": " : "", j->error);
    struct jv *why = why_say(list, "ended", detail);
    jv_set_time(why, "at", j->finished_ms);
}

static enum db_rc why_read(struct db *db, struct store_why *op)
{
    struct job j = {0};
    TRY(job_read(db, op, &j));
    if (!op->found)
        return DB_OK;
    struct jv *list = jv_new_array(), *body = jv_new_object();
    enum db_rc rc = DB_OK;
    if (strcmp(j.status, "running") == 0)
        rc = running_look(db, &j, list);
    else if (strcmp(j.status, "queued") == 0 || strcmp(j.status, "retrying") == 0)
        rc = waiting_look(db, op, &j, list);
    else
        ended_say(&j, list);
    jv_set_bool(body, "ok", true);
    jv_set_int(body, "job_id", (int64_t)j.id);
    jv_set_str(body, "status", j.status);
    jv_set(body, "why", list);
    json_take(body, &op->json);
    return rc;
}

void store_why(struct db *db, void *arg)
{
    struct store_why *op = arg;
    op->rc = store_rc_of(db ? why_read(db, op) : DB_GONE);
}
