/* SPDX-License-Identifier: MIT */
/*
 * adopt.c - `chasqui adopt`: Laravel's live sessions become ours, many at a time.
 * A transaction takes up to CHUNK of them; each is safe beside running
 * dispatchers, since it locks the epochs of its companies first, as every log-in
 * does. Must never make a second live session of a company and portal, nor take
 * a row that somebody adopted meanwhile. Fails by stopping: what was taken in
 * stays, and the next run goes on.
 */
#include "ctl/ctl.h"
#include "ctl/plain.h"

#include "common/check.h"
#include "db/laravel_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 200 /* an IN list holds 256 */
#define UNKNOWN_NAMED_MAX 50

struct adoption {
    struct ctl *c;
    uint64_t *id; /* of portal_jobs, all that may be taken in */
    unsigned n, at, n_chunk;
    uint64_t taken, beyond; /* in all; of them in places above a robot's capacity */
    /* of the transaction under way */
    struct row {
        uint64_t ref, job_id;
        uint32_t robot_id, slot;
        bool is_beyond;
    } row[CHUNK];
    const struct row *placed[CHUNK]; /* those of the statement under way */
    unsigned n_rows;
};

#define ROBOT_OF "r.removed = 0 AND r.base_url = TRIM(TRAILING '/' FROM j.robot_worker_base_url)"
/* The newest young row of each company and portal without a live session; its portal must be one that we can name. */
#define YOUNG_ROWS                                                                                                      \
    "portal_jobs j JOIN (SELECT MAX(j.id) AS id FROM portal_jobs j WHERE " LARAVEL_OWN " AND " LARAVEL_YOUNG            \
    " GROUP BY j.company_id, j.portal) n ON n.id = j.id LEFT JOIN chasqui_robots r ON " ROBOT_OF                        \
    " WHERE j.portal REGEXP '^[a-z0-9_]{1,64}$' AND NOT EXISTS (SELECT 1 FROM chasqui_sessions s WHERE s.company_id = " \
    "j.company_id AND s.portal = j.portal AND s.live = 1) "

static uint64_t idle_s(const struct adoption *a)
{
    return (uint64_t)a->c->conf->session_idle_timeout_s;
}

static enum db_rc find(struct adoption *a)
{
    struct db *db = a->c->db;
    unsigned room = 0;
    TRY(db_query(db, "SELECT j.id FROM " YOUNG_ROWS "AND r.id IS NOT NULL ORDER BY j.id", "u", idle_s(a)));
    while (db_next(db)) {
        if (a->n == room) {
            room = room ? room * 2 : 1024;
            a->id = realloc(a->id, room * sizeof(*a->id));
            CHECK(a->id, "memory for %u ids", room);
        }
        a->id[a->n++] = db_u64(db, 0);
    }
    return DB_OK;
}

/* ---- one transaction ---------------------------------------------------------------------------------------- */

static enum db_rc epochs_lock(struct adoption *a, const uint64_t *id)
{
    struct db *db = a->c->db;
    TRY(db_exec_in_u64(
        db,
        "INSERT IGNORE INTO chasqui_epochs (company_id, portal, epoch) SELECT j.company_id, j.portal, 0 FROM portal_jobs j "
        "WHERE j.id IN (%s) ORDER BY j.company_id, j.portal",
        id, a->n_chunk, ""));
    return db_query_in_u64(
        db,
        "SELECT e.epoch FROM chasqui_epochs e JOIN portal_jobs j ON e.company_id = j.company_id AND e.portal = j.portal WHERE "
        "j.id IN (%s) ORDER BY e.company_id, e.portal FOR UPDATE",
        id, a->n_chunk, "");
}

static enum db_rc sessions_make(struct adoption *a, const uint64_t *id)
{
    struct db *db = a->c->db;
    TRY(db_exec_in_u64(
        db,
        "INSERT IGNORE INTO chasqui_sessions (job_id, generation, current_job_id, company_id, portal, live, state, reason, since, "
        "robot_id, robot_session_id, live_session_id, epoch, adopted, started_at, last_activity_at) SELECT j.id, 1, j.id, "
        "j.company_id, j.portal, 1, {new session.adopt}, 'adopted', NOW(6), r.id, j.robot_session_id, j.robot_session_id, e.epoch, 1, "
        "COALESCE({utc j.created_at}, NOW(6)), NOW(6) FROM portal_jobs j JOIN chasqui_robots r ON " ROBOT_OF
        " JOIN chasqui_epochs e ON e.company_id = j.company_id AND e.portal = j.portal WHERE j.id IN (%s) AND " LARAVEL_OWN
        " AND NOT EXISTS (SELECT 1 FROM chasqui_sessions s WHERE s.company_id = j.company_id AND s.portal = j.portal AND s.live = 1)",
        id, a->n_chunk, ""));
    a->n_rows = 0;
    TRY(db_query_in_u64(
        db,
        "SELECT s.id, s.job_id, s.robot_id FROM chasqui_sessions s LEFT JOIN chasqui_places p ON p.session_ref = s.id WHERE "
        "s.job_id IN (%s) AND s.generation = 1 AND s.adopted = 1 AND s.live = 1 AND p.slot IS NULL ORDER BY s.robot_id, s.id",
        id, a->n_chunk, ""));
    while (a->n_rows < CHUNK && db_next(db))
        a->row[a->n_rows++] =
            (struct row){.ref = db_u64(db, 0), .job_id = db_u64(db, 1), .robot_id = (uint32_t)db_u64(db, 2)};
    return DB_OK;
}

/* Free places for the rows [from, to), which are on one robot; where there is none a new one above its capacity. */
static enum db_rc robot_places(struct adoption *a, unsigned from, unsigned to)
{
    struct db *db = a->c->db;
    uint64_t robot_id = a->row[from].robot_id, highest = 0;
    unsigned i = from;
    TRY(db_query(
        db,
        "SELECT slot FROM chasqui_places FORCE INDEX (free_places) WHERE robot_id = ? AND session_ref IS NULL ORDER BY slot LIMIT ? FOR UPDATE SKIP LOCKED",
        "uu", robot_id, (uint64_t)(to - from)));
    for (; i < to && db_next(db); i++)
        a->row[i].slot = (uint32_t)db_u64(db, 0);
    if (i == to)
        return DB_OK;
    TRY(db_query(db, "SELECT COALESCE(MAX(slot), 0) FROM chasqui_places WHERE robot_id = ?", "u", robot_id));
    if (db_next(db))
        highest = db_u64(db, 0);
    for (; i < to; i++) {
        a->row[i].slot = (uint32_t)++highest;
        a->row[i].is_beyond = true;
    }
    return DB_OK;
}

static void fill_place(void *arg, unsigned row, struct db_cell *cells)
{
    const struct row *r = ((struct adoption *)arg)->placed[row];
    cells[0].n = r->ref;
    cells[1].n = r->robot_id;
    cells[2].n = r->slot;
}

/* Those of the rows whose place is there already, or is made. */
static unsigned placed_choose(struct adoption *a, bool is_beyond)
{
    unsigned n = 0;
    for (unsigned i = 0; i < a->n_rows; i++)
        if (a->row[i].is_beyond == is_beyond)
            a->placed[n++] = &a->row[i];
    return n;
}

static enum db_rc places_take(struct adoption *a)
{
    struct db *db = a->c->db;
    unsigned n = placed_choose(a, false);
    if (n) {
        TRY(db_bulk(
            db,
            "UPDATE chasqui_places SET {become place.take} WHERE robot_id = ? AND slot = ? AND {from place.take}",
            "uuu", n, fill_place, a));
        if (db_affected(db) != n)
            return DB_RETRY;
    }
    n = placed_choose(a, true);
    enum db_rc rc =
        n ? db_bulk(db, "INSERT INTO chasqui_places (session_ref, robot_id, slot) VALUES ({new place.add}, ?, ?)",
                    "uuu", n, fill_place, a)
          : DB_OK;
    return rc == DB_DUP ? DB_RETRY : rc; /* a place that was to be made is somebody else's by now */
}

static enum db_rc chunk_tx(struct db *db, void *arg)
{
    struct adoption *a = arg;
    const uint64_t *id = a->id + a->at;
    uint64_t ref[CHUNK];
    TRY(epochs_lock(a, id));
    TRY(sessions_make(a, id));
    for (unsigned from = 0, to; from < a->n_rows; from = to) {
        for (to = from + 1; to < a->n_rows && a->row[to].robot_id == a->row[from].robot_id;)
            to++;
        TRY(robot_places(a, from, to));
    }
    if (!a->n_rows)
        return DB_OK;
    TRY(places_take(a));
    for (unsigned i = 0; i < a->n_rows; i++)
        ref[i] = a->row[i].ref;
    return db_exec_in_u64(
        db,
        "INSERT INTO chasqui_job_events (job_id, at, event) SELECT job_id, NOW(6), 'adopted' FROM chasqui_sessions WHERE id IN (%s)",
        ref, a->n_rows, "");
}

static enum ctl_exit take_all(struct adoption *a)
{
    for (; a->at < a->n; a->at += a->n_chunk) {
        a->n_chunk = a->n - a->at < CHUNK ? a->n - a->at : CHUNK;
        if (ctl_tx(a->c, chunk_tx, NULL, a, "") != CTL_DONE)
            return CTL_FAILED;
        a->taken += a->n_rows;
        for (unsigned i = 0; i < a->n_rows; i++)
            a->beyond += a->row[i].is_beyond;
    }
    return CTL_DONE;
}

static enum db_rc audit_tx(struct db *db, void *arg)
{
    struct adoption *a = arg;
    char detail[80];
    snprintf(detail, sizeof(detail), "%llu sessions, %llu of them above capacity", (unsigned long long)a->taken,
             (unsigned long long)a->beyond);
    return ctl_audit(db, a->c->actor, "adopt", "sessions", detail);
}

/* ---- what is said ------------------------------------------------------------------------------------------- */

/* Rows whose robot is not registered, by base URL. */
static enum db_rc unknown_robots(struct adoption *a, struct jv *list)
{
    struct db *db = a->c->db;
    TRY(db_query(db,
                 "SELECT TRIM(TRAILING '/' FROM j.robot_worker_base_url) AS url, COUNT(*) AS n FROM " YOUNG_ROWS
                 "AND r.id IS NULL GROUP BY url ORDER BY n DESC LIMIT ?",
                 "uu", idle_s(a), (uint64_t)UNKNOWN_NAMED_MAX));
    while (db_next(db)) {
        struct jv *one = jv_new_object();
        jv_set_str(one, "base_url", db_str(db, 0, NULL));
        jv_set_int(one, "sessions", db_i64(db, 1));
        jv_push(list, one);
        if (!a->c->args.json)
            plain_line(stderr, "not registered: %s (%llu sessions); chasqui worker add NAME --base-url %s",
                       db_str(db, 0, NULL), (unsigned long long)db_u64(db, 1), db_str(db, 0, NULL));
    }
    return DB_OK;
}

static enum ctl_exit answer(struct adoption *a, bool is_preview, struct jv *unknown)
{
    unsigned long long found = a->n, taken = a->taken, beyond = a->beyond;
    if (a->c->args.json) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "preview", is_preview);
        jv_set_int(body, "found", (int64_t)found);
        jv_set_int(body, "adopted", (int64_t)taken);
        jv_set_int(body, "above_capacity", (int64_t)beyond);
        jv_set(body, "unknown_robots", unknown);
        return ctl_json(body);
    }
    jv_free(unknown);
    if (is_preview)
        return ctl_say(a->c, "%llu sessions of Laravel would be adopted; nothing was changed", found);
    return ctl_say(a->c,
                   "%llu sessions of Laravel are adopted, %llu of them in places above their robot's capacity",
                   taken, beyond);
}

enum ctl_exit adopt_command(struct ctl *c)
{
    struct adoption *a = xcalloc(1, sizeof(*a));
    struct jv *unknown = jv_new_array();
    bool is_preview = c->args.n[OPT_PREVIEW];
    enum ctl_exit code = CTL_DONE;
    a->c = c;
    enum db_rc rc = find(a);
    if (rc == DB_OK)
        rc = unknown_robots(a, unknown);
    if (rc)
        code = ctl_db_fail(c, rc);
    if (code == CTL_DONE && !is_preview && a->n) {
        code = take_all(a);
        if (a->taken && ctl_tx(c, audit_tx, NULL, a, "") != CTL_DONE)
            code = CTL_FAILED;
    }
    if (code == CTL_DONE)
        code = answer(a, is_preview, unknown);
    else
        jv_free(unknown);
    free(a->id);
    free(a);
    return code;
}
