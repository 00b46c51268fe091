/* SPDX-License-Identifier: MIT */
/*
 * store_reserves.c - many log-ins by execute reserve their places in one transaction: what store_reserve() writes for
 * one, each step is one statement for all.
 *
 * Owns nothing; runs on database threads.
 *
 * Must stay:
 * - Rows are locked in the order of all: epochs, places, then what is inserted. Epochs and places are locked with SKIP
 *   LOCKED: no log-in waits for the company of another one. Rows that are inserted are in the order of companies.
 * - What is out of the ordinary is left out, with nothing written: a job or key that is known, a session that is
 *   there, a company that another transaction holds, a portal that lets no more through, no place. store_reserve() does it by itself. The whole group is
 *   left when the database refuses it, or when a unique key does: store_reserve() finds out whose fault it is.
 * - Of each that is done the epoch was raised, and the place taken, in the transaction that made its lease.
 */
#include "dispatcher/store/store_epochs.h"
#include "dispatcher/store/store_place.h"
#include "dispatcher/store/store_portal.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

struct one { /* a log-in on its way */
    struct store_reserve *op;
    unsigned at;    /* in the caller's list */
    bool is_out;    /* it does not go on */
    bool is_raised; /* its epoch was made here, and is that of the log-in */
    struct place place;
};

struct gate { /* a portal that may hold log-ins back */
    struct portal_state portal;
    const struct portal_conf *conf;
    uint64_t now_us;
};
#define GATES_MAX 4

struct group {
    struct store_group *op;
    struct one one[RESERVES_MAX]; /* by company and portal */
    unsigned n;
    struct gate gate[GATES_MAX];
    unsigned n_gates;
};

static int by_company(const void *a, const void *b)
{
    const struct store_reserve *x = ((const struct one *)a)->op, *y = ((const struct one *)b)->op;
    return x->company_id != y->company_id ? (x->company_id < y->company_id ? -1 : 1)
                                          : strcmp(x->portal, y->portal);
}

static bool is_for(const struct one *o, uint64_t company_id, const char *portal)
{
    return o->op->company_id == company_id && strcmp(o->op->portal, portal) == 0;
}

static void out_with(struct group *g, uint64_t company_id, const char *portal)
{
    for (unsigned i = 0; i < g->n; i++)
        g->one[i].is_out |= is_for(&g->one[i], company_id, portal);
}

/* Those that are out are left. */
static void close_ranks(struct group *g)
{
    unsigned n = 0;
    for (unsigned i = 0; i < g->n; i++)
        if (!g->one[i].is_out)
            g->one[n++] = g->one[i];
    g->n = n;
}

static void companies_of(const struct group *g, uint64_t *out)
{
    for (unsigned i = 0; i < g->n; i++)
        out[i] = g->one[i].op->company_id;
}

/* ---- what is out of the ordinary ---------------------------------------------------------------------------- */

/* Two of one company and portal, or of one job_uid: the second one finds the first one's job. */
static void twins_leave(struct group *g)
{
    for (unsigned i = 0; i < g->n; i++)
        for (unsigned k = 0; k < i; k++)
            g->one[i].is_out |= strcmp(g->one[k].op->job_uid, g->one[i].op->job_uid) == 0 ||
                                is_for(&g->one[k], g->one[i].op->company_id, g->one[i].op->portal);
    close_ranks(g);
}

static enum db_rc uids_look(struct db *db, struct group *g)
{
    const char *uids[RESERVES_MAX];
    if (!g->n)
        return DB_OK;
    for (unsigned i = 0; i < g->n; i++)
        uids[i] = g->one[i].op->job_uid;
    TRY(db_query_in(db, "SELECT job_uid FROM chasqui_jobs WHERE job_uid IN (%s)", uids, g->n, ""));
    while (db_next(db))
        for (unsigned i = 0; i < g->n; i++)
            g->one[i].is_out |= strcmp(uids[i], db_str(db, 0, NULL)) == 0;
    close_ranks(g);
    return DB_OK;
}

/* A key that is known is the key of a job, whatever else is found. */
static enum db_rc keys_look(struct db *db, struct group *g)
{
    const void *scopes[RESERVES_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < g->n; i++)
        if (g->one[i].op->key.is_set)
            scopes[n++] = g->one[i].op->key.scope;
    if (!n)
        return DB_OK;
    TRY(db_query_in_bytes(db, "SELECT scope FROM chasqui_idempotency WHERE scope IN (%s)", scopes, DIGEST_BYTES,
                          n));
    while (db_next(db)) {
        size_t len;
        const char *scope = db_str(db, 0, &len);
        for (unsigned i = 0; i < g->n && len == DIGEST_BYTES; i++)
            g->one[i].is_out |=
                g->one[i].op->key.is_set && memcmp(g->one[i].op->key.scope, scope, DIGEST_BYTES) == 0;
    }
    close_ranks(g);
    return DB_OK;
}

/* The companies of a portal that have a session: a live one, or one that Laravel opened. With the portal the index of the live ones leads
 * past all that have ended. */
static enum db_rc sessions_look_in(struct db *db, struct group *g, const char *portal, const uint64_t *companies,
                                   unsigned n)
{
    int64_t most_ms = g->one[0].op->laravel_max_age_ms;
    TRY(db_query_in_u64(
        db,
        "SELECT company_id FROM chasqui_sessions FORCE INDEX (one_live) WHERE company_id IN (%s) AND portal = ? AND live = 1",
        companies, n, "s", portal));
    while (db_next(db))
        out_with(g, db_u64(db, 0), portal);
    TRY(db_query_in_u64(
        db,
        "SELECT STRAIGHT_JOIN DISTINCT j.company_id FROM portal_jobs j FORCE INDEX (chasqui_company) JOIN chasqui_robots r ON r.base_url = TRIM(TRAILING '/' FROM "
        "j.robot_worker_base_url) AND r.removed = 0 WHERE j.company_id IN (%s) AND j.portal = ? AND (? < 0 OR " LARAVEL_YOUNG
        ") AND " LARAVEL_OWN,
        companies, n, "sii", portal, most_ms, most_ms / 1000));
    while (db_next(db))
        out_with(g, db_u64(db, 0), portal);
    return DB_OK;
}

static enum db_rc sessions_look(struct db *db, struct group *g)
{
    struct company_at rows[RESERVES_MAX];
    uint64_t companies[RESERVES_MAX];
    bool is_done[RESERVES_MAX] = {false};
    for (unsigned i = 0; i < g->n; i++)
        rows[i] = (struct company_at){g->one[i].op->portal, g->one[i].op->company_id};
    for (unsigned i = 0, n; i < g->n; i++)
        if ((n = portal_next(rows, g->n, i, is_done, companies)))
            TRY(sessions_look_in(db, g, rows[i].portal, companies, n));
    close_ranks(g);
    return DB_OK;
}

/* ---- epochs ------------------------------------------------------------------------------------------------- */

static enum db_rc epochs_lock(struct db *db, struct group *g)
{
    struct company_epoch row[RESERVES_MAX];
    if (!g->n)
        return DB_OK;
    for (unsigned i = 0; i < g->n; i++)
        row[i] = (struct company_epoch){.company_id = g->one[i].op->company_id, .portal = g->one[i].op->portal};
    TRY(epochs_take_or_make(db, row, g->n, 1));
    for (unsigned i = 0; i < g->n; i++) {
        g->one[i].is_out = !row[i].is_ours;
        g->one[i].is_raised = row[i].is_new;
        g->one[i].op->epoch = row[i].is_new ? row[i].epoch : row[i].epoch + 1;
    }
    close_ranks(g);
    return DB_OK;
}

static enum db_rc epochs_raise_ours(struct db *db, const struct group *g)
{
    struct company_at rows[RESERVES_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < g->n; i++)
        if (!g->one[i].is_raised)
            rows[n++] = (struct company_at){g->one[i].op->portal, g->one[i].op->company_id};
    return epochs_raise(db, rows, n);
}

/* ---- portals ------------------------------------------------------------------------------------------------ */

static bool is_behind(const struct one *o, const struct gate *gate)
{
    return o->op->gate && strcmp(o->op->portal, gate->portal.portal) == 0;
}

/* Those of a portal that it lets through now stay. */
static enum db_rc gate_look(struct db *db, struct group *g, const struct store_reserve *first)
{
    unsigned n = 0, may;
    if (g->n_gates == GATES_MAX) {
        for (unsigned i = 0; i < g->n; i++)
            g->one[i].is_out |= strcmp(g->one[i].op->portal, first->portal) == 0;
        return DB_OK;
    }
    struct gate *gate = &g->gate[g->n_gates++];
    *gate = (struct gate){.conf = first->gate};
    for (unsigned i = 0; i < g->n; i++)
        n += g->one[i].op->gate && strcmp(g->one[i].op->portal, first->portal) == 0;
    TRY(portal_read_sync(db, first->portal, gate->conf, &first->breaker, n, &gate->portal, &gate->now_us, &may));
    for (unsigned i = 0; i < g->n; i++)
        if (is_behind(&g->one[i], gate) && !may)
            g->one[i].is_out = true;
        else if (is_behind(&g->one[i], gate))
            may--;
    return DB_OK;
}

static enum db_rc gates_look(struct db *db, struct group *g)
{
    for (unsigned i = 0; i < g->n; i++) {
        const struct store_reserve *op = g->one[i].op;
        bool is_looked_at = !op->gate || g->one[i].is_out;
        for (unsigned k = 0; k < g->n_gates; k++)
            is_looked_at |= strcmp(g->gate[k].portal.portal, op->portal) == 0;
        if (!is_looked_at)
            TRY(gate_look(db, g, op));
    }
    close_ranks(g);
    return DB_OK;
}

/* Counts those that begin. */
static enum db_rc gates_pass(struct db *db, struct group *g)
{
    for (unsigned k = 0; k < g->n_gates; k++) {
        struct gate *gate = &g->gate[k];
        unsigned n = 0;
        for (unsigned i = 0; i < g->n; i++)
            n += is_behind(&g->one[i], gate);
        TRY(portal_begun_sync(db, &gate->portal, gate->conf, &g->one[0].op->breaker, n, gate->now_us));
    }
    return DB_OK;
}

/* ---- places ------------------------------------------------------------------------------------------------- */

static enum db_rc places_look(struct db *db, struct group *g)
{
    struct place place[RESERVES_MAX];
    unsigned n;
    if (!g->n)
        return DB_OK;
    TRY(places_find(db, g->one[0].op->candidate, g->one[0].op->n_candidates, g->n, place, &n));
    for (unsigned i = 0; i < g->n; i++) {
        struct one *o = &g->one[i];
        if ((o->is_out = i >= n))
            continue;
        o->place = place[i];
        o->op->robot_id = place[i].robot_id;
        o->op->slot = place[i].slot;
    }
    close_ranks(g);
    return DB_OK;
}

static void fill_place(void *arg, unsigned row, struct db_cell *cells)
{
    const struct store_reserve *op = ((struct group *)arg)->one[row].op;
    cells[0].n = op->session_ref;
    cells[1].n = op->robot_id;
    cells[2].n = op->slot;
}

static enum db_rc places_hold(struct db *db, struct group *g)
{
    TRY(db_bulk(
        db,
        "UPDATE chasqui_places FORCE INDEX (PRIMARY) SET {become place.take} WHERE robot_id = ? AND slot = ? AND {from place.take}",
        "uuu", g->n, fill_place, g));
    if (db_affected(db) != g->n)
        return DB_RETRY;
    for (unsigned i = 0; i < g->n; i++)
        loads_taken(g->one[i].op->robot_id);
    return DB_OK;
}

/* ---- rows --------------------------------------------------------------------------------------------------- */

static void fill_job(void *arg, unsigned row, struct db_cell *cells)
{
    const struct one *o = &((struct group *)arg)->one[row];
    cells[0].data = o->op->job_uid;
    cells[1].n = o->op->company_id;
    cells[2].data = o->op->portal;
    cells[3].data = o->op->action;
    cells[4].n = o->op->priority;
    cells[5].data = o->place.worker;
    cells[6].n = o->op->user_id;
}

static enum db_rc jobs_make(struct db *db, struct group *g)
{
    uint64_t ids[RESERVES_MAX];
    TRY(db_bulk_ids(
        db,
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, priority, attempts, worker, created_at, updated_at, "
        "available_at, started_at{payload}{user}) VALUES (?, ?, ?, ?, {new job.reserve}, ?, 1, ?, {now created_at}, {now updated_at}, {now available_at}, "
        "{now started_at}{payload value}{user value}) RETURNING id",
        USER_TYPES(db, "sussus"), g->n, fill_job, g, ids));
    for (unsigned i = 0; i < g->n; i++)
        g->one[i].op->job_id = ids[i];
    return DB_OK;
}

static void fill_private(void *arg, unsigned row, struct db_cell *cells)
{
    const struct store_reserve *op = ((struct group *)arg)->one[row].op;
    cells[0].n = op->job_id;
    cells[1].data = op->job_uid;
    cells[2].n = op->company_id;
    cells[3].data = op->portal;
    cells[4].data = op->params_len ? op->params : NULL;
    cells[4].len = op->params_len;
    cells[5].n = op->remember;
    cells[6].n = op->token_id;
    cells[7].data = op->request_id;
}

static enum db_rc privates_make(struct db *db, struct group *g)
{
    return db_bulk(
        db,
        "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal, params, remember, token_id, request_id) VALUES "
        "(?, ?, 'login', ?, ?, ?, ?, ?, ?)",
        "ususbuNs", g->n, fill_private, g);
}

static void fill_session(void *arg, unsigned row, struct db_cell *cells)
{
    const struct store_reserve *op = ((struct group *)arg)->one[row].op;
    cells[0].n = op->job_id;
    cells[1].n = op->job_id;
    cells[2].n = op->company_id;
    cells[3].data = op->portal;
    cells[4].n = op->robot_id;
    cells[5].n = op->epoch;
}

static enum db_rc sessions_make(struct db *db, struct group *g)
{
    uint64_t ids[RESERVES_MAX];
    TRY(db_bulk_ids(
        db,
        "INSERT INTO chasqui_sessions (job_id, generation, current_job_id, company_id, portal, live, state, since, robot_id, epoch) "
        "VALUES (?, 1, ?, ?, ?, 1, {new session.open}, NOW(6), ?, ?) RETURNING id",
        "uuusuu", g->n, fill_session, g, ids));
    for (unsigned i = 0; i < g->n; i++)
        g->one[i].op->session_ref = ids[i];
    return DB_OK;
}

static void fill_lease(void *arg, unsigned row, struct db_cell *cells)
{
    const struct store_reserve *op = ((struct group *)arg)->one[row].op;
    cells[0].n = op->job_id;
    cells[1].data = op->lease.token;
    cells[1].len = ID_TOKEN_BYTES;
    cells[2].n = op->session_ref;
    cells[3].data = op->lease.holder;
    cells[4].data = op->lease.boot_id;
    cells[5].n = (uint64_t)op->lease.limit_ms * 1000;
    cells[6].n = (uint64_t)op->lease.ttl_ms * 1000;
}

static void fill_event(void *arg, unsigned row, struct db_cell *cells)
{
    const struct one *o = &((struct group *)arg)->one[row];
    cells[0].n = o->op->job_id;
    cells[1].data = o->place.worker;
    cells[2].data = o->op->lease.holder;
}

static enum db_rc leases_make(struct db *db, struct group *g)
{
    TRY(db_bulk(
        db,
        "INSERT INTO chasqui_leases (job_id, token, kind, session_ref, holder, boot_id, taken_at, limit_at, expires_at) VALUES "
        "(?, ?, 'login', ?, ?, ?, NOW(6), NOW(6) + INTERVAL ? MICROSECOND, NOW(6) + INTERVAL ? MICROSECOND)",
        "ubussuu", g->n, fill_lease, g));
    return db_bulk(
        db,
        "INSERT INTO chasqui_job_events (job_id, at, event, worker, dispatcher) VALUES (?, NOW(6), 'started', ?, ?)",
        "uss", g->n, fill_event, g);
}

static enum db_rc credentials_read(struct db *db, struct group *g)
{
    uint64_t companies[RESERVES_MAX];
    for (unsigned i = 0; i < g->n; i++) {
        buf_clear(&g->one[i].op->credentials);
        memset(&g->one[i].op->refused, 0, sizeof(g->one[i].op->refused));
    }
    companies_of(g, companies);
    TRY(db_query_in_u64(db,
                        "SELECT c.company_id, c.portal, c.sealed, " REFUSED_COLUMNS
                        "FROM chasqui_credentials c FORCE INDEX (PRIMARY)" REFUSED_BEFORE
                        "WHERE c.company_id IN (%s)",
                        companies, g->n, ""));
    while (db_next(db)) {
        uint64_t company_id = db_u64(db, 0);
        const char *portal = db_str(db, 1, NULL);
        size_t len;
        const char *sealed = db_str(db, 2, &len);
        for (unsigned i = 0; i < g->n; i++)
            if (is_for(&g->one[i], company_id, portal)) {
                buf_add(&g->one[i].op->credentials, sealed, len);
                refused_before_read(db, 3, &g->one[i].op->refused);
            }
    }
    return DB_OK;
}

struct keys {
    const struct store_reserve *op[RESERVES_MAX];
    unsigned n;
};

static void fill_key(void *arg, unsigned row, struct db_cell *cells)
{
    const struct store_reserve *op = ((struct keys *)arg)->op[row];
    cells[0].data = op->key.scope;
    cells[1].data = op->key.digest;
    cells[0].len = cells[1].len = DIGEST_BYTES;
    cells[2].n = op->job_id;
}

static enum db_rc keys_keep(struct db *db, const struct group *g)
{
    struct keys keys = {.n = 0};
    for (unsigned i = 0; i < g->n; i++)
        if (g->one[i].op->key.is_set)
            keys.op[keys.n++] = g->one[i].op;
    return keys.n
               ? db_bulk(
                     db,
                     "INSERT INTO chasqui_idempotency (scope, digest, job_id, created_at) VALUES (?, ?, ?, NOW(6))",
                     "bbu", keys.n, fill_key, &keys)
               : DB_OK;
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

static void group_begin(struct group *g)
{
    struct store_group *op = g->op;
    g->n = op->n;
    g->n_gates = 0;
    for (unsigned i = 0; i < op->n; i++) {
        g->one[i] = (struct one){.op = op->op[i], .at = i};
        op->is_apart[i] = true;
    }
    qsort(g->one, g->n, sizeof(*g->one), by_company);
}

static enum db_rc reserves_tx(struct db *db, void *arg)
{
    struct group *g = arg;
    group_begin(g);
    twins_leave(g);
    TRY(uids_look(db, g));
    TRY(epochs_lock(db, g));
    TRY(keys_look(db, g));
    TRY(sessions_look(db, g));
    TRY(gates_look(db, g));
    TRY(places_look(db, g));
    if (!g->n)
        return DB_OK;
    TRY(gates_pass(db, g));
    TRY(jobs_make(db, g));
    TRY(sessions_make(db, g));
    TRY(places_hold(db, g));
    TRY(privates_make(db, g));
    TRY(epochs_raise_ours(db, g));
    TRY(leases_make(db, g));
    TRY(credentials_read(db, g));
    TRY(keys_keep(db, g));
    for (unsigned i = 0; i < g->n; i++) {
        g->one[i].op->outcome = RESERVE_OK;
        g->op->is_apart[g->one[i].at] = false;
    }
    return DB_OK;
}

/* All or none of them were committed: a lease of ours tells that they were. */
static int was_done(struct db *db, void *arg)
{
    struct group *g = arg;
    uint64_t jobs[RESERVES_MAX];
    if (!g->n)
        return 1;
    for (unsigned i = 0; i < g->n; i++)
        jobs[i] = g->one[i].op->job_id;
    if (db_query_in_u64(
            db,
            "SELECT job_id, token FROM chasqui_leases FORCE INDEX (PRIMARY) WHERE job_id IN (%s) LOCK IN "
            "SHARE MODE WAIT 3",
            jobs, g->n, ""))
        return -1;
    while (db_next(db)) {
        size_t len;
        uint64_t job_id = db_u64(db, 0);
        const char *token = db_str(db, 1, &len);
        for (unsigned i = 0; i < g->n && len == ID_TOKEN_BYTES; i++)
            if (jobs[i] == job_id && memcmp(g->one[i].op->lease.token, token, len) == 0)
                return 1;
    }
    return 0;
}

void store_reserves(struct db *db, void *arg)
{
    struct store_group *op = arg;
    struct group g = {.op = op};
    CHECK(op->n >= 1 && op->n <= RESERVES_MAX, "%u log-ins", op->n);
    if (op->n == 1) {
        op->is_apart[0] = false;
        store_reserve(db, op->op[0]);
        return;
    }
    group_begin(&g);
    enum store_rc rc = group_tx(db, op, reserves_tx, was_done, &g);
    for (unsigned i = 0; i < op->n; i++)
        ((struct store_reserve *)op->op[i])->rc = rc;
}
