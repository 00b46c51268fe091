/* SPDX-License-Identifier: MIT */
/*
 * store_login_failed.c - writes that a log-in failed: its job is tried later, or fails, or is cancelled, and its place
 * is let go. {become job.fail} names an event of db/state.def. Other failures of a job are written elsewhere: those of
 * an action (store_action.c) and of a round (store_round.c) by job_end_write() in store_refusal.c, that of a lost
 * session by job_session_lost() in store_sql.c, that of a claim which the database refuses, or an end that it takes
 * later, in store_refusal.c, that of a removed robot in ctl/worker.c.
 *
 * Must stay: the transaction locks the epoch row, the lease, the session and its place, the job, the item and the
 * portal's row, in this order. It writes nothing unless the lease has the caller's token. A refused UPDATE of the job
 * never undoes the rest. May change: what is recorded of an attempt. The caller decides when a job is tried again.
 */
#include "dispatcher/store/store_down.h"
#include "dispatcher/store/store_place.h"
#include "dispatcher/store/store_portal.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_refusal.h"

#include <string.h>

/* A robot refused these credentials for good: whoever would use them again is told so, until they change. */
static enum db_rc refused_add(struct db *db, const struct store_login_failed *op, uint64_t company_id,
                              const char *portal)
{
    const struct attempt_end *a = &op->attempt;
    return db_exec(
        db,
        "INSERT INTO chasqui_refused (company_id, portal, at, credentials_at, job_id, robot_status, robot_error, robot_message) VALUES "
        "(?, ?, NOW(6), TIMESTAMP('1970-01-01') + INTERVAL ? MICROSECOND, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE at = VALUES(at), credentials_at = "
        "VALUES(credentials_at), job_id = VALUES(job_id), robot_status = VALUES(robot_status), robot_error = VALUES(robot_error), "
        "robot_message = VALUES(robot_message)",
        "usuuNss", company_id, portal, op->refused_us, op->job_id, (uint64_t)a->status,
        a->error[0] ? a->error : NULL, a->message[0] ? a->message : NULL);
}

/* An opening generation that cannot be used any more stays behind on its robot; the next one opens without a place. */
static enum db_rc generation_next(struct db *db, const struct store_login_failed *op)
{
    TRY(db_exec(db, "UPDATE chasqui_sessions SET current_job_id = NULL WHERE id = ?", "u", op->session_ref));
    TRY(session_close_row(db, "abandon", op->session_ref, SESSION_LOST, "abandoned", op->place));
    return db_exec(
        db,
        "INSERT INTO chasqui_sessions (job_id, generation, current_job_id, company_id, portal, live, state, since, epoch) "
        "SELECT job_id, generation + 1, job_id, company_id, portal, 1, {new session.open}, NOW(6), epoch FROM chasqui_sessions "
        "WHERE id = ?",
        "u", op->session_ref);
}

static enum db_rc migration_failed(struct db *db, const struct store_login_failed *op)
{
    TRY(event_add(db, op->job_id, "migration_failed", NULL, NULL, op->error));
    TRY(db_exec(
        db,
        "UPDATE chasqui_session_migrations SET attempts = attempts + 1, available_at = NOW(6) + INTERVAL ? MICROSECOND WHERE "
        "job_id = ?",
        "iu", op->retry_ms * 1000, op->job_id));
    bool waits = db_affected(db) == 1 && op->retry_ms >= 0;
    if (!waits) { /* the last try: the session is lost */
        TRY(session_close_row(db, "migration_failed", op->session_ref, SESSION_LOST, "migration_failed",
                              op->place));
        return job_session_lost(db, op->job_id, SESSION_LOST, op->error);
    }
    if (op->place == PLACE_FREE) {
        TRY(place_let_go(db, op->session_ref, PLACE_FREE));
        return db_exec(db, "UPDATE chasqui_sessions SET robot_id = NULL WHERE id = ?", "u", op->session_ref);
    }
    return generation_next(db, op);
}

static enum db_rc cancelled(struct db *db, const struct store_login_failed *op, const char *worker)
{
    TRY(job_written(db, op->job_id, &(struct job_end){"cancelled", NULL, NULL},
                    db_exec(db,
                            "UPDATE portal_jobs SET {become job.stop}{result} WHERE id = ? AND {from job.stop}",
                            "u", op->job_id)));
    TRY(db_exec(db, "UPDATE chasqui_jobs SET params = NULL WHERE job_id = ?", "u", op->job_id));
    TRY(event_add_attempt(db, op->job_id, "cancelled", worker, NULL, &op->attempt));
    return item_end(db, &op->item, "cancelled");
}

/* Its item becomes ready again after retry_ms; params stay for it. */
static enum db_rc retry_later(struct db *db, const struct store_login_failed *op, const char *worker)
{
    TRY(db_exec(
        db,
        "UPDATE portal_jobs SET {become job.wait ?}, error = ?, message = {message ?}, attempts = attempts - ?, available_at = "
        "{now available_at} + INTERVAL ? MICROSECOND{result} WHERE id = ? AND {from job.wait}",
        "sssuiu", later_state(op->uncounted), op->error, op->message, (uint64_t)op->uncounted, op->retry_ms * 1000,
        op->job_id));
    TRY(event_add_attempt(db, op->job_id, op->uncounted ? "waits_again" : "retrying", worker, op->error,
                          &op->attempt));
    return db_exec(
        db,
        "UPDATE chasqui_items SET {become item.wait ?}, due_at = NOW(6) + INTERVAL ? MICROSECOND WHERE batch_id = ? AND idx = ?",
        "siuu", later_state(op->uncounted), op->retry_ms * 1000, op->item.batch_id, op->item.idx);
}

/* It is retried, or its job ends. */
static enum db_rc attempt_write(struct db *db, struct store_login_failed *op, const char *worker)
{
    if (op->item.is_set && op->retry_ms >= 0) {
        enum db_rc rc = retry_later(db, op, worker);
        if (rc != DB_REFUSED && rc != DB_DUP)
            return rc;
        db_forgive(db); /* its row cannot say that it is to be retried: then it is not */
        op->retry_ms = -1;
    }
    TRY(job_written(
        db, op->job_id, &(struct job_end){"failed", op->error, op->message},
        db_exec(
            db,
            "UPDATE portal_jobs SET {become job.fail}, error = ?, message = {message ?}{result} WHERE id = ? AND "
            "{from job.fail}",
            "ssu", op->error, op->message, op->job_id)));
    TRY(db_exec(db, "UPDATE chasqui_jobs SET params = NULL WHERE job_id = ?", "u", op->job_id));
    TRY(event_add_attempt(db, op->job_id, "failed", worker, op->error, &op->attempt));
    if (op->is_refused_before) /* nobody was asked: what was said then still holds */
        TRY(db_exec(
            db,
            "UPDATE chasqui_jobs q JOIN chasqui_refused w ON w.company_id = q.company_id AND w.portal = q.portal SET q.robot_status = "
            "w.robot_status, q.robot_error = w.robot_error, q.robot_message = w.robot_message WHERE q.job_id = ?",
            "u", op->job_id));
    return item_end(db, &op->item, "failed");
}

static enum db_rc fault_tell(struct db *db, struct store_login_failed *op, const char *portal)
{
    struct portal_telling t = {portal, op->holder, &op->fault, 1, op->tries, op->breaker};
    op->fault.taken = (uint8_t)(op->uncounted ? TAKEN_NOT : op->retry_ms >= 0 ? TAKEN : TAKEN_LAST);
    return portal_tell(db, &t, &op->portal);
}

static enum db_rc failed_tx(struct db *db, void *arg)
{
    struct store_login_failed *op = arg;
    bool held;
    uint64_t company_id, epoch;
    char portal[PORTAL_ROOM], worker[NAME_ROOM];
    op->lost = true;
    if (op->blames_portal) { /* each try of the transaction begins anew */
        op->uncounted = false;
        op->retry_ms = op->retry_up_ms;
    }
    TRY(db_query(db, "SELECT company_id, portal, " IS_MIGRATION ", robot_id FROM chasqui_sessions s WHERE id = ?",
                 "u", op->session_ref));
    if (!db_next(db))
        return DB_OK;
    company_id = db_u64(db, 0);
    db_str_copy(db, 1, portal, sizeof(portal));
    bool migration = db_u64(db, 2) != 0;
    uint32_t robot_id = (uint32_t)db_u64(db, 3);
    TRY(epoch_lock(db, company_id, portal, &epoch));
    TRY(portal_row_lock(db, op->job_id));
    TRY(lease_end(db, op->job_id, op->token, &held));
    op->lost = !held;
    if (!held)
        return DB_OK;
    if (op->refused_us)
        TRY(refused_add(db, op, company_id, portal));
    if (migration)
        return migration_failed(db, op);
    if (op->place == PLACE_KEEP_PENDING)
        TRY(session_close_row(db, "abandon", op->session_ref, SESSION_LOST, "abandoned", op->place));
    else
        TRY(session_close_row(db, "login_failed", op->session_ref, SESSION_CLOSED, "login_failed", op->place));
    worker_name(db, robot_id, worker);
    if (op->cancelled)
        return cancelled(db, op, worker);
    if (op->blames_portal) {
        TRY(portal_is_down(db, portal, &op->uncounted));
        op->retry_ms = op->uncounted ? op->retry_down_ms : op->retry_up_ms;
    }
    TRY(attempt_write(db, op, worker));
    return op->blames_portal ? fault_tell(db, op, portal) : DB_OK;
}

static int failed_done(struct db *db, void *arg)
{
    struct store_login_failed *op = arg;
    int there = op->lost ? 0 : lease_is_there(db, op->job_id, op->token);
    return there < 0 ? there : !there;
}

void store_login_failed(struct db *db, void *arg)
{
    struct store_login_failed *op = arg;
    op->rc = store_tx(db, failed_tx, failed_done, op);
}
