/* SPDX-License-Identifier: MIT */
/*
 * store_round.c - rounds in the database.
 *
 * Owns nothing; runs on database threads. Each change is a compare-and-swap on
 * the lease's token. Lock order as elsewhere: session, lease, job, item. An
 * answer is read and sealed here, before the transaction, so that a long one
 * holds up neither the loop nor a lock.
 */
#include "dispatcher/store/store_round.h"

#include "dispatcher/store/store_refusal.h"

#include "common/check.h"
#include "common/jv.h"

#include <stdlib.h>
#include <string.h>

static const char *const end_name[] = {"", "done", "failed", "retrying", "cancelled"};

static enum round_end end_of(const char *name)
{
    for (unsigned i = ROUND_DONE; name && i <= ROUND_CANCELLED; i++)
        if (strcmp(end_name[i], name) == 0)
            return (enum round_end)i;
    return ROUND_ON;
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static enum db_rc round_read(struct db *db, struct store_round_read *op)
{
    bool found;
    memset(&op->row, 0, sizeof(op->row));
    buf_clear(&op->params);
    TRY(db_find(db, &op->found,
                "SELECT b.steps, b.step_params, b.closes, COALESCE(i.step, -1), i.steps_done, i.ending, " JOB_ERROR
                ", " JOB_MESSAGE ", q.job_uid, "
                "q.request_id, q.portal FROM chasqui_jobs q JOIN portal_jobs j ON j.id = q.job_id" REFUSAL_JOIN
                "JOIN chasqui_batches b ON b.id = ? JOIN "
                "chasqui_items i ON i.batch_id = b.id AND i.idx = ? WHERE q.job_id = ?",
                "uuu", op->batch_id, op->idx, op->job_id));
    if (!op->found)
        return DB_OK;
    size_t len;
    db_str_copy(db, 0, op->names, sizeof(op->names));
    const char *params = db_str(db, 1, &len);
    if (params)
        buf_add(&op->params, params, len);
    op->closes = db_u64(db, 2) != 0;
    op->step = (int)db_i64(db, 3);
    op->steps_done = (unsigned)db_u64(db, 4);
    op->ending = end_of(db_str(db, 5, NULL));
    db_str_copy(db, 6, op->error, sizeof(op->error));
    db_str_copy(db, 7, op->message, sizeof(op->message));
    db_str_copy(db, 8, op->job_uid, sizeof(op->job_uid));
    db_str_copy(db, 9, op->request_id, sizeof(op->request_id));
    db_str_copy(db, 10, op->portal, sizeof(op->portal));
    return op->session_ref ? session_by_ref(db, op->session_ref, &found, &op->row) : DB_OK;
}

void store_round_read(struct db *db, void *arg)
{
    struct store_round_read *op = arg;
    op->rc = store_rc_of(db ? round_read(db, op) : DB_GONE);
}

/* ---- what the robot answered -------------------------------------------------------------------------------- */

/* One line of JSON, or nothing. A good answer is an object or a list, and does not say that it is none. */
static enum round_verdict answer_judge(const struct round_answer *a, char **text, size_t *len)
{
    enum jv_bad why;
    bool ok = true;
    *text = NULL;
    *len = 0;
    struct jv *v = a->body.len ? jv_parse_mended(a->body.data, a->body.len, &why) : NULL;
    if (v)
        *text = jv_dump(v, len);
    bool is_shape = jv_type(v) == JV_OBJECT || jv_type(v) == JV_ARRAY;
    bool is_no = jv_type(v) == JV_OBJECT && jv_bool(jv_get(v, "ok"), &ok) && !ok;
    jv_free(v);
    if (a->is_refusal)
        return ANSWER_GOOD;
    return !is_shape ? ANSWER_GARBAGE : is_no ? ANSWER_REFUSED : ANSWER_GOOD;
}

struct turn {
    struct store_round_turn *op;
    struct buf sealed; /* the answer; empty = none is kept */
};

static enum db_rc answer_keep_row(struct db *db, const struct turn *t)
{
    const struct store_round_turn *op = t->op;
    return db_exec(
        db,
        "INSERT INTO chasqui_results (batch_id, idx, step, job_id, company_id, at, status, body) VALUES (?, ?, ?, ?, ?, NOW(6), ?, ?) ON "
        "DUPLICATE KEY UPDATE job_id = VALUES(job_id), at = VALUES(at), status = VALUES(status), body = VALUES(body)",
        "uuuuuub", op->batch_id, op->idx, (uint64_t)op->answer.step, op->job_id, op->company_id,
        (uint64_t)op->answer.status, (const void *)t->sealed.data, t->sealed.len);
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

struct end {
    uint64_t job_id, batch_id, idx;
    enum round_end how;
    const char *error, *message;
    int64_t retry_ms;
};

static enum db_rc end_retrying(struct db *db, const struct end *e)
{
    TRY(db_exec(
        db,
        "UPDATE portal_jobs SET {become job.again}, error = ?, message = {message ?}, available_at = {now available_at} + "
        "INTERVAL ? MICROSECOND{result} WHERE id = ? AND {from job.again}",
        "ssiu", e->error, e->message, e->retry_ms * 1000, e->job_id));
    TRY(event_add(db, e->job_id, "retrying", NULL, NULL, e->error));
    return db_exec(
        db,
        "UPDATE chasqui_items SET {become item.again}, due_at = NOW(6) + INTERVAL ? MICROSECOND WHERE batch_id = ? AND idx = ?",
        "iuu", e->retry_ms * 1000, e->batch_id, e->idx);
}

/* The job and its item; the lease is gone already. */
static enum db_rc end_write(struct db *db, struct end *e)
{
    if (e->how == ROUND_RETRYING) {
        enum db_rc rc = end_retrying(db, e);
        if (rc != DB_REFUSED && rc != DB_DUP)
            return rc;
        db_forgive(db); /* its row cannot say that it is to be retried: then it is not */
        e->how = ROUND_FAILED;
    }
    bool is_failed = e->how == ROUND_FAILED;
    struct job_end job = {end_name[e->how], is_failed ? e->error : NULL, is_failed ? e->message : NULL};
    TRY(job_end_write(db, e->job_id, &job));
    TRY(db_exec(db, "UPDATE chasqui_jobs SET params = NULL WHERE job_id = ?", "u", e->job_id));
    TRY(event_add(db, e->job_id, job.status, NULL, NULL, job.error));
    return db_exec(db, "UPDATE chasqui_items SET {become item.round_end ?} WHERE batch_id = ? AND idx = ?", "suu",
                   job.status, e->batch_id, e->idx);
}

/* Its words wait in the job's row for the close of the session. */
static enum db_rc end_note(struct db *db, const struct store_round_turn *op)
{
    TRY(db_exec(db, "UPDATE chasqui_items SET ending = ? WHERE batch_id = ? AND idx = ?", "suu",
                end_name[op->ending], op->batch_id, op->idx));
    if (!op->error[0])
        return DB_OK;
    enum db_rc rc = db_exec(db, "UPDATE portal_jobs SET error = ?, message = {message ?} WHERE id = ?", "ssu",
                            op->error, op->message, op->job_id);
    if (rc != DB_REFUSED && rc != DB_DUP)
        return rc;
    db_forgive(db);
    return DB_OK;
}

/* ---- a turn ------------------------------------------------------------------------------------------------- */

static enum db_rc lease_lock(struct db *db, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES], bool *held)
{
    TRY(db_query(db, "SELECT 1 FROM chasqui_leases WHERE job_id = ? AND token = ? AND kind = 'round' FOR UPDATE",
                 "ub", job_id, (const void *)token, (size_t)ID_TOKEN_BYTES));
    *held = db_next(db);
    return DB_OK;
}

/* *active = the session is there and the round's to use. When it is to be closed it is closing now, unless somebody else was given it. It may
 * be closing by this round already: by this very turn, whose COMMIT was not heard of, or by a dispatcher whose lease had just ended. */
static enum db_rc session_look(struct db *db, struct store_round_turn *op, bool *active)
{
    bool is_over = op->next < 0 && op->ending != ROUND_ON;
    TRY(db_query(
        db, "SELECT state = 'active', shared, state = 'closing' FROM chasqui_sessions WHERE id = ? FOR UPDATE",
        "u", op->session_ref));
    bool there = db_next(db), closing = there && db_u64(db, 2);
    *active = there && db_u64(db, 0);
    op->is_closing = *active && is_over && op->may_close && !db_u64(db, 1);
    if (!closing || !is_over)
        return DB_OK;
    TRY(db_query(db, "SELECT ending IS NOT NULL FROM chasqui_items WHERE batch_id = ? AND idx = ? FOR UPDATE",
                 "uu", op->batch_id, op->idx));
    op->is_closing = db_next(db) && db_u64(db, 0);
    return DB_OK;
}

static enum db_rc turn_end(struct db *db, struct store_round_turn *op)
{
    struct end end = {op->job_id,
                      op->batch_id,
                      op->idx,
                      op->ending,
                      op->error[0] ? op->error : NULL,
                      op->message[0] ? op->message : NULL,
                      op->retry_ms};
    bool held, found;
    if (op->said.status)
        TRY(robot_words_write(db, op->job_id, &op->said));
    if (op->is_closing) {
        TRY(db_exec(db, "UPDATE chasqui_sessions SET {become session.close} WHERE id = ? AND {from session.close}",
                    "u", op->session_ref));
        TRY(end_note(db, op));
        return session_by_ref(db, op->session_ref, &found, &op->row);
    }
    TRY(lease_end(db, op->job_id, op->token, &held));
    return end_write(db, &end);
}

static enum db_rc turn_tx(struct db *db, void *arg)
{
    struct turn *t = arg;
    struct store_round_turn *op = t->op;
    bool held, active;
    op->lost = op->gone = op->is_closing = false;
    TRY(session_look(db, op, &active));
    TRY(lease_lock(db, op->job_id, op->token, &held));
    if ((op->lost = !held))
        return DB_OK;
    op->gone = op->next >= 0 && !active;
    if (t->sealed.len)
        TRY(answer_keep_row(db, t));
    TRY(db_exec(
        db,
        "UPDATE chasqui_items SET steps_done = GREATEST(steps_done, ?), step = IF(?, NULL, IF(? >= 0, ?, step)) WHERE batch_id = ? AND idx = ?",
        "uuiiuu", (uint64_t)op->steps_done, (uint64_t)op->is_unbegun, (int64_t)(op->gone ? -1 : op->next),
        (int64_t)op->next, op->batch_id, op->idx));
    return op->next < 0 && op->ending != ROUND_ON ? turn_end(db, op) : DB_OK;
}

/* By what only this turn leaves behind. A turn that is made again does nothing worse. */
static int turn_done(struct db *db, void *arg)
{
    struct turn *t = arg;
    struct store_round_turn *op = t->op;
    int there = op->lost ? 0 : lease_is_there(db, op->job_id, op->token);
    if (there < 0 || op->lost)
        return there < 0 ? -1 : 1;
    if (op->next < 0 && op->ending == ROUND_ON) /* it may be recorded twice */
        return 0;
    if (op->next < 0 && !op->is_closing)
        return !there;
    if (db_query(
            db,
            "SELECT COALESCE(step, -1), ending IS NOT NULL FROM chasqui_items WHERE batch_id = ? AND idx = ? LOCK IN SHARE MODE WAIT 3",
            "uu", op->batch_id, op->idx) ||
        !db_next(db))
        return -1;
    return op->next >= 0 ? db_i64(db, 0) == op->next : db_u64(db, 1) != 0;
}

void store_round_turn(struct db *db, void *arg)
{
    struct store_round_turn *op = arg;
    struct turn t = {.op = op};
    char *text = NULL;
    size_t len = 0;
    op->verdict = op->answer.is_set ? answer_judge(&op->answer, &text, &len) : ANSWER_GOOD;
    if (op->verdict != ANSWER_GOOD) {
        op->rc = STORE_OK;
    } else {
        if (text && op->seal)
            seal_wrap(op->seal, op->company_id, op->portal, "result", text, len, &t.sealed);
        op->rc = store_tx(db, turn_tx, turn_done, &t);
    }
    if (text)
        explicit_bzero(text, len);
    free(text);
    buf_free(&t.sealed);
}

/* ---- closed ------------------------------------------------------------------------------------------------- */

static enum db_rc closed_tx(struct db *db, void *arg)
{
    struct store_round_closed *op = arg;
    char error[41], message[1001];
    bool held;
    op->lost = true;
    TRY(db_query(db, "SELECT state = 'closing' FROM chasqui_sessions WHERE id = ? FOR UPDATE", "u",
                 op->session_ref));
    bool is_closing = db_next(db) && db_u64(db, 0);
    TRY(lease_end(db, op->job_id, op->token, &held));
    if (!held)
        return DB_OK;
    op->lost = false;
    if (is_closing) {
        TRY(session_close_row(db, "round_over", op->session_ref, SESSION_CLOSED, "round_over", op->place));
        TRY(event_add(db, op->job_id, "session_closed", NULL, NULL, "round_over"));
    }
    TRY(db_query(
        db,
        "SELECT j.error, j.message, i.ending FROM portal_jobs j JOIN chasqui_items i ON i.batch_id = ? AND i.idx = ? WHERE j.id = ?",
        "uuu", op->batch_id, op->idx, op->job_id));
    bool found = db_next(db);
    struct end end = {op->job_id, op->batch_id, op->idx,     found ? end_of(db_str(db, 2, NULL)) : ROUND_DONE,
                      NULL,       NULL,         op->retry_ms};
    if (end.how == ROUND_ON)
        end.how = ROUND_DONE;
    if (found) {
        db_str_copy(db, 0, error, sizeof(error));
        db_str_copy(db, 1, message, sizeof(message));
        end.error = error[0] ? error : NULL;
        end.message = message[0] ? message : NULL;
    }
    TRY(end_write(db, &end));
    op->ending = end.how;
    return DB_OK;
}

static int closed_done(struct db *db, void *arg)
{
    struct store_round_closed *op = arg;
    int there = op->lost ? 0 : lease_is_there(db, op->job_id, op->token);
    return there < 0 ? there : !there;
}

void store_round_closed(struct db *db, void *arg)
{
    struct store_round_closed *op = arg;
    op->rc = store_tx(db, closed_tx, closed_done, op);
}
