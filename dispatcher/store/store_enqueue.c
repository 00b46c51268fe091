/* SPDX-License-Identifier: MIT */
/*
 * store_enqueue.c - a queued job of its own: the row that Laravel sees, ours
 * beside it, and its item in the queue, in one transaction with its
 * Idempotency-Key. An unknown commit is settled by reading back the job_uid.
 */
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

/* Is there a session that answers this log-in already, or a log-in that runs? outcome stays ENQUEUE_OK when there is none.
 * What is closing or moving is waited for by the claim. */
static enum db_rc live_look(struct db *db, struct store_enqueue *op)
{
    TRY(db_query(db,
                 "SELECT " SESSION_COLUMNS SESSION_FROM "WHERE s.company_id = ? AND s.portal = ? AND s.live = 1",
                 "us", op->company_id, op->portal));
    if (!db_next(db))
        return DB_OK;
    session_read(db, 0, &op->row);
    if (op->row.state == SESSION_OPENING && !op->row.migrating)
        op->outcome = ENQUEUE_IN_PROGRESS;
    if (op->row.state != SESSION_ACTIVE || op->row.migrating || op->row.is_rowless)
        return DB_OK;
    if (op->force_new) {
        op->outcome = ENQUEUE_REUSED;
        return DB_OK;
    }
    TRY(db_exec(
        db,
        "UPDATE chasqui_sessions SET last_activity_at = NOW(6), shared = 1 WHERE id = ? AND state = 'active' AND epoch = ?",
        "uu", op->row.ref, op->row.epoch));
    if (db_affected(db) == 1)
        op->outcome = ENQUEUE_REUSED;
    return DB_OK;
}

static enum db_rc job_insert(struct db *db, struct store_enqueue *op)
{
    uint64_t turn;
    TRY(db_exec(
        db,
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, priority, attempts, created_at, updated_at, available_at{payload}{user}) "
        "VALUES (?, ?, ?, ?, {new job.enqueue}, ?, 0, {now created_at}, {now updated_at}, COALESCE({wall available_at FROM_UNIXTIME(? / 1000)}, "
        "{now available_at}){payload value}{user value})",
        USER_TYPES(db, "sussuN"), op->job_uid, op->company_id, op->portal, op->action, (uint64_t)op->priority,
        (uint64_t)op->available_at_ms, op->user_id));
    op->job_id = db_insert_id(db);
    enum db_rc rc = db_exec(
        db,
        "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal, params, remember, token_id, request_id, batch_id, "
        "idx, tries) VALUES (?, ?, 'login', ?, ?, ?, ?, ?, ?, 0, ?, ?)",
        "usus"
        "buNs"
        "uu",
        op->job_id, op->job_uid, op->company_id, op->portal, op->params_len ? op->params : NULL, op->params_len,
        (uint64_t)op->remember, op->token_id, op->request_id, op->job_id, (uint64_t)op->tries);
    if (rc == DB_DUP)
        TRY(job_numbers_lift(db, op->job_id, op->company_id, op->portal, op->action));
    if (rc == DB_DUP) /* the same job_uid this moment: the next round finds it */
        return DB_RETRY;
    TRY(rc);
    TRY(event_add(db, op->job_id, "queued", NULL, NULL, NULL));
    TRY(turn_next(db, op->priority, op->token_id, false, &turn));
    turn_given(op->priority, op->token_id, false, 0, op->job_id, turn);
    return db_exec(
        db,
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn, due_at, job_id) VALUES (0, ?, ?, {new item.add}, "
        "?, ?, ?, FROM_UNIXTIME(? / 1000), ?)",
        "uuNuuNu", op->job_id, op->company_id, (uint64_t)(op->available_at_ms == 0), (uint64_t)(9 - op->priority),
        turn, (uint64_t)op->available_at_ms, op->job_id);
}

/* A time that has passed by the database's clock is the same as none. */
static enum db_rc due_look(struct db *db, struct store_enqueue *op)
{
    if (!op->available_at_ms)
        return DB_OK;
    TRY(db_query(db, "SELECT TIMESTAMPDIFF(MICROSECOND, NOW(6), FROM_UNIXTIME(? / 1000)) DIV 1000", "u",
                 (uint64_t)op->available_at_ms));
    op->due_in_ms = db_next(db) ? db_i64(db, 0) : 0;
    if (op->due_in_ms <= 0)
        op->available_at_ms = op->due_in_ms = 0;
    return DB_OK;
}

static enum db_rc enqueue_tx(struct db *db, void *arg)
{
    struct store_enqueue *op = arg;
    enum key_outcome known;
    uint64_t batch_id;
    op->outcome = ENQUEUE_OK;
    op->job_id = 0;
    TRY(db_query(db, "SELECT job_id FROM chasqui_jobs WHERE job_uid = ? AND company_id = ?", "su", op->job_uid,
                 op->company_id));
    if (db_next(db)) {
        op->outcome = ENQUEUE_SAME;
        op->job_id = db_u64(db, 0);
        return DB_OK;
    }
    TRY(key_look(db, &op->key, &known, &op->job_id, &batch_id));
    if (known != KEY_NEW) {
        op->outcome = known == KEY_REPLAY ? ENQUEUE_REPLAY : ENQUEUE_MISMATCH;
        return DB_OK;
    }
    TRY(due_look(db, op));
    if (!op->available_at_ms)
        TRY(live_look(db, op));
    if (op->outcome == ENQUEUE_IN_PROGRESS || (op->outcome == ENQUEUE_REUSED && op->force_new))
        return DB_OK;
    if (op->outcome == ENQUEUE_REUSED)
        op->job_id = op->row.job_id;
    else
        TRY(job_insert(db, op));
    if (!op->key.is_set)
        return DB_OK;
    enum db_rc rc = key_add(db, &op->key, op->job_id, 0);
    return rc == DB_DUP ? DB_RETRY : rc;
}

static int enqueue_done(struct db *db, void *arg)
{
    struct store_enqueue *op = arg;
    if (op->outcome != ENQUEUE_OK)
        return op->outcome != ENQUEUE_REUSED ||
               !op->key.is_set; /* with a key: once more, it finds it or writes it */
    if (db_query(db, "SELECT 1 FROM chasqui_jobs WHERE job_uid = ? LOCK IN SHARE MODE WAIT 3", "s", op->job_uid))
        return -1;
    return db_next(db);
}

void store_enqueue(struct db *db, void *arg)
{
    struct store_enqueue *op = arg;
    op->rc = store_tx(db, enqueue_tx, enqueue_done, op);
}
