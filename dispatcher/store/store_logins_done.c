/* SPDX-License-Identifier: MIT */
/*
 * store_logins_done.c - many log-ins that have their session, in one
 * transaction: each by compare-and-swap on its lease's token, as
 * store_login_done() does it for one. Rows are locked in the same order. No
 * log-in waits for the company of another one, or for a row that Laravel holds. What
 * does not fit together is left to the caller, who records it by itself: when another
 * transaction holds the company's epoch or the job's row, all when the database refuses the group (a session id that is
 * live elsewhere, a row that Laravel deleted, a constraint).
 */
#include "dispatcher/store/store_epochs.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

struct outcome {
    struct store_group *op;
    struct store_login_done *all[LOGINS_DONE_MAX];  /* the group's */
    struct store_login_done *here[LOGINS_DONE_MAX]; /* those that are not apart, by their session's number */
    unsigned n_here;
    struct store_login_done *held[LOGINS_DONE_MAX]; /* of these: their leases are theirs */
    unsigned n;
};

static int by_ref(const void *a, const void *b)
{
    const struct store_login_done *const *x = a, *const *y = b;
    return (*x)->session_ref < (*y)->session_ref ? -1 : (*x)->session_ref > (*y)->session_ref;
}

static struct store_login_done *of_job(struct store_login_done *const *list, unsigned n, uint64_t job_id)
{
    for (unsigned i = 0; i < n; i++)
        if (list[i]->job_id == job_id)
            return list[i];
    return NULL;
}

static bool is_token(struct db *db, unsigned col, const struct store_login_done *one)
{
    size_t len;
    const char *token = db_str(db, col, &len);
    return len == ID_TOKEN_BYTES && memcmp(one->token, token, len) == 0;
}

/* Locks the companies' epochs. One whose epoch another transaction holds is recorded apart. */
static enum db_rc epochs_lock(struct db *db, struct outcome *o)
{
    struct store_group *op = o->op;
    struct company_epoch row[LOGINS_DONE_MAX];
    o->n_here = 0;
    for (unsigned i = 0; i < op->n; i++)
        row[i] = (struct company_epoch){.company_id = o->all[i]->company_id, .portal = o->all[i]->portal};
    TRY(epochs_take(db, row, op->n));
    for (unsigned i = 0; i < op->n; i++)
        if (!(op->is_apart[i] = !row[i].is_ours))
            o->here[o->n_here++] = o->all[i];
    qsort(o->here, o->n_here, sizeof(*o->here), by_ref);
    return DB_OK;
}

/* Laravel's rows; one that it holds, or has deleted, is recorded apart. */
static enum db_rc jobs_lock(struct db *db, struct outcome *o)
{
    struct store_login_done *ours[LOGINS_DONE_MAX];
    uint64_t jobs[LOGINS_DONE_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < o->n; i++)
        jobs[i] = o->held[i]->job_id;
    TRY(portal_rows_lock(db, jobs, o->n));
    while (db_next(db)) {
        struct store_login_done *one = of_job(o->held, o->n, db_u64(db, 0));
        if (one)
            ours[n++] = one;
    }
    for (unsigned i = 0; i < o->op->n; i++) {
        uint64_t job_id = o->all[i]->job_id;
        o->op->is_apart[i] |= of_job(o->held, o->n, job_id) && !of_job(ours, n, job_id);
    }
    memcpy(o->held, ours, n * sizeof(*ours));
    o->n = n;
    return DB_OK;
}

/* Epochs, sessions, leases, jobs: locked in this order. Whose session is opening and whose lease is ours is `held`. */
static enum db_rc lock(struct db *db, struct outcome *o)
{
    uint64_t refs[LOGINS_DONE_MAX], jobs[LOGINS_DONE_MAX], opening[LOGINS_DONE_MAX];
    unsigned n_opening = 0;
    TRY(epochs_lock(db, o));
    if (!o->n_here)
        return DB_OK;
    for (unsigned i = 0; i < o->n_here; i++) {
        refs[i] = o->here[i]->session_ref;
        jobs[i] = o->here[i]->job_id;
    }
    TRY(db_query_in_u64(
        db,
        "SELECT job_id FROM chasqui_sessions FORCE INDEX (PRIMARY) WHERE id IN (%s) AND state = 'opening' FOR UPDATE",
        refs, o->n_here, ""));
    while (n_opening < LOGINS_DONE_MAX && db_next(db))
        opening[n_opening++] = db_u64(db, 0);
    TRY(db_query_in_u64(
        db, "SELECT job_id, token FROM chasqui_leases FORCE INDEX (PRIMARY) WHERE job_id IN (%s) FOR UPDATE", jobs,
        o->n_here, ""));
    while (db_next(db)) {
        struct store_login_done *one = of_job(o->here, o->n_here, db_u64(db, 0));
        bool is_opening = false;
        for (unsigned i = 0; one && i < n_opening; i++)
            is_opening |= opening[i] == one->job_id;
        if (is_opening && is_token(db, 1, one))
            o->held[o->n++] = one;
    }
    return o->n ? jobs_lock(db, o) : DB_OK;
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
    cells[4].n = one->company_id;
    cells[5].n = one->job_id;
}

static void fill_event(void *arg, unsigned row, struct db_cell *cells)
{
    const struct store_login_done *one = ((struct outcome *)arg)->held[row];
    cells[0].n = one->job_id;
    cells[1].data = one->worker;
    cells[2].n = one->attempt.n;
    cells[3].data = outcome_name[one->attempt.outcome];
    cells[4].n = cells[5].n = (uint64_t)one->attempt.queued_ms; /* below 0: it is not known */
    cells[6].n = cells[7].n = (uint64_t)one->attempt.robot_ms;
    cells[8].n = (uint64_t)one->attempt.status;
    cells[9].data = one->attempt.error[0] ? one->attempt.error : NULL;
    cells[10].data = one->attempt.message[0] ? one->attempt.message : NULL;
}

/* Of few leases the server would rather read all, and wait for those that others have locked. */
static enum db_rc leases_end(struct db *db, const struct outcome *o)
{
    uint64_t jobs[LOGINS_DONE_MAX];
    for (unsigned i = 0; i < o->n; i++)
        jobs[i] = o->held[i]->job_id;
    return db_exec_in_u64(db, "DELETE l FROM chasqui_leases l FORCE INDEX (PRIMARY) WHERE l.job_id IN (%s)", jobs,
                          o->n, "");
}

/* The items of each batch in one statement; those that were queued by themselves are of batch 0. */
static enum db_rc items_end(struct db *db, const struct outcome *o)
{
    bool is_done[LOGINS_DONE_MAX] = {false};
    for (unsigned i = 0; i < o->n; i++) {
        uint64_t batch_id = o->held[i]->item.batch_id, idx[LOGINS_DONE_MAX];
        unsigned n = 0;
        for (unsigned j = i; j < o->n; j++) {
            const struct queued *item = &o->held[j]->item;
            if (!is_done[j] && item->is_set && item->batch_id == batch_id) {
                idx[n++] = item->idx;
                is_done[j] = true;
            }
        }
        if (n)
            TRY(db_exec_in_u64(
                db,
                "UPDATE chasqui_items FORCE INDEX (PRIMARY) SET {become item.log_in_bulk} WHERE batch_id = ? AND idx IN (%s)",
                idx, n, "u", batch_id));
    }
    return DB_OK;
}

/* A batch's params are its items', which end without them. */
static enum db_rc params_erase(struct db *db, const struct outcome *o)
{
    uint64_t jobs[LOGINS_DONE_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < o->n; i++)
        if (!o->held[i]->item.batch_id)
            jobs[n++] = o->held[i]->job_id;
    return n ? db_exec_in_u64(
                   db,
                   "UPDATE chasqui_jobs FORCE INDEX (PRIMARY) SET params = NULL WHERE job_id IN (%s) AND params IS NOT NULL",
                   jobs, n, "")
             : DB_OK;
}

/* The sessions as they are now; no client waits for a batch's, which are read only when `all` are. */
static enum db_rc rows_read(struct db *db, const struct outcome *o, bool all)
{
    uint64_t refs[LOGINS_DONE_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < o->n; i++)
        if (all || !o->held[i]->item.batch_id) {
            memset(&o->held[i]->row, 0, sizeof(o->held[i]->row));
            refs[n++] = o->held[i]->session_ref;
        }
    if (!n)
        return DB_OK;
    TRY(db_query_in_u64(db, "SELECT " SESSION_COLUMNS SESSION_FROM "WHERE s.id IN (%s)", refs, n, ""));
    while (db_next(db)) {
        struct session_row row;
        session_read(db, 0, &row);
        struct store_login_done *one = of_job(o->held, o->n, row.job_id);
        if (one && one->session_ref == row.ref)
            one->row = row;
    }
    return DB_OK;
}

static enum db_rc done_tx(struct db *db, void *arg)
{
    struct outcome *o = arg;
    o->n = 0;
    for (unsigned i = 0; i < o->op->n; i++)
        o->all[i]->outcome = LOGIN_DONE_LOST;
    TRY(lock(db, o));
    if (!o->n)
        return DB_OK;
    TRY(leases_end(db, o));
    TRY(db_update_rows(
        db,
        "UPDATE chasqui_sessions FORCE INDEX (PRIMARY) SET {become session.log_in}, robot_session_id = {each}, live_session_id = {each}, "
        "boot_id = {each}, title = {each} WHERE {rows} AND {from session.log_in}",
        "id", "ssssu", o->n, fill_session, o));
    TRY(db_update_rows(
        db,
        "UPDATE portal_jobs FORCE INDEX (PRIMARY) SET {become job.log_in_bulk}, robot_worker_base_url = {each}, robot_worker_viewer_url = "
        "{each}, robot_session_id = {each}, worker = {each}{result} WHERE {rows} AND company_id = CAST({each} AS UNSIGNED)",
        "id", "ssssuu", o->n, fill_portal_job, o));
    if (db_affected(db) != o->n) /* Laravel deleted one of them */
        return DB_DUP;
    TRY(db_bulk(
        db,
        "INSERT INTO chasqui_job_events (job_id, at, event, worker, attempt, outcome, queued_ms, robot_ms, robot_status, robot_error, "
        "robot_message) VALUES (?, NOW(6), 'done', ?, ?, ?, IF(? < 0, NULL, ?), IF(? < 0, NULL, ?), ?, ?, ?)",
        "ususiiiiNss", o->n, fill_event, o));
    TRY(items_end(db, o));
    TRY(params_erase(db, o));
    TRY(rows_read(db, o, false));
    for (unsigned i = 0; i < o->n; i++)
        o->held[i]->outcome = LOGIN_DONE_OK;
    return DB_OK;
}

/* All or none of them were committed, and the commit ended all leases. When none is there, each session tells: another
 * dispatcher may have taken the leases over meanwhile. */
static int was_done(struct db *db, void *arg)
{
    struct outcome *o = arg;
    uint64_t jobs[LOGINS_DONE_MAX];
    if (!o->n)
        return 0;
    for (unsigned i = 0; i < o->n; i++)
        jobs[i] = o->held[i]->job_id;
    if (db_query_in_u64(
            db,
            "SELECT job_id, token FROM chasqui_leases FORCE INDEX (PRIMARY) WHERE job_id IN (%s) LOCK IN "
            "SHARE MODE WAIT 3",
            jobs, o->n, ""))
        return -1;
    while (db_next(db)) {
        const struct store_login_done *one = of_job(o->held, o->n, db_u64(db, 0));
        if (one && is_token(db, 1, one))
            return 0;
    }
    if (rows_read(db, o, true))
        return -1;
    for (unsigned i = 0; i < o->n; i++) {
        struct store_login_done *one = o->held[i];
        bool is_ours = one->row.state == SESSION_ACTIVE && strcmp(one->row.session_id, one->session_id) == 0;
        one->outcome = is_ours ? LOGIN_DONE_OK : LOGIN_DONE_LOST;
    }
    return 1;
}

void store_logins_done(struct db *db, void *arg)
{
    struct store_group *op = arg;
    struct outcome o = {.op = op};
    CHECK(op->n >= 1 && op->n <= LOGINS_DONE_MAX, "%u outcomes", op->n);
    for (unsigned i = 0; i < op->n; i++) {
        o.all[i] = op->op[i];
        op->is_apart[i] = false;
    }
    if (op->n == 1) {
        store_login_done(db, op->op[0]);
        return;
    }
    enum db_rc rc = DB_GONE;
    enum db_done how = db ? db_tx(db, done_tx, was_done, &o, &rc) : TX_NOT;
    enum store_rc is = how == TX_DONE ? STORE_OK : how == TX_NOT ? STORE_DOWN : STORE_UNKNOWN;
    bool all_apart = how == TX_NOT && (rc == DB_DUP || rc == DB_REFUSED); /* a refused one holds no other */
    for (unsigned i = 0; i < op->n; i++) {
        o.all[i]->rc = is;
        op->is_apart[i] = all_apart || (is == STORE_OK && op->is_apart[i]);
    }
}
