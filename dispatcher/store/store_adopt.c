/* SPDX-License-Identifier: MIT */
/*
 * store_adopt.c - a session that Laravel opened becomes ours at its first use: one, or many in one transaction. At the
 * cut-over all of them are taken in at once by `chasqui adopt`, which is ctl/adopt.c.
 *
 * Owns nothing; runs on database threads.
 *
 * Must stay:
 * - Rows are locked in the order of all: the epoch, Laravel's row; then what is inserted, companies ascending; then
 *   places, robots ascending. Of several, epochs and Laravel's rows are locked with SKIP LOCKED: no first use waits for
 *   the company of another one.
 * - A company and portal has one live session, and a session id is live once: unique keys of chasqui_sessions.
 * - Of several, what is out of the ordinary is left out, with nothing written: a company that another transaction
 *   holds, a company or an id that has a live session, a row that has changed, a row without a company or a portal. The whole group is left when the database
 *   refuses it, or when a unique key does. store_adopt() does by itself what was left, and finds out whose fault it was.
 */
#include "dispatcher/store/store_adopt.h"
#include "dispatcher/store/store_epochs.h"
#include "dispatcher/store/store_place.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

/* Rows `j` of portal_jobs that hold a session. */
#define HOLDS_SESSION                                                                                             \
    "j.status IN ({done}, {running}) AND CHAR_LENGTH(j.robot_session_id) BETWEEN 1 AND 100 AND "                  \
    "j.robot_worker_base_url IS NOT NULL AND j.deleted_at IS NULL"

/* ---- one ---------------------------------------------------------------------------------------------------- */

enum db_rc laravel_adopt(struct db *db, uint64_t job_id, uint32_t robot_id, uint64_t *ref)
{
    uint64_t company_id, epoch;
    char portal[PORTAL_ROOM];
    *ref = 0;
    TRY(db_query(db, "SELECT j.company_id, j.portal FROM portal_jobs j WHERE j.id = ? AND " HOLDS_SESSION, "u",
                 job_id));
    if (!db_next(db))
        return DB_OK;
    company_id = db_u64(db, 0);
    db_str_copy(db, 1, portal, sizeof(portal));
    TRY(epoch_lock(db, company_id, portal, &epoch));
    TRY(db_query(
        db,
        "SELECT robot_session_id, EXISTS (SELECT 1 FROM chasqui_sessions WHERE job_id = ?), EXISTS (SELECT 1 FROM "
        "chasqui_sessions WHERE company_id = ? AND portal = ? AND live = 1) FROM portal_jobs WHERE id = ? FOR UPDATE",
        "uusu", job_id, company_id, portal, job_id));
    if (!db_next(db) || db_u64(db, 1) || db_u64(db, 2))
        return DB_OK;
    enum db_rc rc = db_exec(
        db,
        "INSERT INTO chasqui_sessions (job_id, generation, current_job_id, company_id, portal, live, state, reason, "
        "since, robot_id, robot_session_id, live_session_id, epoch, adopted, started_at, last_activity_at) SELECT id, "
        "1, id, company_id, portal, 1, {new session.adopt}, 'adopted', NOW(6), ?, robot_session_id, robot_session_id, "
        "?, 1, COALESCE({utc created_at}, NOW(6)), NOW(6) FROM portal_jobs WHERE id = ?",
        "uuu", (uint64_t)robot_id, epoch, job_id);
    if (rc == DB_DUP) /* its id is live elsewhere */
        return DB_OK;
    TRY(rc);
    struct adopted_place place = {.session_ref = db_insert_id(db), .robot_id = robot_id};
    TRY(places_adopt(db, &place, 1));
    TRY(event_add(db, job_id, "adopted", NULL, NULL, NULL));
    *ref = place.session_ref;
    return DB_OK;
}

static enum db_rc adopt_tx(struct db *db, void *arg)
{
    struct store_adopt *op = arg;
    uint64_t ref;
    bool found;
    TRY(laravel_adopt(db, op->job_id, op->robot_id, &ref));
    op->adopted = ref != 0;
    return ref ? session_by_ref(db, ref, &found, &op->row) : DB_OK;
}

void store_adopt(struct db *db, void *arg)
{
    struct store_adopt *op = arg;
    op->rc = store_tx(db, adopt_tx, NULL, op);
}

/* ---- many --------------------------------------------------------------------------------------------------- */

struct one { /* a session on its way */
    struct store_adopt *op;
    unsigned at; /* in the caller's list */
    bool is_in;  /* by the last look it goes on */
    uint64_t epoch, ref;
    char started[32]; /* when Laravel made it, in UTC */
};

struct group {
    struct store_group *op;
    struct one one[ADOPTS_MAX]; /* by company and portal */
    unsigned n;
};

static int by_company(const void *a, const void *b)
{
    const struct store_adopt *x = ((const struct one *)a)->op, *y = ((const struct one *)b)->op;
    return x->company_id != y->company_id ? (x->company_id < y->company_id ? -1 : 1)
                                          : strcmp(x->portal, y->portal);
}

static bool is_for(const struct one *o, uint64_t company_id, const char *portal)
{
    return o->op->company_id == company_id && strcmp(o->op->portal, portal) == 0;
}

static void group_begin(struct group *g)
{
    struct store_group *op = g->op;
    g->n = op->n;
    for (unsigned i = 0; i < op->n; i++) {
        g->one[i] = (struct one){.op = op->op[i], .at = i};
        g->one[i].op->adopted = false;
        op->is_apart[i] = true;
    }
    qsort(g->one, g->n, sizeof(*g->one), by_company);
}

/* Those that are not in are left. */
static void close_ranks(struct group *g)
{
    unsigned n = 0;
    for (unsigned i = 0; i < g->n; i++)
        if (g->one[i].is_in)
            g->one[n++] = g->one[i];
    g->n = n;
}

/* Two of one company and portal: the second one finds the first one's session. */
static void twins_leave(struct group *g)
{
    for (unsigned i = 0; i < g->n; i++)
        g->one[i].is_in = !i || !is_for(&g->one[i], g->one[i - 1].op->company_id, g->one[i - 1].op->portal);
    close_ranks(g);
}

static enum db_rc epochs_lock(struct db *db, struct group *g)
{
    struct company_epoch row[ADOPTS_MAX];
    for (unsigned i = 0; i < g->n; i++)
        row[i] = (struct company_epoch){.company_id = g->one[i].op->company_id, .portal = g->one[i].op->portal};
    TRY(epochs_take_or_make(db, row, g->n, 0));
    for (unsigned i = 0; i < g->n; i++) {
        g->one[i].is_in = row[i].is_ours;
        g->one[i].epoch = row[i].epoch;
    }
    close_ranks(g);
    return DB_OK;
}

/* Locks Laravel's rows, as far as they may become sessions and no other transaction has them. */
static enum db_rc rows_lock(struct db *db, struct group *g)
{
    uint64_t jobs[ADOPTS_MAX];
    if (!g->n)
        return DB_OK;
    for (unsigned i = 0; i < g->n; i++) {
        jobs[i] = g->one[i].op->job_id;
        g->one[i].is_in = false;
    }
    TRY(db_query_in_u64(
        db,
        "SELECT j.id, j.company_id, j.portal, j.robot_session_id, COALESCE({utc j.created_at}, NOW(6)), "
        "EXISTS (SELECT 1 FROM chasqui_sessions x WHERE x.job_id = j.id) OR "
        "EXISTS (SELECT 1 FROM chasqui_sessions y FORCE INDEX (one_live) WHERE y.company_id = j.company_id AND y.portal = j.portal AND y.live = 1) OR "
        "EXISTS (SELECT 1 FROM chasqui_sessions z WHERE z.live_session_id = j.robot_session_id) "
        "FROM portal_jobs j FORCE INDEX (PRIMARY) WHERE j.id IN (%s) AND j.company_id IS NOT NULL AND j.portal IS NOT NULL AND " HOLDS_SESSION
        " FOR UPDATE SKIP LOCKED",
        jobs, g->n, ""));
    while (db_next(db)) {
        uint64_t job_id = db_u64(db, 0), company_id = db_u64(db, 1);
        const char *portal = db_str(db, 2, NULL), *session_id = db_str(db, 3, NULL);
        for (unsigned i = 0; i < g->n; i++)
            if (jobs[i] == job_id && is_for(&g->one[i], company_id, portal) &&
                strcmp(g->one[i].op->asked, session_id) == 0) {
                db_str_copy(db, 4, g->one[i].started, sizeof(g->one[i].started));
                g->one[i].is_in = !db_u64(db, 5);
            }
    }
    close_ranks(g);
    return DB_OK;
}

static void fill_session(void *arg, unsigned row, struct db_cell *cells)
{
    const struct one *o = &((struct group *)arg)->one[row];
    cells[0].n = cells[1].n = o->op->job_id;
    cells[2].n = o->op->company_id;
    cells[3].data = o->op->portal;
    cells[4].n = o->op->robot_id;
    cells[5].data = cells[6].data = o->op->asked;
    cells[7].n = o->epoch;
    cells[8].data = o->started;
}

static enum db_rc sessions_make(struct db *db, struct group *g)
{
    uint64_t ids[ADOPTS_MAX];
    struct adopted_place place[ADOPTS_MAX];
    TRY(db_bulk_ids(
        db,
        "INSERT INTO chasqui_sessions (job_id, generation, current_job_id, company_id, portal, live, state, reason, since, robot_id, "
        "robot_session_id, live_session_id, epoch, adopted, started_at, last_activity_at) VALUES (?, 1, ?, ?, ?, 1, {new session.adopt}, "
        "'adopted', NOW(6), ?, ?, ?, ?, 1, ?, NOW(6)) RETURNING id",
        "uuusussus", g->n, fill_session, g, ids));
    for (unsigned i = 0; i < g->n; i++) {
        g->one[i].ref = ids[i];
        place[i] = (struct adopted_place){.session_ref = ids[i], .robot_id = g->one[i].op->robot_id};
    }
    return places_adopt(db, place, g->n);
}

static void fill_event(void *arg, unsigned row, struct db_cell *cells)
{
    cells[0].n = ((struct group *)arg)->one[row].op->job_id;
}

static enum db_rc sessions_read(struct db *db, struct group *g)
{
    uint64_t refs[ADOPTS_MAX];
    struct session_row row;
    for (unsigned i = 0; i < g->n; i++)
        refs[i] = g->one[i].ref;
    TRY(db_query_in_u64(db,
                        "SELECT " SESSION_COLUMNS SESSION_FROM_BY("FORCE INDEX (PRIMARY)") "WHERE s.id IN (%s)",
                        refs, g->n, ""));
    while (db_next(db)) {
        session_read(db, 0, &row);
        for (unsigned i = 0; i < g->n; i++)
            if (refs[i] == row.ref) {
                g->one[i].op->row = row;
                g->one[i].op->adopted = true;
                g->op->is_apart[g->one[i].at] = false;
            }
    }
    return DB_OK;
}

static enum db_rc adopts_tx(struct db *db, void *arg)
{
    struct group *g = arg;
    group_begin(g);
    twins_leave(g);
    TRY(epochs_lock(db, g));
    TRY(rows_lock(db, g));
    if (!g->n)
        return DB_OK;
    TRY(sessions_make(db, g));
    TRY(db_bulk(db, "INSERT INTO chasqui_job_events (job_id, at, event) VALUES (?, NOW(6), 'adopted')", "u", g->n,
                fill_event, g));
    return sessions_read(db, g);
}

/* All or none of them were committed. */
static int was_done(struct db *db, void *arg)
{
    struct group *g = arg;
    uint64_t jobs[ADOPTS_MAX];
    if (!g->n)
        return 1;
    for (unsigned i = 0; i < g->n; i++)
        jobs[i] = g->one[i].op->job_id;
    if (db_query_in_u64(
            db,
            "SELECT job_id, id FROM chasqui_sessions FORCE INDEX (job_generation) WHERE job_id IN (%s) LOCK IN SHARE MODE WAIT 3",
            jobs, g->n, ""))
        return -1;
    while (db_next(db)) {
        uint64_t job_id = db_u64(db, 0), ref = db_u64(db, 1);
        for (unsigned i = 0; i < g->n; i++)
            if (jobs[i] == job_id && g->one[i].ref == ref)
                return 1;
    }
    return 0;
}

void store_adopts(struct db *db, void *arg)
{
    struct store_group *op = arg;
    struct group g = {.op = op};
    CHECK(op->n >= 1 && op->n <= ADOPTS_MAX, "%u first uses", op->n);
    if (op->n == 1) {
        op->is_apart[0] = false;
        store_adopt(db, op->op[0]);
        return;
    }
    group_begin(&g);
    enum store_rc rc = group_tx(db, op, adopts_tx, was_done, &g);
    for (unsigned i = 0; i < op->n; i++)
        ((struct store_adopt *)op->op[i])->rc = rc;
}
