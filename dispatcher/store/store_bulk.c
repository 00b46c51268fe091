/* SPDX-License-Identifier: MIT */
/*
 * store_bulk.c - all jobs that a filter finds: counted, put back by hand, or
 * cancelled, newest first.
 *
 * Owns nothing; runs on database threads. It goes in steps, each a transaction
 * over a bounded piece of one index, so that no filter makes a long query or
 * holds locks for long; between steps others have their turn. What becomes of a
 * job is what store_retry() and store_cancel() do with one. The audit trail gets
 * one row for the whole, in the first step's transaction, and with each step how
 * many they were by now: in which states before, and what became of them.
 */
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_refusal.h"

#include "common/check.h"

#include <stdio.h>
#include <string.h>

#define PAGE 1000       /* rows of an index looked at by one query */
#define COUNT_MAX 10000 /* counted, or changed, at most */
#define LOOK_MAX 30000  /* looked at to count */

struct row {
    uint64_t id, company_id;
    bool is_ours, is_login, is_meant;
    bool is_refused; /* its batch would use stored credentials that are still refused */
};

/* Is it of a state that the action is for, and of the filter's? */
static bool is_state_meant(const struct store_bulk *op, const char *status)
{
    bool is_ended = strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0;
    bool is_open =
        strcmp(status, "queued") == 0 || strcmp(status, "retrying") == 0 || strcmp(status, "running") == 0;
    return (op->is_retry ? is_ended : is_open) && (!op->status[0] || strcmp(op->status, status) == 0);
}

static bool is_text_meant(const char *wanted, const char *text)
{
    return !*wanted || (text && strcmp(wanted, text) == 0);
}

/* The class that `errors` shows: without an error of the filter, only what the robot said of this attempt. */
static bool is_said(struct db *db, const struct store_bulk *op)
{
    return is_text_meant(op->robot_error, db_str(db, 8, NULL)) &&
           (!*op->robot_error || *op->error || !db_u64(db, 10));
}

static bool is_meant(struct db *db, const struct store_bulk *op, const struct row *row)
{
    const char *worker = db_str(db, 4, NULL);
    return row->is_ours && (row->is_login || !op->is_retry) && is_state_meant(op, db_str(db, 2, NULL)) &&
           (!op->portal[0] || strcmp(op->portal, db_str(db, 3, NULL)) == 0) &&
           (!op->worker[0] || (worker && strcmp(op->worker, worker) == 0)) &&
           is_text_meant(op->error, db_str(db, 7, NULL)) && is_said(db, op) &&
           (!op->company_id || op->company_id == row->company_id);
}

static void row_read(struct db *db, const struct store_bulk *op, struct row *row)
{
    row->id = db_u64(db, 0);
    row->company_id = db_u64(db, 1);
    row->is_ours = !db_is_null(db, 5);
    row->is_login = db_u64(db, 6) != 0;
    row->is_meant = is_meant(db, op, row);
    row->is_refused = op->is_retry && db_u64(db, 9) != 0;
}

/* A job that ended has no params of its own any more: again it would log in with what is stored, and those of batches do so only once that changed. */
#define STILL_REFUSED                                                                                                                                   \
    "q.batch_id > 0 AND EXISTS (SELECT 1 FROM chasqui_credentials c JOIN chasqui_refused w ON w.company_id = c.company_id AND w.portal = c.portal AND " \
    "w.credentials_at = c.updated_at WHERE c.company_id = q.company_id AND c.portal = q.portal) "
#define WALK(index, by)                                                                                           \
    "SELECT j.id, j.company_id, {status j.status}, j.portal, j.worker, q.job_id, q.kind = 'login', " JOB_ERROR    \
    ", q.robot_error, " STILL_REFUSED ", COALESCE(" JOB_ERROR ", '') IN (" ERRORS_NOT_SAID                        \
    ") FROM portal_jobs j FORCE INDEX (" index ") LEFT JOIN chasqui_jobs q ON q.job_id = j.id" REFUSAL_JOIN       \
    "WHERE " by " AND j.id < ? ORDER BY j.id DESC LIMIT ?"

/* The next piece below op->below, of the index that leaves least; op->state is which of the states is walked when that index is
 * theirs. */
static enum db_rc walk(struct db *db, const struct store_bulk *op)
{
    static const char *const states[2][3] = {{"queued", "retrying", "running"},
                                             {"failed", "cancelled", "cancelled"}};
    if (op->batch_id)
        return db_query(db, WALK("chasqui_batch", "j.batch_id = ?"), "uuu", op->batch_id, op->below,
                        (uint64_t)PAGE);
    if (op->company_id)
        return db_query(db, WALK("chasqui_newest", "j.company_id = ?"), "uuu", op->company_id, op->below,
                        (uint64_t)PAGE);
    const char *state = states[op->is_retry][op->state];
    return db_query(db, WALK("chasqui_status", "j.status = {word ?} AND {status j.status} = ?"), "ssuu", state,
                    state, op->below, (uint64_t)PAGE);
}

/* The rows of one piece; op->below and op->state go behind it. *is_end: there is no other. */
static enum db_rc piece_read(struct db *db, struct store_bulk *op, struct row *rows, unsigned *n, bool *is_end)
{
    unsigned last_state = op->batch_id || op->company_id ? 0 : op->is_retry ? 1 : 2;
    if (!op->below)
        op->below = INT64_MAX;
    *n = 0;
    TRY(walk(db, op));
    while (*n < PAGE && db_next(db))
        row_read(db, op, &rows[(*n)++]);
    *is_end = *n < PAGE && op->state == last_state;
    if (*n == PAGE) {
        op->below = rows[PAGE - 1].id;
    } else if (!*is_end) {
        op->state++;
        op->below = INT64_MAX;
    }
    return DB_OK;
}

/* ---- counting ----------------------------------------------------------------------------------------------- */

static enum db_rc count_read(struct db *db, struct store_bulk *op)
{
    struct row rows[PAGE];
    bool is_end = false;
    unsigned n;
    for (unsigned looked = 0; !is_end && op->n < COUNT_MAX && looked < LOOK_MAX; looked += n) {
        TRY(piece_read(db, op, rows, &n, &is_end));
        for (unsigned i = 0; i < n && op->n < COUNT_MAX; i++) {
            op->n += rows[i].is_meant;
            op->n_still_refused += rows[i].is_meant && rows[i].is_refused;
        }
    }
    op->capped = !is_end;
    return DB_OK;
}

void store_bulk_count(struct db *db, void *arg)
{
    struct store_bulk *op = arg;
    op->rc = store_rc_of(db ? count_read(db, op) : DB_GONE);
}

/* ---- changing ----------------------------------------------------------------------------------------------- */

static const char *const from_state[BULK_STATES] = {"queued", "retrying", "running", "failed", "cancelled"};

static void change_note(struct store_bulk *op, const struct row *row, uint64_t batch_id, const char *before,
                        const char *after)
{
    for (unsigned i = 0; i < BULK_STATES; i++)
        op->n_from[i] += strcmp(before, from_state[i]) == 0;
    op->changed[op->n_changed++] = (struct bulk_change){row->id, row->company_id, batch_id, after};
}

static enum db_rc retry_one(struct db *db, struct store_bulk *op, const struct row *row)
{
    struct store_retry one = {.job_id = row->id, .tries = op->tries};
    snprintf(one.reason, sizeof(one.reason), "%s", op->reason);
    TRY(job_retry_tx(db, &one));
    if (one.ok) {
        change_note(op, row, one.batch_id, one.before, "queued");
        op->n_still_refused += row->is_refused && one.batch_id;
    }
    return DB_OK;
}

static enum db_rc cancel_one(struct db *db, struct store_bulk *op, const struct row *row)
{
    struct store_cancel one = {.job_id = row->id, .all = true};
    snprintf(one.reason, sizeof(one.reason), "%s", op->reason);
    TRY(job_cancel_tx(db, &one));
    bool is_asked = one.outcome == CANCEL_ASKED;
    op->asked |= is_asked;
    op->n_asked += is_asked;
    if (is_asked || one.outcome == CANCEL_DONE)
        change_note(op, row, one.batch_id, one.before, is_asked ? "running" : "cancelled");
    return DB_OK;
}

static void counted(struct buf *out, uint64_t n, const char *state)
{
    if (n)
        buf_addf(out, "%s%llu %s", out->len ? ", " : "", (unsigned long long)n, state);
}

/* How many were in which state, and what they became: "3 queued, 1 running -> 3 cancelled, 1 asked to stop". */
static void detail_write(const struct store_bulk *op, struct buf *out)
{
    struct buf after = {0};
    for (unsigned i = 0; i < BULK_STATES; i++)
        counted(out, op->n_from[i], from_state[i]);
    counted(&after, op->n + op->n_changed - op->n_asked, op->is_retry ? "queued" : "cancelled");
    counted(&after, op->n_asked, "asked to stop");
    counted(&after, op->n_refused, "refused by the database");
    if (out->len || op->n_refused)
        buf_addf(out, " -> %s", after.data);
    else
        buf_adds(out, "no jobs");
    buf_addf(out, "%s%s", op->reason[0] ? ": " : "", op->reason);
    buf_free(&after);
}

static const char *number_or_any(uint64_t n, char out[24])
{
    snprintf(out, 24, "%llu", (unsigned long long)n);
    return n ? out : "*";
}

/* What was asked for, and what has changed by now. */
static enum db_rc audit_write(struct db *db, struct store_bulk *op)
{
    char subject[600], company[24], batch[24];
    struct buf detail = {0};
    enum db_rc rc;
    snprintf(
        subject, sizeof(subject), "jobs status=%s portal=%s company=%s batch=%s robot=%s error=%s robot_error=%s",
        op->status[0] ? op->status : "*", op->portal[0] ? op->portal : "*", number_or_any(op->company_id, company),
        number_or_any(op->batch_id, batch), op->worker[0] ? op->worker : "*", op->error[0] ? op->error : "*",
        op->robot_error[0] ? op->robot_error : "*");
    detail_write(op, &detail);
    if (op->audit_id) {
        rc = db_exec(db, "UPDATE chasqui_audit SET detail = ? WHERE id = ?", "su", detail.data, op->audit_id);
    } else {
        rc = audit_add(db, op->by.name, op->by.peer, op->by.request_id,
                       op->is_retry ? "jobs.retry" : "jobs.cancel", subject, detail.data);
        op->audit_id = db_insert_id(db);
    }
    buf_free(&detail);
    return rc;
}

struct step {
    struct store_bulk *op, before; /* as it was, for another try */
    bool is_careful;               /* the database refused one: each change has a savepoint of its own */
};

static enum db_rc change_one(struct db *db, struct store_bulk *op, const struct row *row)
{
    return op->is_retry ? retry_one(db, op, row) : cancel_one(db, op, row);
}

static enum db_rc text_run(struct db *db, const char *sql)
{
    return db_run(db, sql, strlen(sql));
}

/* The one that the database refuses stays as it was, the others go on. */
static enum db_rc change_carefully(struct db *db, struct store_bulk *op, const struct row *row)
{
    unsigned n_changed = op->n_changed;
    TRY(text_run(db, "SAVEPOINT one_job"));
    enum db_rc rc = change_one(db, op, row);
    if (rc != DB_REFUSED)
        return rc;
    db_forgive(db);
    CHECK(op->n_changed == n_changed, "job %llu counts as changed", (unsigned long long)row->id);
    op->n_refused++;
    return text_run(db, "ROLLBACK TO SAVEPOINT one_job");
}

/* As far as BULK_STEP jobs of a piece: what is left of it comes again with the next step. */
static enum db_rc step_tx(struct db *db, void *arg)
{
    struct step *s = arg;
    struct store_bulk *op = s->op;
    struct row rows[PAGE];
    bool is_end;
    unsigned n;
    *op = s->before;
    op->n_changed = 0;
    uint64_t at = op->below ? op->below : INT64_MAX;
    unsigned state = op->state;
    TRY(piece_read(db, op, rows, &n, &is_end));
    for (unsigned i = 0; i < n; i++) {
        if (op->n_changed == BULK_STEP) {
            op->below = at;
            op->state = state;
            is_end = false;
            break;
        }
        at = rows[i].id;
        if (rows[i].is_meant)
            TRY(s->is_careful ? change_carefully(db, op, &rows[i]) : change_one(db, op, &rows[i]));
    }
    TRY(audit_write(db, op));
    op->n += op->n_changed;
    op->capped = !is_end && op->n >= COUNT_MAX;
    op->more = !is_end && !op->capped;
    return DB_OK;
}

void store_bulk(struct db *db, void *arg)
{
    struct store_bulk *op = arg;
    struct step s = {.op = op, .before = *op};
    op->rc = store_tx(db, step_tx, NULL, &s);
    if (op->rc != STORE_REFUSED)
        return;
    s.is_careful = true;
    op->rc = store_tx(db, step_tx, NULL, &s);
}
