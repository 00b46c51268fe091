/* SPDX-License-Identifier: MIT */
/*
 * store_retention.c - deleting what is too old. Every table is walked along a
 * key in the order in which its rows came, from the cursor on, and the walk ends
 * at the first row that is young: a pass that has nothing to delete reads a
 * handful of rows. Rows are deleted by their primary key.
 */
#include "dispatcher/store/store_retention.h"

#include "dispatcher/store/store_sql.h"

#include <string.h>

#define JOBS_STEP 50 /* a job has a few events and sessions */
#define BATCHES_STEP 20
#define RESULTS_STEP 50

struct ids {
    uint64_t id[PRUNE_MAX];
    unsigned n;
};

/* Reads the first column of every row; more than fit are left unread. */
static void ids_read(struct db *db, struct ids *out)
{
    out->n = 0;
    while (out->n < PRUNE_MAX && db_next(db))
        out->id[out->n++] = db_u64(db, 0);
}

/* ---- rows that are old when they are old -------------------------------------------------------------------- */

/* `sql`: ids after the cursor with "is it old", in order, PRUNE_MAX at most. */
static enum db_rc by_id(struct db *db, struct store_prune *op, const char *sql, const char *delete_sql)
{
    struct ids old = {.n = 0};
    unsigned seen = 0;
    bool is_young = false;
    TRY(db_query(db, sql, "iu", op->older_s, op->cursor));
    for (; db_next(db) && !is_young; seen++) {
        is_young = !db_u64(db, 1);
        if (!is_young)
            old.id[old.n++] = db_u64(db, 0);
    }
    op->is_end = is_young || seen < PRUNE_MAX;
    if (!old.n)
        return DB_OK;
    op->cursor = old.id[old.n - 1];
    TRY(db_exec_in_u64(db, delete_sql, old.id, old.n, ""));
    op->n = (unsigned)db_affected(db);
    return DB_OK;
}

static enum db_rc events_prune(struct db *db, struct store_prune *op)
{
    return by_id(
        db, op,
        "SELECT id, at < NOW(6) - INTERVAL ? SECOND FROM chasqui_job_events WHERE id > ? ORDER BY id LIMIT 200 FOR UPDATE SKIP LOCKED",
        "DELETE FROM chasqui_job_events WHERE id IN (%s)");
}

static enum db_rc audit_prune(struct db *db, struct store_prune *op)
{
    return by_id(
        db, op,
        "SELECT id, at < NOW(6) - INTERVAL ? SECOND FROM chasqui_audit WHERE id > ? ORDER BY id LIMIT 200 FOR UPDATE SKIP LOCKED",
        "DELETE FROM chasqui_audit WHERE id IN (%s)");
}

static enum db_rc by_minute(struct db *db, struct store_prune *op, const char *delete_sql)
{
    TRY(db_exec(db, delete_sql, "i", op->older_s));
    op->n = (unsigned)db_affected(db);
    op->is_end = op->n < PRUNE_MAX;
    return DB_OK;
}

/* How portals' attempts ended, by minute: of the same age as the timelines that they sum up. */
static enum db_rc minutes_prune(struct db *db, struct store_prune *op)
{
    return by_minute(
        db, op,
        "DELETE FROM chasqui_portal_minutes WHERE minute < NOW() - INTERVAL ? SECOND ORDER BY minute LIMIT 200");
}

static enum db_rc history_prune(struct db *db, struct store_prune *op)
{
    return by_minute(
        db, op, "DELETE FROM chasqui_history WHERE minute < NOW() - INTERVAL ? SECOND ORDER BY minute LIMIT 200");
}

struct bytes {
    uint8_t scope[PRUNE_MAX][32];
    unsigned n;
};

static void fill_scope(void *arg, unsigned row, struct db_cell *cells)
{
    struct bytes *b = arg;
    cells[0].data = b->scope[row];
    cells[0].len = sizeof(b->scope[row]);
}

static enum db_rc keys_prune(struct db *db, struct store_prune *op)
{
    struct bytes old = {.n = 0};
    TRY(db_query(
        db,
        "SELECT scope FROM chasqui_idempotency FORCE INDEX (created) WHERE created_at < NOW(6) - INTERVAL ? SECOND ORDER BY created_at "
        "LIMIT 200 FOR UPDATE SKIP LOCKED",
        "i", op->older_s));
    while (old.n < PRUNE_MAX && db_next(db)) {
        size_t len;
        const char *scope = db_str(db, 0, &len);
        memcpy(old.scope[old.n++], scope, len < 32 ? len : 32);
    }
    op->is_end = old.n < PRUNE_MAX;
    if (!old.n)
        return DB_OK;
    op->n = old.n;
    return db_bulk(db, "DELETE FROM chasqui_idempotency WHERE scope = ?", "b", old.n, fill_scope, &old);
}

struct runs {
    uint64_t schedule_id[PRUNE_MAX];
    char run_at[PRUNE_MAX][32];
    unsigned n;
};

static void fill_run(void *arg, unsigned row, struct db_cell *cells)
{
    struct runs *r = arg;
    cells[0].n = r->schedule_id[row];
    cells[1].data = r->run_at[row];
}

static enum db_rc runs_prune(struct db *db, struct store_prune *op)
{
    struct runs old = {.n = 0};
    TRY(db_query(
        db,
        "SELECT schedule_id, CAST(run_at AS CHAR) FROM chasqui_schedule_runs FORCE INDEX (at) WHERE run_at < NOW(6) - INTERVAL ? SECOND "
        "AND filling IS NULL ORDER BY run_at LIMIT 200 FOR UPDATE SKIP LOCKED",
        "i", op->older_s));
    for (; old.n < PRUNE_MAX && db_next(db); old.n++) {
        old.schedule_id[old.n] = db_u64(db, 0);
        db_str_copy(db, 1, old.run_at[old.n], sizeof(old.run_at[0]));
    }
    op->is_end = old.n < PRUNE_MAX;
    if (!old.n)
        return DB_OK;
    op->n = old.n;
    return db_bulk(db, "DELETE FROM chasqui_schedule_runs WHERE schedule_id = ? AND run_at = ?", "us", old.n,
                   fill_run, &old);
}

struct results {
    uint64_t batch_id[RESULTS_STEP], idx[RESULTS_STEP], step[RESULTS_STEP];
    unsigned n;
};

static void fill_result(void *arg, unsigned row, struct db_cell *cells)
{
    struct results *r = arg;
    cells[0].n = r->batch_id[row];
    cells[1].n = r->idx[row];
    cells[2].n = r->step[row];
}

/* Answers may be long: few at a time. */
static enum db_rc results_prune(struct db *db, struct store_prune *op)
{
    struct results old = {.n = 0};
    TRY(db_query(
        db,
        "SELECT batch_id, idx, step FROM chasqui_results FORCE INDEX (at) WHERE at < NOW(6) - INTERVAL ? SECOND ORDER BY at LIMIT 50 FOR "
        "UPDATE SKIP LOCKED",
        "i", op->older_s));
    for (; old.n < RESULTS_STEP && db_next(db); old.n++) {
        old.batch_id[old.n] = db_u64(db, 0);
        old.idx[old.n] = db_u64(db, 1);
        old.step[old.n] = db_u64(db, 2);
    }
    op->is_end = old.n < RESULTS_STEP;
    if (!old.n)
        return DB_OK;
    op->n = old.n;
    return db_bulk(db, "DELETE FROM chasqui_results WHERE batch_id = ? AND idx = ? AND step = ?", "uuu", old.n,
                   fill_result, &old);
}

/* ---- jobs --------------------------------------------------------------------------------------------------- */

/* Of the next jobs those that may go; the cursor moves behind the last one looked at. */
static enum db_rc jobs_choose(struct db *db, struct store_prune *op, struct ids *out)
{
    struct ids old = {.n = 0};
    unsigned seen = 0;
    TRY(db_query(
        db,
        "SELECT q.job_id, COALESCE({utc j.created_at} < NOW(6) - INTERVAL ? SECOND, 1), j.status IN ({done}, {failed}, {cancelled}) AND "
        "COALESCE({utc j.finished_at}, {utc j.updated_at}) < NOW(6) - INTERVAL ? SECOND FROM chasqui_jobs q JOIN portal_jobs j ON j.id = q.job_id WHERE q.job_id > ? ORDER BY q.job_id "
        "LIMIT 50",
        "iiu", op->older_s, op->older_s, op->cursor));
    op->is_end = false;
    while (!op->is_end && db_next(db)) {
        op->is_end = !db_u64(db, 1);
        if (op->is_end)
            break;
        seen++;
        op->cursor = db_u64(db, 0);
        if (db_u64(db, 2))
            old.id[old.n++] = op->cursor;
    }
    op->is_end |= seen < JOBS_STEP;
    out->n = 0;
    if (!old.n)
        return DB_OK;
    TRY(db_query_in_u64(
        db,
        "SELECT j.id FROM portal_jobs j WHERE j.id IN (%s) AND j.status IN ({done}, {failed}, {cancelled}) AND "
        "COALESCE({utc j.finished_at}, {utc j.updated_at}) < NOW(6) - INTERVAL ? SECOND AND NOT EXISTS (SELECT 1 FROM chasqui_leases l "
        "WHERE l.job_id = j.id) AND NOT EXISTS (SELECT 1 FROM chasqui_session_migrations m WHERE m.job_id = j.id) AND NOT "
        "EXISTS (SELECT 1 FROM chasqui_sessions s WHERE s.job_id = j.id AND (s.live = 1 OR s.close_pending <> 0 OR s.since >= "
        "NOW(6) - INTERVAL ? SECOND)) FOR UPDATE SKIP LOCKED",
        old.id, old.n, "ii", op->older_s, op->older_s));
    ids_read(db, out);
    return DB_OK;
}

/* Deletes up to PRUNE_MAX rows that belong to these jobs, by their own ids. *is_full: there may be more. */
static enum db_rc belongings_prune(struct db *db, struct store_prune *op, const struct ids *jobs,
                                   const char *select_sql, const char *delete_sql, bool *is_full)
{
    struct ids ids;
    TRY(db_query_in_u64(db, select_sql, jobs->id, jobs->n, ""));
    ids_read(db, &ids);
    *is_full |= ids.n == PRUNE_MAX;
    if (!ids.n)
        return DB_OK;
    TRY(db_exec_in_u64(db, delete_sql, ids.id, ids.n, ""));
    op->n += (unsigned)db_affected(db);
    return DB_OK;
}

#define CHILDREN_MAX 32

struct child {
    char schema[65], table[65], column[65];
};

/* What a row of `c` points at stays, whatever its key does when it goes. */
static enum db_rc children_keep(struct db *db, const struct child *c, struct ids *jobs)
{
    struct buf sql = {0};
    struct ids kept;
    buf_addf(&sql, "SELECT DISTINCT `%s` FROM `%s`.`%s` WHERE `%s` IN (%%s)", c->column, c->schema, c->table,
             c->column);
    enum db_rc rc = db_query_in_u64(db, sql.data, jobs->id, jobs->n, "");
    buf_free(&sql);
    TRY(rc);
    ids_read(db, &kept);
    unsigned n = 0;
    for (unsigned i = 0; i < jobs->n; i++) {
        bool is_kept = false;
        for (unsigned k = 0; k < kept.n; k++)
            is_kept |= kept.id[k] == jobs->id[i];
        if (!is_kept)
            jobs->id[n++] = jobs->id[i];
    }
    jobs->n = n;
    return DB_OK;
}

static enum db_rc children_read(struct db *db, struct child *child, unsigned *n)
{
    *n = 0;
    TRY(db_query(
        db,
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_SCHEMA = DATABASE() "
        "AND REFERENCED_TABLE_NAME = 'portal_jobs' AND REFERENCED_COLUMN_NAME = 'id'",
        ""));
    for (; *n < CHILDREN_MAX && db_next(db); ++*n) {
        db_str_copy(db, 0, child[*n].schema, sizeof(child->schema));
        db_str_copy(db, 1, child[*n].table, sizeof(child->table));
        db_str_copy(db, 2, child[*n].column, sizeof(child->column));
        if (strchr(child[*n].schema, '`') || strchr(child[*n].table, '`') || strchr(child[*n].column, '`'))
            return DB_REFUSED;
    }
    return DB_OK;
}

/* One at a time: a row that may not go (a key that its child table holds by another column, a trigger) keeps no other one. */
static enum db_rc rows_delete_each(struct db *db, struct store_prune *op, const struct ids *jobs)
{
    for (unsigned i = 0; i < jobs->n; i++) {
        enum db_rc rc = db_exec(db, "DELETE FROM portal_jobs WHERE id = ?", "u", jobs->id[i]);
        if (rc == DB_REFUSED)
            db_forgive(db);
        else if (rc)
            return rc;
        else
            op->n += (unsigned)db_affected(db);
    }
    return DB_OK;
}

/* Rows of Laravel's table, of jobs of ours that are locked. When a child table cannot be read all of them stay, else those that may
 * not go: they are Laravel's, and what is ours of them goes all the same, so none is tried again. */
static enum db_rc rows_prune(struct db *db, struct store_prune *op, struct ids jobs)
{
    struct child child[CHILDREN_MAX];
    unsigned n;
    enum db_rc rc = children_read(db, child, &n);
    for (unsigned i = 0; rc == DB_OK && jobs.n && i < n; i++)
        rc = children_keep(db, &child[i], &jobs);
    if (rc == DB_REFUSED)
        db_forgive(db);
    if (rc || !jobs.n || n == CHILDREN_MAX)
        return rc == DB_REFUSED ? DB_OK : rc;
    rc = db_exec_in_u64(db, "DELETE FROM portal_jobs WHERE id IN (%s)", jobs.id, jobs.n, "");
    if (rc == DB_OK)
        op->n += (unsigned)db_affected(db);
    if (rc != DB_REFUSED)
        return rc;
    db_forgive(db);
    return rows_delete_each(db, op, &jobs);
}

static enum db_rc jobs_prune(struct db *db, struct store_prune *op)
{
    uint64_t from = op->cursor;
    struct ids jobs;
    bool is_full = false;
    TRY(jobs_choose(db, op, &jobs));
    if (!jobs.n)
        return DB_OK;
    TRY(belongings_prune(db, op, &jobs,
                         "SELECT id FROM chasqui_job_events FORCE INDEX (job) WHERE job_id IN (%s) LIMIT 200",
                         "DELETE FROM chasqui_job_events WHERE id IN (%s)", &is_full));
    TRY(belongings_prune(
        db, op, &jobs,
        "SELECT id FROM chasqui_sessions FORCE INDEX (job_generation) WHERE job_id IN (%s) LIMIT 200",
        "DELETE FROM chasqui_sessions WHERE id IN (%s)", &is_full));
    if (is_full) { /* the jobs themselves go when nothing of theirs is left */
        op->cursor = from;
        op->is_end = false;
        return DB_OK;
    }
    if (op->deletes_rows)
        TRY(rows_prune(db, op, jobs));
    static const char *const tables[] = {"DELETE FROM chasqui_items WHERE batch_id = 0 AND idx IN (%s)",
                                         "DELETE FROM chasqui_refusals WHERE job_id IN (%s)",
                                         "DELETE FROM chasqui_jobs WHERE job_id IN (%s)"};
    for (unsigned i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
        TRY(db_exec_in_u64(db, tables[i], jobs.id, jobs.n, ""));
        op->n += (unsigned)db_affected(db);
    }
    return DB_OK;
}

/* ---- batches ------------------------------------------------------------------------------------------------ */

/* The next batch that may go, 0 = none of those looked at; the cursor moves behind those that stay. */
static enum db_rc batch_choose(struct db *db, struct store_prune *op, uint64_t *batch_id)
{
    unsigned seen = 0;
    *batch_id = 0;
    op->is_end = false;
    TRY(db_query(
        db,
        "SELECT b.id, b.created_at < NOW(6) - INTERVAL ? SECOND, b.status IN ('done', 'cancelled') AND COALESCE(b.finished_at, "
        "b.created_at) < NOW(6) - INTERVAL ? SECOND AND NOT EXISTS (SELECT 1 FROM chasqui_items i FORCE INDEX (by_state) WHERE "
        "i.batch_id = b.id AND i.state IN ('queued', 'running', 'retrying')) FROM chasqui_batches b WHERE b.id > ? ORDER BY b.id LIMIT "
        "20",
        "iiu", op->older_s, op->older_s, op->cursor));
    while (!*batch_id && !op->is_end && db_next(db)) {
        seen++;
        if (!db_u64(db, 1))
            op->is_end = true;
        else if (db_u64(db, 2))
            *batch_id = db_u64(db, 0);
        else
            op->cursor = db_u64(db, 0);
    }
    op->is_end |= !*batch_id && seen < BATCHES_STEP;
    return DB_OK;
}

static enum db_rc batches_prune(struct db *db, struct store_prune *op)
{
    uint64_t batch_id;
    struct ids items;
    TRY(batch_choose(db, op, &batch_id));
    if (!batch_id)
        return DB_OK;
    TRY(db_query(
        db,
        "SELECT status FROM chasqui_batches WHERE id = ? AND status IN ('done', 'cancelled') FOR UPDATE SKIP LOCKED",
        "u", batch_id));
    if (!db_next(db)) {
        op->cursor = batch_id;
        return DB_OK;
    }
    TRY(db_query(db,
                 "SELECT idx FROM chasqui_items FORCE INDEX (PRIMARY) WHERE batch_id = ? ORDER BY idx LIMIT 200",
                 "u", batch_id));
    ids_read(db, &items);
    if (items.n) {
        TRY(db_exec_in_u64(db, "DELETE FROM chasqui_items WHERE batch_id = ? AND idx IN (%s)", items.id, items.n,
                           "u", batch_id));
        op->n += (unsigned)db_affected(db);
    }
    if (items.n == PRUNE_MAX) /* the batch itself goes with the last of them */
        return DB_OK;
    TRY(db_exec(db, "DELETE FROM chasqui_webhooks WHERE batch_id = ?", "u", batch_id));
    TRY(db_exec(db, "DELETE FROM chasqui_refusals WHERE batch_id = ?", "u", batch_id));
    TRY(db_exec(db, "DELETE FROM chasqui_batches WHERE id = ?", "u", batch_id));
    op->n++;
    op->cursor = batch_id;
    return DB_OK;
}

/* ---- a step ------------------------------------------------------------------------------------------------- */

static enum db_rc prune_tx(struct db *db, void *arg)
{
    static enum db_rc (*const step[PRUNE_COUNT])(struct db *, struct store_prune *) = {
        [PRUNE_JOBS] = jobs_prune,       [PRUNE_EVENTS] = events_prune,   [PRUNE_AUDIT] = audit_prune,
        [PRUNE_KEYS] = keys_prune,       [PRUNE_BATCHES] = batches_prune, [PRUNE_RUNS] = runs_prune,
        [PRUNE_RESULTS] = results_prune, [PRUNE_MINUTES] = minutes_prune, [PRUNE_HISTORY] = history_prune,
    };
    struct store_prune *op = arg, fresh = {.what = op->what,
                                           .cursor = op->cursor,
                                           .older_s = op->older_s,
                                           .deletes_rows = op->deletes_rows};
    enum db_rc rc = step[op->what](db, &fresh);
    if (rc == DB_OK)
        *op = fresh;
    return rc;
}

void store_prune(struct db *db, void *arg)
{
    struct store_prune *op = arg;
    op->rc = store_tx(db, prune_tx, NULL, op);
}
