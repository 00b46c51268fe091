/* SPDX-License-Identifier: MIT */
/*
 * store_job.c - jobs, Laravel's rows included: one with its timeline, pages of
 * them, cancelling one, and putting one back by hand.
 *
 * Owns nothing; runs on database threads. An item that waits is locked before its
 * portal_jobs row, as in the claim; one whose job has ended after it. No base URL
 * of a robot is read into an answer; what Laravel or a robot wrote into `error`
 * and `message` is the caller's to clean.
 */
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_refusal.h"

#include "common/jv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- its shape ---------------------------------------------------------------------------------------------- */

/* The claim of a batch's item makes its job: that it was queued before stands in its row alone. */
static void queued_push(struct jv *out, int64_t created_ms)
{
    struct jv *e = jv_new_object();
    jv_set_time(e, "at", created_ms);
    jv_set_str(e, "event", "queued");
    jv_push(out, e);
}

/* What the robot said, where it said something: from column `at` on. */
static void words_set(struct jv *e, struct db *db, unsigned at)
{
    if (!db_is_null(db, at))
        jv_set_int(e, "robot_status", db_i64(db, at));
    if (!db_is_null(db, at + 1))
        jv_set_str(e, "robot_error", db_str(db, at + 1, NULL));
    if (!db_is_null(db, at + 2))
        jv_set_str(e, "robot_message", db_str(db, at + 2, NULL));
}

/* An attempt that ended with this event. */
static struct jv *attempt_jv(struct db *db)
{
    struct jv *a = jv_new_object();
    json_set_column(a, "n", db, 5);
    jv_set_str(a, "worker", db_str(db, 2, NULL));
    json_set_column(a, "queued_ms", db, 7);
    json_set_column(a, "robot_ms", db, 8);
    jv_set_str(a, "outcome", db_str(db, 6, NULL));
    words_set(a, db, 9);
    return a;
}

static bool is_round_end(const char *event)
{
    static const char *const ends[] = {"done", "failed", "retrying", "waits_again", "cancelled"};
    for (unsigned i = 0; i < sizeof(ends) / sizeof(*ends); i++)
        if (strcmp(event, ends[i]) == 0)
            return true;
    return false;
}

/* Of an attempt whose log-in went well: how the steps after it ended. */
static void steps_set(struct jv *attempt, struct db *db)
{
    struct jv *steps = jv_new_object();
    jv_set_str(steps, "outcome", db_str(db, 1, NULL));
    jv_set_str(steps, "error", db_str(db, 4, NULL));
    jv_set(attempt, "steps", steps);
}

static enum db_rc timeline_read(struct db *db, uint64_t job_id, struct jv *out, struct jv *attempts)
{
    TRY(db_query(
        db,
        "SELECT CAST(UNIX_TIMESTAMP(at) * 1000 AS INT), event, worker, dispatcher, detail, attempt, outcome, queued_ms, robot_ms, "
        "robot_status, robot_error, robot_message FROM chasqui_job_events WHERE job_id = ? ORDER BY id LIMIT 500",
        "u", job_id));
    struct jv *round = NULL;
    while (db_next(db)) {
        struct jv *e = jv_new_object();
        jv_set_time(e, "at", db_i64(db, 0));
        jv_set_str(e, "event", db_str(db, 1, NULL));
        static const char *const optional[] = {"worker", "dispatcher", "detail"};
        for (unsigned i = 0; i < 3; i++)
            if (!db_is_null(db, i + 2))
                jv_set_str(e, optional[i], db_str(db, i + 2, NULL));
        words_set(e, db, 9);
        jv_push(out, e);
        if (!db_is_null(db, 5)) {
            struct jv *one = attempt_jv(db);
            round = strcmp(db_str(db, 1, NULL), "logged_in") == 0 ? one : NULL;
            jv_push(attempts, one);
        } else if (round && is_round_end(db_str(db, 1, NULL))) {
            steps_set(round, db);
            round = NULL;
        }
    }
    return DB_OK;
}

#define JOB_COLUMNS                                                                                                             \
    "j.id, j.job_uid, j.company_id, j.portal, j.action, " JOB_STATUS ", j.priority, j.attempts, j.batch_id, "                   \
    "COALESCE(j.robot_session_id, q.session_id), j.worker, " JOB_ERROR ", " JOB_MESSAGE ", "                                    \
    "CAST(UNIX_TIMESTAMP({utc j.created_at}) * 1000 AS INT), CAST(UNIX_TIMESTAMP({utc j.available_at}) * 1000 AS INT), "        \
    "CAST(UNIX_TIMESTAMP({utc j.started_at}) * 1000 AS INT), CAST(UNIX_TIMESTAMP({utc j.finished_at}) * 1000 AS INT), q.kind, " \
    "j.robot_session_id, q.robot_status, q.robot_error, q.robot_message FROM portal_jobs j LEFT JOIN chasqui_jobs q ON q.job_id = j.id " REFUSAL_JOIN

static struct jv *job_jv(struct db *db)
{
    struct jv *job = jv_new_object();
    json_set_column(job, "id", db, 0);
    jv_set_str(job, "job_uid", db_str(db, 1, NULL));
    json_set_column(job, "company_id", db, 2);
    jv_set_str(job, "portal", db_str(db, 3, NULL));
    jv_set_str(job, "action", db_str(db, 4, NULL));
    jv_set_str(job, "status", db_str(db, 5, NULL));
    json_set_column(job, "priority", db, 6);
    json_set_column(job, "attempts", db, 7);
    json_set_column(job, "batch_id", db, 8);
    static const char *const texts[] = {"session_id", "worker", "error", "message"};
    for (unsigned i = 0; i < 4; i++)
        jv_set_str(job, texts[i], db_str(db, 9 + i, NULL));
    static const char *const times[] = {"created_at", "available_at", "started_at", "finished_at"};
    for (unsigned i = 0; i < 4; i++)
        jv_set_time(job, times[i], db_i64(db, 13 + i));
    json_set_column(job, "robot_status", db, 19);
    jv_set_str(job, "robot_error", db_str(db, 20, NULL));
    jv_set_str(job, "robot_message", db_str(db, 21, NULL));
    return job;
}

static bool is_terminal(const char *status)
{
    return strcmp(status, "done") == 0 || strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0;
}

static enum db_rc job_read(struct db *db, struct store_job *op)
{
    op->found = op->terminal = false;
    op->session_ref = 0;
    if (op->job_id)
        TRY(db_find(db, &op->found, "SELECT " JOB_COLUMNS "WHERE j.id = ?", "u", op->job_id));
    else
        TRY(db_find(db, &op->found,
                    "SELECT " JOB_COLUMNS "WHERE j.job_uid = ? ORDER BY q.job_id IS NULL, j.id DESC LIMIT 1", "s",
                    op->job_uid));
    if (!op->found)
        return DB_OK;
    op->job_id = db_u64(db, 0);
    op->company_id = db_u64(db, 2);
    db_str_copy(db, 1, op->job_uid, sizeof(op->job_uid));
    db_str_copy(db, 5, op->status, sizeof(op->status));
    db_str_copy(db, 11, op->error, sizeof(op->error));
    db_str_copy(db, 12, op->message, sizeof(op->message));
    db_str_copy(db, 17, op->kind, sizeof(op->kind));
    op->terminal = is_terminal(op->status);
    bool is_met = strcmp(op->kind, "login") == 0 && db_is_null(db, 18);
    char session_id[SESSION_ID_ROOM];
    db_str_copy(db, 9, session_id, sizeof(session_id));
    struct jv *job = job_jv(db), *timeline = jv_new_array(), *attempts = jv_new_array(), *body = jv_new_object();
    if (db_u64(db, 8))
        queued_push(timeline, db_i64(db, 13));
    enum db_rc rc = timeline_read(db, op->job_id, timeline, attempts);
    jv_set(job, "attempts_log", attempts);
    jv_set(job, "timeline", timeline);
    jv_set_bool(body, "ok", true);
    jv_set(body, "job", job);
    json_take(body, &op->json);
    TRY(rc);
    if (is_met && session_id[0]) /* it was completed with a session that was there */
        TRY(db_query(db, "SELECT " SESSION_COLUMNS SESSION_FROM "WHERE s.live_session_id = ?", "s", session_id));
    else
        TRY(db_query(db, "SELECT " SESSION_COLUMNS SESSION_FROM "WHERE s.current_job_id = ?", "u", op->job_id));
    if (db_next(db)) {
        session_read(db, 0, &op->session);
        op->session_ref = op->session.ref;
    }
    return DB_OK;
}

void store_job(struct db *db, void *arg)
{
    struct store_job *op = arg;
    op->rc = store_rc_of(db ? job_read(db, op) : DB_GONE);
}

static enum db_rc jobs_over_read(struct db *db, struct store_jobs_over *op)
{
    for (unsigned i = 0; i < op->n; i++)
        op->is_over[i] = true;
    TRY(db_query_in_u64(db, "SELECT id, {status status} FROM portal_jobs WHERE id IN (%s)", op->job_id, op->n,
                        ""));
    while (db_next(db)) {
        uint64_t job_id = db_u64(db, 0);
        bool is_over = is_terminal(db_str(db, 1, NULL));
        for (unsigned i = 0; i < op->n; i++)
            if (op->job_id[i] == job_id)
                op->is_over[i] = is_over;
    }
    return DB_OK;
}

void store_jobs_over(struct db *db, void *arg)
{
    struct store_jobs_over *op = arg;
    op->rc = store_rc_of(db ? jobs_over_read(db, op) : DB_GONE);
}

/* ---- pages -------------------------------------------------------------------------------------------------- */

#define PAGE_MAX 200

/* The newest ids found so far, newest first; one more than the page shows, to know whether there is another. */
struct page {
    struct store_jobs *op;
    uint64_t id[PAGE_MAX + 1];
    unsigned n, room;
    uint64_t looked_to; /* the walk stopped there, though the page has room; 0 = it did not */
};

static void page_add(struct page *p, uint64_t id)
{
    unsigned at = p->n;
    while (at && p->id[at - 1] < id)
        at--;
    if (at == p->room || (at && p->id[at - 1] == id))
        return;
    if (p->n < p->room)
        p->n++;
    memmove(&p->id[at + 1], &p->id[at], (p->n - 1 - at) * sizeof(p->id[0]));
    p->id[at] = id;
}

/* Ids from here on may still come into the page. */
static uint64_t page_floor(const struct page *p)
{
    return p->n == p->room ? p->id[p->n - 1] + 1 : p->op->from;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool is_allowed(const struct store_jobs *op, uint64_t company_id)
{
    return op->all || (op->n_companies &&
                       bsearch(&company_id, op->companies, op->n_companies, sizeof(company_id), by_number));
}

/* Walks one index from the newest job down; `by` is its leading column. Each index ends with the id, so that nothing is sorted. */
#define FAILED_AT "COALESCE({utc j.finished_at}, {utc j.updated_at}, {utc j.created_at})"
#define WALK(index, by)                                                                                                                 \
    "SELECT j.id, j.company_id FROM portal_jobs j FORCE INDEX (" index ") WHERE " by                                                    \
    " AND j.id < ? AND j.id >= ? AND (? = '' OR "                                                                                       \
    "{status j.status} = ?) AND (? = '' OR j.portal = ?) AND (? = 0 OR j.company_id = ?) AND (? = 0 OR j.batch_id = ?) AND (? = '' OR " \
    "j.worker = ?) AND (? = '' OR j.error = ? OR (SELECT x.error FROM chasqui_refusals x WHERE x.job_id = j.id) = ?) AND (? = '' OR "   \
    "((? <> '' OR COALESCE(j.error, '') NOT IN (" ERRORS_NOT_SAID                                                                       \
    ")) AND (SELECT q.robot_error FROM chasqui_jobs q WHERE q.job_id = j.id) = ?)) AND (? = 0 OR " FAILED_AT                            \
    " >= TIMESTAMP('1970-01-01') + INTERVAL ? * 1000 MICROSECOND) AND (? = 0 OR " FAILED_AT                                             \
    " < TIMESTAMP('1970-01-01') + INTERVAL ? * 1000 MICROSECOND) ORDER BY j.id DESC LIMIT ?"
#define WALK_TYPES                                                                                                \
    "uu"                                                                                                          \
    "ss"                                                                                                          \
    "ss"                                                                                                          \
    "uu"                                                                                                          \
    "uu"                                                                                                          \
    "ss"                                                                                                          \
    "sss"                                                                                                         \
    "sss"                                                                                                         \
    "iiii"                                                                                                        \
    "u"
#define WALK_VALUES(op, below, floor)                                                                             \
    (below), (floor), (op)->status, (op)->status, (op)->portal, (op)->portal, (op)->company_id, (op)->company_id, \
        (op)->batch_id, (op)->batch_id, (op)->worker, (op)->worker, (op)->error, (op)->error, (op)->error,        \
        (op)->robot_error, (op)->error, (op)->robot_error, (op)->failed_from, (op)->failed_from,                  \
        (op)->failed_until, (op)->failed_until

static enum db_rc company_walk(struct db *db, struct page *p, uint64_t company_id)
{
    struct store_jobs *op = p->op;
    TRY(db_query(db, WALK("chasqui_newest", "j.company_id = ?"), "u" WALK_TYPES, company_id,
                 WALK_VALUES(op, op->cursor, page_floor(p)), (uint64_t)p->room));
    while (db_next(db))
        page_add(p, db_u64(db, 0));
    return DB_OK;
}

/* A filter that the index does not know may find nothing in a million rows: one page looks at this many ids, in pieces, and
 * tells how far it came. */
/* A job that was made longer before is not looked for among those that failed then. */
#define FAILS_WITHIN_MS (7 * INT64_C(86400000))
#define PIECE_IDS 5000
#define PIECES 4

struct piece {
    uint64_t below, floor;
};

/* The next piece; false when there is none, or enough was looked at. Without a `loose` filter all is one piece. */
static bool piece_next(struct page *p, bool is_loose, unsigned *n, struct piece *at)
{
    uint64_t floor = page_floor(p), below = *n ? at->floor : p->op->cursor;
    if (*n && (at->floor <= floor || p->n == p->room))
        return false;
    if (*n == PIECES) {
        p->looked_to = below;
        return false;
    }
    at->below = below;
    at->floor = is_loose && below > floor + PIECE_IDS ? below - PIECE_IDS : floor;
    (*n)++;
    return true;
}

/* A batch may hold jobs of companies that are not the token's: they are passed over. */
static enum db_rc batch_walk(struct db *db, struct page *p)
{
    struct store_jobs *op = p->op;
    uint64_t below = op->cursor;
    unsigned n;
    do {
        n = 0;
        TRY(db_query(db, WALK("chasqui_batch", "j.batch_id = ?"), "u" WALK_TYPES, op->batch_id,
                     WALK_VALUES(op, below, page_floor(p)), (uint64_t)p->room));
        for (; db_next(db); n++) {
            below = db_u64(db, 0);
            if (is_allowed(op, db_u64(db, 1)))
                page_add(p, below);
        }
    } while (n == p->room && p->n < p->room);
    return DB_OK;
}

static enum db_rc newest_read(struct db *db, uint64_t *newest)
{
    TRY(db_query(db, "SELECT MAX(id) FROM portal_jobs", ""));
    *newest = db_next(db) ? db_u64(db, 0) : 0;
    return DB_OK;
}

/* Of all companies: of a batch, of a status, or simply the newest. */
static enum db_rc all_walk(struct db *db, struct page *p)
{
    struct store_jobs *op = p->op;
    struct piece at = {0};
    bool is_loose = op->worker[0] || op->portal[0] || op->error[0] || op->robot_error[0] || op->failed_from ||
                    op->failed_until || (op->batch_id && (op->status[0] || op->company_id));
    uint64_t newest;
    TRY(newest_read(db, &newest));
    if (op->cursor > newest + 1)
        op->cursor = newest + 1;
    for (unsigned n = 0; piece_next(p, is_loose, &n, &at);) {
        if (op->batch_id)
            TRY(db_query(db, WALK("chasqui_batch", "j.batch_id = ?"), "u" WALK_TYPES, op->batch_id,
                         WALK_VALUES(op, at.below, at.floor), (uint64_t)p->room));
        else if (op->status[0])
            TRY(db_query(db, WALK("chasqui_status", "j.status = {word ?}"), "s" WALK_TYPES, op->status,
                         WALK_VALUES(op, at.below, at.floor), (uint64_t)p->room));
        else
            TRY(db_query(db, WALK("PRIMARY", "j.id > 0"), WALK_TYPES, WALK_VALUES(op, at.below, at.floor),
                         (uint64_t)p->room));
        while (db_next(db))
            page_add(p, db_u64(db, 0));
    }
    return DB_OK;
}

static enum db_rc ids_add(struct db *db, struct page *p)
{
    while (db_next(db))
        if (db_u64(db, 0) < p->op->cursor)
            page_add(p, db_u64(db, 0));
    return DB_OK;
}

/* What an operator types: the number of a job or a company, a job_uid, or a session id of any generation. */
static enum db_rc search_walk(struct db *db, struct page *p)
{
    struct store_jobs *op = p->op;
    bool is_number = op->search[strspn(op->search, "0123456789")] == '\0' && strlen(op->search) < 20;
    TRY(db_query(db, "SELECT id FROM portal_jobs WHERE job_uid = ?", "s", op->search));
    TRY(ids_add(db, p));
    TRY(db_query(db, "SELECT job_id FROM chasqui_sessions WHERE robot_session_id = ?", "s", op->search));
    TRY(ids_add(db, p));
    TRY(db_query(db, "SELECT id FROM portal_jobs WHERE robot_session_id = ?", "s", op->search));
    TRY(ids_add(db, p));
    if (!is_number)
        return DB_OK;
    TRY(db_query(db, "SELECT id FROM portal_jobs WHERE id = ?", "u", (uint64_t)strtoull(op->search, NULL, 10)));
    TRY(ids_add(db, p));
    return company_walk(db, p, strtoull(op->search, NULL, 10));
}

static enum db_rc ids_find(struct db *db, struct page *p)
{
    struct store_jobs *op = p->op;
    if (op->search[0])
        return op->all ? search_walk(db, p) : DB_OK;
    if (op->batch_id)
        return op->all ? all_walk(db, p) : batch_walk(db, p);
    if (op->company_id)
        return is_allowed(op, op->company_id) ? company_walk(db, p, op->company_id) : DB_OK;
    if (op->all)
        return all_walk(db, p);
    for (unsigned i = 0; i < op->n_companies; i++)
        TRY(company_walk(db, p, op->companies[i]));
    return DB_OK;
}

static enum db_rc rows_read(struct db *db, const uint64_t *ids, unsigned n, struct jv *list)
{
    if (!n)
        return DB_OK;
    TRY(db_query_in_u64(db, "SELECT " JOB_COLUMNS "WHERE j.id IN (%s) ORDER BY j.id DESC", ids, n, ""));
    while (db_next(db))
        jv_push(list, job_jv(db));
    return DB_OK;
}

/* The first id of the rows that were made at that time (unix) or later: rows are made in the order of their ids. */
static enum db_rc id_made_at(struct db *db, int64_t unix_ms, uint64_t *id)
{
    uint64_t newest;
    TRY(newest_read(db, &newest));
    *id = 1;
    for (uint64_t end = newest + 1; *id < end;) {
        uint64_t at = *id + (end - *id) / 2;
        TRY(db_query(
            db,
            "SELECT j.id, {utc j.created_at} >= TIMESTAMP('1970-01-01') + INTERVAL ? * 1000 MICROSECOND FROM portal_jobs j WHERE j.id >= ? ORDER BY "
            "j.id LIMIT 1",
            "iu", unix_ms, at));
        if (!db_next(db) || db_u64(db, 1))
            end = at;
        else
            *id = db_u64(db, 0) + 1;
    }
    return DB_OK;
}

/* Times become ids, so that the walks end there. Of jobs that failed they are of when that was. */
static enum db_rc times_look(struct db *db, struct store_jobs *op)
{
    uint64_t end;
    op->from = 1;
    if (!op->all || op->search[0])
        return DB_OK;
    if (op->for_ms) {
        TRY(db_query(db, "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000 AS INT)", ""));
        op->since_ms = db_next(db) ? db_i64(db, 0) - op->for_ms : 0;
    }
    bool is_failed = strcmp(op->status, "failed") == 0;
    if (is_failed) {
        op->failed_from = op->since_ms;
        op->failed_until = op->until_ms;
    }
    if (op->since_ms)
        TRY(id_made_at(db, op->since_ms - (is_failed ? FAILS_WITHIN_MS : 0), &op->from));
    if (!op->until_ms)
        return DB_OK;
    TRY(id_made_at(db, op->until_ms, &end));
    op->cursor = end < op->cursor ? end : op->cursor;
    return DB_OK;
}

static enum db_rc jobs_read(struct db *db, struct store_jobs *op)
{
    unsigned limit = op->limit && op->limit < PAGE_MAX ? op->limit : op->limit ? PAGE_MAX : 50;
    struct page p = {.op = op, .room = limit + 1};
    if (!op->cursor)
        op->cursor = INT64_MAX;
    TRY(times_look(db, op));
    TRY(ids_find(db, &p));
    bool more = p.n > limit;
    struct jv *list = jv_new_array(), *body = jv_new_object();
    enum db_rc rc = rows_read(db, p.id, more ? limit : p.n, list);
    jv_set_bool(body, "ok", true);
    jv_set(body, "jobs", list);
    if (more)
        jv_set_int(body, "next_cursor", (int64_t)p.id[limit - 1]);
    else if (p.looked_to)
        jv_set_int(body, "next_cursor", (int64_t)p.looked_to);
    else
        jv_set(body, "next_cursor", NULL);
    json_take(body, &op->json);
    return rc;
}

void store_jobs(struct db *db, void *arg)
{
    struct store_jobs *op = arg;
    if (op->n_companies)
        qsort(op->companies, op->n_companies, sizeof(*op->companies), by_number);
    op->rc = store_rc_of(db ? jobs_read(db, op) : DB_GONE);
}

/* ---- finding one to change it ------------------------------------------------------------------------------- */

struct found {
    uint64_t job_id, company_id, batch_id, idx;
    uint8_t priority;
    /* is_kept: its row could not be changed, chasqui_refusals says how it ended */
    bool is_ours, is_login, has_item, is_kept;
    char status[21], job_uid[65];
};

/* By its id, else by its job_uid. Reads without a lock. */
static enum db_rc job_find(struct db *db, uint64_t job_id, const char *job_uid, struct found *f, bool *found)
{
    static const char by_id[] =
        "SELECT j.id, j.company_id, " JOB_STATUS
        ", j.job_uid, COALESCE(j.priority, 5), q.job_id, q.kind = 'login', q.batch_id, "
        "q.idx, x.id IS NOT NULL FROM portal_jobs j LEFT JOIN chasqui_jobs q ON q.job_id = j.id" REFUSAL_JOIN
        "WHERE j.id = ?";
    if (!job_id) {
        TRY(db_find(
            db, found,
            "SELECT j.id FROM portal_jobs j LEFT JOIN chasqui_jobs q ON q.job_id = j.id WHERE j.job_uid = ? ORDER BY q.job_id IS NULL, "
            "j.id DESC LIMIT 1",
            "s", job_uid));
        if (!*found)
            return DB_OK;
        job_id = db_u64(db, 0);
    }
    TRY(db_find(db, found, by_id, "u", job_id));
    if (!*found)
        return DB_OK;
    f->job_id = db_u64(db, 0);
    f->company_id = db_u64(db, 1);
    db_str_copy(db, 2, f->status, sizeof(f->status));
    db_str_copy(db, 3, f->job_uid, sizeof(f->job_uid));
    f->priority = (uint8_t)db_u64(db, 4);
    f->is_ours = !db_is_null(db, 5);
    f->is_login = db_u64(db, 6) != 0;
    f->has_item = !db_is_null(db, 7);
    f->batch_id = db_u64(db, 7);
    f->idx = db_u64(db, 8);
    f->is_kept = db_u64(db, 9) != 0;
    return DB_OK;
}

static void subject_of(uint64_t job_id, char out[32])
{
    snprintf(out, 32, "job:%llu", (unsigned long long)job_id);
}

/* ---- cancelling --------------------------------------------------------------------------------------------- */

static bool may_cancel(const struct store_cancel *op, uint64_t company_id)
{
    for (unsigned i = 0; i < op->n_companies && !op->all; i++)
        if (op->companies[i] == company_id)
            return true;
    return op->all;
}

enum db_rc job_cancel_tx(struct db *db, void *arg)
{
    struct store_cancel *op = arg;
    struct found f;
    bool found;
    char subject[32];
    op->outcome = CANCEL_NOT_FOUND;
    TRY(job_find(db, op->job_id, op->job_uid, &f, &found));
    if (!found || !may_cancel(op, f.company_id))
        return DB_OK;
    op->job_id = f.job_id;
    op->company_id = f.company_id;
    op->batch_id = f.batch_id;
    snprintf(op->job_uid, sizeof(op->job_uid), "%.31s", f.job_uid);
    strcpy(op->before, f.status);
    strcpy(op->status, f.status);
    op->outcome = is_terminal(f.status) ? CANCEL_ENDED : CANCEL_NOT_OURS;
    if (!f.is_ours || is_terminal(f.status))
        return DB_OK;
    subject_of(f.job_id, subject);
    struct audit audit = {&op->by, "job.cancel", subject};
    if (f.has_item) {
        TRY(db_exec(
            db,
            "UPDATE chasqui_items SET {become item.cancel} WHERE batch_id = ? AND idx = ? AND job_id = ? AND {from item.cancel}",
            "uuu", f.batch_id, f.idx, f.job_id));
        if (db_affected(db)) {
            op->outcome = CANCEL_DONE;
            strcpy(op->status, "cancelled");
            TRY(job_written(
                db, f.job_id, &(struct job_end){"cancelled", NULL, NULL},
                db_exec(db,
                        "UPDATE portal_jobs SET {become job.cancel}{result} WHERE id = ? AND {from job.cancel}",
                        "u", f.job_id)));
            TRY(db_exec(db, "UPDATE chasqui_jobs SET params = NULL WHERE job_id = ?", "u", f.job_id));
            TRY(event_add(db, f.job_id, "cancelled", NULL, NULL, op->reason));
            return audit_change(db, &audit, f.status, op->status, op->reason);
        }
    }
    TRY(db_exec(db,
                "UPDATE chasqui_leases SET cancel = 1 WHERE job_id = ? AND kind IN ('login', 'action', 'round')",
                "u", f.job_id));
    if (!db_affected(db)) /* it began or ended this moment */
        return DB_RETRY;
    op->outcome = CANCEL_ASKED;
    strcpy(op->status, "running");
    TRY(event_add(db, f.job_id, "cancel_asked", NULL, NULL, op->reason));
    return audit_change(db, &audit, f.status, "asked to stop", op->reason);
}

void store_cancel(struct db *db, void *arg)
{
    struct store_cancel *op = arg;
    op->rc = store_tx(db, job_cancel_tx, NULL, op);
}

/* ---- putting back by hand ----------------------------------------------------------------------------------- */

/* Opens the batch of the item again. *with = the item goes back into it: one that was cancelled, or is pruned, stays as it is. */
static enum db_rc batch_reopen(struct db *db, uint64_t batch_id, bool *with)
{
    *with = false;
    TRY(db_query(db, "SELECT status FROM chasqui_batches WHERE id = ? FOR UPDATE", "u", batch_id));
    if (!db_next(db) || strcmp(db_str(db, 0, NULL), "cancelled") == 0)
        return DB_OK;
    *with = true;
    return db_exec(
        db, "UPDATE chasqui_batches SET status = 'running', finished_at = NULL WHERE id = ? AND status = 'done'",
        "u", batch_id);
}

static enum db_rc item_back(struct db *db, const struct found *f, uint64_t batch_id, uint64_t idx)
{
    uint64_t turn;
    TRY(turn_next(db, f->priority, 0, false, &turn));
    turn_given(f->priority, 0, false, batch_id, idx, turn);
    return db_exec(
        db,
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn, job_id) VALUES (?, ?, ?, {new item.add}, 1, ?, ?, ?) "
        "ON DUPLICATE KEY UPDATE {become item.retry}, urgency = VALUES(urgency), turn = VALUES(turn), job_id = VALUES(job_id)",
        "uuuuuu", batch_id, idx, f->company_id, 9u - (uint64_t)f->priority, turn, f->job_id);
}

enum db_rc job_retry_tx(struct db *db, void *arg)
{
    struct store_retry *op = arg;
    struct found f;
    bool with = false;
    char subject[32];
    op->ok = false;
    TRY(job_find(db, op->job_id, op->job_uid, &f, &op->found));
    if (!op->found)
        return DB_OK;
    op->job_id = f.job_id;
    op->company_id = f.company_id;
    snprintf(op->job_uid, sizeof(op->job_uid), "%.31s", f.job_uid);
    strcpy(op->before, f.status);
    strcpy(op->status, f.status);
    if (!f.is_ours || !f.is_login || !is_terminal(f.status) || strcmp(f.status, "done") == 0)
        return DB_OK;
    if (f.has_item && f.batch_id)
        TRY(batch_reopen(db, f.batch_id, &with));
    op->batch_id = with ? f.batch_id : 0;
    uint64_t idx = with ? f.idx : f.job_id;
    TRY(db_exec(db,
                "UPDATE portal_jobs SET {become job.retry}{result} WHERE id = ? AND ({from job.retry} OR ? = 1)",
                "uu", f.job_id, (uint64_t)f.is_kept));
    if (!db_affected(db)) /* somebody was faster: look again */
        return DB_RETRY;
    if (f.is_kept)
        TRY(refusal_forget(db, f.job_id));
    TRY(db_exec(db, "UPDATE chasqui_jobs SET tries = ?, batch_id = ?, idx = ? WHERE job_id = ?", "uuuu",
                (uint64_t)op->tries, op->batch_id, idx, f.job_id));
    TRY(item_back(db, &f, op->batch_id, idx));
    TRY(event_add(db, f.job_id, "queued", NULL, NULL, op->why ? op->why : "put back by hand"));
    op->ok = true;
    strcpy(op->status, "queued");
    subject_of(f.job_id, subject);
    struct audit audit = {&op->by, "job.retry", subject};
    return audit_change(db, &audit, f.status, op->status, op->reason);
}

void store_retry(struct db *db, void *arg)
{
    struct store_retry *op = arg;
    op->rc = store_tx(db, job_retry_tx, NULL, op);
}
