/* SPDX-License-Identifier: MIT */
/*
 * store_batch_view.c - batches as clients and operators see them: the shape with
 * its counts, items by index, the list. Reads only.
 */
#include "dispatcher/store/store_queue.h"

#include "dispatcher/store/store_batch_course.h"
#include "dispatcher/store/store_refusal.h"
#include "dispatcher/store/store_waits.h"

#include "common/check.h"
#include "common/jv.h"

#include <stdlib.h>
#include <string.h>

#define RECENT "500" /* jobs begun last, whose rate tells how long the rest will take */
#define RECENT_LEAST 10
#define TELLS_US 5000000 /* the first to begin fill free places: what follows tells the pace */
#define TELLS_ENDED 10   /* or so many that ended */
#define MOVES_US 2000000 /* something began so lately: the batch moves */

static const char *const item_state_name[] = {"queued", "running", "retrying", "done", "failed", "cancelled"};
#define ITEM_STATES (sizeof(item_state_name) / sizeof(item_state_name[0]))

/* ---- who may see it ----------------------------------------------------------------------------------------- */

#define SEEN                                                                                                            \
    "(? OR b.token_id = ? OR (EXISTS (SELECT 1 FROM chasqui_tokens t WHERE t.id = b.token_id AND t.all_companies = 0) " \
    "AND NOT EXISTS (SELECT 1 FROM chasqui_token_companies a WHERE a.token_id = b.token_id AND NOT EXISTS (SELECT 1 "   \
    "FROM chasqui_token_companies c WHERE c.token_id = ? AND c.company_id = a.company_id))))"

enum db_rc batch_is_seen(struct db *db, uint64_t batch_id, const struct batch_viewer *v, bool *found)
{
    return db_find(db, found, "SELECT 1 FROM chasqui_batches b WHERE b.id = ? AND " SEEN, "uuuu", batch_id,
                   (uint64_t)v->all, v->token_id, v->token_id);
}

enum db_rc batch_lock(struct db *db, uint64_t batch_id, const struct batch_viewer *viewer, bool *found)
{
    TRY(batch_is_seen(db, batch_id, viewer, found));
    return *found ? db_query(db, "SELECT id FROM chasqui_batches WHERE id = ? FOR UPDATE", "u", batch_id) : DB_OK;
}

/* ---- its shape ---------------------------------------------------------------------------------------------- */

struct shape {
    uint64_t id, total, age_ms;
    uint64_t count[ITEM_STATES];
    int64_t created_ms, available_ms, finished_ms;
    bool is_open, is_finished;
    uint8_t priority;
    char status[21], portal[PORTAL_ROOM], action[65], name[401], steps[STEPS_NAMES_ROOM],
        made_by[ACTOR_MAX * 4 + 1];
    bool closes;
    double per_second; /* items that begin, 0 = not known */
    uint64_t seen;     /* items that it was seen at */
    int64_t oldest_ms; /* how long its oldest item runs, -1 = none does */
    struct jv *waits;  /* what holds all that waits of it; owned, NULL = nothing was looked for */
    bool stands;       /* by that, nothing of it begins */
    bool moves;        /* some of it runs, or began a moment ago */
    bool begins;       /* some of it began, as lately as its rate lets expect */
};

#define SHAPE_COLUMNS                                                                                                                             \
    "b.id, b.status, b.total, b.portal, b.action, b.priority, CAST(UNIX_TIMESTAMP(b.created_at) * 1000 AS INT), "                                 \
    "CAST(UNIX_TIMESTAMP(b.available_at) * 1000 AS INT), CAST(UNIX_TIMESTAMP(b.finished_at) * 1000 AS INT), b.done, b.failed, "                   \
    "b.cancelled, TIMESTAMPDIFF(MICROSECOND, GREATEST(b.created_at, COALESCE(b.available_at, b.created_at)), NOW(6)) DIV 1000, b.name, "          \
    "b.steps, b.closes, (SELECT CONCAT('schedule:', s.name) FROM chasqui_schedule_runs r JOIN chasqui_schedules s ON s.id = r.schedule_id WHERE " \
    "r.batch_id = b.id), (SELECT CONCAT('token:', t.id, ':', t.name) FROM chasqui_tokens t WHERE t.id = b.token_id) "

static void shape_read(struct db *db, struct shape *s)
{
    memset(s, 0, sizeof(*s));
    s->id = db_u64(db, 0);
    db_str_copy(db, 1, s->status, sizeof(s->status));
    s->total = db_u64(db, 2);
    db_str_copy(db, 3, s->portal, sizeof(s->portal));
    db_str_copy(db, 4, s->action, sizeof(s->action));
    s->priority = (uint8_t)db_u64(db, 5);
    s->created_ms = db_i64(db, 6);
    s->available_ms = db_i64(db, 7);
    s->is_finished = !db_is_null(db, 8);
    s->finished_ms = db_i64(db, 8);
    for (unsigned i = 0; i < 3; i++)
        s->count[3 + i] = db_u64(db, 9 + i);
    int64_t age_ms = db_i64(db, 12);
    s->age_ms = age_ms > 0 ? (uint64_t)age_ms : 0;
    db_str_copy(db, 13, s->name, sizeof(s->name));
    db_str_copy(db, 14, s->steps, sizeof(s->steps));
    s->closes = db_u64(db, 15) != 0;
    db_str_copy(db, db_is_null(db, 16) ? 17 : 16, s->made_by, sizeof(s->made_by));
    s->is_open = strcmp(s->status, "open") == 0;
}

/* Those of a batch that has finished stand in its row. */
static enum db_rc counts_read(struct db *db, struct shape *s)
{
    uint64_t sum = 0;
    if (s->is_finished)
        return DB_OK;
    memset(s->count, 0, sizeof(s->count));
    TRY(db_query(
        db,
        "SELECT state + 0, COUNT(*) FROM chasqui_items FORCE INDEX (by_state) WHERE batch_id = ? GROUP BY state",
        "u", s->id));
    while (db_next(db)) {
        uint64_t state = db_u64(db, 0); /* ENUM indexes count from 1 */
        if (state < 1 || state > ITEM_STATES)
            continue;
        s->count[state - 1] = db_u64(db, 1);
        sum += s->count[state - 1];
    }
    if (s->is_open)
        s->total = sum;
    return DB_OK;
}

/* How fast items begin: the last ones that did, and how long that took until now; those of the last minute, where there are enough,
 * so that a standstill before it does not count. One of which nothing began as lately as that lets expect, or nothing runs, has no rate:
 * the time since would only grow. Without jobs of its own (its companies had sessions) what is done since the
 * batch may run. */
static enum db_rc rate_read(struct db *db, struct shape *s)
{
    TRY(db_query(
        db,
        "SELECT COUNT(*), TIMESTAMPDIFF(MICROSECOND, MIN(x.started_at), NOW(6)), COUNT(IF(x.started_at > NOW(6) - INTERVAL 1 MINUTE, 1, NULL)), "
        "TIMESTAMPDIFF(MICROSECOND, MIN(IF(x.started_at > NOW(6) - INTERVAL 1 MINUTE, x.started_at, NULL)), NOW(6)), TIMESTAMPDIFF(MICROSECOND, "
        "MAX(x.started_at), NOW(6)), EXISTS (SELECT 1 FROM chasqui_items r FORCE INDEX (by_state) WHERE r.batch_id = ? AND r.state = 'running') FROM (SELECT {utc started_at} "
        "AS started_at FROM portal_jobs FORCE INDEX (chasqui_batch) WHERE batch_id = ? ORDER BY id DESC LIMIT " RECENT
        ") x",
        "uu", s->id, s->id));
    uint64_t n = 0, us = 0, ended = s->count[3] + s->count[4];
    if (db_next(db)) {
        unsigned lately = db_u64(db, 2) >= RECENT_LEAST ? 2 : 0;
        n = db_u64(db, lately);
        us = db_i64(db, lately + 1) > 0 ? db_u64(db, lately + 1) : 0;
        int64_t ago_us = db_i64(db, 4), gap_us = n ? (int64_t)(us / n) : 0;
        s->moves = db_u64(db, 5) || (n && ago_us < MOVES_US);
        s->begins = n && ago_us < (3 * gap_us > MOVES_US ? 3 * gap_us : MOVES_US);
    }
    bool waits = s->count[0] + s->count[2] > 0, is_new = (n ? us : s->age_ms * 1000) < TELLS_US;
    s->seen = n && us ? n : ended;
    if (n && (!s->moves || (waits && !s->begins)))
        return DB_OK;
    if (is_new && ended < TELLS_ENDED)
        return DB_OK;
    if (n && us)
        s->per_second = (double)n * 1e6 / (double)us;
    else if (ended && s->age_ms)
        s->per_second = (double)ended * 1e3 / (double)s->age_ms;
    return DB_OK;
}

/* How long the oldest that runs has been at it, this time: what the end of a batch waits for. Those that run are no more than there are places. */
static enum db_rc oldest_read(struct db *db, struct shape *s)
{
    s->oldest_ms = -1;
    if (!s->count[1])
        return DB_OK;
    TRY(db_query(
        db,
        "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(l.taken_at), NOW(6)) DIV 1000 FROM chasqui_items i FORCE INDEX (by_state) STRAIGHT_JOIN "
        "chasqui_leases l FORCE INDEX (PRIMARY) ON l.job_id = i.job_id WHERE i.batch_id = ? AND i.state = 'running'",
        "u", s->id));
    if (db_next(db) && !db_is_null(db, 0))
        s->oldest_ms = db_i64(db, 0) > 0 ? db_i64(db, 0) : 0;
    return DB_OK;
}

/* A batch that may begin, and of which nothing begins: are the places taken? What runs of it frees places only if it closes its sessions. */
static enum db_rc full_look(struct db *db, const struct work_room *room, struct shape *s)
{
    if (!s->count[0] || (s->moves && (s->closes || s->begins)) || !s->age_ms || s->stands)
        return DB_OK;
    size_t before = jv_len(s->waits);
    TRY(places_look(db, room, false, s->waits));
    s->stands = jv_len(s->waits) > before;
    return DB_OK;
}

/* All that is read of one beside its row. */
static enum db_rc now_read(struct db *db, const struct portal_conf_table *portals, const struct work_room *room,
                           struct shape *s)
{
    s->oldest_ms = -1;
    TRY(counts_read(db, s));
    if (s->is_finished)
        return DB_OK;
    s->waits = jv_new_array();
    if (s->count[0] + s->count[2])
        TRY(waits_look(db, portals, &(struct waits_of){s->portal, s->action, s->id}, s->waits, &s->stands));
    for (size_t i = 0; i < jv_len(s->waits); i++) /* clients see it too */
        jv_set(jv_at(s->waits, i), "by", NULL);
    TRY(rate_read(db, s));
    TRY(full_look(db, room, s));
    return oldest_read(db, s);
}

/* A batch that was cancelled has none, whatever runs of it still: that was asked to stop. */
static void eta_set(struct jv *b, const struct shape *s)
{
    uint64_t left = s->count[0] + s->count[1] + s->count[2];
    bool is_cancelled = strcmp(s->status, "cancelled") == 0;
    double eta_s = s->per_second > 0 && left && !is_cancelled ? (double)left / s->per_second : -1;
    bool is_known = !s->is_finished && !s->stands && eta_s >= 0 && eta_s <= 1e9;
    double doubt = s->seen < 10    ? 0.6
                   : s->seen < 100 ? 0.3
                                   : 0.15; /* the rate is a count, and robots change their speed */
    const char *const keys[] = {"eta_s", "eta_min_s", "eta_max_s"};
    const double seconds[] = {eta_s, eta_s / (1 + doubt), eta_s * (1 + doubt)};
    for (unsigned i = 0; i < 3; i++) {
        jv_set(b, keys[i], NULL);
        if (is_known)
            jv_set_int(b, keys[i], (int64_t)seconds[i] + 1);
    }
    jv_set(b, "oldest_running_s", NULL);
    if (!s->is_finished && s->oldest_ms >= 0)
        jv_set_int(b, "oldest_running_s", s->oldest_ms / 1000);
}

static int64_t took_s(const struct shape *s)
{
    int64_t from = s->available_ms > s->created_ms ? s->available_ms : s->created_ms;
    return s->finished_ms > from ? (s->finished_ms - from) / 1000 : 0;
}

/* Takes s->waits. */
static struct jv *shape_jv(struct shape *s)
{
    struct jv *b = jv_new_object(), *counts = jv_new_object(), *then = jv_new_array();
    char step[ACTION_NAME_MAX + 1];
    for (unsigned i = 0; steps_name(s->steps, i, step); i++)
        jv_push_str(then, step);
    jv_set_int(b, "id", (int64_t)s->id);
    jv_set_str(b, "status", s->status);
    jv_set_str(b, "portal", s->portal);
    jv_set_str(b, "action", s->action);
    jv_set_int(b, "priority", s->priority);
    jv_set_int(b, "total", (int64_t)s->total);
    for (unsigned i = 0; i < ITEM_STATES; i++)
        jv_set_int(counts, item_state_name[i], (int64_t)s->count[i]);
    jv_set(b, "counts", counts);
    eta_set(b, s);
    jv_set(b, "waits_for", s->waits ? s->waits : jv_new_array());
    s->waits = NULL;
    jv_set_time(b, "created_at", s->created_ms);
    jv_set_time(b, "available_at", s->available_ms);
    jv_set_time(b, "finished_at", s->finished_ms);
    jv_set(b, "took_s", NULL);
    if (s->is_finished)
        jv_set_int(b, "took_s", took_s(s));
    jv_set_str(b, "name", s->name[0] ? s->name : NULL);
    jv_set_str(b, "made_by", s->made_by[0] ? s->made_by : NULL);
    jv_set(b, "then", then);
    jv_set_bool(b, "close", s->closes);
    return b;
}

/* What became of its callback; of the URL only what names the receiver. */
static enum db_rc callback_read(struct db *db, uint64_t batch_id, struct jv *b)
{
    jv_set(b, "callback", NULL);
    TRY(db_query(
        db,
        "SELECT SUBSTRING_INDEX(b.callback_url, '?', 1), COALESCE(w.state, 'none'), w.attempts, w.last_error, "
        "CAST(UNIX_TIMESTAMP(w.due_at) * 1000 AS INT), CAST(UNIX_TIMESTAMP(w.settled_at) * 1000 AS INT) FROM chasqui_batches b LEFT JOIN "
        "chasqui_webhooks w ON w.batch_id = b.id WHERE b.id = ? AND b.callback_url IS NOT NULL",
        "u", batch_id));
    if (!db_next(db))
        return DB_OK;
    struct jv *c = jv_new_object();
    jv_set_str(c, "url", db_str(db, 0, NULL));
    jv_set_str(c, "state", db_str(db, 1, NULL));
    json_set_column(c, "attempts", db, 2);
    jv_set_str(c, "error", db_str(db, 3, NULL));
    jv_set_time(c, "next_at", db_i64(db, 4));
    jv_set_time(c, "settled_at", db_i64(db, 5));
    jv_set(b, "callback", c);
    return DB_OK;
}

/* The run before of the schedule that made it, to compare with; null when it has none. */
static enum db_rc previous_read(struct db *db, uint64_t batch_id, struct jv *b)
{
    struct shape s;
    jv_set(b, "previous", NULL);
    TRY(db_query(
        db,
        "SELECT p.batch_id FROM chasqui_schedule_runs r JOIN chasqui_schedule_runs p ON p.schedule_id = r.schedule_id AND p.run_at < r.run_at "
        "AND p.batch_id IS NOT NULL WHERE r.batch_id = ? ORDER BY p.run_at DESC LIMIT 1",
        "u", batch_id));
    if (!db_next(db))
        return DB_OK;
    TRY(db_query(db, "SELECT " SHAPE_COLUMNS "FROM chasqui_batches b WHERE b.id = ?", "u", db_u64(db, 0)));
    if (!db_next(db)) /* it was pruned */
        return DB_OK;
    shape_read(db, &s);
    TRY(counts_read(db, &s));
    struct jv *p = jv_new_object(), *counts = jv_new_object();
    for (unsigned i = 0; i < ITEM_STATES; i++)
        jv_set_int(counts, item_state_name[i], (int64_t)s.count[i]);
    jv_set_int(p, "id", (int64_t)s.id);
    jv_set_str(p, "status", s.status);
    jv_set_int(p, "total", (int64_t)s.total);
    jv_set(p, "counts", counts);
    jv_set_time(p, "created_at", s.created_ms);
    jv_set_time(p, "finished_at", s.finished_ms);
    jv_set(p, "took_s", NULL);
    if (s.is_finished)
        jv_set_int(p, "took_s", took_s(&s));
    jv_set(b, "previous", p);
    return DB_OK;
}

static enum db_rc course_set(struct db *db, const struct shape *s, struct jv *body)
{
    struct jv *course = jv_new_object();
    jv_set(body, "course", course);
    return batch_course_read(db, &(struct batch_course){s->id, s->total, s->is_finished ? s->finished_ms : 0},
                             course);
}

static enum db_rc batch_read(struct db *db, struct store_batch *op)
{
    struct shape s;
    TRY(batch_is_seen(db, op->batch_id, &op->viewer, &op->found));
    if (!op->found)
        return DB_OK;
    TRY(db_query(db, "SELECT " SHAPE_COLUMNS "FROM chasqui_batches b WHERE b.id = ?", "u", op->batch_id));
    if (!(op->found = db_next(db)))
        return DB_OK;
    shape_read(db, &s);
    strcpy(op->status, s.status);
    enum db_rc rc = now_read(db, op->portals, &op->room, &s);
    struct jv *body = jv_new_object(), *batch = shape_jv(&s);
    jv_set_bool(body, "ok", true);
    jv_set(body, "batch", batch);
    rc = rc ? rc : callback_read(db, s.id, batch);
    rc = rc ? rc : previous_read(db, s.id, batch);
    if (op->with_course)
        rc = rc ? rc : course_set(db, &s, body);
    json_take(body, &op->json);
    return rc;
}

void store_batch(struct db *db, void *arg)
{
    struct store_batch *op = arg;
    op->rc = store_rc_of(db ? batch_read(db, op) : DB_GONE);
}

/* ---- the list ----------------------------------------------------------------------------------------------- */

static void list_end(struct jv *body, const char *name, struct jv *list, bool more, uint64_t cursor,
                     struct buf *out)
{
    jv_set_bool(body, "ok", true);
    jv_set(body, name, list);
    if (more)
        jv_set_int(body, "next_cursor", (int64_t)cursor);
    else
        jv_set(body, "next_cursor", NULL);
    json_take(body, out);
}

static enum db_rc page_read(struct db *db, struct store_batches *op, struct shape *page, unsigned limit,
                            unsigned *n, bool *more)
{
    uint64_t below = op->cursor ? op->cursor : INT64_MAX;
    if (op->state[0])
        TRY(db_query(
            db,
            "SELECT " SHAPE_COLUMNS
            "FROM chasqui_batches b FORCE INDEX (by_status) WHERE b.status = ? AND b.id < ? ORDER BY b.id DESC "
            "LIMIT ?",
            "suu", op->state, below, (uint64_t)limit + 1));
    else
        TRY(db_query(db,
                     "SELECT " SHAPE_COLUMNS "FROM chasqui_batches b WHERE b.id < ? ORDER BY b.id DESC LIMIT ?",
                     "uu", below, (uint64_t)limit + 1));
    *n = 0;
    while (*n < limit && db_next(db))
        shape_read(db, &page[(*n)++]);
    *more = *n == limit && db_next(db);
    return DB_OK;
}

static enum db_rc batches_read(struct db *db, struct store_batches *op)
{
    unsigned n = 0, limit = op->limit ? op->limit : 50;
    bool more = false;
    struct shape *page = xcalloc(limit, sizeof(*page));
    enum db_rc rc = page_read(db, op, page, limit, &n, &more);
    struct jv *list = jv_new_array();
    for (unsigned i = 0; rc == DB_OK && i < n; i++) {
        rc = now_read(db, op->portals, &op->room, &page[i]);
        jv_push(list, shape_jv(&page[i]));
    }
    list_end(jv_new_object(), "batches", list, more, n ? page[n - 1].id : 0, &op->json);
    free(page);
    return rc;
}

void store_batches(struct db *db, void *arg)
{
    struct store_batches *op = arg;
    op->rc = store_rc_of(db ? batches_read(db, op) : DB_GONE);
}

/* ---- items -------------------------------------------------------------------------------------------------- */

/* What a session's job says is not an item's own: one that found a session shows its id and no attempts or errors. */
#define ITEM_COLUMNS                                                                                                                \
    "i.idx, i.company_id, i.state, i.job_id, j.job_uid, IF(j.batch_id = i.batch_id, j.attempts, 0), j.robot_session_id, j.worker, " \
    "COALESCE(y.error, IF(j.batch_id = i.batch_id AND i.state <> 'done', " JOB_ERROR ", NULL)), "                                   \
    "COALESCE(y.message, IF(j.batch_id = i.batch_id AND i.state <> 'done', " JOB_MESSAGE ", NULL)), i.step, "                       \
    "q.robot_status, q.robot_error, q.robot_message, IF(j.batch_id = i.batch_id, CAST(UNIX_TIMESTAMP({utc j.finished_at}) * 1000 AS INT), NULL) "
/* One that was refused before it had a job says so itself. */
#define ITEM_JOIN                                                                                                 \
    "LEFT JOIN portal_jobs j ON j.id = i.job_id" REFUSAL_JOIN                                                     \
    "LEFT JOIN chasqui_refusals y ON y.batch_id = i.batch_id AND y.idx = "                                        \
    "i.idx AND i.state = 'failed' LEFT JOIN chasqui_jobs q ON q.job_id = i.job_id AND q.batch_id = i.batch_id AND q.idx = i.idx "
/* Only those that failed, or are to be tried again, with that error and that word of the robot. */
#define ITEM_ERROR "COALESCE(y.error, IF(j.batch_id = i.batch_id AND i.state <> 'done', " JOB_ERROR ", NULL))"
#define ITEM_FILTER                                                                                               \
    "AND (? = '' OR " ITEM_ERROR " = ?) AND (? = '' OR ((? <> '' OR COALESCE(" ITEM_ERROR                         \
    ", '') NOT IN (" ERRORS_NOT_SAID ")) AND q.robot_error = ?)) "
#define ITEM_FILTER_VALUES(op) (op)->error, (op)->error, (op)->robot_error, (op)->error, (op)->robot_error

static struct jv *item_jv(struct db *db)
{
    struct jv *item = jv_new_object();
    jv_set_int(item, "index", db_i64(db, 0));
    jv_set_int(item, "company_id", db_i64(db, 1));
    jv_set_str(item, "status", db_str(db, 2, NULL));
    json_set_column(item, "job_id", db, 3);
    jv_set_str(item, "job_uid", db_str(db, 4, NULL));
    jv_set_int(item, "attempts", db_i64(db, 5));
    jv_set_str(item, "session_id", db_str(db, 6, NULL));
    jv_set_str(item, "worker", db_str(db, 7, NULL));
    jv_set_str(item, "error", db_str(db, 8, NULL));
    jv_set_str(item, "message", db_str(db, 9, NULL));
    json_set_column(item, "step", db, 10);
    json_set_column(item, "robot_status", db, 11);
    jv_set_str(item, "robot_error", db_str(db, 12, NULL));
    jv_set_str(item, "robot_message", db_str(db, 13, NULL));
    jv_set_time(item, "finished_at", db_i64(db, 14));
    return item;
}

static enum db_rc items_read(struct db *db, struct store_batch_items *op)
{
    unsigned n = 0, limit = op->limit ? op->limit : 50;
    uint64_t next = 0;
    TRY(batch_is_seen(db, op->batch_id, &op->viewer, &op->found));
    if (!op->found)
        return DB_OK;
    if (op->state[0])
        TRY(db_query(
            db,
            "SELECT " ITEM_COLUMNS "FROM chasqui_items i FORCE INDEX (by_state) " ITEM_JOIN "WHERE i.batch_id = "
            "? AND i.state = ? AND i.idx >= ? " ITEM_FILTER "ORDER BY i.idx LIMIT ?",
            "ususssssu", op->batch_id, op->state, op->cursor, ITEM_FILTER_VALUES(op), (uint64_t)limit + 1));
    else
        TRY(db_query(db,
                     "SELECT " ITEM_COLUMNS "FROM chasqui_items i FORCE INDEX (PRIMARY) " ITEM_JOIN
                     "WHERE i.batch_id = "
                     "? AND i.idx >= ? " ITEM_FILTER "ORDER BY i.idx LIMIT ?",
                     "uusssssu", op->batch_id, op->cursor, ITEM_FILTER_VALUES(op), (uint64_t)limit + 1));
    struct jv *list = jv_new_array();
    while (n < limit && db_next(db)) {
        next = db_u64(db, 0) + 1;
        jv_push(list, item_jv(db));
        n++;
    }
    bool more = n == limit && db_next(db);
    list_end(jv_new_object(), "items", list, more, next, &op->json);
    return DB_OK;
}

void store_batch_items(struct db *db, void *arg)
{
    struct store_batch_items *op = arg;
    op->rc = store_rc_of(db ? items_read(db, op) : DB_GONE);
}
