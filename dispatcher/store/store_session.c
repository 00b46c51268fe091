/* SPDX-License-Identifier: MIT */
/*
 * store_session.c - finding sessions, and ending them. Laravel's are adopted in store_adopt.c.
 *
 * Owns nothing; runs on database threads. Every end is a compare-and-swap on
 * state and epoch, or on the lease's token, so whoever comes second changes
 * nothing. Must stay: the robot of a session is always read from portal_jobs. May change: how many look-ups share a
 * query.
 */
#include "dispatcher/store/store_down.h"
#include "dispatcher/store/store_place.h"
#include "dispatcher/store/store_refusal.h"
#include "dispatcher/store/store_sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- look-ups ----------------------------------------------------------------------------------------------- */

/* Several robots may have used an id: the live one counts, else the newest. */
static uint64_t age_of(struct db *db, unsigned id_col, unsigned live_col)
{
    return db_u64(db, id_col) | (db_u64(db, live_col) ? 1ull << 63 : 0);
}

struct settling {
    uint64_t newest[LOOKUP_MAX]; /* age of the row that counts, 0 = none came */
    bool is_settled[LOOKUP_MAX]; /* op->row is what the caller gets */
};

/* What a call to an active session needs, nothing more: most look-ups end here. */
static void narrow_read(struct db *db, struct session_row *row)
{
    memset(row, 0, sizeof(*row));
    row->ref = db_u64(db, 1);
    row->job_id = db_u64(db, 4);
    row->company_id = db_u64(db, 5);
    row->generation = (uint32_t)db_u64(db, 6);
    row->state = SESSION_ACTIVE;
    row->epoch = db_u64(db, 7);
    row->robot_id = (uint32_t)db_u64(db, 8);
    row->migrating = !db_is_null(db, 9);
    db_str_copy(db, 0, row->session_id, sizeof(row->session_id));
    db_str_copy(db, 10, row->portal, sizeof(row->portal));
    db_str_copy(db, 11, row->boot_id, sizeof(row->boot_id));
    db_str_copy(db, 12, row->base_url, sizeof(row->base_url));
}

static enum db_rc lookup_narrow(struct db *db, struct store_lookup *op, struct settling *st)
{
    const char *in[LOOKUP_MAX];
    for (unsigned i = 0; i < op->n; i++)
        in[i] = op->asked[i];
    /* By the index's own statistics: else the optimizer looks into the index for each id before it reads it. */
    TRY(db_query_in(
        db,
        "SET STATEMENT eq_range_index_dive_limit = 1 FOR "
        "SELECT s.robot_session_id, s.id, s.live, s.current_job_id IS NOT NULL AND s.state = 'active', s.job_id, "
        "s.company_id, s.generation, s.epoch, s.robot_id, m.job_id, s.portal, s.boot_id, j.robot_worker_base_url "
        "FROM chasqui_sessions s FORCE INDEX (robot_session) JOIN portal_jobs j ON " PORTAL_ROW(
            "s") " LEFT JOIN "
                 "chasqui_session_migrations m ON m.job_id = s.job_id WHERE s.robot_session_id IN (%s)",
        in, op->n, ""));
    while (db_next(db)) {
        const char *id = db_str(db, 0, NULL);
        uint64_t age = age_of(db, 1, 2);
        bool is_plain = db_u64(db, 3) != 0 && !op->whole;
        for (unsigned i = 0; i < op->n; i++)
            if (age > st->newest[i] && strcmp(op->asked[i], id) == 0) {
                st->newest[i] = age;
                st->is_settled[i] = op->found[i] = is_plain;
                if (is_plain)
                    narrow_read(db, &op->row[i]);
            }
    }
    return DB_OK;
}

/* Those of which a row is there, but not an active current one: their job's current row, whole. */
static enum db_rc lookup_whole(struct db *db, struct store_lookup *op, const struct settling *st)
{
    const char *in[LOOKUP_MAX];
    uint64_t newest[LOOKUP_MAX] = {0};
    unsigned n = 0;
    for (unsigned i = 0; i < op->n; i++)
        if (st->newest[i] && !st->is_settled[i])
            in[n++] = op->asked[i];
    if (!n)
        return DB_OK;
    TRY(db_query_in(
        db,
        "SELECT a.robot_session_id, a.id, a.live, " SESSION_COLUMNS
        " FROM chasqui_sessions a FORCE INDEX (robot_session) JOIN chasqui_sessions s ON s.current_job_id = a.job_id JOIN portal_jobs j ON " PORTAL_ROW(
            "a") " LEFT JOIN chasqui_session_migrations m ON m.job_id = a.job_id WHERE "
                 "a.robot_session_id IN (%s)",
        in, n, ""));
    while (db_next(db)) {
        const char *id = db_str(db, 0, NULL);
        uint64_t age = age_of(db, 1, 2);
        for (unsigned i = 0; i < op->n; i++)
            if (!st->is_settled[i] && age > newest[i] && strcmp(op->asked[i], id) == 0) {
                newest[i] = age;
                op->found[i] = true;
                session_read(db, 3, &op->row[i]);
            }
    }
    return DB_OK;
}

static enum db_rc lookup_own(struct db *db, struct store_lookup *op)
{
    struct settling st = {0};
    TRY(lookup_narrow(db, op, &st));
    return lookup_whole(db, op, &st);
}

/* Is each of them an active session? What is not may have become one at another node. */
static bool all_active(const struct store_lookup *op)
{
    for (unsigned i = 0; i < op->n; i++)
        if (!op->found[i] || op->row[i].state != SESSION_ACTIVE)
            return false;
    return true;
}

static bool all_found(const struct store_lookup *op)
{
    for (unsigned i = 0; i < op->n; i++)
        if (!op->found[i])
            return false;
    return true;
}

static void laravel_read(struct db *db, unsigned at, struct session_row *row)
{
    memset(row, 0, sizeof(*row));
    row->job_id = db_u64(db, at);
    row->company_id = db_u64(db, at + 1);
    db_str_copy(db, at + 2, row->portal, sizeof(row->portal));
    db_str_copy(db, at + 3, row->session_id, sizeof(row->session_id));
    db_str_copy(db, at + 4, row->base_url, sizeof(row->base_url));
    db_str_copy(db, at + 5, row->viewer_url, sizeof(row->viewer_url));
    row->state = SESSION_ACTIVE;
}

#define LARAVEL_COLUMNS                                                                                           \
    "j.id, j.company_id, j.portal, j.robot_session_id, j.robot_worker_base_url, j.robot_worker_viewer_url"

static enum db_rc lookup_laravel(struct db *db, struct store_lookup *op)
{
    const char *in[LOOKUP_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < op->n; i++)
        if (!op->found[i])
            in[n++] = op->asked[i];
    if (!n)
        return DB_OK;
    TRY(db_query_in(
        db,
        "SELECT " LARAVEL_COLUMNS
        " FROM portal_jobs j FORCE INDEX (idx_session_id) WHERE j.robot_session_id IN (%s) AND " LARAVEL_OWN
        " ORDER BY j.id",
        in, n, ""));
    while (db_next(db)) { /* ascending: the newest one stays */
        const char *id = db_str(db, 3, NULL);
        for (unsigned i = 0; i < op->n; i++)
            if ((!op->found[i] || op->row[i].ref == 0) && strcmp(op->asked[i], id) == 0) {
                op->found[i] = true;
                laravel_read(db, 0, &op->row[i]);
            }
    }
    return DB_OK;
}

static bool is_live(const struct session_row *row)
{
    return row->state == SESSION_OPENING || row->state == SESSION_ACTIVE || row->state == SESSION_CLOSING;
}

static enum db_rc successor_read(struct db *db, struct session_row *row)
{
    TRY(db_query(
        db,
        "SELECT robot_session_id FROM chasqui_sessions WHERE company_id = ? AND portal = ? AND live = 1 AND state = "
        "'active' AND job_id <> ?",
        "usu", row->company_id, row->portal, row->job_id));
    if (db_next(db))
        db_str_copy(db, 0, row->successor, sizeof(row->successor));
    return DB_OK;
}

void store_lookup(struct db *db, void *arg)
{
    struct store_lookup *op = arg;
    memset(op->found, 0, sizeof(op->found[0]) * op->n);
    enum db_rc rc = db ? lookup_own(db, op) : DB_GONE;
    if (rc == DB_OK && !all_active(op) && db_catch_up(db)) {
        memset(op->found, 0, sizeof(op->found[0]) * op->n);
        rc = lookup_own(db, op);
    }
    if (rc == DB_OK)
        rc = lookup_laravel(db, op);
    if (rc == DB_OK && !all_found(op)) /* one that was adopted between the two looks is in neither */
        rc = lookup_own(db, op);
    for (unsigned i = 0; i < op->n && rc == DB_OK; i++)
        if (op->found[i] && op->row[i].ref && !is_live(&op->row[i]))
            rc = successor_read(db, &op->row[i]);
    op->rc = store_rc_of(rc);
}

/* *is_there = the company has a live session of ours; found, unless Laravel deleted its row. */
static enum db_rc active_own(struct db *db, struct store_active *op, bool *is_there)
{
    TRY(db_query(db,
                 "SELECT " SESSION_COLUMNS SESSION_FROM "WHERE s.company_id = ? AND s.portal = ? AND s.live = 1",
                 "us", op->company_id, op->portal));
    if ((*is_there = db_next(db))) {
        session_read(db, 0, &op->row);
        op->found = !op->row.is_rowless;
    }
    return DB_OK;
}

static enum db_rc active_laravel(struct db *db, struct store_active *op)
{
    TRY(db_query(
        db,
        "SELECT " LARAVEL_COLUMNS
        " FROM portal_jobs j FORCE INDEX (chasqui_company) WHERE j.company_id = ? AND j.portal = ? AND (? < 0 OR " LARAVEL_YOUNG
        ") AND " LARAVEL_OWN " ORDER BY j.id DESC LIMIT 1",
        "usii", op->company_id, op->portal, op->laravel_max_age_ms, op->laravel_max_age_ms / 1000));
    if (db_next(db)) {
        op->found = true;
        laravel_read(db, 0, &op->row);
    }
    return DB_OK;
}

/* One that was adopted between the two looks is in neither: who finds none looks once more. */
static enum db_rc active_read(struct db *db, struct store_active *op)
{
    bool is_there;
    op->found = false;
    TRY(active_own(db, op, &is_there));
    if (is_there)
        return DB_OK;
    TRY(active_laravel(db, op));
    return op->found ? DB_OK : active_own(db, op, &is_there);
}

void store_active(struct db *db, void *arg)
{
    struct store_active *op = arg;
    op->rc = store_rc_of(db ? active_read(db, op) : DB_GONE);
}

/* ---- closing ------------------------------------------------------------------------------------------------ */

static enum db_rc close_begin_tx(struct db *db, void *arg)
{
    struct store_close_begin *op = arg;
    op->ok = false;
    TRY(db_exec(
        db,
        "UPDATE chasqui_sessions s SET {become session.close} WHERE s.id = ? AND s.epoch = ? AND {from session.close} AND NOT "
        "EXISTS (SELECT 1 FROM chasqui_leases l WHERE l.job_id = s.job_id AND l.kind = 'round')",
        "uu", op->session_ref, op->epoch));
    op->ok = db_affected(db) == 1;
    TRY(session_by_ref(db, op->session_ref, &op->found, &op->row));
    if (op->ok) {
        TRY(db_exec(db, "DELETE FROM chasqui_session_migrations WHERE job_id = ?", "u", op->row.job_id));
        enum db_rc rc = lease_insert(db, op->row.job_id, "close", op->session_ref, &op->lease);
        return rc == DB_DUP ? DB_RETRY : rc;
    }
    TRY(db_query(db, "SELECT 1 FROM chasqui_leases WHERE job_id = ? AND kind = 'round'", "u", op->row.job_id));
    op->is_at_work = db_next(db) && op->row.state == SESSION_ACTIVE;
    return DB_OK;
}

static int close_begin_done(struct db *db, void *arg)
{
    struct store_close_begin *op = arg;
    return op->ok ? lease_is_there(db, op->row.job_id, op->lease.token) : 1;
}

void store_close_begin(struct db *db, void *arg)
{
    struct store_close_begin *op = arg;
    op->rc = store_tx(db, close_begin_tx, close_begin_done, op);
}

/* The session's own id and its company stand in the row: it is found by them when the session is pruned. */
static enum db_rc close_audit(struct db *db, const struct store_close_end *op)
{
    char subject[40];
    struct buf detail = {0};
    if (!*op->by.name)
        return DB_OK;
    TRY(db_query(db, "SELECT robot_session_id, company_id FROM chasqui_sessions WHERE id = ?", "u",
                 op->session_ref));
    buf_addf(&detail, "%s -> %s%s%s", session_state_name[SESSION_ACTIVE], session_state_name[op->to],
             *op->by.why ? ": " : "", op->by.why);
    if (db_next(db) && !db_is_null(db, 0))
        buf_addf(&detail, "; session %s, company %llu", db_str(db, 0, NULL), (unsigned long long)db_u64(db, 1));
    snprintf(subject, sizeof(subject), "job:%llu", (unsigned long long)op->job_id);
    enum db_rc rc =
        audit_add(db, op->by.name, op->by.peer, op->by.request_id, "session_close", subject, detail.data);
    buf_free(&detail);
    return rc;
}

/* A row of Laravel's that says `running` is done when its session is closed: nobody else ends it. */
static enum db_rc adopted_row_end(struct db *db, const struct store_close_end *op)
{
    TRY(db_query(db,
                 "SELECT 1 FROM chasqui_sessions s JOIN portal_jobs j ON " PORTAL_ROW(
                     "s") " WHERE s.id = ? AND s.adopted = 1 AND j.status = {running}",
                 "u", op->session_ref));
    return db_next(db) ? job_end_write(db, op->job_id, &(struct job_end){"done", NULL, NULL}) : DB_OK;
}

static enum db_rc close_end_tx(struct db *db, void *arg)
{
    struct store_close_end *op = arg;
    bool held;
    TRY(lease_end(db, op->job_id, op->token, &held));
    op->lost = !held;
    if (!held)
        return DB_OK;
    if (op->to == SESSION_ACTIVE)
        return db_exec(db,
                       "UPDATE chasqui_sessions SET {become session.keep} WHERE id = ? AND {from session.keep}",
                       "u", op->session_ref);
    TRY(session_close_row(db, "end", op->session_ref, op->to, op->reason, op->place));
    TRY(job_session_lost(db, op->job_id, op->to, op->reason));
    if (op->to == SESSION_CLOSED) {
        TRY(adopted_row_end(db, op));
        TRY(event_add(db, op->job_id, "session_closed", NULL, NULL, op->reason));
    }
    return close_audit(db, op);
}

static int close_end_done(struct db *db, void *arg)
{
    struct store_close_end *op = arg;
    int there = op->lost ? 0 : lease_is_there(db, op->job_id, op->token);
    return there < 0 ? there : !there;
}

void store_close_end(struct db *db, void *arg)
{
    struct store_close_end *op = arg;
    op->rc = store_tx(db, close_end_tx, close_end_done, op);
}

static enum db_rc session_end_tx(struct db *db, void *arg)
{
    struct store_session_end *op = arg;
    op->ok = false;
    TRY(db_exec(
        db,
        "UPDATE chasqui_sessions SET {become session.expire ?}, reason = ? WHERE id = ? AND epoch = ? AND {from session.expire}",
        "ssuu", session_state_name[op->to], op->reason, op->session_ref, op->epoch));
    op->ok = db_affected(db) == 1;
    if (op->ok)
        TRY(place_let_go(db, op->session_ref, op->place));
    TRY(session_by_ref(db, op->session_ref, &op->found, &op->row));
    if (op->ok)
        TRY(job_session_lost(db, op->row.job_id, op->to, op->reason));
    return DB_OK;
}

static int session_end_done(struct db *db, void *arg)
{
    struct store_session_end *op = arg;
    uint64_t epoch;
    if (!op->ok)
        return 1;
    if (session_is_there(db, op->session_ref, &epoch) < 0 ||
        session_by_ref(db, op->session_ref, &op->found, &op->row))
        return -1;
    return op->found && op->row.state == op->to;
}

void store_session_end(struct db *db, void *arg)
{
    struct store_session_end *op = arg;
    op->rc = store_tx(db, session_end_tx, session_end_done, op);
}

/* ---- idling ------------------------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void store_activity(struct db *db, void *arg)
{
    struct store_activity *op = arg;
    if (!op->n) {
        op->rc = STORE_OK;
        return;
    }
    qsort(op->ref, op->n, sizeof(op->ref[0]), by_number); /* one lock order for all dispatchers */
    op->rc = store_rc_of(
        !db ? DB_GONE
            : db_exec_in_u64(
                  db,
                  "UPDATE chasqui_sessions FORCE INDEX (PRIMARY) SET last_activity_at = NOW(6) WHERE id IN (%s) AND state = 'active'",
                  op->ref, op->n, ""));
}

static enum db_rc idle_claim_tx(struct db *db, void *arg)
{
    struct store_idle_claim *op = arg;
    op->n = 0;
    TRY(db_query(
        db,
        "SELECT " SESSION_COLUMNS
        " FROM chasqui_sessions s FORCE INDEX (idle) LEFT JOIN portal_jobs j ON " PORTAL_ROW(
            "s") " LEFT JOIN "
                 "chasqui_session_migrations m ON m.job_id = s.job_id WHERE s.state = 'active' AND s.last_activity_at < NOW(6) - "
                 "INTERVAL ? MICROSECOND AND m.job_id IS NULL AND NOT EXISTS (SELECT 1 FROM chasqui_leases l WHERE l.job_id = s.job_id) "
                 "AND NOT EXISTS (SELECT 1 FROM chasqui_robots r WHERE r.id = s.robot_id AND r.down_as = 'silent' AND " IS_DOWN(
                     "r") ") "
                          "ORDER BY s.last_activity_at LIMIT 16 FOR UPDATE SKIP LOCKED",
        "i", op->idle_ms * 1000));
    struct session_row *rows = op->row;
    while (op->n < 16 && db_next(db))
        session_read(db, 0, &rows[op->n++]);
    for (unsigned i = 0; i < op->n; i++) {
        TRY(db_exec(db, "UPDATE chasqui_sessions SET {become session.close} WHERE id = ? AND {from session.close}",
                    "u", rows[i].ref));
        enum db_rc rc = lease_insert(db, rows[i].job_id, "close", rows[i].ref, &op->lease);
        if (rc == DB_DUP)
            return DB_RETRY;
        TRY(rc);
        rows[i].state = SESSION_CLOSING;
    }
    return DB_OK;
}

void store_idle_claim(struct db *db, void *arg)
{
    struct store_idle_claim *op = arg;
    op->rc = store_tx(db, idle_claim_tx, NULL, op);
    if (op->rc != STORE_OK) /* what an unknown commit claimed is rescued when its lease runs out */
        op->n = 0;
}
