/* SPDX-License-Identifier: MIT */
/*
 * store_batch_course.c - how a batch goes: when its items ended, what its robots
 * had of it, and what takes longest. Reads only.
 *
 * An item's times are those of its job's timeline: the row in portal_jobs
 * changes again when the session ends. At most COURSE_LOOK_MAX items are looked
 * at, of a larger batch one out of each stretch, so that a look never costs more.
 */
#include "dispatcher/store/store_batch_course.h"

#include "db/db_list.h"
#include "dispatcher/store/attempt.h"
#include "dispatcher/store/store_refusal.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

/* items of a state that the longest are looked for among: the first by index, which began first */
#define LIVE_MAX 512
#define TAIL_MAX 10
#define EVENTS_MAX 8192 /* of a piece; a timeline has few */
#define DAY_MS 86400000

enum item_state { QUEUED = 1, RUNNING, RETRYING, DONE, FAILED, CANCELLED }; /* the numbers of the ENUM */

struct seen {
    uint64_t idx, job_id; /* job_id 0: it has none of its own */
    unsigned state;
    /* first_ms: its first attempt; began_ms: that of the last time it was put in; 0 = not known */
    int64_t first_ms, began_ms, ended_ms;
};

struct robot {
    char name[NAME_ROOM];
    uint64_t attempts, failed, faults;
    int64_t *ms; /* of those that went well */
    size_t n, room;
};

struct longest {
    uint64_t idx;
    int64_t began_ms, took_ms;
};

struct course {
    uint64_t batch_id, total, span, every, looked, untimed;
    bool is_over;
    int64_t begin_ms, end_ms;
    struct seen *seen; /* COURSE_LOOK_MAX; `looked` of them are filled */
    struct robot *robot[COURSE_ROBOTS_MAX];
    unsigned n_robots, n_tail;
    struct longest tail[TAIL_MAX];
};

/* ---- robots ------------------------------------------------------------------------------------------------- */

static struct robot *robot_of(struct course *c, const char *name)
{
    for (unsigned i = 0; i < c->n_robots; i++)
        if (strcmp(c->robot[i]->name, name) == 0)
            return c->robot[i];
    if (c->n_robots == COURSE_ROBOTS_MAX)
        return NULL;
    struct robot *robot = c->robot[c->n_robots++] = xcalloc(1, sizeof(*robot));
    snprintf(robot->name, sizeof(robot->name), "%s", name);
    return robot;
}

static void attempt_count(struct course *c, const char *worker, const char *outcome, int64_t ms)
{
    struct robot *robot = robot_of(c, worker);
    if (!robot)
        return;
    robot->attempts++;
    if (strcmp(outcome, outcome_name[OUTCOME_DONE]) != 0) {
        robot->failed += strcmp(outcome, outcome_name[OUTCOME_CANCELLED]) != 0;
        robot->faults += strcmp(outcome, outcome_name[OUTCOME_ROBOT]) == 0 ||
                         strcmp(outcome, outcome_name[OUTCOME_UNKNOWN]) == 0;
        return;
    }
    if (robot->n == robot->room) {
        robot->room = robot->room ? 2 * robot->room : 64;
        robot->ms = xrealloc(robot->ms, robot->room * sizeof(*robot->ms));
    }
    robot->ms[robot->n++] = ms;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Of sorted times; -1 = there are none. */
static int64_t median(const struct robot *robot)
{
    return robot->n ? robot->ms[(robot->n - 1) / 2] : -1;
}

/* The slowest first; those that did nothing well last. */
static int by_median(const void *a, const void *b)
{
    const struct robot *x = *(const struct robot *const *)a, *y = *(const struct robot *const *)b;
    int64_t one = median(x), other = median(y);
    return one == other ? strcmp(x->name, y->name) : one < other ? 1 : -1;
}

/* ---- items -------------------------------------------------------------------------------------------------- */

static struct seen *seen_of(struct seen *seen, unsigned n, uint64_t job_id, unsigned *hint)
{
    for (unsigned i = 0; i < n; i++) {
        unsigned at = (*hint + i) % n; /* a job's events come together */
        if (seen[at].job_id == job_id) {
            *hint = at;
            return &seen[at];
        }
    }
    return NULL;
}

static void event_take(struct seen *s, const char *event, int64_t at_ms)
{
    if (strcmp(event, "started") == 0) {
        s->first_ms = s->first_ms && s->first_ms <= at_ms ? s->first_ms : at_ms;
        s->began_ms = s->began_ms ? s->began_ms : at_ms;
    } else if (strcmp(event, "queued") == 0) { /* put back by hand */
        s->began_ms = s->ended_ms = 0;
    } else if (strcmp(event, "done") == 0 || strcmp(event, "failed") == 0) {
        s->ended_ms = at_ms;
    }
}

/* What the timelines of these items say; `c` NULL: robots are not counted. */
static enum db_rc timelines_read(struct db *db, struct seen *seen, unsigned n, struct course *c)
{
    uint64_t jobs[DB_LIST_MAX];
    unsigned n_jobs = 0, hint = 0;
    for (unsigned i = 0; i < n; i++)
        if (seen[i].job_id)
            jobs[n_jobs++] = seen[i].job_id;
    if (!n_jobs)
        return DB_OK;
    TRY(db_query_in_u64(
        db,
        "SELECT job_id, event, CAST(UNIX_TIMESTAMP(at) * 1000 AS INT), COALESCE(worker, ''), COALESCE(outcome, ''), COALESCE(robot_ms, 0) FROM "
        "chasqui_job_events FORCE INDEX (job) WHERE job_id IN (%s) AND event IN ('queued', 'started', 'logged_in', 'retrying', 'waits_again', "
        "'done', 'failed', 'cancelled') ORDER BY job_id, id LIMIT ?",
        jobs, n_jobs, "u", (uint64_t)EVENTS_MAX));
    while (db_next(db)) {
        struct seen *s = seen_of(seen, n, db_u64(db, 0), &hint);
        if (!s)
            continue;
        event_take(s, db_str(db, 1, NULL), db_i64(db, 2));
        if (c && *db_str(db, 3, NULL) && *db_str(db, 4, NULL))
            attempt_count(c, db_str(db, 3, NULL), db_str(db, 4, NULL), db_i64(db, 5));
    }
    return DB_OK;
}

/* Those of these items (at most DB_LIST_MAX) that are there. One that runs in a session that it met has no timeline: its lease tells. */
static enum db_rc piece_read(struct db *db, uint64_t batch_id, const uint64_t *idx, unsigned n, struct seen *out,
                             unsigned *n_out)
{
    *n_out = 0;
    TRY(db_query_in_u64(
        db,
        "SELECT i.idx, i.state + 0, q.job_id, CAST(UNIX_TIMESTAMP(l.taken_at) * 1000 AS INT) FROM chasqui_items i FORCE INDEX (PRIMARY) "
        "LEFT JOIN chasqui_jobs q ON q.job_id = i.job_id AND q.batch_id = i.batch_id AND q.idx = i.idx LEFT JOIN chasqui_leases l ON "
        "l.job_id = i.job_id AND i.state = 'running' WHERE i.batch_id = ? AND i.idx IN (%s)",
        idx, n, "u", batch_id));
    while (*n_out < n && db_next(db)) {
        struct seen *s = &out[(*n_out)++];
        *s = (struct seen){.idx = db_u64(db, 0),
                           .state = (unsigned)db_u64(db, 1),
                           .job_id = db_is_null(db, 2) ? 0 : db_u64(db, 2)};
        if (!s->job_id && !db_is_null(db, 3))
            s->began_ms = db_i64(db, 3);
    }
    return DB_OK;
}

/* One out of each stretch of `every`, not always the same of it: files are sorted, and repeat. */
static uint64_t index_of(const struct course *c, uint64_t stretch)
{
    uint64_t first = stretch * c->every, width = c->span - first < c->every ? c->span - first : c->every;
    return first + (stretch * 0x9E3779B97F4A7C15ull >> 32) % width;
}

static enum db_rc items_read(struct db *db, struct course *c)
{
    uint64_t idx[DB_LIST_MAX], stretches = c->span ? (c->span - 1) / c->every + 1 : 0;
    for (uint64_t next = 0; next < stretches;) {
        unsigned n = 0, n_out;
        while (n < DB_LIST_MAX && next < stretches)
            idx[n++] = index_of(c, next++);
        TRY(piece_read(db, c->batch_id, idx, n, c->seen + c->looked, &n_out));
        TRY(timelines_read(db, c->seen + c->looked, n_out, c));
        c->looked += n_out;
    }
    for (uint64_t i = 0; i < c->looked; i++) {
        const struct seen *s = &c->seen[i];
        bool has_ended = s->state == DONE || s->state == FAILED;
        if (s->first_ms && (!c->begin_ms || s->first_ms < c->begin_ms))
            c->begin_ms = s->first_ms;
        c->untimed += has_ended && !s->ended_ms;
    }
    return DB_OK;
}

/* ---- what takes longest ------------------------------------------------------------------------------------- */

static void tail_add(struct course *c, const struct seen *s, int64_t until_ms)
{
    struct longest one = {s->idx, s->began_ms, until_ms - s->began_ms};
    unsigned at = c->n_tail;
    if (!s->began_ms || !until_ms || one.took_ms < 0)
        return;
    while (at && c->tail[at - 1].took_ms < one.took_ms)
        at--;
    if (at == TAIL_MAX)
        return;
    c->n_tail += c->n_tail < TAIL_MAX;
    memmove(&c->tail[at + 1], &c->tail[at], (c->n_tail - at - 1) * sizeof(*c->tail));
    c->tail[at] = one;
}

/* Those that run, or wait to be tried again. */
static enum db_rc live_read(struct db *db, struct course *c, const char *state)
{
    uint64_t idx[LIVE_MAX];
    struct seen seen[DB_LIST_MAX];
    unsigned n = 0, n_out;
    TRY(db_query(
        db,
        "SELECT idx FROM chasqui_items FORCE INDEX (by_state) WHERE batch_id = ? AND state = ? ORDER BY idx LIMIT ?",
        "usu", c->batch_id, state, (uint64_t)LIVE_MAX));
    while (n < LIVE_MAX && db_next(db))
        idx[n++] = db_u64(db, 0);
    for (unsigned at = 0; at < n; at += DB_LIST_MAX) {
        TRY(piece_read(db, c->batch_id, idx + at, n - at < DB_LIST_MAX ? n - at : DB_LIST_MAX, seen, &n_out));
        TRY(timelines_read(db, seen, n_out, NULL));
        for (unsigned i = 0; i < n_out; i++)
            if (seen[i].state == RUNNING || seen[i].state == RETRYING)
                tail_add(c, &seen[i], c->end_ms);
    }
    return DB_OK;
}

static enum db_rc tail_read(struct db *db, struct course *c)
{
    if (!c->is_over) {
        TRY(live_read(db, c, "running"));
        return live_read(db, c, "retrying");
    }
    for (uint64_t i = 0; i < c->looked; i++)
        if (c->seen[i].state == DONE || c->seen[i].state == FAILED)
            tail_add(c, &c->seen[i], c->seen[i].ended_ms);
    return DB_OK;
}

static enum db_rc tail_jv(struct db *db, const struct course *c, struct jv *list)
{
    uint64_t idx[TAIL_MAX];
    struct jv *one[TAIL_MAX] = {NULL};
    for (unsigned i = 0; i < c->n_tail; i++)
        idx[i] = c->tail[i].idx;
    if (!c->n_tail)
        return DB_OK;
    TRY(db_query_in_u64(
        db,
        "SELECT i.idx, i.company_id, i.state, i.job_id, j.worker, IF(j.batch_id = i.batch_id, j.attempts, 0), IF(j.batch_id = i.batch_id AND "
        "i.state <> 'done', " JOB_ERROR
        ", NULL) FROM chasqui_items i FORCE INDEX (PRIMARY) LEFT JOIN portal_jobs j ON j.id = i.job_id" REFUSAL_JOIN
        "WHERE i.batch_id = ? AND i.idx IN (%s)",
        idx, c->n_tail, "u", c->batch_id));
    while (db_next(db)) {
        uint64_t index = db_u64(db, 0);
        for (unsigned i = 0; i < c->n_tail; i++) {
            if (c->tail[i].idx != index || one[i])
                continue;
            one[i] = jv_new_object();
            jv_set_int(one[i], "index", db_i64(db, 0));
            jv_set_int(one[i], "company_id", db_i64(db, 1));
            jv_set_str(one[i], "status", db_str(db, 2, NULL));
            json_set_column(one[i], "job_id", db, 3);
            jv_set_str(one[i], "worker", db_str(db, 4, NULL));
            jv_set_int(one[i], "attempts", db_i64(db, 5));
            jv_set_str(one[i], "error", db_str(db, 6, NULL));
            jv_set_time(one[i], "began_at", c->tail[i].began_ms);
            jv_set_int(one[i], "took_ms", c->tail[i].took_ms);
        }
    }
    for (unsigned i = 0; i < c->n_tail; i++)
        if (one[i])
            jv_push(list, one[i]);
    return DB_OK;
}

/* ---- the answer --------------------------------------------------------------------------------------------- */

static int64_t step_of(int64_t begin_ms, int64_t end_ms)
{
    static const int64_t steps_s[] = {1,   2,   5,    10,   15,   30,    60,    120,  300,
                                      600, 900, 1800, 3600, 7200, 14400, 21600, 43200};
    int64_t step_ms = DAY_MS;
    for (unsigned i = 0; i < sizeof(steps_s) / sizeof(*steps_s); i++)
        if (end_ms / (steps_s[i] * 1000) - begin_ms / (steps_s[i] * 1000) < COURSE_STEPS_MAX)
            return steps_s[i] * 1000;
    while (end_ms / step_ms - begin_ms / step_ms >= COURSE_STEPS_MAX)
        step_ms *= 2;
    return step_ms;
}

/* What was counted is a sample of the whole batch. */
static int64_t scaled(const struct course *c, uint64_t n)
{
    return (int64_t)(c->every > 1 && c->looked ? (n * c->total + c->looked / 2) / c->looked : n);
}

static void curve_set(const struct course *c, struct jv *out)
{
    uint64_t done[COURSE_STEPS_MAX] = {0}, failed[COURSE_STEPS_MAX] = {0};
    struct jv *lists[] = {jv_new_array(), jv_new_array()};
    int64_t step_ms = c->begin_ms ? step_of(c->begin_ms, c->end_ms) : 0,
            first = step_ms ? c->begin_ms / step_ms : 0;
    unsigned n = step_ms ? (unsigned)(c->end_ms / step_ms - first) + 1 : 0;
    for (uint64_t i = 0; n && i < c->looked; i++) {
        const struct seen *s = &c->seen[i];
        if (!s->ended_ms || (s->state != DONE && s->state != FAILED))
            continue;
        int64_t at = s->ended_ms / step_ms - first;
        at = at < 0 ? 0 : at >= (int64_t)n ? n - 1 : at;
        (s->state == DONE ? done : failed)[at]++;
    }
    for (unsigned i = 0; i < n; i++) {
        jv_push_int(lists[0], scaled(c, done[i]));
        jv_push_int(lists[1], scaled(c, failed[i]));
    }
    jv_set_time(out, "from", first * step_ms);
    jv_set_int(out, "step_s", step_ms / 1000);
    jv_set_int(out, "n", n);
    jv_set(out, "done", lists[0]);
    jv_set(out, "failed", lists[1]);
}

static struct jv *robots_jv(struct course *c)
{
    struct jv *list = jv_new_array();
    for (unsigned i = 0; i < c->n_robots; i++)
        if (c->robot[i]->n) /* one whose log-ins all failed has no times, and no room for them */
            qsort(c->robot[i]->ms, c->robot[i]->n, sizeof(*c->robot[i]->ms), by_number);
    qsort(c->robot, c->n_robots, sizeof(*c->robot), by_median);
    for (unsigned i = 0; i < c->n_robots; i++) {
        const struct robot *robot = c->robot[i];
        struct jv *one = jv_new_object();
        jv_set_str(one, "worker", robot->name);
        jv_set_int(one, "attempts", scaled(c, robot->attempts));
        jv_set_int(one, "done", scaled(c, robot->n));
        jv_set_int(one, "failed", scaled(c, robot->failed));
        jv_set_int(one, "faults", scaled(c, robot->faults));
        jv_set(one, "login_p50_ms", NULL);
        if (robot->n)
            jv_set_int(one, "login_p50_ms", median(robot));
        jv_push(list, one);
    }
    return list;
}

static enum db_rc begin(struct db *db, struct course *c, const struct batch_course *of)
{
    TRY(db_query(
        db,
        "SELECT MAX(idx) + 1, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000 AS INT) FROM chasqui_items WHERE batch_id = ?",
        "u", of->batch_id));
    if (!db_next(db))
        return DB_FAIL;
    c->batch_id = of->batch_id;
    c->span = db_is_null(db, 0) ? 0 : db_u64(db, 0);
    c->every = c->span > COURSE_LOOK_MAX ? (c->span - 1) / COURSE_LOOK_MAX + 1 : 1;
    c->total = of->total;
    c->is_over = of->finished_ms > 0;
    c->end_ms = c->is_over ? of->finished_ms : db_i64(db, 1);
    c->seen = xcalloc(COURSE_LOOK_MAX, sizeof(*c->seen));
    return DB_OK;
}

static enum db_rc course_read(struct db *db, struct course *c, struct jv *out)
{
    struct jv *tail = jv_new_array();
    jv_set(out, "tail", tail);
    TRY(items_read(db, c));
    TRY(tail_read(db, c));
    TRY(tail_jv(db, c, tail));
    if (c->end_ms < c->begin_ms)
        c->end_ms = c->begin_ms;
    curve_set(c, out);
    jv_set(out, "robots", robots_jv(c));
    jv_set_int(out, "looked", (int64_t)c->looked);
    jv_set_bool(out, "sampled", c->every > 1);
    jv_set_int(out, "untimed", scaled(c, c->untimed));
    return DB_OK;
}

enum db_rc batch_course_read(struct db *db, const struct batch_course *of, struct jv *out)
{
    struct course *c = xcalloc(1, sizeof(*c));
    enum db_rc rc = begin(db, c, of);
    rc = rc ? rc : course_read(db, c, out);
    for (unsigned i = 0; i < c->n_robots; i++) {
        free(c->robot[i]->ms);
        free(c->robot[i]);
    }
    free(c->seen);
    free(c);
    return rc;
}
