/* SPDX-License-Identifier: MIT */
/*
 * store_company.c - everything about one company that an operator asks when
 * somebody calls: its sessions, what waits and runs, what failed last, its
 * credentials. Reads only, each piece bounded and along an index.
 */
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_refusal.h"
#include "dispatcher/store/store_waits.h"

#include "common/jv.h"

#include <string.h>

#define PIECE "20" /* rows of each kind, newest first */
#define ENDED "5"  /* sessions that are over */
#define RECENT_LOOKED_AT "200"

/* The item of a batch that column `at` and the one behind it name; a job of its own has batch 0, and no item. */
static void item_set(struct jv *one, struct db *db, unsigned at)
{
    jv_set(one, "batch_id", NULL);
    jv_set(one, "index", NULL);
    if (!db_u64(db, at))
        return;
    json_set_column(one, "batch_id", db, at);
    json_set_column(one, "index", db, at + 1);
}

/* A row that begins with portal, job, session, robot and state. */
static struct jv *live_or_ended_jv(struct db *db)
{
    struct jv *s = jv_new_object();
    jv_set_str(s, "portal", db_str(db, 0, NULL));
    json_set_column(s, "job_id", db, 1);
    jv_set_str(s, "session_id", db_str(db, 2, NULL));
    jv_set_str(s, "worker", db_str(db, 3, NULL));
    jv_set_str(s, "state", db_str(db, 4, NULL));
    return s;
}

static enum db_rc sessions_read(struct db *db, uint64_t company_id, struct jv *out)
{
    TRY(db_query(
        db,
        "SELECT s.portal, s.job_id, s.robot_session_id, r.name, s.state, CAST(UNIX_TIMESTAMP(s.since) * 1000 AS INT), "
        "CAST(UNIX_TIMESTAMP(s.started_at) * 1000 AS INT), CAST(UNIX_TIMESTAMP(s.last_activity_at) * 1000 AS INT), m.reason, EXISTS (SELECT "
        "1 FROM chasqui_leases l WHERE l.session_ref = s.id AND l.kind = 'round') FROM chasqui_sessions s FORCE INDEX (one_live) LEFT JOIN "
        "chasqui_robots r ON r.id = s.robot_id LEFT JOIN chasqui_session_migrations m ON m.job_id = s.job_id WHERE s.company_id = ? AND "
        "s.live = 1 ORDER BY s.portal LIMIT " PIECE,
        "u", company_id));
    while (db_next(db)) {
        struct jv *s = live_or_ended_jv(db);
        jv_set_time(s, "since", db_i64(db, 5));
        jv_set_time(s, "started_at", db_i64(db, 6));
        jv_set_time(s, "last_activity_at", db_i64(db, 7));
        jv_set_str(s, "moves_because", db_str(db, 8, NULL));
        jv_set_bool(s, "in_a_round", db_u64(db, 9) != 0);
        jv_push(out, s);
    }
    return DB_OK;
}

/* The newest that are over, and who closed them: the audit row of a close is written in its transaction. */
static enum db_rc ended_read(struct db *db, uint64_t company_id, struct jv *out)
{
    TRY(db_query(
        db,
        "SELECT s.portal, s.job_id, s.robot_session_id, r.name, s.state, s.reason, CAST(UNIX_TIMESTAMP(s.since) * 1000 AS INT), "
        "CAST(UNIX_TIMESTAMP(s.started_at) * 1000 AS INT), (SELECT a.actor FROM chasqui_audit a FORCE INDEX (at) WHERE a.at BETWEEN s.since - "
        "INTERVAL 1 SECOND AND s.since + INTERVAL 1 SECOND AND a.action = 'session_close' AND a.subject = CONCAT('job:', s.job_id) ORDER BY a.at "
        "DESC LIMIT 1) FROM (SELECT id FROM chasqui_sessions FORCE INDEX (one_live) WHERE company_id = ? AND live IS NULL ORDER BY id DESC LIMIT " ENDED
        ") e JOIN chasqui_sessions s ON s.id = e.id LEFT JOIN chasqui_robots r ON r.id = s.robot_id ORDER BY s.id DESC",
        "u", company_id));
    while (db_next(db)) {
        struct jv *s = live_or_ended_jv(db);
        jv_set_str(s, "reason", db_str(db, 5, NULL));
        jv_set_time(s, "since", db_i64(db, 6));
        jv_set_time(s, "started_at", db_i64(db, 7));
        jv_set_str(s, "by", db_str(db, 8, NULL));
        jv_push(out, s);
    }
    return DB_OK;
}

struct waiting {     /* an item that waits */
    struct jv *item; /* borrowed */
    uint64_t urgency, turn, batch_id;
    char portal[PORTAL_ROOM], action[65];
    bool is_next; /* no pause, portal or due time stands before it: only others do */
};

/* Its place in line, and what holds it. Those of one batch are held by the same. */
static enum db_rc waiting_why(struct db *db, const struct store_company *op, const struct waiting *before,
                              const struct waiting *w)
{
    uint64_t n;
    bool stands = false, is_same = before && before->batch_id == w->batch_id &&
                                   strcmp(before->portal, w->portal) == 0 &&
                                   strcmp(before->action, w->action) == 0 && before->is_next == w->is_next;
    struct jv *why = is_same ? jv_copy(jv_get(before->item, "why")) : jv_new_array();
    enum db_rc rc =
        is_same ? DB_OK
                : waits_look(db, op->portals, &(struct waits_of){w->portal, w->action, w->batch_id}, why, &stands);
    if (rc == DB_OK && !is_same && w->is_next && !stands)
        rc = places_look(db, &op->room, true, why);
    jv_set(w->item, "why", why);
    TRY(rc);
    jv_set(w->item, "before", NULL);
    if (!w->is_next)
        return DB_OK;
    TRY(queue_before(db, w->urgency, w->turn, &n));
    jv_set_int(w->item, "before", (int64_t)n);
    return DB_OK;
}

static enum db_rc waiting_read(struct db *db, const struct store_company *op, struct jv *out)
{
    struct waiting waiting[20];
    unsigned n = 0;
    TRY(db_query(
        db,
        "SELECT i.batch_id, i.idx, i.job_id, COALESCE(b.portal, q.portal), b.name, i.state, i.urgency, i.turn, i.ready, "
        "CAST(UNIX_TIMESTAMP(i.due_at) * 1000 AS INT), j.error, COALESCE(b.action, j.action) FROM chasqui_items i FORCE INDEX (by_company) LEFT "
        "JOIN chasqui_batches b ON b.id = i.batch_id LEFT JOIN chasqui_jobs q ON q.job_id = i.job_id LEFT JOIN portal_jobs j ON j.id = i.job_id "
        "WHERE i.company_id = ? AND i.state IN ('queued', 'retrying') ORDER BY i.batch_id DESC, i.idx LIMIT " PIECE,
        "u", op->company_id));
    while (n < 20 && db_next(db)) {
        struct jv *one = jv_new_object();
        struct waiting *w = &waiting[n++];
        *w = (struct waiting){.item = one,
                              .urgency = db_u64(db, 6),
                              .turn = db_u64(db, 7),
                              .batch_id = db_u64(db, 0),
                              .is_next = db_u64(db, 8) == 1};
        db_str_copy(db, 3, w->portal, sizeof(w->portal));
        db_str_copy(db, 11, w->action, sizeof(w->action));
        item_set(one, db, 0);
        jv_set_str(one, "batch_name", db_str(db, 4, NULL));
        json_set_column(one, "job_id", db, 2);
        jv_set_str(one, "portal", db_str(db, 3, NULL));
        jv_set_str(one, "status", db_str(db, 5, NULL));
        jv_set_int(one, "priority", 9 - db_i64(db, 6));
        jv_set_time(one, "due_at", db_u64(db, 8) ? 0 : db_i64(db, 9));
        jv_set_str(one, "error", db_str(db, 10, NULL));
        jv_push(out, one);
    }
    for (unsigned i = 0; i < n; i++)
        TRY(waiting_why(db, op, i ? &waiting[i - 1] : NULL, &waiting[i]));
    return DB_OK;
}

static enum db_rc running_read(struct db *db, uint64_t company_id, struct jv *out)
{
    TRY(db_query(
        db,
        "SELECT q.job_id, q.batch_id, q.idx, q.portal, j.action, j.worker, l.kind, l.holder, CAST(UNIX_TIMESTAMP(l.taken_at) * 1000 AS INT), "
        "l.cancel, i.step, b.steps FROM chasqui_leases l JOIN chasqui_jobs q ON q.job_id = l.job_id LEFT JOIN portal_jobs j ON j.id = "
        "q.job_id LEFT JOIN chasqui_items i ON i.batch_id = q.batch_id AND i.idx = q.idx LEFT JOIN chasqui_batches b ON b.id = q.batch_id "
        "WHERE q.company_id = ? ORDER BY q.job_id DESC LIMIT " PIECE,
        "u", company_id));
    while (db_next(db)) {
        struct jv *r = jv_new_object();
        char step[ACTION_NAME_MAX + 1] = "";
        const char *steps = db_str(db, 11, NULL);
        if (steps && !db_is_null(db, 10))
            steps_name(steps, (unsigned)db_u64(db, 10), step);
        json_set_column(r, "job_id", db, 0);
        item_set(r, db, 1);
        jv_set_str(r, "portal", db_str(db, 3, NULL));
        jv_set_str(r, "action", db_str(db, 4, NULL));
        jv_set_str(r, "step", step[0] ? step : NULL);
        jv_set_str(r, "kind", db_str(db, 6, NULL));
        jv_set_str(r, "worker", db_str(db, 5, NULL));
        jv_set_str(r, "dispatcher", db_str(db, 7, NULL));
        jv_set_time(r, "since", db_i64(db, 8));
        jv_set_bool(r, "is_stopping", db_u64(db, 9) != 0);
        jv_push(out, r);
    }
    return DB_OK;
}

/* Of the newest jobs, those that failed, and all. */
static enum db_rc recent_read(struct db *db, uint64_t company_id, struct jv *failures, struct jv *recent)
{
    TRY(db_query(
        db,
        "SELECT j.id, j.portal, j.action, " JOB_STATUS ", j.worker, " JOB_ERROR ", " JOB_MESSAGE ", "
        "CAST(UNIX_TIMESTAMP({utc j.created_at}) * 1000 AS INT), CAST(UNIX_TIMESTAMP({utc j.finished_at}) * 1000 AS INT), j.batch_id, "
        "j.attempts FROM portal_jobs j FORCE INDEX (chasqui_newest)" REFUSAL_JOIN
        "WHERE j.company_id = ? AND j.deleted_at IS NULL ORDER BY "
        "j.id DESC LIMIT " RECENT_LOOKED_AT,
        "u", company_id));
    while (db_next(db)) {
        bool is_failed = !db_is_null(db, 5);
        if (jv_len(recent) >= 20 && (!is_failed || jv_len(failures) >= 20))
            continue;
        struct jv *j = jv_new_object();
        json_set_column(j, "job_id", db, 0);
        jv_set_str(j, "portal", db_str(db, 1, NULL));
        jv_set_str(j, "action", db_str(db, 2, NULL));
        jv_set_str(j, "status", db_str(db, 3, NULL));
        jv_set_str(j, "worker", db_str(db, 4, NULL));
        jv_set_str(j, "error", db_str(db, 5, NULL));
        jv_set_str(j, "message", db_str(db, 6, NULL));
        json_set_column(j, "attempts", db, 10);
        json_set_column(j, "batch_id", db, 9);
        jv_set_time(j, "created_at", db_i64(db, 7));
        jv_set_time(j, "finished_at", db_i64(db, 8));
        if (is_failed && jv_len(failures) < 20)
            jv_push(failures, jv_copy(j));
        if (jv_len(recent) < 20)
            jv_push(recent, j);
        else
            jv_free(j);
    }
    return DB_OK;
}

static enum db_rc credentials_read(struct db *db, uint64_t company_id, struct jv *out)
{
    TRY(db_query(
        db,
        "SELECT c.portal, CAST(UNIX_TIMESTAMP(c.updated_at) * 1000 AS INT), CAST(UNIX_TIMESTAMP(w.at) * 1000 AS INT), w.robot_error, w.robot_message "
        "FROM chasqui_credentials c" REFUSED_BEFORE "WHERE c.company_id = ? ORDER BY c.portal LIMIT " PIECE,
        "u", company_id));
    while (db_next(db)) {
        struct jv *c = jv_new_object();
        jv_set_str(c, "portal", db_str(db, 0, NULL));
        jv_set_time(c, "updated_at", db_i64(db, 1));
        jv_set_time(c, "refused_at", db_i64(db, 2));
        jv_set_str(c, "refused_error", db_str(db, 3, NULL));
        jv_set_str(c, "refused_message", db_str(db, 4, NULL));
        jv_push(out, c);
    }
    return DB_OK;
}

static enum db_rc company_read(struct db *db, struct store_company *op)
{
    static const char *const names[] = {"sessions",    "waiting", "running", "failures",
                                        "credentials", "recent",  "ended"};
    struct jv *list[sizeof(names) / sizeof(names[0])], *company = jv_new_object(), *body = jv_new_object();
    jv_set_int(company, "company_id", (int64_t)op->company_id);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        list[i] = jv_new_array();
    enum db_rc rc = sessions_read(db, op->company_id, list[0]);
    rc = rc ? rc : waiting_read(db, op, list[1]);
    rc = rc ? rc : running_read(db, op->company_id, list[2]);
    rc = rc ? rc : recent_read(db, op->company_id, list[3], list[5]);
    rc = rc ? rc : credentials_read(db, op->company_id, list[4]);
    rc = rc ? rc : ended_read(db, op->company_id, list[6]);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        jv_set(company, names[i], list[i]);
    jv_set_bool(body, "ok", true);
    jv_set(body, "company", company);
    json_take(body, &op->json);
    return rc;
}

void store_company(struct db *db, void *arg)
{
    struct store_company *op = arg;
    op->rc = store_rc_of(db ? company_read(db, op) : DB_GONE);
}
