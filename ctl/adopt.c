/* SPDX-License-Identifier: MIT */
/*
 * adopt.c - `chasqui adopt`: Laravel's live sessions become ours, many at a time.
 *
 * A transaction takes up to GROUP of them. Each is safe beside running dispatchers, since it locks the epochs of its
 * companies first, as every log-in does, and takes some tens of milliseconds. A row that the database does not take
 * is left out of its group. Must never make a second live session of a company and portal, nor take a row that
 * somebody adopted meanwhile. Fails by stopping: what was taken in stays, and the next run goes on.
 */
#include "ctl/ctl.h"
#include "ctl/adopt_find.h"
#include "ctl/plain.h"

#include "common/check.h"
#include "db/db_list.h"
#include "db/laravel_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUP 500
#define UNKNOWN_NAMED_MAX 50

struct adoption {
    struct ctl *c;
    struct adopt_found found;
    unsigned at, n_group;   /* of the found rows: the group under way */
    uint64_t taken, beyond; /* in all; of them in places above a robot's capacity */
    /* of the transaction under way */
    struct row {
        uint64_t ref, job_id;
        uint32_t robot_id, slot;
        bool is_beyond;
    } row[GROUP]; /* by robot, then by ref */
    unsigned n_rows;
};

/* ---- one transaction ---------------------------------------------------------------------------------------- */

static enum db_rc epochs_lock(struct db *db, const uint64_t *id, unsigned n)
{
    TRY(db_exec_in_u64(
        db,
        "INSERT IGNORE INTO chasqui_epochs (company_id, portal, epoch) SELECT j.company_id, j.portal, 0 FROM portal_jobs j "
        "WHERE j.id IN (%s) ORDER BY j.company_id, j.portal",
        id, n, ""));
    return db_query_in_u64(
        db,
        "SELECT e.epoch FROM chasqui_epochs e JOIN portal_jobs j ON e.company_id = j.company_id AND e.portal = j.portal WHERE "
        "j.id IN (%s) ORDER BY e.company_id, e.portal FOR UPDATE",
        id, n, "");
}

/* Sessions of one robot. That a row is on this robot is asked of the row as it is now. */
static enum db_rc sessions_make(struct adoption *a, uint32_t robot_id, const uint64_t *id, unsigned n)
{
    struct db *db = a->c->db;
    TRY(db_exec_in_u64(
        db,
        "INSERT IGNORE INTO chasqui_sessions (job_id, generation, current_job_id, company_id, portal, live, state, reason, since, "
        "robot_id, robot_session_id, live_session_id, epoch, adopted, started_at, last_activity_at) SELECT STRAIGHT_JOIN j.id, 1, j.id, "
        "j.company_id, j.portal, 1, {new session.adopt}, 'adopted', NOW(6), r.id, j.robot_session_id, j.robot_session_id, e.epoch, 1, "
        "COALESCE({utc j.created_at}, NOW(6)), NOW(6) FROM portal_jobs j JOIN chasqui_robots r ON r.id = ? AND " ROBOT_OF
        " JOIN chasqui_epochs e ON e.company_id = j.company_id AND e.portal = j.portal WHERE j.id IN (%s) AND " LARAVEL_OWN
        " AND NOT EXISTS (SELECT 1 FROM chasqui_sessions s FORCE INDEX (one_live) WHERE s.company_id = j.company_id AND s.portal = j.portal AND s.live = 1)",
        id, n, "u", (uint64_t)robot_id));
    TRY(db_query_in_u64(
        db,
        "SELECT s.id, s.job_id FROM chasqui_sessions s FORCE INDEX (job_generation) LEFT JOIN chasqui_places p ON p.session_ref = s.id WHERE s.job_id IN (%s) AND "
        "s.generation = 1 AND s.adopted = 1 AND s.live = 1 AND s.robot_id = ? AND p.slot IS NULL ORDER BY s.id",
        id, n, "u", (uint64_t)robot_id));
    while (a->n_rows < GROUP && db_next(db))
        a->row[a->n_rows++] = (struct row){.ref = db_u64(db, 0), .job_id = db_u64(db, 1), .robot_id = robot_id};
    return DB_OK;
}

/* Free places for the rows [from, to), which are on one robot; where there is none a new one above its capacity. */
static enum db_rc places_find(struct adoption *a, unsigned from, unsigned to)
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

/* The end of the rows from `from` whose refs and slots count up together: one statement is for all of them. */
static unsigned run_end(const struct adoption *a, unsigned from, unsigned to)
{
    unsigned i = from + 1;
    while (i < to && a->row[i].ref == a->row[i - 1].ref + 1 && a->row[i].slot == a->row[i - 1].slot + 1)
        i++;
    return i;
}

static enum db_rc run_take(struct adoption *a, unsigned from, unsigned to)
{
    const struct row *first = &a->row[from];
    TRY(db_exec(
        a->c->db,
        "UPDATE chasqui_places FORCE INDEX (PRIMARY) SET {become place.take} + slot - ? WHERE robot_id = ? AND slot BETWEEN ? AND ? AND "
        "{from place.take}",
        "uuuuu", first->ref, (uint64_t)first->slot, (uint64_t)first->robot_id, (uint64_t)first->slot,
        (uint64_t)a->row[to - 1].slot));
    return db_affected(a->c->db) == to - from ? DB_OK : DB_RETRY;
}

static void fill_place(void *arg, unsigned row, struct db_cell *cells)
{
    const struct row *r = &((const struct row *)arg)[row];
    cells[0].n = r->ref;
    cells[1].n = r->robot_id;
    cells[2].n = r->slot;
}

static enum db_rc places_take(struct adoption *a, unsigned from, unsigned to)
{
    unsigned beyond = from;
    while (beyond < to && !a->row[beyond].is_beyond)
        beyond++;
    for (unsigned end; from < beyond; from = end) {
        end = run_end(a, from, beyond);
        TRY(run_take(a, from, end));
    }
    if (beyond == to)
        return DB_OK;
    enum db_rc rc = db_bulk(
        a->c->db, "INSERT INTO chasqui_places (session_ref, robot_id, slot) VALUES ({new place.add}, ?, ?)", "uuu",
        to - beyond, fill_place, &a->row[beyond]);
    return rc == DB_DUP ? DB_RETRY : rc; /* a place that was to be made is somebody else's by now */
}

static void fill_event(void *arg, unsigned row, struct db_cell *cells)
{
    cells[0].n = ((const struct row *)arg)[row].job_id;
}

static enum db_rc group_tx(struct db *db, void *arg)
{
    struct adoption *a = arg;
    const struct adoptable *row = a->found.row + a->at;
    uint64_t id[GROUP];
    for (unsigned i = 0; i < a->n_group; i++)
        id[i] = row[i].job_id;
    for (unsigned i = 0; i < a->n_group; i += DB_LIST_MAX)
        TRY(epochs_lock(db, id + i, a->n_group - i < DB_LIST_MAX ? a->n_group - i : DB_LIST_MAX));
    a->n_rows = 0;
    for (unsigned from = 0, to; from < a->n_group; from = to) {
        unsigned first = a->n_rows;
        for (to = from + 1; to < a->n_group && to - from < DB_LIST_MAX && row[to].robot_id == row[from].robot_id;)
            to++;
        TRY(sessions_make(a, row[from].robot_id, id + from, to - from));
        if (a->n_rows == first)
            continue;
        TRY(places_find(a, first, a->n_rows));
        TRY(places_take(a, first, a->n_rows));
    }
    if (!a->n_rows)
        return DB_OK;
    return db_bulk(db, "INSERT INTO chasqui_job_events (job_id, at, event) VALUES (?, NOW(6), 'adopted')", "u",
                   a->n_rows, fill_event, a->row);
}

static enum ctl_exit take_all(struct adoption *a)
{
    for (; a->at < a->found.n; a->at += a->n_group) {
        a->n_group = a->found.n - a->at < GROUP ? a->found.n - a->at : GROUP;
        if (ctl_tx(a->c, group_tx, NULL, a, "") != CTL_DONE)
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
static void unknown_say(const struct adoption *a, struct jv *list)
{
    for (unsigned i = 0; i < a->found.n_unknown && i < UNKNOWN_NAMED_MAX; i++) {
        const struct adopt_unknown *u = &a->found.unknown[i];
        struct jv *one = jv_new_object();
        jv_set_str(one, "base_url", u->base_url);
        jv_set_int(one, "sessions", (int64_t)u->sessions);
        jv_push(list, one);
        if (!a->c->args.json)
            plain_line(stderr, "not registered: %s (%llu sessions); chasqui worker add NAME --base-url %s",
                       u->base_url, (unsigned long long)u->sessions, u->base_url);
    }
}

static enum ctl_exit answer(struct adoption *a, bool is_preview, struct jv *unknown)
{
    unsigned long long found = a->found.n, taken = a->taken, beyond = a->beyond;
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
    enum db_rc rc = adopt_find(c->db, (uint64_t)c->conf->session_idle_timeout_s, &a->found);
    if (rc)
        code = ctl_db_fail(c, rc);
    else
        unknown_say(a, unknown);
    if (code == CTL_DONE && !is_preview && a->found.n) {
        code = take_all(a);
        if (a->taken && ctl_tx(c, audit_tx, NULL, a, "") != CTL_DONE)
            code = CTL_FAILED;
    }
    if (code == CTL_DONE)
        code = answer(a, is_preview, unknown);
    else
        jv_free(unknown);
    adopt_found_free(&a->found);
    free(a);
    return code;
}
