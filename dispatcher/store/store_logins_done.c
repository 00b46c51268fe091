/* SPDX-License-Identifier: MIT */
/*
 * store_logins_done.c - many batches' log-ins that have their session, in one
 * transaction: each by compare-and-swap on its lease's token, as
 * store_login_done() does it for one. Rows are locked in the same order. What
 * does not fit together (a session id that is live elsewhere) is done one by one.
 */
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

struct outcome {
    struct store_logins_done *op;
    struct store_login_done *held[LOGINS_DONE_MAX]; /* their leases are theirs */
    unsigned n;
};

static int by_ref(const void *a, const void *b)
{
    const struct store_login_done *const *x = a, *const *y = b;
    return (*x)->session_ref < (*y)->session_ref ? -1 : (*x)->session_ref > (*y)->session_ref;
}

static void ids(const struct store_logins_done *op, uint64_t *refs, uint64_t *jobs, uint64_t *companies)
{
    for (unsigned i = 0; i < op->n; i++) {
        refs[i] = op->op[i]->session_ref;
        jobs[i] = op->op[i]->job_id;
        companies[i] = op->op[i]->company_id;
    }
}

static struct store_login_done *of_job(const struct store_logins_done *op, uint64_t job_id)
{
    for (unsigned i = 0; i < op->n; i++)
        if (op->op[i]->job_id == job_id)
            return op->op[i];
    return NULL;
}

/* Epochs, sessions, leases: locked in this order. Whose session is opening and whose lease is ours is `held`. */
static enum db_rc lock(struct db *db, struct outcome *o)
{
    struct store_logins_done *op = o->op;
    uint64_t refs[LOGINS_DONE_MAX], jobs[LOGINS_DONE_MAX], companies[LOGINS_DONE_MAX], opening[LOGINS_DONE_MAX];
    unsigned n_opening = 0;
    ids(op, refs, jobs, companies);
    TRY(db_query_in_u64(db,
                        "SELECT 1 FROM chasqui_epochs FORCE INDEX (PRIMARY) WHERE company_id IN (%s) FOR UPDATE",
                        companies, op->n, ""));
    TRY(db_query_in_u64(
        db,
        "SELECT job_id FROM chasqui_sessions FORCE INDEX (PRIMARY) WHERE id IN (%s) AND state = 'opening' FOR UPDATE",
        refs, op->n, ""));
    while (n_opening < LOGINS_DONE_MAX && db_next(db))
        opening[n_opening++] = db_u64(db, 0);
    TRY(db_query_in_u64(
        db, "SELECT job_id, token FROM chasqui_leases FORCE INDEX (PRIMARY) WHERE job_id IN (%s) FOR UPDATE", jobs,
        op->n, ""));
    while (db_next(db)) {
        size_t len;
        struct store_login_done *one = of_job(op, db_u64(db, 0));
        const char *token = db_str(db, 1, &len);
        bool is_opening = false;
        for (unsigned i = 0; one && i < n_opening; i++)
            is_opening |= opening[i] == one->job_id;
        if (is_opening && len == ID_TOKEN_BYTES && memcmp(one->token, token, len) == 0)
            o->held[o->n++] = one;
    }
    return DB_OK;
}

static void fill_session(void *arg, unsigned row, struct db_cell *cells)
{
    const struct store_login_done *one = ((struct outcome *)arg)->held[row];
    cells[0].data = one->session_id;
    cells[1].data = one->session_id;
    cells[2].data = one->boot_id[0] ? one->boot_id : NULL;
    cells[3].data = one->title[0] ? one->title : NULL;
    cells[4].n = one->session_ref;
}

static void fill_portal_job(void *arg, unsigned row, struct db_cell *cells)
{
    const struct store_login_done *one = ((struct outcome *)arg)->held[row];
    cells[0].data = one->robot_base_url;
    cells[1].data = one->robot_viewer_url[0] ? one->robot_viewer_url : NULL;
    cells[2].data = one->session_id;
    cells[3].data = one->worker;
    cells[4].n = one->job_id;
    cells[5].n = one->company_id;
}

static void fill_event(void *arg, unsigned row, struct db_cell *cells)
{
    const struct store_login_done *one = ((struct outcome *)arg)->held[row];
    cells[0].n = one->job_id;
    cells[1].data = one->worker;
    cells[2].n = one->attempt.n;
    cells[3].data = outcome_name[one->attempt.outcome];
    cells[4].n = one->attempt.queued_ms < 0 ? 0 : (uint64_t)one->attempt.queued_ms;
    cells[5].n = one->attempt.robot_ms < 0 ? 0 : (uint64_t)one->attempt.robot_ms;
    cells[6].n = (uint64_t)one->attempt.status;
}

static enum db_rc leases_end(struct db *db, const struct outcome *o)
{
    uint64_t jobs[LOGINS_DONE_MAX];
    for (unsigned i = 0; i < o->n; i++)
        jobs[i] = o->held[i]->job_id;
    return db_exec_in_u64(db, "DELETE FROM chasqui_leases WHERE job_id IN (%s)", jobs, o->n, "");
}

static void fill_item(void *arg, unsigned row, struct db_cell *cells)
{
    const struct store_login_done *one = ((struct outcome *)arg)->held[row];
    cells[0].n = one->item.batch_id;
    cells[1].n = one->item.idx;
}

static enum db_rc done_tx(struct db *db, void *arg)
{
    struct outcome *o = arg;
    struct store_logins_done *op = o->op;
    o->n = 0;
    for (unsigned i = 0; i < op->n; i++)
        op->op[i]->outcome = LOGIN_DONE_LOST;
    TRY(lock(db, o));
    if (!o->n)
        return DB_OK;
    TRY(leases_end(db, o));
    TRY(db_bulk(
        db,
        "UPDATE chasqui_sessions SET {become session.log_in}, robot_session_id = ?, live_session_id = ?, boot_id = ?, title = ? "
        "WHERE id = ? AND {from session.log_in}",
        "ssssu", o->n, fill_session, o));
    TRY(db_bulk(
        db,
        "UPDATE portal_jobs SET {become job.log_in_bulk}, robot_worker_base_url = ?, robot_worker_viewer_url = ?, "
        "robot_session_id = ?, worker = ?{result} WHERE id = ? AND company_id = ?",
        "ssssuu", o->n, fill_portal_job, o));
    if (db_affected(db) != o->n) /* Laravel deleted one of them */
        return DB_DUP;
    TRY(db_bulk(
        db,
        "INSERT INTO chasqui_job_events (job_id, at, event, worker, attempt, outcome, queued_ms, robot_ms, robot_status) VALUES (?, "
        "NOW(6), 'done', ?, ?, ?, ?, ?, ?)",
        "ususuuN", o->n, fill_event, o));
    TRY(db_bulk(db, "UPDATE chasqui_items SET {become item.log_in_bulk} WHERE batch_id = ? AND idx = ?", "uu",
                o->n, fill_item, o));
    for (unsigned i = 0; i < o->n; i++)
        o->held[i]->outcome = LOGIN_DONE_OK;
    return DB_OK;
}

/* All or none of them were committed: the first one's lease tells. */
static int was_done(struct db *db, void *arg)
{
    struct outcome *o = arg;
    int there = o->n ? lease_is_there(db, o->held[0]->job_id, o->held[0]->token) : 0;
    return there < 0 ? there : !there;
}

void store_logins_done(struct db *db, void *arg)
{
    struct store_logins_done *op = arg;
    struct outcome o = {.op = op};
    CHECK(op->n >= 1 && op->n <= LOGINS_DONE_MAX, "%u outcomes", op->n);
    if (op->n == 1) {
        store_login_done(db, op->op[0]);
        return;
    }
    struct store_login_done *sorted[LOGINS_DONE_MAX]; /* op->op keeps its order: it is the caller's */
    memcpy(sorted, op->op, op->n * sizeof(*sorted));
    qsort(sorted, op->n, sizeof(*sorted), by_ref);
    struct store_logins_done in_order = {.n = op->n};
    memcpy(in_order.op, sorted, op->n * sizeof(*sorted));
    o.op = &in_order;
    enum db_rc rc;
    enum db_done how = db ? db_tx(db, done_tx, was_done, &o, &rc) : TX_NOT;
    enum store_rc is = how == TX_DONE ? STORE_OK : how == TX_NOT ? STORE_DOWN : STORE_UNKNOWN;
    for (unsigned i = 0; i < op->n; i++)
        op->op[i]->rc = is;
    if (how == TX_NOT && db && (rc == DB_DUP || rc == DB_REFUSED)) /* each by itself: a refused one holds nobody */
        for (unsigned i = 0; i < op->n; i++)
            store_login_done(db, op->op[i]);
}
