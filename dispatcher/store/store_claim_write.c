/* SPDX-License-Identifier: MIT */
/*
 * store_claim_write.c - what a claim writes, one statement for many rows at each step. Runs inside the claim's
 * transaction.
 *
 * Must stay: the rows that it changes are locked by the steps before it; states change by events of db/state.def. May
 * change: what is kept of a log-in that begins.
 */
#include "dispatcher/store/store_claim.h"

#include <stdio.h>
#include <string.h>

#define BACK_MS 300     /* an item whose company is busy comes back after this, and as much again at random */
#define LIMIT_MS 120000 /* of an action that is not configured any more */

/* ---- writing those that begin ------------------------------------------------------------------------------- */

static void fill_new_job(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].data = it->job_uid;
    cells[1].n = it->company_id;
    cells[2].data = it->portal;
    cells[3].data = it->action;
    cells[4].n = it->priority;
    cells[5].n = it->batch_id;
    cells[6].data = it->worker;
    cells[7].n = it->created_s;
    cells[8].n = it->created_s;
    cells[9].n = it->user_id;
}

static void fill_old_job(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].data = it->worker;
    cells[1].n = it->job_id;
}

static void fill_private(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->job_id;
    cells[1].data = it->job_uid;
    cells[2].n = it->company_id;
    cells[3].data = it->portal;
    cells[4].n = it->token_id;
    cells[5].data = it->request_id;
    cells[6].n = it->batch_id;
    cells[7].n = it->idx;
    cells[8].n = it->tries;
}

static void fill_job_id(void *arg, unsigned row, struct db_cell *cells)
{
    cells[0].n = ((struct claim *)arg)->row[row]->job_id;
}

/* portal_jobs rows are made for new items. */
static enum db_rc jobs_make(struct db *db, struct claim *c, enum fate fate)
{
    uint64_t ids[QUEUE_CLAIM_MAX];
    if (claim_choose(c, fate, 0)) {
        TRY(db_bulk(
            db,
            "UPDATE portal_jobs SET {become job.claim}, attempts = attempts + 1, worker = ?, started_at = COALESCE(started_at, "
            "{now started_at}) WHERE id = ?",
            "su", c->n_rows, fill_old_job, c));
        if (fate == FATE_GO) /* its next generation comes */
            TRY(db_bulk(db, "UPDATE chasqui_sessions SET current_job_id = NULL WHERE current_job_id = ?", "u",
                        c->n_rows, fill_job_id, c));
    }
    if (!claim_choose(c, fate, 1))
        return DB_OK;
    for (unsigned i = 0; i < c->n_rows; i++)
        id_job_uid(c->row[i]->job_uid);
    TRY(db_bulk_ids(
        db,
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, priority, attempts, batch_id, worker, created_at, "
        "available_at, started_at, updated_at{payload}{user}) VALUES (?, ?, ?, ?, {new job.claim_new}, ?, 1, ?, ?, {wall created_at FROM_UNIXTIME(?)}, {wall available_at "
        "FROM_UNIXTIME(?)}, {now started_at}, {now updated_at}{payload value}{user value}) RETURNING id",
        USER_TYPES(db, "sussuusuu"), c->n_rows, fill_new_job, c, ids));
    for (unsigned i = 0; i < c->n_rows; i++)
        c->row[i]->job_id = ids[i];
    enum db_rc rc = db_bulk(
        db,
        "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal, token_id, request_id, batch_id, idx, tries) "
        "VALUES (?, ?, 'login', ?, ?, ?, NULLIF(?, ''), ?, ?, ?)",
        "ususNsuuu", c->n_rows, fill_private, c);
    if (rc == DB_DUP)
        TRY(job_numbers_lift(db, c->row[0]->job_id, c->row[0]->company_id, c->row[0]->portal, c->row[0]->action));
    return rc;
}

static void fill_session(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->job_id;
    cells[1].n = it->generation;
    cells[2].n = it->job_id;
    cells[3].n = it->company_id;
    cells[4].data = it->portal;
    cells[5].n = it->robot_id;
    cells[6].n = it->epoch;
}

static void fill_place(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->session_ref;
    cells[1].n = it->robot_id;
    cells[2].n = it->slot;
}

static enum db_rc epochs_raise_ours(struct db *db, const struct claim *c)
{
    struct company_at rows[QUEUE_CLAIM_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < c->n_rows; i++)
        if (!c->row[i]->is_raised)
            rows[n++] = (struct company_at){c->row[i]->portal, c->row[i]->company_id};
    return epochs_raise(db, rows, n);
}

static void fill_lease(void *arg, unsigned row, struct db_cell *cells)
{
    struct claim *c = arg;
    const struct item *it = c->row[row];
    const struct lease *l = &c->op->lease;
    const struct action *action = action_find(c->op->actions, it->action);
    cells[0].n = it->job_id;
    cells[1].data = l->token;
    cells[1].len = ID_TOKEN_BYTES;
    cells[2].n = it->session_ref;
    cells[3].data = l->holder;
    cells[4].data = l->boot_id;
    cells[5].n = (uint64_t)(action ? action->timeout_ms : LIMIT_MS) * 1000;
    cells[6].n = (uint64_t)l->ttl_ms * 1000;
}

static void fill_started_event(void *arg, unsigned row, struct db_cell *cells)
{
    struct claim *c = arg;
    cells[0].n = c->row[row]->job_id;
    cells[1].data = c->row[row]->worker;
    cells[2].data = c->op->lease.holder;
}

static void fill_item_job(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->job_id;
    cells[1].n = it->batch_id;
    cells[2].n = it->idx;
}

static enum db_rc credentials_read(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX];
    GATHER(c, company_id, ids);
    TRY(db_query_in_u64(db,
                        "SELECT c.company_id, c.portal, c.sealed, " REFUSED_COLUMNS
                        "FROM chasqui_credentials c FORCE INDEX (PRIMARY)" REFUSED_BEFORE
                        "WHERE c.company_id IN (%s)",
                        ids, c->n_rows, ""));
    while (db_next(db)) {
        uint64_t company_id = db_u64(db, 0);
        const char *portal = db_str(db, 1, NULL);
        for (unsigned i = 0; i < c->n_rows; i++)
            if (item_is_for(c->row[i], company_id, portal)) {
                column_bytes(db, 2, &c->row[i]->credentials);
                refused_before_read(db, 3, &c->row[i]->refused);
            }
    }
    return DB_OK;
}

/* The end of the chosen rows from `from` whose items and jobs count up together, as those of a batch mostly do. */
static unsigned run_end(const struct claim *c, unsigned from)
{
    unsigned i = from + 1;
    for (; i < c->n_rows; i++) {
        const struct item *it = c->row[i], *before = c->row[i - 1];
        if (it->batch_id != before->batch_id || it->idx != before->idx + 1 || it->job_id != before->job_id + 1)
            break;
    }
    return i;
}

/* A statement for each run, which costs the server a fraction of one for each row; what is alone goes together. */
static enum db_rc items_begin(struct db *db, struct claim *c)
{
    unsigned n_alone = 0;
    for (unsigned from = 0, to; from < c->n_rows; from = to) {
        const struct item *first = c->row[from];
        to = run_end(c, from);
        if (to - from == 1)
            c->row[n_alone++] = c->row[from];
        else
            TRY(db_exec(
                db,
                "UPDATE chasqui_items FORCE INDEX (PRIMARY) SET {become item.claim}, job_id = ? + idx - ? WHERE batch_id = ? AND idx BETWEEN ? AND ?",
                "uuuuu", first->job_id, first->idx, first->batch_id, first->idx, c->row[to - 1]->idx));
    }
    c->n_rows = n_alone;
    return n_alone
               ? db_bulk(db,
                         "UPDATE chasqui_items SET {become item.claim}, job_id = ? WHERE batch_id = ? AND idx = ?",
                         "uuu", n_alone, fill_item_job, c)
               : DB_OK;
}

/* Leases, timelines and items of the chosen rows. */
static enum db_rc rows_begin(struct db *db, struct claim *c, const char *kind)
{
    char sql[300];
    snprintf(
        sql, sizeof(sql),
        "INSERT INTO chasqui_leases (job_id, token, kind, session_ref, holder, boot_id, taken_at, limit_at, expires_at) VALUES "
        "(?, ?, '%s', ?, ?, ?, NOW(6), NOW(6) + INTERVAL ? MICROSECOND, NOW(6) + INTERVAL ? MICROSECOND)",
        kind);
    TRY(db_bulk(db, sql, "ubussuu", c->n_rows, fill_lease, c));
    TRY(db_bulk(
        db,
        "INSERT INTO chasqui_job_events (job_id, at, event, worker, dispatcher) VALUES (?, NOW(6), 'started', ?, ?)",
        "uss", c->n_rows, fill_started_event, c));
    return items_begin(db, c);
}

enum db_rc claim_begin(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX];
    TRY(jobs_make(db, c, FATE_GO));
    if (!claim_choose(c, FATE_GO, -1))
        return DB_OK;
    for (unsigned i = 0; i < c->n_rows; i++) {
        c->row[i]->attempts++;
        c->row[i]->epoch++;
    }
    TRY(db_bulk_ids(
        db,
        "INSERT INTO chasqui_sessions (job_id, generation, current_job_id, company_id, portal, live, state, since, robot_id, "
        "epoch) VALUES (?, ?, ?, ?, ?, 1, {new session.open}, NOW(6), ?, ?) RETURNING id",
        "uuuusuu", c->n_rows, fill_session, c, ids));
    for (unsigned i = 0; i < c->n_rows; i++)
        c->row[i]->session_ref = ids[i];
    TRY(db_bulk(
        db,
        "UPDATE chasqui_places FORCE INDEX (PRIMARY) SET {become place.take} WHERE robot_id = ? AND slot = ? AND {from place.take}",
        "uuu", c->n_rows, fill_place, c));
    if (db_affected(db) != c->n_rows)
        return DB_RETRY;
    TRY(epochs_raise_ours(db, c));
    TRY(credentials_read(db, c));
    return rows_begin(db, c, "login");
}

static void fill_used(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].data = it->met_session_id;
    cells[1].n = it->job_id;
}

static void fill_met_ref(void *arg, unsigned row, struct db_cell *cells)
{
    cells[0].n = ((struct claim *)arg)->row[row]->met_ref;
}

enum db_rc claim_join(struct db *db, struct claim *c)
{
    if (!claim_choose(c, FATE_JOIN, -1))
        return DB_OK;
    for (unsigned i = 0; i < c->n_rows; i++)
        worker_name(db, c->row[i]->robot_id, c->row[i]->worker);
    TRY(jobs_make(db, c, FATE_JOIN));
    claim_choose(c, FATE_JOIN, -1);
    for (unsigned i = 0; i < c->n_rows; i++) {
        c->row[i]->attempts++;
        c->row[i]->session_ref = c->row[i]->met_ref;
    }
    TRY(db_bulk(db, "UPDATE chasqui_jobs SET session_id = ? WHERE job_id = ?", "su", c->n_rows, fill_used, c));
    TRY(db_bulk(db, "UPDATE chasqui_sessions SET last_activity_at = NOW(6) WHERE id = ? AND state = 'active'", "u",
                c->n_rows, fill_met_ref, c));
    if (db_affected(db) != c->n_rows)
        return DB_RETRY;
    return rows_begin(db, c, "round");
}

/* ---- writing the others ------------------------------------------------------------------------------------- */

static void fill_met_item(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->is_new ? it->met_job_id : it->job_id;
    cells[1].n = it->batch_id;
    cells[2].n = it->idx;
}

static void fill_met_private(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].data = it->met_session_id;
    cells[1].n = it->job_id;
}

static void fill_item(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = it->batch_id;
    cells[1].n = it->idx;
}

static void fill_back(void *arg, unsigned row, struct db_cell *cells)
{
    const struct item *it = ((struct claim *)arg)->row[row];
    cells[0].n = (BACK_MS + id_random_u64() % BACK_MS) * 1000;
    cells[1].n = it->batch_id;
    cells[2].n = it->idx;
}

enum db_rc claim_others(struct db *db, struct claim *c)
{
    if (claim_choose(c, FATE_MEET, -1)) {
        TRY(db_bulk(db, "UPDATE chasqui_items SET {become item.meet}, job_id = ? WHERE batch_id = ? AND idx = ?",
                    "uuu", c->n_rows, fill_met_item, c));
        TRY(db_bulk(
            db,
            "UPDATE chasqui_sessions SET last_activity_at = NOW(6), shared = 1 WHERE id = ? AND state = 'active'",
            "u", c->n_rows, fill_met_ref, c));
    }
    if (claim_choose(c, FATE_MEET, 0)) {
        TRY(db_bulk(db, "UPDATE chasqui_jobs SET session_id = ?, params = NULL WHERE job_id = ?", "su", c->n_rows,
                    fill_met_private, c));
        TRY(db_bulk(db, "UPDATE portal_jobs SET {become job.meet}{result} WHERE id = ?", "u", c->n_rows,
                    fill_job_id, c));
        TRY(db_bulk(
            db,
            "INSERT INTO chasqui_job_events (job_id, at, event, detail) VALUES (?, NOW(6), 'done', 'the company had a session')",
            "u", c->n_rows, fill_job_id, c));
    }
    if (claim_choose(c, FATE_CANCEL, -1))
        TRY(db_bulk(db, "UPDATE chasqui_items SET {become item.drop} WHERE batch_id = ? AND idx = ?", "uu",
                    c->n_rows, fill_item, c));
    if (claim_choose(c, FATE_BACK, -1))
        TRY(db_bulk(
            db,
            "UPDATE chasqui_items SET {become ready.back}, due_at = NOW(6) + INTERVAL ? MICROSECOND WHERE batch_id = ? AND idx = ?",
            "uuu", c->n_rows, fill_back, c));
    return DB_OK;
}
