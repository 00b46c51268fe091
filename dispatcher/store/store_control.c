/* SPDX-License-Identifier: MIT */
/*
 * store_control.c - sessions and workers, as the JSON that clients see. No
 * base URL of a robot is ever in it: robots are told by name.
 */
#include "dispatcher/store/store_down.h"
#include "dispatcher/store/store_sql.h"
#include "dispatcher/store/viewer_link.h"

#include "common/clock.h"
#include "common/jv.h"
#include "db/robot_row.h"

#include <stdlib.h>
#include <string.h>

/* ---- lists -------------------------------------------------------------------------------------------------- */

static void viewer_set(struct jv *obj, const struct session_row *row)
{
    if (!row->viewer_url[0] || !row->session_id[0]) {
        jv_set(obj, "viewer_url", NULL);
        return;
    }
    struct buf url = {0};
    viewer_link_add(&url, row->viewer_url, row->session_id, clock_unix_ms() / 1000);
    jv_set_str(obj, "viewer_url", url.data);
    buf_free(&url);
}

struct jv *session_jv(const struct session_row *row, const char *worker)
{
    struct jv *s = jv_new_object();
    jv_set_bool(s, "ok", true);
    jv_set_str(s, "session_id", row->session_id[0] ? row->session_id : NULL);
    jv_set_int(s, "job_id", (int64_t)row->job_id);
    jv_set_int(s, "company_id", (int64_t)row->company_id);
    jv_set_str(s, "portal", row->portal);
    jv_set_str(s, "worker", worker && *worker ? worker : NULL);
    viewer_set(s, row);
    jv_set_str(s, "state", session_state_name[row->state]);
    jv_set_time(s, "started_at", row->started_ms);
    jv_set_time(s, "last_activity_at", row->activity_ms);
    return s;
}

/* One page of ids: as in store_job.c the index that leaves least is walked from its newest row down, and a filter that it does not
 * know looks at no more than PIECES of PIECE_IDS ids. */
#define PAGE_MAX 200
#define PIECE_IDS 5000
#define PIECES 4
#define WALK(index, by)                                                                                                                 \
    "SELECT s.id FROM chasqui_sessions s FORCE INDEX (" index                                                                           \
    ") LEFT JOIN chasqui_robots r ON r.id = s.robot_id WHERE " by " AND "                                                               \
    "s.id < ? AND s.id >= ? AND (? = '' OR s.state = ? OR (? = 'live' AND s.live = 1)) AND (? = 0 OR s.company_id = ?) AND (? = '' OR " \
    "r.name = ?) ORDER BY s.id DESC LIMIT ?"
#define BEGIN_LEAST 6 /* characters of an id that are enough to look for it */
#define BEGUN_MOST 200
#define BEGUN                                                                                                     \
    "s.id IN (SELECT b.id FROM (SELECT id FROM chasqui_sessions FORCE INDEX (robot_session) WHERE "               \
    "robot_session_id LIKE ? ESCAPE '|' LIMIT ?) b)"
#define WALK_TYPES                                                                                                \
    "uu"                                                                                                          \
    "sss"                                                                                                         \
    "uu"                                                                                                          \
    "ss"                                                                                                          \
    "u"
#define WALK_VALUES(op, below, floor, room)                                                                       \
    (below), (floor), (op)->state, (op)->state, (op)->state, (op)->company_id, (op)->company_id, (op)->worker,    \
        (op)->worker, (uint64_t)(room)

struct page {
    uint64_t id[PAGE_MAX + 1];
    unsigned n, room;
    uint64_t looked_to; /* 0 = to the end, or the page is full */
};

static void page_take(struct db *db, struct page *p)
{
    while (p->n < p->room && db_next(db))
        p->id[p->n++] = db_u64(db, 0);
}

static enum db_rc pieces_walk(struct db *db, const struct store_sessions *op, uint64_t below, struct page *p)
{
    TRY(db_query(db, "SELECT MAX(id) FROM chasqui_sessions", ""));
    uint64_t newest = db_next(db) ? db_u64(db, 0) : 0;
    if (below > newest + 1)
        below = newest + 1;
    bool is_loose = op->state[0] || op->worker[0];
    for (unsigned n = 0; p->n < p->room && below > 1; n++) {
        uint64_t floor = is_loose && below > PIECE_IDS + 1 ? below - PIECE_IDS : 1;
        if (n == PIECES) {
            p->looked_to = below;
            return DB_OK;
        }
        TRY(db_query(db, WALK("PRIMARY", "s.id > 0"), WALK_TYPES, WALK_VALUES(op, below, floor, p->room - p->n)));
        page_take(db, p);
        below = floor;
    }
    return DB_OK;
}

/* The one with that id, or else those whose ids begin so: a page shows them cut. */
static enum db_rc id_find(struct db *db, const struct store_sessions *op, uint64_t below, struct page *p)
{
    char pattern[BEGIN_PATTERN_ROOM];
    TRY(db_query(db, WALK("robot_session", "s.robot_session_id = ?"), "s" WALK_TYPES, op->session_id,
                 WALK_VALUES(op, below, 1ull, p->room)));
    page_take(db, p);
    if (p->n || strlen(op->session_id) < BEGIN_LEAST)
        return DB_OK;
    begin_pattern(op->session_id, pattern);
    TRY(db_query(db, WALK("PRIMARY", BEGUN), "su" WALK_TYPES, pattern, (uint64_t)BEGUN_MOST,
                 WALK_VALUES(op, below, 1ull, p->room)));
    page_take(db, p);
    return DB_OK;
}

static enum db_rc ids_find(struct db *db, const struct store_sessions *op, struct page *p)
{
    uint64_t below = op->cursor ? op->cursor : INT64_MAX;
    if (op->session_id[0])
        return id_find(db, op, below, p);
    if (op->company_id)
        TRY(db_query(db, WALK("one_live", "s.company_id = ?"), "u" WALK_TYPES, op->company_id,
                     WALK_VALUES(op, below, 1ull, p->room)));
    else if (strcmp(op->state, "live") == 0)
        TRY(db_query(db, WALK("idle", "s.state IN ('opening', 'active', 'closing')"), WALK_TYPES,
                     WALK_VALUES(op, below, 1ull, p->room)));
    else
        return pieces_walk(db, op, below, p);
    page_take(db, p);
    return DB_OK;
}

static enum db_rc rows_read(struct db *db, const uint64_t *ids, unsigned n, struct jv *list)
{
    if (!n)
        return DB_OK;
    TRY(db_query_in_u64(db,
                        "SELECT r.name, " SESSION_COLUMNS SESSION_FROM
                        "LEFT JOIN chasqui_robots r ON r.id = s.robot_id WHERE s.id IN (%s) ORDER BY s.id DESC",
                        ids, n, ""));
    while (db_next(db)) {
        struct session_row row;
        char worker[NAME_ROOM];
        db_str_copy(db, 0, worker, sizeof(worker));
        session_read(db, 1, &row);
        struct jv *s = session_jv(&row, worker);
        jv_set_int(s, "generation", row.generation);
        jv_set_str(s, "reason", row.reason[0] ? row.reason : NULL);
        jv_set_time(s, "since", row.since_ms);
        jv_set_bool(s, "migrating", row.migrating);
        jv_set_bool(s, "close_pending", row.remains == REMAINS_PENDING);
        jv_push(list, s);
    }
    return DB_OK;
}

static enum db_rc sessions_read(struct db *db, struct store_sessions *op)
{
    unsigned limit = op->limit && op->limit < PAGE_MAX ? op->limit : op->limit ? PAGE_MAX : 50;
    struct page p = {.room = limit + 1};
    TRY(ids_find(db, op, &p));
    struct jv *list = jv_new_array(), *body = jv_new_object();
    enum db_rc rc = rows_read(db, p.id, p.n > limit ? limit : p.n, list);
    jv_set_bool(body, "ok", true);
    jv_set(body, "sessions", list);
    if (p.n > limit)
        jv_set_int(body, "next_cursor", (int64_t)p.id[limit - 1]);
    else if (p.looked_to)
        jv_set_int(body, "next_cursor", (int64_t)p.looked_to);
    else
        jv_set(body, "next_cursor", NULL);
    json_take(body, &op->json);
    return rc;
}

void store_sessions(struct db *db, void *arg)
{
    struct store_sessions *op = arg;
    op->rc = store_rc_of(db ? sessions_read(db, op) : DB_GONE);
}

/* How far a robot is emptied: of a row of workers_read(). */
static struct jv *drain_jv(struct db *db)
{
    struct jv *drain = jv_new_object();
    jv_set_time(drain, "since", db_i64(db, 8));
    jv_set_time(drain, "deadline", db_i64(db, 9));
    jv_set_int(drain, "sessions_left", db_i64(db, 4));
    jv_set_int(drain, "movable", db_i64(db, 10));
    return drain;
}

static enum db_rc workers_read(struct db *db, struct store_workers *op)
{
    TRY(db_query(
        db,
        "SELECT r.name, r.wanted, " ROBOT_CAPACITY
        ", (SELECT COUNT(p.session_ref) FROM chasqui_places p WHERE p.robot_id = r.id), (SELECT COUNT(*) FROM chasqui_sessions s "
        "WHERE s.robot_id = r.id AND s.live = 1), (SELECT COUNT(*) FROM chasqui_sessions a WHERE a.close_pending = 1 AND a.robot_id = "
        "r.id), r.boot_id, r.fenced, CAST(UNIX_TIMESTAMP(r.drain_since) * 1000 AS INT), CAST(UNIX_TIMESTAMP(r.drain_deadline) * 1000 AS "
        "INT), (SELECT COUNT(*) FROM chasqui_sessions s FORCE INDEX (by_robot) JOIN chasqui_credentials c ON "
        "c.company_id = s.company_id AND c.portal = s.portal WHERE s.robot_id = r.id AND s.live = 1), " WAITING_COLUMNS(
            "r") ", r.capacity, r.reported_capacity, "
                 "r.viewer_url IS NOT NULL, r.viewer_url FROM chasqui_robots r WHERE r.removed = 0 ORDER BY r.name LIMIT 5000",
        ""));
    struct jv *list = jv_new_array();
    while (db_next(db)) {
        struct jv *w = jv_new_object();
        jv_set_str(w, "name", db_str(db, 0, NULL));
        jv_set_str(w, "wanted", db_str(db, 1, NULL));
        jv_set_int(w, "capacity", db_i64(db, 2));
        json_set_column(w, "set_capacity", db, 15);
        json_set_column(w, "reported_capacity", db, 16);
        jv_set_bool(w, "has_viewer", db_i64(db, 17) == 1);
        jv_set_str(w, "viewer_url", db_str(db, 18, NULL));
        jv_set_int(w, "places_used", db_i64(db, 3));
        jv_set_int(w, "places_total", db_i64(db, 2));
        jv_set_int(w, "sessions", db_i64(db, 4));
        jv_set_int(w, "movable", db_i64(db, 10));
        jv_set_int(w, "abandoned", db_i64(db, 5));
        jv_set_str(w, "boot_id", db_str(db, 6, NULL));
        if (db_is_null(db, 7))
            jv_set(w, "fenced", NULL);
        else
            jv_set_bool(w, "fenced", db_i64(db, 7) == 1);
        jv_set(w, "silent_ms", NULL);
        jv_set_int(w, "sessions_waiting", db_i64(db, 12));
        jv_set_int(w, "waiting_movable", db_i64(db, 13));
        if (strcmp(db_str(db, 11, NULL), "silent") == 0)
            jv_set_int(w, "silent_ms", db_i64(db, 14));
        jv_set(w, "drain", strcmp(db_str(db, 1, NULL), "draining") == 0 ? drain_jv(db) : NULL);
        jv_push(list, w);
    }
    json_take(list, &op->json);
    return DB_OK;
}

void store_workers(struct db *db, void *arg)
{
    struct store_workers *op = arg;
    op->rc = store_rc_of(db ? workers_read(db, op) : DB_GONE);
}
