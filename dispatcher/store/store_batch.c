/* SPDX-License-Identifier: MIT */
/*
 * store_batch.c - batches coming in, being cancelled and coming to their end.
 *
 * Owns nothing; runs on database threads. Nothing is counted on the batch's row
 * while it runs: the first dispatcher that finds no item left closes it. The row is locked before
 * its items: shared by those who append, alone by who closes, cancels or ends
 * it. A waiting item is locked before its portal_jobs row, as in the claim; one
 * that runs after it, as in the end of a job.
 */
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_refusal.h"
#include "dispatcher/store/store_webhook.h"

#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP 1000 /* rows a transaction changes at most */

/* ---- opening ------------------------------------------------------------------------------------------------ */

static enum db_rc batch_replayed(struct db *db, struct store_batch_open *op)
{
    TRY(db_query(db, "SELECT status FROM chasqui_batches WHERE id = ?", "u", op->batch_id));
    if ((op->replayed = db_next(db)))
        db_str_copy(db, 0, op->status, sizeof(op->status));
    op->mismatch = !op->replayed; /* the batch was pruned before its key */
    return DB_OK;
}

static enum db_rc open_tx(struct db *db, void *arg)
{
    struct store_batch_open *op = arg;
    enum key_outcome key;
    uint64_t job_id, turn;
    op->replayed = op->mismatch = op->too_many = false;
    TRY(key_look(db, &op->key, &key, &job_id, &op->batch_id));
    if (key == KEY_REPLAY)
        return batch_replayed(db, op);
    if ((op->mismatch = key == KEY_MISMATCH))
        return DB_OK;
    TRY(db_query(
        db,
        "SELECT COUNT(*) FROM chasqui_batches FORCE INDEX (unfinished) WHERE finished_at IS NULL AND token_id = ?",
        "u", op->token_id));
    if ((op->too_many = db_next(db) && db_u64(db, 0) >= BATCHES_MAX))
        return DB_OK;
    TRY(turn_next(db, op->priority, op->token_id, true, &turn));
    TRY(db_exec(
        db,
        "INSERT INTO chasqui_batches (token_id, portal, action, priority, turn, status, request_id, callback_url, available_at, name, "
        "steps, step_params, closes, user_id, created_at) VALUES (?, ?, ?, ?, ?, 'open', NULLIF(?, ''), NULLIF(?, ''), FROM_UNIXTIME(? / 1000), "
        "NULLIF(?, ''), NULLIF(?, ''), ?, ?, ?, NOW(6))",
        "ussuussNssbuN", op->token_id, op->portal, op->action, (uint64_t)op->priority, turn, op->request_id,
        op->callback_url, (uint64_t)op->available_at_ms, op->name, op->steps,
        op->step_params.len ? (const void *)op->step_params.data : NULL, op->step_params.len, (uint64_t)op->closes,
        op->user_id));
    op->batch_id = db_insert_id(db);
    turn_given(op->priority, op->token_id, true, op->batch_id, 0, turn);
    strcpy(op->status, "open");
    enum db_rc rc = key_add(db, &op->key, 0, op->batch_id);
    return rc == DB_DUP ? DB_RETRY : rc;
}

static int open_done(struct db *db, void *arg)
{
    struct store_batch_open *op = arg;
    if (op->too_many)
        return 1;
    if (db_query(db,
                 "SELECT 1 FROM chasqui_idempotency WHERE scope = ? AND batch_id = ? LOCK IN SHARE MODE WAIT 3",
                 "bu", (const void *)op->key.scope, (size_t)DIGEST_BYTES, op->batch_id))
        return -1;
    return db_next(db);
}

void store_batch_open(struct db *db, void *arg)
{
    struct store_batch_open *op = arg;
    op->rc = store_tx(db, open_tx, open_done, op);
}

/* ---- items coming in ---------------------------------------------------------------------------------------- */

enum db_rc batch_portal(struct db *db, uint64_t batch_id, uint64_t token_id, char portal[PORTAL_ROOM])
{
    portal[0] = 0;
    bool found;
    TRY(db_find(db, &found, "SELECT portal FROM chasqui_batches WHERE id = ? AND token_id = ?", "uu", batch_id,
                token_id));
    if (found)
        db_str_copy(db, 0, portal, PORTAL_ROOM);
    return DB_OK;
}

struct append {
    struct store_batch_append *op;
    uint64_t urgency, turn;
    char due_at[32];           /* "" = now */
    unsigned row[DB_BULK_MAX]; /* those that are missing */
};

static bool is_same(struct db *db, const struct batch_item *it)
{
    size_t len;
    const char *digest = db_str(db, 2, &len);
    if (db_u64(db, 1) != it->company_id || it->has_params != (digest != NULL))
        return false;
    return !digest || (len == sizeof(it->digest) && memcmp(digest, it->digest, len) == 0);
}

/* Which of the items are not there yet; those that are there are compared. Both come in the order of their index. */
static enum db_rc items_compare(struct db *db, struct append *a, unsigned *missing)
{
    struct store_batch_append *op = a->op;
    bool is_row;
    *missing = 0;
    TRY(db_query(
        db,
        "SELECT idx, company_id, digest FROM chasqui_items WHERE batch_id = ? AND idx BETWEEN ? AND ? ORDER BY idx",
        "uuu", op->batch_id, op->item[0].idx, op->item[op->n - 1].idx));
    is_row = db_next(db);
    for (unsigned i = 0; i < op->n; i++) {
        struct batch_item *it = &op->item[i];
        while (is_row && db_u64(db, 0) < it->idx)
            is_row = db_next(db);
        bool is_there = is_row && db_u64(db, 0) == it->idx;
        it->differs = is_there ? !is_same(db, it) : op->is_closed;
        op->n_differ += it->differs;
        if (!is_there)
            a->row[(*missing)++] = i;
    }
    while (is_row)
        is_row = db_next(db);
    return DB_OK;
}

static void fill_item(void *arg, unsigned row, struct db_cell *cells)
{
    struct append *a = arg;
    const struct batch_item *it = &a->op->item[a->row[row]];
    cells[0].n = a->op->batch_id;
    cells[1].n = it->idx;
    cells[2].n = it->company_id;
    cells[3].n = !a->due_at[0];
    cells[4].n = a->urgency;
    cells[5].n = a->turn + it->idx + 1000000ull * it->lap;
    cells[6].data = a->due_at[0] ? a->due_at : NULL;
    if (it->has_params) {
        cells[7].data = it->digest;
        cells[7].len = sizeof(it->digest);
        cells[8].data = a->op->params + it->params_at;
        cells[8].len = it->params_len;
    }
}

static enum db_rc append_tx(struct db *db, void *arg)
{
    struct append *a = arg;
    struct store_batch_append *op = a->op;
    unsigned missing;
    op->is_gone = op->is_closed = op->is_cancelled = false;
    op->n_added = op->n_differ = 0;
    bool found;
    TRY(db_find(
        db, &found,
        "SELECT status, 9 - priority, turn, IF(available_at > NOW(6), available_at, NULL) FROM chasqui_batches WHERE id = ? AND "
        "token_id = ? LOCK IN SHARE MODE",
        "uu", op->batch_id, op->token_id));
    if ((op->is_gone = !found))
        return DB_OK;
    const char *status = db_str(db, 0, NULL);
    op->is_closed = strcmp(status, "open") != 0;
    op->is_cancelled = strcmp(status, "cancelled") == 0;
    a->urgency = db_u64(db, 1);
    a->turn = db_u64(db, 2);
    db_str_copy(db, 3, a->due_at, sizeof(a->due_at));
    TRY(items_compare(db, a, &missing));
    if (op->n_differ || !missing)
        return DB_OK;
    enum db_rc rc = db_bulk(
        db,
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn, due_at, digest, params) VALUES "
        "(?, ?, ?, {new item.add}, ?, ?, ?, ?, ?, ?)",
        "uuuNuusbb", missing, fill_item, a);
    op->n_added = missing;
    return rc == DB_DUP ? DB_RETRY : rc; /* somebody sent the same lines elsewhere: look again */
}

static int append_done(struct db *db, void *arg)
{
    struct append *a = arg;
    if (!a->op->n_added)
        return 0;
    if (db_query(db, "SELECT 1 FROM chasqui_items WHERE batch_id = ? AND idx = ? LOCK IN SHARE MODE WAIT 3", "uu",
                 a->op->batch_id, a->op->item[a->row[0]].idx))
        return -1;
    return db_next(db);
}

void store_batch_append(struct db *db, void *arg)
{
    struct append a = {.op = arg};
    CHECK(a.op->n >= 1 && a.op->n <= DB_BULK_MAX, "%u items", a.op->n);
    a.op->rc = store_tx(db, append_tx, append_done, &a);
}

/* ---- its end ------------------------------------------------------------------------------------------------ */

static enum db_rc is_left(struct db *db, uint64_t batch_id, bool *left)
{
    TRY(db_query(
        db,
        "SELECT 1 FROM chasqui_items FORCE INDEX (by_state) WHERE batch_id = ? AND state IN ('queued', 'running', 'retrying') LIMIT 1",
        "u", batch_id));
    *left = db_next(db);
    return DB_OK;
}

/* The batch's row is locked. Counts its items by outcome, for ever, and notes whom to tell. */
static enum db_rc batch_end(struct db *db, uint64_t batch_id)
{
    uint64_t count[6] = {0};
    TRY(db_query(
        db,
        "SELECT state + 0, COUNT(*) FROM chasqui_items FORCE INDEX (by_state) WHERE batch_id = ? GROUP BY state",
        "u", batch_id));
    while (db_next(db)) {
        uint64_t state = db_u64(db, 0); /* ENUM indexes count from 1 */
        if (state >= 1 && state <= 6)
            count[state - 1] = db_u64(db, 1);
    }
    TRY(db_exec(
        db,
        "UPDATE chasqui_batches SET status = IF(status = 'cancelled', status, 'done'), finished_at = NOW(6), done = ?, failed = ?, "
        "cancelled = ? WHERE id = ?",
        "uuuu", count[3], count[4], count[5], batch_id));
    return webhook_add(db, batch_id);
}

/* No more items come: the batch runs, or is done when nothing of it is left. Its row is locked. */
static enum db_rc batch_close(struct db *db, uint64_t batch_id, uint64_t *total, bool *ended)
{
    bool left;
    TRY(db_query(db, "SELECT COUNT(*) FROM chasqui_items WHERE batch_id = ?", "u", batch_id));
    *total = db_next(db) ? db_u64(db, 0) : 0;
    TRY(db_exec(db, "UPDATE chasqui_batches SET status = 'running', total = ? WHERE id = ?", "uu", *total,
                batch_id));
    TRY(is_left(db, batch_id, &left));
    *ended = !left;
    return left ? DB_OK : batch_end(db, batch_id);
}

static enum db_rc close_tx(struct db *db, void *arg)
{
    struct store_batch_close *op = arg;
    bool ended = false;
    TRY(db_find(db, &op->found,
                "SELECT status, total FROM chasqui_batches WHERE id = ? AND token_id = ? FOR UPDATE", "uu",
                op->batch_id, op->token_id));
    if (!op->found)
        return DB_OK;
    db_str_copy(db, 0, op->status, sizeof(op->status));
    op->total = db_u64(db, 1);
    TRY(db_query(db, "SELECT 1 FROM chasqui_items WHERE batch_id = ? AND idx >= ? LIMIT 1", "uu", op->batch_id,
                 op->lines));
    op->differs = db_next(db);
    if (op->differs || strcmp(op->status, "open") != 0)
        return DB_OK;
    TRY(batch_close(db, op->batch_id, &op->total, &ended));
    strcpy(op->status, ended ? "done" : "running");
    return DB_OK;
}

void store_batch_close(struct db *db, void *arg)
{
    struct store_batch_close *op = arg;
    if (db)
        db_catch_up(db); /* items that other nodes have taken count */
    op->rc = store_tx(db, close_tx, NULL, op);
}

/* ---- cancelling --------------------------------------------------------------------------------------------- */

struct stop {
    uint64_t batch_id;
    unsigned n_jobs;
    uint64_t job_id[STEP], idx[STEP];
};

static void fill_job(void *arg, unsigned row, struct db_cell *cells)
{
    cells[0].n = ((struct stop *)arg)->job_id[row];
}

static void fill_item_of_job(void *arg, unsigned row, struct db_cell *cells)
{
    struct stop *s = arg;
    cells[0].n = s->batch_id;
    cells[1].n = s->idx[row];
}

/* A refused row does not hold the others: they are written one by one then. What the first try wrote is the same. */
static enum db_rc rows_cancel(struct db *db, struct stop *s)
{
    static const char sql[] =
        "UPDATE portal_jobs SET {become job.cancel}{result} WHERE id = ? AND {from job.cancel}";
    enum db_rc rc = db_bulk(db, sql, "u", s->n_jobs, fill_job, s);
    if (rc != DB_REFUSED && rc != DB_DUP)
        return rc;
    db_forgive(db);
    for (unsigned i = 0; i < s->n_jobs; i++)
        TRY(job_written(db, s->job_id[i], &(struct job_end){"cancelled", NULL, NULL},
                        db_exec(db, sql, "u", s->job_id[i])));
    return DB_OK;
}

/* Their items are locked. */
static enum db_rc jobs_cancel(struct db *db, struct stop *s)
{
    if (!s->n_jobs)
        return DB_OK;
    TRY(db_bulk(
        db, "UPDATE chasqui_items SET {become item.cancel} WHERE batch_id = ? AND idx = ? AND {from item.cancel}",
        "uu", s->n_jobs, fill_item_of_job, s));
    TRY(rows_cancel(db, s));
    TRY(db_bulk(db, "UPDATE chasqui_jobs SET params = NULL WHERE job_id = ?", "u", s->n_jobs, fill_job, s));
    return db_bulk(db, "INSERT INTO chasqui_job_events (job_id, at, event) VALUES (?, NOW(6), 'cancelled')", "u",
                   s->n_jobs, fill_job, s);
}

/* The first item from index `from` on that waits. In order, so that what was cancelled before is not read again. */
static enum db_rc waiting_find(struct db *db, uint64_t batch_id, uint64_t from, uint64_t *idx, bool *found)
{
    static const char *const states[] = {"queued", "retrying"};
    *found = false;
    for (unsigned i = 0; i < 2 && !*found; i++) {
        TRY(db_query(
            db,
            "SELECT idx FROM chasqui_items FORCE INDEX (by_state) WHERE batch_id = ? AND state = ? AND idx >= ? ORDER BY idx LIMIT 1",
            "usu", batch_id, states[i], from));
        if ((*found = db_next(db)))
            *idx = db_u64(db, 0);
    }
    return DB_OK;
}

/* The jobs of those between two indexes that wait and have one: put back, or to be retried. Locks the items. */
static enum db_rc waiting_jobs(struct db *db, struct stop *s, uint64_t from, uint64_t last)
{
    TRY(db_query(
        db,
        "SELECT job_id, idx FROM chasqui_items WHERE batch_id = ? AND idx BETWEEN ? AND ? AND state IN ('queued', 'retrying') AND job_id IS "
        "NOT NULL FOR UPDATE",
        "uuu", s->batch_id, from, last));
    for (; s->n_jobs < STEP && db_next(db); s->n_jobs++) {
        s->job_id[s->n_jobs] = db_u64(db, 0);
        s->idx[s->n_jobs] = db_u64(db, 1);
    }
    return DB_OK;
}

/* Those of the next STEP items from index *from on that have not begun. *more = there may be others behind. */
static enum db_rc waiting_cancel(struct db *db, struct stop *s, uint64_t *from, bool *more)
{
    uint64_t last = *from;
    unsigned n = 0;
    bool have_jobs = false;
    s->n_jobs = 0;
    TRY(db_query(
        db,
        "SELECT idx, job_id IS NOT NULL FROM chasqui_items WHERE batch_id = ? AND idx >= ? ORDER BY idx LIMIT ?",
        "uuu", s->batch_id, *from, (uint64_t)STEP));
    for (; db_next(db); n++) {
        last = db_u64(db, 0);
        have_jobs |= db_u64(db, 1) != 0;
    }
    if (have_jobs)
        TRY(waiting_jobs(db, s, *from, last));
    TRY(db_exec(
        db,
        "UPDATE chasqui_items SET {become item.cancel_unbegun} WHERE batch_id = ? AND idx BETWEEN ? AND ? AND "
        "{from item.cancel_unbegun} AND job_id IS NULL",
        "uuu", s->batch_id, *from, last));
    TRY(jobs_cancel(db, s));
    if ((*more = n == STEP))
        *from = last + 1;
    else
        TRY(waiting_find(db, s->batch_id, 0, from, more)); /* one that went back meanwhile */
    return DB_OK;
}

/* Asks the holders of running items from index *from on to stop, at most STEP of them. */
static enum db_rc running_ask(struct db *db, struct stop *s, uint64_t *from, bool *more, bool *asked)
{
    s->n_jobs = 0;
    TRY(db_query(
        db,
        "SELECT idx, job_id FROM chasqui_items FORCE INDEX (by_state) WHERE batch_id = ? AND state = 'running' AND idx >= ? ORDER BY idx "
        "LIMIT ?",
        "uuu", s->batch_id, *from, (uint64_t)STEP));
    while (s->n_jobs < STEP && db_next(db)) {
        *from = db_u64(db, 0) + 1;
        s->job_id[s->n_jobs++] = db_u64(db, 1);
    }
    *more = s->n_jobs == STEP;
    if (!s->n_jobs)
        return DB_OK;
    TRY(db_bulk(db, "UPDATE chasqui_leases SET cancel = 1 WHERE job_id = ? AND kind IN ('login', 'round')", "u",
                s->n_jobs, fill_job, s));
    *asked |= db_affected(db) > 0;
    return DB_OK;
}

static enum db_rc cancel_begin(struct db *db, struct store_batch_cancel *op)
{
    char subject[40];
    char before[sizeof(op->status)];
    bool is_finished, was_open;
    TRY(batch_lock(db, op->batch_id, &op->viewer, &op->found));
    if (!op->found)
        return DB_OK;
    TRY(db_query(db, "SELECT status, finished_at IS NOT NULL FROM chasqui_batches WHERE id = ?", "u",
                 op->batch_id));
    if (!(op->found = db_next(db)))
        return DB_OK;
    db_str_copy(db, 0, op->status, sizeof(op->status));
    is_finished = db_u64(db, 1) != 0;
    was_open = strcmp(op->status, "open") == 0;
    strcpy(before, op->status);
    if ((op->wrong_state = is_finished) || strcmp(op->status, "cancelled") == 0)
        return DB_OK;
    if (was_open)
        TRY(db_exec(
            db,
            "UPDATE chasqui_batches SET total = (SELECT COUNT(*) FROM chasqui_items WHERE batch_id = ?) WHERE id = ?",
            "uu", op->batch_id, op->batch_id));
    TRY(db_exec(db, "UPDATE chasqui_batches SET status = 'cancelled' WHERE id = ?", "u", op->batch_id));
    strcpy(op->status, "cancelled");
    snprintf(subject, sizeof(subject), "batch:%llu", (unsigned long long)op->batch_id);
    struct audit audit = {&op->by, "batch.cancel", subject};
    return audit_change(db, &audit, before, op->status, NULL);
}

struct cancel {
    struct store_batch_cancel *op;
    struct stop stop;
    uint64_t from;
    bool is_asking;
};

static enum db_rc cancel_tx(struct db *db, void *arg)
{
    struct cancel *c = arg;
    struct store_batch_cancel *op = c->op;
    bool asked = false;
    c->from = op->from;
    c->is_asking = op->is_asking;
    op->more = false;
    if (!op->begun) {
        op->found = op->wrong_state = false;
        TRY(cancel_begin(db, op));
        if (!op->found || op->wrong_state)
            return DB_OK;
    }
    c->stop.batch_id = op->batch_id;
    if (c->is_asking) {
        TRY(running_ask(db, &c->stop, &c->from, &op->more, &asked));
    } else {
        TRY(waiting_cancel(db, &c->stop, &c->from, &op->more));
        if (!op->more) {
            c->is_asking = op->more = true;
            c->from = 0;
        }
    }
    op->asked |= asked;
    return DB_OK;
}

void store_batch_cancel(struct db *db, void *arg)
{
    struct store_batch_cancel *op = arg;
    struct cancel *c = xcalloc(1, sizeof(*c));
    c->op = op;
    op->rc = store_tx(db, cancel_tx, NULL, c);
    if (op->rc == STORE_OK) {
        op->from = c->from;
        op->is_asking = c->is_asking;
        op->begun = op->found && !op->wrong_state;
    }
    free(c);
}

/* ---- looking for those that have ended ---------------------------------------------------------------------- */

struct finish {
    struct stop stop;
    uint64_t batch_id;
    bool ended, asked;
};

static enum db_rc finish_tx(struct db *db, void *arg)
{
    struct finish *f = arg;
    bool left, more;
    uint64_t total, from = 0;
    f->ended = f->asked = false;
    TRY(db_query(
        db,
        "SELECT status, created_at <= NOW(6) - INTERVAL 24 HOUR FROM chasqui_batches WHERE id = ? AND finished_at IS NULL FOR UPDATE",
        "u", f->batch_id));
    if (!db_next(db))
        return DB_OK;
    const char *status = db_str(db, 0, NULL);
    if (strcmp(status, "open") == 0)
        return db_u64(db, 1) ? batch_close(db, f->batch_id, &total, &f->ended) : DB_OK;
    f->stop.batch_id = f->batch_id;
    if (strcmp(status, "cancelled") == 0) {
        TRY(waiting_find(db, f->batch_id, 0, &from, &more));
        if (more)
            TRY(waiting_cancel(db, &f->stop, &from, &more));
        from = 0;
        TRY(running_ask(db, &f->stop, &from, &more, &f->asked));
    }
    TRY(is_left(db, f->batch_id, &left));
    f->ended = !left;
    return left ? DB_OK : batch_end(db, f->batch_id);
}

/* Is there anything to be done about it? Most looks end here, without a lock. */
static enum db_rc is_due(struct db *db, uint64_t batch_id, bool *due)
{
    TRY(db_query(
        db,
        "SELECT b.status = 'cancelled' OR (b.status = 'open' AND b.created_at <= NOW(6) - INTERVAL 24 HOUR) OR (b.status = 'running' AND NOT "
        "EXISTS (SELECT 1 FROM chasqui_items i FORCE INDEX (by_state) WHERE i.batch_id = b.id AND i.state IN ('queued', 'running', "
        "'retrying'))) FROM chasqui_batches b WHERE b.id = ? AND b.finished_at IS NULL",
        "u", batch_id));
    *due = db_next(db) && db_u64(db, 0);
    return DB_OK;
}

static enum db_rc unfinished_read(struct db *db, struct store_batch_finish *op, uint64_t *ids, unsigned *n)
{
    *n = 0;
    TRY(db_query(
        db,
        "SELECT id FROM chasqui_batches FORCE INDEX (unfinished) WHERE finished_at IS NULL AND id > ? ORDER BY id LIMIT ?",
        "uu", op->after, (uint64_t)QUEUE_CLAIM_MAX));
    while (*n < QUEUE_CLAIM_MAX && db_next(db))
        ids[(*n)++] = db_u64(db, 0);
    op->after = *n == QUEUE_CLAIM_MAX ? ids[*n - 1] : 0;
    return DB_OK;
}

void store_batch_finish(struct db *db, void *arg)
{
    struct store_batch_finish *op = arg;
    uint64_t ids[QUEUE_CLAIM_MAX];
    unsigned n = op->n;
    op->n_done = 0;
    op->asked = false;
    memcpy(ids, op->batch, n * sizeof(ids[0]));
    op->rc = store_rc_of(!db ? DB_GONE : n ? DB_OK : unfinished_read(db, op, ids, &n));
    struct finish *f = xcalloc(1, sizeof(*f));
    for (unsigned i = 0; i < n && op->rc == STORE_OK; i++) {
        bool due = false;
        f->batch_id = ids[i];
        op->rc = store_rc_of(is_due(db, ids[i], &due));
        if (op->rc == STORE_OK && due) {
            op->rc = store_tx(db, finish_tx, NULL, f);
            op->asked |= f->asked;
            if (op->rc == STORE_OK && f->ended)
                op->done[op->n_done++] = ids[i];
        }
    }
    free(f);
}
