/* SPDX-License-Identifier: MIT */
/*
 * store_migrate.c - sessions that must move to another robot: who has to, who
 * goes next, who gave up. A row in chasqui_session_migrations waits while the
 * session stays live; beginning one leaves the old generation behind and opens the
 * next on its new robot, in one transaction.
 */
#include "dispatcher/store/store_down.h"
#include "dispatcher/store/store_place.h"
#include "dispatcher/store/store_sql.h"

#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAN_AT_ONCE 64

/* ---- plan --------------------------------------------------------------------------------------------------- */

/* The session of a round is not moved: the round itself begins again elsewhere. */
enum db_rc move_plan(struct db *db, const struct session_row *row, const char *reason, enum move *move)
{
    uint64_t epoch;
    *move = MOVE_MOVED_ON;
    TRY(epoch_lock(db, row->company_id, row->portal, &epoch));
    TRY(db_query(
        db,
        "SELECT EXISTS (SELECT 1 FROM chasqui_credentials WHERE company_id = ? AND portal = ?) AND NOT EXISTS (SELECT 1 FROM chasqui_leases WHERE "
        "job_id = ? AND kind = 'round') FROM chasqui_sessions WHERE id = ? AND state = 'active' AND epoch = ? FOR UPDATE",
        "usuuu", row->company_id, row->portal, row->job_id, row->ref, row->epoch));
    if (!db_next(db))
        return DB_OK;
    *move = db_u64(db, 0) ? MOVE_PLANNED_ALREADY : MOVE_IMPOSSIBLE;
    if (*move == MOVE_IMPOSSIBLE)
        return DB_OK;
    TRY(db_exec(
        db,
        "INSERT IGNORE INTO chasqui_session_migrations (job_id, reason, created_at, available_at) VALUES (?, ?, NOW(6), NOW(6))",
        "us", row->job_id, reason));
    if (db_affected(db) != 1)
        return DB_OK;
    *move = MOVE_PLANNED;
    return event_add(db, row->job_id, "migration_planned", NULL, NULL, reason);
}

static enum db_rc plan_one(struct db *db, struct store_migrate_plan *op, const struct session_row *row)
{
    enum move move;
    if (row->is_rowless) /* its job is deleted: it needs no other robot */
        move = MOVE_IMPOSSIBLE;
    else
        TRY(move_plan(db, row, op->reason, &move));
    op->planned += move == MOVE_PLANNED;
    if (move != MOVE_IMPOSSIBLE || op->session_ref ||
        op->is_only_stored) /* an operator's wish never costs a session */
        return DB_OK;
    op->lost++;
    TRY(session_close_row(db, "lose", row->ref, SESSION_LOST, op->reason,
                          op->boot_now[0] ? PLACE_FREE : PLACE_KEEP_PENDING));
    return job_session_lost(db, row->job_id, SESSION_LOST, op->reason);
}

static enum db_rc plan_tx(struct db *db, void *arg)
{
    struct store_migrate_plan *op = arg;
    struct session_row *rows = xcalloc(PLAN_AT_ONCE, sizeof(*rows));
    unsigned n = 0;
    enum db_rc rc;
    op->planned = op->lost = 0;
    op->more = false;
    if (op->session_ref)
        rc = db_query(db,
                      "SELECT " SESSION_COLUMNS SESSION_FROM
                      "WHERE s.id = ? AND s.state = 'active' AND m.job_id IS NULL",
                      "u", op->session_ref);
    else
        rc = db_query(
            db,
            "SELECT " SESSION_COLUMNS SESSION_FROM
            "WHERE s.robot_id = ? AND s.live = 1 AND s.state = 'active' AND m.job_id IS NULL "
            "AND (? = '' OR (s.boot_id IS NOT NULL AND s.boot_id <> ?)) AND (? = 0 OR (EXISTS (SELECT 1 FROM chasqui_credentials c "
            "WHERE c.company_id = s.company_id AND c.portal = s.portal) AND NOT EXISTS (SELECT 1 FROM chasqui_leases l WHERE l.job_id = "
            "s.job_id AND l.kind = 'round'))) ORDER BY s.id LIMIT 64",
            "ussu", (uint64_t)op->robot_id, op->boot_now, op->boot_now, (uint64_t)op->is_only_stored);
    while (rc == DB_OK && n < PLAN_AT_ONCE && db_next(db))
        session_read(db, 0, &rows[n++]);
    for (unsigned i = 0; i < n && rc == DB_OK; i++)
        rc = plan_one(db, op, &rows[i]);
    op->more = n == PLAN_AT_ONCE;
    if (rc == DB_OK && op->session_ref && n) {
        char subject[40];
        snprintf(subject, sizeof(subject), "job:%llu", (unsigned long long)rows[0].job_id);
        struct audit audit = {&op->by, "session_migrate", subject};
        char worker[NAME_ROOM];
        rc = audit_change(db, &audit, worker_name(db, rows[0].robot_id, worker),
                          op->planned ? "another robot" : "stays: no stored credentials", NULL);
    }
    free(rows);
    return rc;
}

void store_migrate_plan(struct db *db, void *arg)
{
    struct store_migrate_plan *op = arg;
    op->rc = store_tx(db, plan_tx, NULL, op);
}

static enum db_rc unplan_tx(struct db *db, void *arg)
{
    struct store_migrate_unplan *op = arg;
    TRY(db_exec(
        db,
        "DELETE m FROM chasqui_sessions s JOIN chasqui_session_migrations m ON m.job_id = s.job_id WHERE s.robot_id = ? AND s.live = 1 AND "
        "s.state = 'active' AND m.reason IN ('robot_down', 'robot_silent')",
        "u", (uint64_t)op->robot_id));
    op->n = (unsigned)db_affected(db);
    return DB_OK;
}

void store_migrate_unplan(struct db *db, void *arg)
{
    struct store_migrate_unplan *op = arg;
    op->n = 0;
    op->rc = store_tx(db, unplan_tx, NULL, op);
}

void store_migrate_urgent(struct db *db, void *arg)
{
    struct store_migrate_urgent *op = arg;
    op->rc = store_rc_of(
        !db ? DB_GONE
            : db_exec(
                  db,
                  "UPDATE chasqui_session_migrations SET urgent = 1, available_at = LEAST(available_at, NOW(6) + INTERVAL "
                  "500000 MICROSECOND) WHERE job_id = ? AND urgent = 0",
                  "u", op->job_id));
}

/* ---- claim -------------------------------------------------------------------------------------------------- */

struct due {
    uint64_t job_id;
    bool timed_out;
    char reason[REASON_ROOM];
};

struct claim_one {
    struct store_migrate_claim *op;
    struct due due;
    bool claimed, timed_out;
};

/* Nobody but an operator wished it, and its robot is there: it stays where it is. */
static bool is_wish(const struct session_row *row, const char *reason)
{
    return row->state == SESSION_ACTIVE && (strcmp(reason, "operator") == 0 || strcmp(reason, "drain") == 0);
}

static enum db_rc give_up(struct db *db, const struct session_row *row, const char *reason)
{
    bool on_robot = row->generation == 1 || row->state == SESSION_ACTIVE;
    TRY(session_close_row(db, "time_out", row->ref, SESSION_LOST, "migrate_timeout",
                          on_robot && strcmp(reason, "robot_restarted") != 0 ? PLACE_KEEP_PENDING : PLACE_FREE));
    return job_session_lost(db, row->job_id, SESSION_LOST, "migrate_timeout");
}

/* On a robot that does not answer it may be well: it waits on, like those that cannot move. */
static enum db_rc waits_on(struct db *db, const struct claim_one *c, const struct session_row *row, bool *waits)
{
    *waits = false;
    if (row->state != SESSION_ACTIVE || strcmp(c->due.reason, "robot_silent") != 0)
        return DB_OK;
    TRY(db_query(
        db, "SELECT r.down_ms < ? FROM chasqui_robots r WHERE r.id = ? AND r.down_as = 'silent' AND " IS_DOWN("r"),
        "iu", c->op->lost_after_ms, (uint64_t)row->robot_id));
    *waits = db_next(db) && db_u64(db, 0) != 0;
    return DB_OK;
}

/* It was planned because its robot was down, and that answers again under the same boot: it stays. (Mostly store_migrate_unplan() was here
 * first; its word may be lost.) */
static enum db_rc is_back(struct db *db, const struct claim_one *c, const struct session_row *row, bool *back)
{
    *back = false;
    bool is_candidate = false,
         is_by_verdict = strcmp(c->due.reason, "robot_down") == 0 || strcmp(c->due.reason, "robot_silent") == 0;
    for (unsigned i = 0; i < c->op->n_candidates; i++)
        is_candidate |= c->op->candidate[i].robot_id == row->robot_id;
    if (row->state != SESSION_ACTIVE || !is_by_verdict || !is_candidate)
        return DB_OK;
    TRY(db_query(db,
                 "SELECT 1 FROM chasqui_robots r WHERE r.id = ? AND NOT " IS_DOWN(
                     "r") " AND (? = '' OR r.boot_id IS NULL OR r.boot_id = ?)",
                 "uss", (uint64_t)row->robot_id, row->boot_id, row->boot_id));
    *back = db_next(db);
    return DB_OK;
}

/* The active generation stays behind; the next one is there, opening, without a robot yet. */
static enum db_rc leave_behind(struct db *db, const struct session_row *row, const char *reason, uint64_t *ref)
{
    bool gone = strcmp(reason, "robot_restarted") == 0;
    TRY(db_exec(db, "UPDATE chasqui_sessions SET current_job_id = NULL WHERE id = ?", "u", row->ref));
    TRY(session_close_row(db, "migrate", row->ref, SESSION_MIGRATED, reason,
                          gone ? PLACE_FREE : PLACE_KEEP_PENDING));
    TRY(db_exec(
        db,
        "INSERT INTO chasqui_sessions (job_id, generation, current_job_id, company_id, portal, live, state, since, epoch) VALUES "
        "(?, ?, ?, ?, ?, 1, {new session.open}, NOW(6), ?)",
        "uuuusu", row->job_id, (uint64_t)row->generation + 1, row->job_id, row->company_id, row->portal,
        row->epoch));
    *ref = db_insert_id(db);
    return DB_OK;
}

/* An earlier turn left it behind and could not end it on its robot: each further turn has to, before it logs in. */
static enum db_rc left_behind(struct db *db, uint64_t job_id, struct session_row *old)
{
    TRY(db_query(
        db,
        "SELECT " SESSION_COLUMNS SESSION_FROM
        "WHERE s.job_id = ? AND s.live IS NULL AND s.close_pending = 1 ORDER BY s.generation DESC LIMIT 1",
        "u", job_id));
    if (db_next(db))
        session_read(db, 0, old);
    return DB_OK;
}

static enum db_rc begin(struct db *db, struct claim_one *c, const struct session_row *row)
{
    struct store_migrate_claim *op = c->op;
    struct migrate_claimed *got = &op->got[op->n];
    struct candidate others[CANDIDATES_MAX];
    unsigned n = 0;
    uint64_t epoch;
    struct place place;
    bool first = row->state == SESSION_ACTIVE;
    for (unsigned i = 0; i < op->n_candidates; i++)
        if (!first || op->candidate[i].robot_id != row->robot_id)
            others[n++] = op->candidate[i];
    TRY(epoch_lock(db, row->company_id, row->portal, &epoch));
    TRY(db_query(db, "SELECT 1 FROM chasqui_sessions WHERE id = ? AND state = ? AND epoch = ? FOR UPDATE", "usu",
                 row->ref, session_state_name[row->state], row->epoch));
    if (!db_next(db))
        return DB_OK;
    struct buf sealed = {0};
    TRY(db_query(db, "SELECT sealed FROM chasqui_credentials WHERE company_id = ? AND portal = ?", "us",
                 row->company_id, row->portal));
    if (db_next(db)) {
        size_t len;
        const char *bytes = db_str(db, 0, &len);
        buf_add(&sealed, bytes, len);
    }
    buf_free(&got->credentials);
    memset(got, 0, sizeof(*got));
    got->credentials = sealed;
    if (first) {
        got->old = *row;
        TRY(leave_behind(db, row, c->due.reason, &got->session_ref));
    } else {
        got->session_ref = row->ref;
        TRY(left_behind(db, row->job_id, &got->old));
    }
    TRY(place_take(db, others, n, true, got->session_ref, &place));
    got->robot_id = place.robot_id;
    if (!got->robot_id)
        return DB_DUP; /* no place: all of it rolls back, the session waits as it was */
    got->job_id = row->job_id;
    got->company_id = row->company_id;
    got->epoch = epoch + 1;
    memcpy(got->portal, row->portal, sizeof(got->portal));
    TRY(epoch_set(db, row->company_id, row->portal, got->epoch));
    TRY(db_exec(db, "UPDATE chasqui_sessions SET robot_id = ?, epoch = ? WHERE id = ?", "uuu",
                (uint64_t)got->robot_id, got->epoch, got->session_ref));
    TRY(lease_insert(db, row->job_id, "migrate", got->session_ref, &op->lease));
    TRY(db_query(db, "SELECT action, job_uid FROM portal_jobs WHERE id = ?", "u", row->job_id));
    if (db_next(db)) {
        db_str_copy(db, 0, got->action, sizeof(got->action));
        db_str_copy(db, 1, got->job_uid, sizeof(got->job_uid));
    }
    TRY(event_add(db, row->job_id, "migration_started", place.worker, op->lease.holder, c->due.reason));
    c->claimed = true;
    return DB_OK;
}

static enum db_rc claim_tx(struct db *db, void *arg)
{
    struct claim_one *c = arg;
    struct session_row row;
    c->claimed = c->timed_out = false;
    /* Not while somebody works on it: its lease is there. */
    TRY(db_query(
        db,
        "SELECT attempts FROM chasqui_session_migrations WHERE job_id = ? AND available_at <= NOW(6) AND NOT EXISTS (SELECT 1 FROM "
        "chasqui_leases WHERE job_id = ?) FOR UPDATE SKIP LOCKED",
        "uu", c->due.job_id, c->due.job_id));
    if (!db_next(db))
        return DB_OK;
    uint64_t attempts = db_u64(db, 0);
    TRY(db_query(db, "SELECT " SESSION_COLUMNS SESSION_FROM "WHERE s.current_job_id = ? AND s.live = 1", "u",
                 c->due.job_id));
    if (!db_next(db)) /* ended meanwhile: nothing to move */
        return db_exec(db, "DELETE FROM chasqui_session_migrations WHERE job_id = ?", "u", c->due.job_id);
    session_read(db, 0, &row);
    if (row.state == SESSION_CLOSING)
        return DB_OK;
    if (c->due.timed_out && is_wish(&row, c->due.reason))
        return db_exec(db, "DELETE FROM chasqui_session_migrations WHERE job_id = ?", "u", c->due.job_id);
    bool waits = false, back;
    TRY(is_back(db, c, &row, &back));
    if (back)
        return db_exec(db, "DELETE FROM chasqui_session_migrations WHERE job_id = ?", "u", c->due.job_id);
    if (c->due.timed_out)
        TRY(waits_on(db, c, &row, &waits));
    if (c->due.timed_out && !waits) {
        c->timed_out = true;
        return give_up(db, &row, c->due.reason);
    }
    TRY(begin(db, c, &row));
    c->op->got[c->op->n].attempts = (uint32_t)attempts;
    return DB_OK;
}

static int claim_done(struct db *db, void *arg)
{
    struct claim_one *c = arg;
    if (!c->claimed)
        return 1;
    return lease_is_there(db, c->due.job_id, c->op->lease.token);
}

#define DUE_FIRST 16 /* in their order */
#define DUE_NEXT 16  /* of those behind them, other ones each time: what cannot be claimed holds up nobody */

static enum db_rc due_read(struct db *db, const struct store_migrate_claim *op, uint64_t behind, unsigned most,
                           struct due *due, unsigned *n)
{
    *n = 0;
    TRY(db_query(
        db,
        "SELECT m.job_id, m.created_at < NOW(6) - INTERVAL ? MICROSECOND, m.reason FROM chasqui_session_migrations m WHERE m.available_at <= "
        "NOW(6) AND NOT EXISTS (SELECT 1 FROM chasqui_leases l WHERE l.job_id = m.job_id) ORDER BY m.urgent DESC, m.available_at, m.job_id "
        "LIMIT ? OFFSET ?",
        "iuu", op->timeout_ms * 1000, (uint64_t)most, behind));
    for (; *n < most && db_next(db); ++*n) {
        due[*n].job_id = db_u64(db, 0);
        due[*n].timed_out = db_u64(db, 1) != 0;
        db_str_copy(db, 2, due[*n].reason, sizeof(due[*n].reason));
    }
    return DB_OK;
}

void store_migrate_claim(struct db *db, void *arg)
{
    struct store_migrate_claim *op = arg;
    struct due due[DUE_FIRST + DUE_NEXT];
    unsigned n, n_next = 0, skipped = op->skip;
    op->n = op->timed_out = op->skip = 0;
    memset(op->got, 0, sizeof(op->got));
    op->rc = STORE_DOWN;
    if (!db || due_read(db, op, 0, DUE_FIRST, due, &n) != DB_OK ||
        (n == DUE_FIRST && due_read(db, op, DUE_FIRST + skipped, DUE_NEXT, due + n, &n_next) != DB_OK))
        return;
    op->skip = n_next == DUE_NEXT ? skipped + DUE_NEXT : 0;
    n += n_next;
    op->rc = STORE_OK;
    for (unsigned i = 0; i < n && op->n < op->max && op->rc == STORE_OK; i++) {
        struct claim_one one = {.op = op, .due = due[i]};
        enum db_rc rc;
        enum db_done done = db_tx(db, claim_tx, claim_done, &one, &rc);
        if (done == TX_DONE) {
            op->n += one.claimed;
            op->timed_out += one.timed_out;
        } else if (rc == DB_GONE || rc == DB_NOT_HERE) {
            op->rc = op->n ? STORE_OK : STORE_DOWN;
            break;
        }
    }
    for (unsigned i = op->n; i < sizeof(op->got) / sizeof(op->got[0]); i++)
        buf_free(&op->got[i].credentials);
}
