/* SPDX-License-Identifier: MIT */
/*
 * store_action.c - jobs that run an action inside a session. They are never
 * repeated: a lease that runs out ends them as outcome_unknown.
 */
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_refusal.h"

static enum db_rc start_tx(struct db *db, void *arg)
{
    struct store_action_start *op = arg;
    enum key_outcome known;
    uint64_t batch_id;
    op->dup_uid = op->replayed = op->mismatch = false;
    TRY(key_look(db, &op->key, &known, &op->job_id, &batch_id));
    op->replayed = known == KEY_REPLAY;
    op->mismatch = known == KEY_MISMATCH;
    if (known != KEY_NEW)
        return DB_OK;
    TRY(db_exec(
        db,
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, priority, attempts, worker, created_at, "
        "updated_at, available_at, started_at{payload}{user}) VALUES (?, ?, ?, ?, {new job.act}, ?, 1, ?, {now created_at}, {now updated_at}, "
        "{now available_at}, {now started_at}{payload value}{user value})",
        USER_TYPES(db, "sussus"), op->job_uid, op->company_id, op->portal, op->action, (uint64_t)op->priority,
        op->worker, op->user_id));
    op->job_id = db_insert_id(db);
    enum db_rc rc = db_exec(
        db,
        "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal, session_id, token_id, request_id) "
        "VALUES (?, ?, 'action', ?, ?, ?, ?, ?)",
        "usussNs", op->job_id, op->job_uid, op->company_id, op->portal, op->session_id, op->token_id,
        op->request_id);
    if (rc == DB_DUP)
        TRY(job_numbers_lift(db, op->job_id, op->company_id, op->portal, op->action));
    op->dup_uid = rc == DB_DUP;
    TRY(rc);
    TRY(lease_insert(db, op->job_id, "action", 0, &op->lease));
    TRY(event_add(db, op->job_id, "started", op->worker, op->lease.holder, NULL));
    rc = op->key.is_set ? key_add(db, &op->key, op->job_id, 0) : DB_OK;
    return rc == DB_DUP ? DB_RETRY : rc; /* somebody was faster: the next round finds it */
}

static int start_done(struct db *db, void *arg)
{
    struct store_action_start *op = arg;
    return op->replayed || op->mismatch ? 1 : lease_is_there(db, op->job_id, op->lease.token);
}

void store_action_start(struct db *db, void *arg)
{
    struct store_action_start *op = arg;
    op->rc = store_tx(db, start_tx, start_done, op);
    if (op->dup_uid && op->rc == STORE_DOWN)
        op->rc = STORE_OK;
}

static enum db_rc end_tx(struct db *db, void *arg)
{
    struct store_action_end *op = arg;
    bool held;
    TRY(lease_end(db, op->job_id, op->token, &held));
    op->lost = !held;
    if (!held)
        return DB_OK;
    struct job_end how = {op->cancelled  ? "cancelled"
                          : op->error[0] ? "failed"
                                         : "done",
                          op->error[0] ? op->error : NULL, op->message[0] ? op->message : NULL};
    TRY(job_end_write(db, op->job_id, &how));
    return event_add_attempt(db, op->job_id, how.status, NULL, op->error, &op->attempt);
}

static int end_done(struct db *db, void *arg)
{
    struct store_action_end *op = arg;
    int there = op->lost ? 0 : lease_is_there(db, op->job_id, op->token);
    return there < 0 ? there : !there;
}

void store_action_end(struct db *db, void *arg)
{
    struct store_action_end *op = arg;
    op->rc = store_tx(db, end_tx, end_done, op);
}
