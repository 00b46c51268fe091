/* SPDX-License-Identifier: MIT */
/*
 * store_rows.c - what is left of jobs whose row in portal_jobs somebody
 * deleted: prune, forceDelete, a cascade, TRUNCATE. A deleted job is a cancelled
 * one. Its session is closed on its robot first (rows.c); then nothing of it stays.
 */
#include "dispatcher/store/store_rows.h"

#include "dispatcher/store/store_sql.h"

#include "common/clock.h"

#include <string.h>

/* ---- sessions ----------------------------------------------------------------------------------------------- */

static enum db_rc rowless_read(struct db *db, struct store_rowless *op)
{
    op->n = 0;
    TRY(db_query(db,
                 "SELECT " SESSION_COLUMNS SESSION_FROM
                 "WHERE s.state = 'active' AND j.id IS NULL AND s.id > ? AND NOT EXISTS (SELECT 1 FROM "
                 "chasqui_leases l WHERE l.job_id = s.job_id) ORDER BY s.id LIMIT 16",
                 "u", op->past));
    while (op->n < ROWLESS_MAX && db_next(db))
        session_read(db, 0, &op->row[op->n++]);
    return DB_OK;
}

void store_rowless(struct db *db, void *arg)
{
    struct store_rowless *op = arg;
    uint64_t begun_ms = clock_ms();
    op->rc = store_rc_of(db ? rowless_read(db, op) : DB_GONE);
    op->took_ms = clock_ms() - begun_ms;
}

/* ---- the rest ----------------------------------------------------------------------------------------------- */

struct leftovers {
    struct store_leftovers *op;
    uint64_t gone[LEFTOVERS_STEP];
    unsigned n;
};

/* A number that Laravel's table has given to another job since is gone too. */
static enum db_rc gone_find(struct db *db, struct leftovers *l)
{
    unsigned seen = 0;
    l->n = 0;
    TRY(db_query(
        db,
        "SELECT q.job_id, q.job_uid, p.job_uid FROM (SELECT job_id, job_uid FROM chasqui_jobs WHERE job_id > ? ORDER BY job_id LIMIT 500) q "
        "LEFT JOIN portal_jobs p ON p.id = q.job_id",
        "u", l->op->cursor));
    for (; seen < LEFTOVERS_STEP && db_next(db); seen++) {
        uint64_t id = db_u64(db, 0);
        char uid[ID_JOB_UID_BYTES];
        db_str_copy(db, 1, uid, sizeof(uid));
        const char *theirs = db_str(db, 2, NULL);
        if (!theirs || strcmp(theirs, uid) != 0)
            l->gone[l->n++] = id;
        if (id > l->op->cursor)
            l->op->cursor = id;
    }
    l->op->is_end = seen < LEFTOVERS_STEP;
    return DB_OK;
}

/* One job, if nothing of it may live: its lease, session and place are gone. */
static enum db_rc gone_delete(struct db *db, uint64_t job_id, bool *deleted)
{
    static const char *const tables[] = {
        "DELETE FROM chasqui_job_events WHERE job_id = ?",
        "DELETE FROM chasqui_sessions WHERE job_id = ? AND live IS NULL AND close_pending = 0",
        "DELETE FROM chasqui_session_migrations WHERE job_id = ?",
        "DELETE FROM chasqui_refusals WHERE job_id = ?",
        "DELETE FROM chasqui_items WHERE batch_id = 0 AND idx = ?",
        "DELETE FROM chasqui_jobs WHERE job_id = ?"};
    *deleted = false;
    TRY(db_query(
        db,
        "SELECT q.batch_id, q.idx FROM chasqui_jobs q WHERE q.job_id = ? AND NOT EXISTS (SELECT 1 FROM chasqui_leases l WHERE l.job_id = "
        "q.job_id) AND NOT EXISTS (SELECT 1 FROM chasqui_sessions s WHERE s.job_id = q.job_id AND (s.live = 1 OR s.close_pending <> 0)) FOR "
        "UPDATE SKIP LOCKED",
        "u", job_id));
    if (!db_next(db))
        return DB_OK;
    if (!db_is_null(db, 0)) {
        uint64_t batch_id = db_u64(db, 0), idx = db_u64(db, 1);
        TRY(db_exec(
            db,
            "UPDATE chasqui_items SET {become item.forget} WHERE batch_id = ? AND idx = ? AND job_id = ? AND {from item.forget}",
            "uuu", batch_id, idx, job_id));
    }
    for (unsigned i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        TRY(db_exec(db, tables[i], "u", job_id));
    *deleted = true;
    return DB_OK;
}

static enum db_rc leftovers_tx(struct db *db, void *arg)
{
    struct leftovers *l = arg;
    l->op->n = 0;
    for (unsigned i = 0; i < l->n; i++) {
        bool deleted;
        TRY(gone_delete(db, l->gone[i], &deleted));
        l->op->n += deleted;
    }
    return DB_OK;
}

void store_leftovers(struct db *db, void *arg)
{
    struct leftovers l = {.op = arg};
    enum db_rc rc = db ? gone_find(db, &l) : DB_GONE;
    l.op->n = 0;
    l.op->rc = rc || !l.n ? store_rc_of(rc) : store_tx(db, leftovers_tx, NULL, &l);
}
