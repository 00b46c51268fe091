/* SPDX-License-Identifier: MIT */
/*
 * store_login.c - log-ins in the database: reserving a place, moving to
 * another robot, and the session that the robot opened. Those that fail: store_login_failed.c.
 *
 * Owns nothing; runs on database threads. The epoch row of company and portal
 * is locked first, so log-ins of one company and portal come one after
 * another. Everything a log-in needs is committed before its robot is called.
 * An unknown commit is settled by reading back the job_uid or lease token.
 */
#include "dispatcher/store/store_adopt.h"
#include "dispatcher/store/store_down.h"
#include "dispatcher/store/store_place.h"
#include "dispatcher/store/store_portal.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_refusal.h"

#include <string.h>

/* ---- reserve ------------------------------------------------------------------------------------------------ */

/* Is there a session that answers this log-in? outcome is set when there is. */
static enum db_rc live_look(struct db *db, struct store_reserve *op, bool *there)
{
    *there = false;
    TRY(db_query(db,
                 "SELECT " SESSION_COLUMNS SESSION_FROM "WHERE s.company_id = ? AND s.portal = ? AND s.live = 1",
                 "us", op->company_id, op->portal));
    if (!db_next(db))
        return DB_OK;
    *there = true;
    session_read(db, 0, &op->row);
    if (op->row.is_rowless && op->row.state == SESSION_ACTIVE)
        op->outcome = RESERVE_ROWLESS;
    else if (op->row.migrating)
        op->outcome = RESERVE_MIGRATING;
    else if (op->row.state == SESSION_OPENING)
        op->outcome = RESERVE_IN_PROGRESS;
    else if (op->row.state == SESSION_CLOSING)
        op->outcome = RESERVE_CLOSING;
    else {
        op->outcome = RESERVE_REUSED;
        return db_exec(db,
                       "UPDATE chasqui_sessions SET last_activity_at = NOW(6), shared = shared OR ? WHERE id = ?",
                       "uu", (uint64_t)!op->force_new, op->row.ref);
    }
    return DB_OK;
}

static enum db_rc laravel_look(struct db *db, struct store_reserve *op, bool *there)
{
    *there = false;
    TRY(db_query(
        db,
        "SELECT STRAIGHT_JOIN j.id, r.id FROM portal_jobs j FORCE INDEX (chasqui_company) JOIN chasqui_robots r ON r.base_url = TRIM(TRAILING '/' FROM "
        "j.robot_worker_base_url) AND r.removed = 0 WHERE j.company_id = ? AND j.portal = ? AND (? < 0 OR " LARAVEL_YOUNG
        ") AND " LARAVEL_OWN " ORDER BY j.id DESC LIMIT 1",
        "usii", op->company_id, op->portal, op->laravel_max_age_ms, op->laravel_max_age_ms / 1000));
    if (!db_next(db))
        return DB_OK;
    uint64_t job_id = db_u64(db, 0), robot_id = db_u64(db, 1), ref;
    bool found;
    TRY(laravel_adopt(db, job_id, (uint32_t)robot_id, &ref));
    if (!ref)
        return DB_OK;
    *there = true;
    op->outcome = RESERVE_REUSED;
    return session_by_ref(db, ref, &found, &op->row);
}

/* The session is there, but is its robot? What is answered meanwhile is not the key's answer. */
static enum db_rc robot_look(struct db *db, struct store_reserve *op)
{
    TRY(db_query(db, "SELECT 1 FROM chasqui_robots r WHERE r.id = ? AND " IS_DOWN("r"), "u",
                 (uint64_t)op->row.robot_id));
    if (db_next(db))
        op->outcome = RESERVE_ROBOT_DOWN;
    return DB_OK;
}

static enum db_rc credentials_read(struct db *db, struct store_reserve *op)
{
    buf_clear(&op->credentials);
    memset(&op->refused, 0, sizeof(op->refused));
    TRY(db_query(db,
                 "SELECT c.sealed, " REFUSED_COLUMNS "FROM chasqui_credentials c" REFUSED_BEFORE
                 "WHERE c.company_id = ? AND c.portal = ?",
                 "us", op->company_id, op->portal));
    if (db_next(db)) {
        size_t len;
        const char *sealed = db_str(db, 0, &len);
        buf_add(&op->credentials, sealed, len);
        refused_before_read(db, 1, &op->refused);
    }
    return DB_OK;
}

static enum db_rc key_known(struct db *db, struct store_reserve *op, bool *known)
{
    enum key_outcome outcome;
    uint64_t batch_id;
    TRY(key_look(db, &op->key, &outcome, &op->job_id, &batch_id));
    *known = outcome != KEY_NEW;
    if (*known)
        op->outcome = outcome == KEY_REPLAY ? RESERVE_REPLAY : RESERVE_MISMATCH;
    return DB_OK;
}

static enum db_rc key_keep(struct db *db, const struct store_reserve *op, uint64_t job_id)
{
    enum db_rc rc = op->key.is_set ? key_add(db, &op->key, job_id, 0) : DB_OK;
    return rc == DB_DUP ? DB_RETRY : rc; /* somebody was faster: the next round finds it */
}

static enum db_rc reserve_tx(struct db *db, void *arg)
{
    struct store_reserve *op = arg;
    bool there;
    enum db_rc rc;
    struct place place;
    TRY(db_query(db, "SELECT job_id FROM chasqui_jobs WHERE job_uid = ?", "s", op->job_uid));
    if (db_next(db)) {
        op->outcome = RESERVE_DUP_UID;
        op->row.job_id = db_u64(db, 0);
        return DB_OK;
    }
    TRY(epoch_lock(db, op->company_id, op->portal, &op->epoch)); /* whoever has the same key waits here */
    TRY(key_known(db, op, &there));
    if (there)
        return DB_OK;
    TRY(live_look(db, op, &there));
    if (!there)
        TRY(laravel_look(db, op, &there));
    if (there && op->outcome == RESERVE_REUSED)
        TRY(robot_look(db, op));
    if (there)
        return op->outcome == RESERVE_REUSED && !op->force_new ? key_keep(db, op, op->row.job_id) : DB_OK;
    if (op->gate) {
        enum portal_gate why;
        TRY(portal_begin_sync(db, op->portal, op->gate, &op->breaker, &why, &op->gate_wait_us, op->gate_error));
        op->gate_why = (int)why;
        if (why != GATE_OPEN) {
            op->outcome = RESERVE_GATED;
            return DB_OK;
        }
    }
    TRY(place_find(db, op->candidate, op->n_candidates, false, &place));
    op->robot_id = place.robot_id;
    op->slot = place.slot;
    if (!op->robot_id) {
        op->outcome = RESERVE_NO_PLACE;
        return DB_DUP; /* rolls back: nothing is written */
    }
    TRY(db_exec(
        db,
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, priority, attempts, worker, created_at, updated_at, "
        "available_at, started_at{payload}{user}) VALUES (?, ?, ?, ?, {new job.reserve}, ?, 1, ?, {now created_at}, {now updated_at}, {now available_at}, "
        "{now started_at}{payload value}{user value})",
        USER_TYPES(db, "sussus"), op->job_uid, op->company_id, op->portal, op->action, (uint64_t)op->priority,
        place.worker, op->user_id));
    op->job_id = db_insert_id(db);
    op->epoch++;
    rc = db_exec(
        db,
        "INSERT INTO chasqui_sessions (job_id, generation, current_job_id, company_id, portal, live, state, since, robot_id, epoch) "
        "VALUES (?, 1, ?, ?, ?, 1, {new session.open}, NOW(6), ?, ?)",
        "uuusuu", op->job_id, op->job_id, op->company_id, op->portal, (uint64_t)op->robot_id, op->epoch);
    if (rc == DB_DUP)
        TRY(job_numbers_lift(db, op->job_id, op->company_id, op->portal, op->action));
    TRY(rc);
    op->session_ref = db_insert_id(db);
    TRY(place_hold(db, &place, op->session_ref));
    rc = db_exec(
        db,
        "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal, params, remember, token_id, request_id) VALUES "
        "(?, ?, 'login', ?, ?, ?, ?, ?, ?)",
        "usus"
        "buNs",
        op->job_id, op->job_uid, op->company_id, op->portal, op->params_len ? op->params : NULL, op->params_len,
        (uint64_t)op->remember, op->token_id, op->request_id);
    if (rc == DB_DUP)
        TRY(job_numbers_lift(db, op->job_id, op->company_id, op->portal, op->action));
    if (rc == DB_DUP) /* the same job_uid for another company, this moment: the next round finds it */
        return DB_RETRY;
    TRY(rc);
    TRY(epoch_set(db, op->company_id, op->portal, op->epoch));
    TRY(lease_insert(db, op->job_id, "login", op->session_ref, &op->lease));
    TRY(event_add(db, op->job_id, "started", place.worker, op->lease.holder, NULL));
    TRY(credentials_read(db, op));
    op->outcome = RESERVE_OK;
    return key_keep(db, op, op->job_id);
}

static int reserve_done(struct db *db, void *arg)
{
    struct store_reserve *op = arg;
    uint64_t epoch;
    if (op->outcome == RESERVE_REUSED) /* perhaps adopted in this transaction */
        return session_is_there(db, op->row.ref, &epoch);
    if (op->outcome != RESERVE_OK)
        return 1;
    if (db_query(db, "SELECT 1 FROM chasqui_jobs WHERE job_uid = ? LOCK IN SHARE MODE WAIT 3", "s", op->job_uid))
        return -1;
    return db_next(db);
}

void store_reserve(struct db *db, void *arg)
{
    struct store_reserve *op = arg;
    op->outcome = RESERVE_LOST;
    op->rc = store_tx(db, reserve_tx, reserve_done, op);
    if (op->rc == STORE_DOWN && op->outcome == RESERVE_NO_PLACE)
        op->rc = STORE_OK;
}

/* ---- another robot ------------------------------------------------------------------------------------------ */

static enum db_rc again_tx(struct db *db, void *arg)
{
    struct store_reserve_again *op = arg;
    char worker[NAME_ROOM];
    uint64_t company_id, epoch;
    char portal[PORTAL_ROOM];
    op->outcome = RESERVE_LOST;
    TRY(db_query(db, "SELECT company_id, portal, robot_id, " IS_MIGRATION " FROM chasqui_sessions s WHERE id = ?",
                 "u", op->session_ref));
    if (!db_next(db))
        return DB_OK;
    company_id = db_u64(db, 0);
    db_str_copy(db, 1, portal, sizeof(portal));
    uint32_t old_robot = (uint32_t)db_u64(db, 2);
    bool migration = db_u64(db, 3) != 0;
    TRY(epoch_lock(db, company_id, portal, &epoch));
    TRY(db_query(db, "SELECT 1 FROM chasqui_leases WHERE job_id = ? AND token = ? FOR UPDATE", "ub", op->job_id,
                 (const void *)op->lease.token, (size_t)ID_TOKEN_BYTES));
    if (!db_next(db))
        return DB_OK;
    if (op->same_robot_ok) {
        op->robot_id = old_robot;
    } else {
        TRY(db_exec(db, "UPDATE chasqui_places SET {become place.free} WHERE session_ref = ?", "u",
                    op->session_ref));
        struct place place;
        TRY(place_take(db, op->candidate, op->n_candidates, migration, op->session_ref, &place));
        op->robot_id = place.robot_id;
        op->slot = place.slot;
        if (!op->robot_id) {
            op->outcome = RESERVE_NO_PLACE;
            return DB_DUP; /* rolls back: the old place is kept */
        }
    }
    op->epoch = (epoch > op->above ? epoch : op->above) + 1;
    TRY(epoch_set(db, company_id, portal, op->epoch));
    TRY(db_exec(
        db,
        "UPDATE chasqui_sessions SET {become session.move}, robot_id = ?, epoch = ? WHERE id = ? AND {from session.move}",
        "uuu", (uint64_t)op->robot_id, op->epoch, op->session_ref));
    TRY(db_exec(
        db,
        "UPDATE chasqui_leases SET limit_at = NOW(6) + INTERVAL ? MICROSECOND, expires_at = NOW(6) + INTERVAL ? MICROSECOND "
        "WHERE job_id = ?",
        "iiu", op->lease.limit_ms * 1000, op->lease.ttl_ms * 1000, op->job_id));
    TRY(db_exec(
        db, "UPDATE portal_jobs SET worker = ?, updated_at = {now updated_at} WHERE id = ? AND status = {running}",
        "su", worker_name(db, op->robot_id, worker), op->job_id));
    TRY(event_add(db, op->job_id, op->same_robot_ok ? "epoch_raised" : "robot_changed", worker, op->lease.holder,
                  NULL));
    op->outcome = RESERVE_OK;
    return DB_OK;
}

static int again_done(struct db *db, void *arg)
{
    struct store_reserve_again *op = arg;
    if (op->outcome != RESERVE_OK)
        return 1;
    uint64_t epoch;
    int there = session_is_there(db, op->session_ref, &epoch);
    return there < 0 ? there : there && epoch == op->epoch;
}

void store_reserve_again(struct db *db, void *arg)
{
    struct store_reserve_again *op = arg;
    op->rc = store_tx(db, again_tx, again_done, op);
    if (op->rc == STORE_DOWN && op->outcome == RESERVE_NO_PLACE)
        op->rc = STORE_OK;
}

/* The robot has the session of a round: its lease goes on for the steps. */
static enum db_rc round_goes_on(struct db *db, const struct store_login_done *op, bool *held)
{
    TRY(db_exec(
        db,
        "UPDATE chasqui_leases SET kind = 'round', expires_at = NOW(6) + INTERVAL ? MICROSECOND WHERE job_id = ? AND token = ?",
        "iub", op->ttl_ms * 1000, op->job_id, (const void *)op->token, (size_t)ID_TOKEN_BYTES));
    *held = db_affected(db) == 1;
    return DB_OK;
}

/* ---- done --------------------------------------------------------------------------------------------------- */

static enum db_rc done_tx(struct db *db, void *arg)
{
    struct store_login_done *op = arg;
    bool held, found;
    uint64_t epoch;
    op->outcome = LOGIN_DONE_LOST;
    TRY(epoch_lock(db, op->company_id, op->portal, &epoch));
    TRY(db_query(db,
                 "SELECT " IS_MIGRATION " FROM chasqui_sessions s WHERE id = ? AND state = 'opening' FOR UPDATE",
                 "u", op->session_ref));
    if (!db_next(db))
        return DB_OK;
    bool migration = db_u64(db, 0) != 0;
    TRY(portal_row_lock(db, op->job_id));
    TRY(op->item.is_round ? round_goes_on(db, op, &held) : lease_end(db, op->job_id, op->token, &held));
    if (!held)
        return DB_OK;
    enum db_rc rc = db_exec(
        db,
        "UPDATE chasqui_sessions SET {become session.log_in}, robot_session_id = ?, live_session_id = ?, boot_id = "
        "NULLIF(?, ''), title = NULLIF(?, '') WHERE id = ? AND {from session.log_in}",
        "ssssu", op->session_id, op->session_id, op->boot_id, op->title, op->session_ref);
    if (rc == DB_DUP) {
        op->outcome = LOGIN_DONE_DUP_SESSION;
        op->dup_robot_id = 0;
        TRY(db_query(db, "SELECT robot_id FROM chasqui_sessions WHERE live_session_id = ?", "s", op->session_id));
        if (db_next(db))
            op->dup_robot_id = (uint32_t)db_u64(db, 0);
        return DB_DUP; /* rolls back: the lease stays ours */
    }
    TRY(rc);
    TRY(db_exec(
        db,
        "UPDATE portal_jobs SET {become job.log_in ?}, robot_worker_base_url = ?, robot_worker_viewer_url = NULLIF(?, ''), "
        "robot_session_id = ?, worker = ?, finished_at = IF(?, finished_at, {now finished_at}){result} WHERE id = ? AND "
        "company_id = ?",
        "sssssuuu", op->item.is_round ? "running" : "done", op->robot_base_url, op->robot_viewer_url,
        op->session_id, op->worker, (uint64_t)(migration || op->item.is_round), op->job_id, op->company_id));
    if (!db_affected(db)) {
        op->outcome = LOGIN_DONE_ROWLESS;
        return DB_DUP; /* rolls back: the lease stays ours */
    }
    if (!op->item.is_round) /* its next attempt may begin with another log-in */
        TRY(db_exec(db, "UPDATE chasqui_jobs SET params = NULL WHERE job_id = ? AND params IS NOT NULL", "u",
                    op->job_id));
    if (op->lifts)
        TRY(db_exec(db, "DELETE FROM chasqui_refused WHERE company_id = ? AND portal = ?", "us", op->company_id,
                    op->portal));
    if (migration)
        TRY(db_exec(db, "DELETE FROM chasqui_session_migrations WHERE job_id = ?", "u", op->job_id));
    if (op->credentials)
        TRY(db_exec(
            db,
            "INSERT INTO chasqui_credentials (company_id, portal, sealed, updated_at) VALUES (?, ?, ?, NOW(6)) ON DUPLICATE KEY "
            "UPDATE sealed = VALUES(sealed), updated_at = VALUES(updated_at)",
            "usb", op->company_id, op->portal, op->credentials, op->credentials_len));
    TRY(event_add_attempt(db, op->job_id,
                          migration           ? "migrated"
                          : op->item.is_round ? "logged_in"
                                              : "done",
                          op->worker, NULL, &op->attempt));
    if (!op->item.is_round)
        TRY(item_end(db, &op->item, "done"));
    op->outcome = LOGIN_DONE_OK;
    return session_by_ref(db, op->session_ref, &found, &op->row);
}

static int done_done(struct db *db, void *arg)
{
    struct store_login_done *op = arg;
    bool found;
    if (op->outcome != LOGIN_DONE_OK)
        return 1;
    int there = lease_is_there(db, op->job_id, op->token);
    if (there < 0 || (there && !op->item.is_round))
        return there < 0 ? there : 0;
    if (session_by_ref(db, op->session_ref, &found, &op->row))
        return -1;
    return found && op->row.state == SESSION_ACTIVE && strcmp(op->row.session_id, op->session_id) == 0;
}

void store_login_done(struct db *db, void *arg)
{
    struct store_login_done *op = arg;
    op->outcome = LOGIN_DONE_LOST;
    op->rc = store_tx(db, done_tx, done_done, op);
    if (op->rc == STORE_DOWN && (op->outcome == LOGIN_DONE_DUP_SESSION || op->outcome == LOGIN_DONE_ROWLESS))
        op->rc = STORE_OK;
}
