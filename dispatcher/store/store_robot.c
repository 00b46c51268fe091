/* SPDX-License-Identifier: MIT */
/*
 * store_robot.c - robots, their places, and what is left behind on them.
 */
#include "db/robot_row.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/store/store_down.h"
#include "dispatcher/store/store_place.h"
#include "dispatcher/store/store_sql.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdio.h>
#include <string.h>

static int64_t or_minus_one(struct db *db, unsigned col)
{
    return db_is_null(db, col) ? -1 : db_i64(db, col);
}

static enum wanted wanted_of(const char *name)
{
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(wanted_name[i], name) == 0)
            return (enum wanted)i;
    return WANTED_DISABLED;
}

static enum down down_of(const char *name)
{
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(down_name[i], name) == 0)
            return (enum down)i;
    return DOWN_NOT;
}

static enum db_rc robots_read(struct db *db, struct store_robots *op)
{
    op->changed = false;
    op->n = 0;
    op->robot = NULL;
    TRY(db_query(db, "SELECT revision FROM chasqui_revision WHERE one = 1", ""));
    if (!db_next(db))
        return DB_OK;
    op->revision = db_u64(db, 0);
    if (op->revision == op->known)
        return DB_OK;
    TRY(db_query(
        db,
        "SELECT id, name, base_url, viewer_url, boot_id, wanted, capacity, reported_capacity, fenced, IF(" IS_DOWN(
            "r") ", r.down_as, '') FROM "
                 "chasqui_robots r WHERE removed = 0 ORDER BY id LIMIT 5000",
        ""));
    op->robot = xcalloc(HEALTH_ROBOTS_MAX, sizeof(*op->robot));
    while (op->n < HEALTH_ROBOTS_MAX && db_next(db)) {
        struct robot_record *r = &op->robot[op->n++];
        r->id = (uint32_t)db_u64(db, 0);
        db_str_copy(db, 1, r->name, sizeof(r->name));
        db_str_copy(db, 2, r->base_url, sizeof(r->base_url));
        db_str_copy(db, 3, r->viewer_url, sizeof(r->viewer_url));
        db_str_copy(db, 4, r->boot_id, sizeof(r->boot_id));
        r->wanted = wanted_of(db_str(db, 5, NULL));
        r->capacity = or_minus_one(db, 6);
        r->reported_capacity = or_minus_one(db, 7);
        r->fenced = (int8_t)or_minus_one(db, 8);
        r->down = down_of(db_str(db, 9, NULL));
    }
    op->changed = true;
    return DB_OK;
}

void store_robots(struct db *db, void *arg)
{
    struct store_robots *op = arg;
    op->rc = store_rc_of(db ? robots_read(db, op) : DB_GONE);
}

static enum db_rc boot_changed(struct db *db, struct store_robot_seen *op)
{
    uint64_t gone[200];
    unsigned n = 0;
    TRY(db_query(
        db,
        "SELECT id FROM chasqui_sessions WHERE robot_id = ? AND close_pending IN (1, 2) AND boot_id IS NOT NULL AND boot_id <> ? "
        "LIMIT 200",
        "us", (uint64_t)op->robot_id, op->boot_id));
    while (n < 200 && db_next(db))
        gone[n++] = db_u64(db, 0);
    for (unsigned i = 0; i < n; i++)
        TRY(place_let_go(db, gone[i], PLACE_FREE));
    op->freed = n;
    return DB_OK;
}

/* A robot that reports less than it holds stands above its capacity by its own word: doctor tells that from a breach by the
 * audit row. */
static enum db_rc capacity_reported(struct db *db, const struct store_robot_seen *op, const char *name,
                                    int64_t before)
{
    char actor[NAME_ROOM + 8], detail[60];
    TRY(db_exec(db, "UPDATE chasqui_robots SET reported_capacity = ? WHERE id = ?", "iu", op->reported_capacity,
                (uint64_t)op->robot_id));
    TRY(db_query(db,
                 "SELECT " ROBOT_CAPACITY
                 ", (SELECT COUNT(session_ref) FROM chasqui_places WHERE robot_id = r.id) FROM chasqui_robots r "
                 "WHERE id = ?",
                 "u", (uint64_t)op->robot_id));
    if (!db_next(db))
        return DB_OK;
    int64_t capacity = db_i64(db, 0), used = db_i64(db, 1);
    if (capacity >= before || used <= capacity)
        return DB_OK;
    snprintf(actor, sizeof(actor), "robot:%s", name);
    snprintf(detail, sizeof(detail), "%lld -> %lld", (long long)before, (long long)capacity);
    return audit_add(db, actor, NULL, NULL, "worker_capacity", name, detail);
}

static enum db_rc seen_tx(struct db *db, void *arg)
{
    struct store_robot_seen *op = arg;
    char name[NAME_ROOM];
    op->freed = 0;
    TRY(db_query(db, "SELECT r.name, " ROBOT_CAPACITY " FROM chasqui_robots r WHERE r.id = ? FOR UPDATE", "u",
                 (uint64_t)op->robot_id));
    if (!db_next(db))
        return DB_OK;
    db_str_copy(db, 0, name, sizeof(name));
    int64_t before = db_i64(db, 1);
    if (op->reported_capacity >= 0)
        TRY(capacity_reported(db, op, name, before));
    if (op->fenced >= 0)
        TRY(db_exec(db, "UPDATE chasqui_robots SET fenced = ? WHERE id = ?", "iu", (int64_t)op->fenced,
                    (uint64_t)op->robot_id));
    if (op->boot_id[0]) {
        TRY(db_exec(db, "UPDATE chasqui_robots SET boot_id = ? WHERE id = ?", "su", op->boot_id,
                    (uint64_t)op->robot_id));
        TRY(boot_changed(db, op));
    }
    return robot_places_make(db, op->robot_id);
}

void store_robot_seen(struct db *db, void *arg)
{
    struct store_robot_seen *op = arg;
    op->rc = store_tx(db, seen_tx, NULL, op);
}

static enum db_rc want_tx(struct db *db, void *arg)
{
    struct store_robot_want *op = arg;
    char before[16], deadline[32] = "";
    op->refused[0] = 0;
    TRY(db_query(db, "SELECT wanted, id FROM chasqui_robots WHERE name = ? AND removed = 0 FOR UPDATE", "s",
                 op->name));
    op->found = db_next(db);
    if (!op->found)
        return DB_OK;
    db_str_copy(db, 0, before, sizeof(before));
    uint64_t robot_id = db_u64(db, 1);
    if (op->wanted == WANTED_DISABLED) {
        struct robot_row_change rest = {.name = op->name};
        TRY(robot_row_may_rest(db, &rest, op->force));
        robot_row_words(&rest, op->refused, sizeof(op->refused));
        if (*op->refused)
            return DB_OK;
    }
    TRY(robot_row_want(db, robot_id, wanted_name[op->wanted], op->deadline_in_ms != 0,
                       (uint64_t)op->deadline_in_ms));
    TRY(db_query(
        db,
        "SELECT CONCAT(' by ', DATE_FORMAT(drain_deadline, '%Y-%m-%dT%H:%i:%sZ')) FROM chasqui_robots WHERE id = ?",
        "u", robot_id));
    if (db_next(db) && db_str(db, 0, NULL))
        db_str_copy(db, 0, deadline, sizeof(deadline));
    struct audit audit = {&op->by, "worker_want", op->name};
    char after[20 + CLOCK_TEXT_BYTES];
    snprintf(after, sizeof(after), "%s%s", wanted_name[op->wanted], deadline);
    return audit_change(db, &audit, before, after, op->detail);
}

void store_robot_want(struct db *db, void *arg)
{
    struct store_robot_want *op = arg;
    op->rc = store_tx(db, want_tx, NULL, op);
}

/* ---- what operators say of it ------------------------------------------------------------------------------- */

static enum db_rc change_tx(struct db *db, void *arg)
{
    struct store_robot_change *op = arg;
    struct robot_row_change c = {.name = op->name,
                                 .base_url = op->has_base_url ? op->base_url : NULL,
                                 .viewer_url = op->has_viewer_url ? op->viewer_url : NULL,
                                 .has_capacity = op->has_capacity,
                                 .capacity = op->capacity};
    struct buf detail = {0};
    enum db_rc rc = op->is_new ? robot_row_add(db, &c) : robot_row_set(db, &c);
    op->is_found = c.outcome != ROBOT_ROW_UNKNOWN;
    op->is_changed = c.is_changed;
    op->capacity_stays = c.stays;
    robot_row_words(&c, op->refused, sizeof(op->refused));
    if (rc || *op->refused || !c.is_changed)
        return rc;
    buf_addf(&detail, "%s%s%s", c.detail, *op->by.why ? ": " : "", op->by.why);
    rc = audit_add(db, op->by.name, op->by.peer, op->by.request_id, op->is_new ? "worker_add" : "worker_set",
                   op->name, detail.data);
    buf_free(&detail);
    return rc;
}

static int change_done(struct db *db, void *arg)
{
    struct store_robot_change *op = arg;
    if (!op->is_new) /* said again it changes nothing */
        return -1;
    if (db_query(db, "SELECT 1 FROM chasqui_robots WHERE name = ? AND base_url = ? AND removed = 0", "ss",
                 op->name, op->base_url))
        return -1;
    return db_next(db);
}

void store_robot_change(struct db *db, void *arg)
{
    struct store_robot_change *op = arg;
    op->rc = store_tx(db, change_tx, change_done, op);
    if (op->rc != STORE_OK && *op->refused) /* a unique key said it first */
        op->rc = STORE_OK;
}

/* ---- what a robot holds ------------------------------------------------------------------------------------- */

static enum db_rc robot_sessions_read(struct db *db, struct store_robot_sessions *op)
{
    static const char *const where[] = {
        "WHERE s.robot_id = ? AND s.live = 1 LIMIT 4096",
        "WHERE s.close_pending IN (1, 2) AND s.robot_id = ? AND s.live IS NULL LIMIT 4096"};
    unsigned room = 0;
    op->n = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct buf sql = {0};
        buf_addf(&sql, "SELECT " SESSION_COLUMNS SESSION_FROM "%s", where[i]);
        enum db_rc rc = db_query(db, sql.data, "u", (uint64_t)op->robot_id);
        buf_free(&sql);
        TRY(rc);
        while (op->n < ROBOT_SESSIONS_MAX && db_next(db)) {
            if (op->n == room)
                op->row = xrealloc(op->row, (room = room ? room * 2 : 64) * sizeof(*op->row));
            session_read(db, 0, &op->row[op->n++]);
        }
    }
    return DB_OK;
}

void store_robot_sessions(struct db *db, void *arg)
{
    struct store_robot_sessions *op = arg;
    op->row = NULL;
    op->rc = store_rc_of(db ? robot_sessions_read(db, op) : DB_GONE);
}

static enum db_rc pending_done_tx(struct db *db, void *arg)
{
    struct store_pending_done *op = arg;
    TRY(db_exec(
        db,
        "UPDATE chasqui_sessions SET {become remains.settle} WHERE id = ? AND {from remains.settle} AND live IS NULL",
        "u", op->session_ref));
    op->ok = db_affected(db) == 1;
    return op->ok ? place_let_go(db, op->session_ref, PLACE_FREE) : DB_OK;
}

void store_pending_done(struct db *db, void *arg)
{
    struct store_pending_done *op = arg;
    op->rc = store_tx(db, pending_done_tx, NULL, op);
}

static enum db_rc fade_tx(struct db *db, void *arg)
{
    struct store_fade *op = arg;
    uint64_t fading[200];
    bool old[200];
    unsigned n = 0;
    op->freed = 0;
    TRY(db_query(db, "SELECT COUNT(session_ref) FROM chasqui_places WHERE robot_id = ?", "u",
                 (uint64_t)op->robot_id));
    int64_t used = db_next(db) ? db_i64(db, 0) : 0;
    TRY(db_query(
        db,
        "SELECT id, since < NOW(6) - INTERVAL ? MICROSECOND FROM chasqui_sessions WHERE close_pending = 2 AND robot_id = ? ORDER BY "
        "since LIMIT 200 FOR UPDATE SKIP LOCKED",
        "iu", op->idle_ms * 1000, (uint64_t)op->robot_id));
    while (n < 200 && db_next(db)) {
        fading[n] = db_u64(db, 0);
        old[n++] = db_u64(db, 1) != 0;
    }
    for (unsigned i = 0; i < n; i++)
        if (old[i] || (op->robot_count >= 0 && used > op->robot_count)) {
            TRY(place_let_go(db, fading[i], PLACE_FREE));
            op->freed++;
            used--;
        }
    return DB_OK;
}

void store_fade(struct db *db, void *arg)
{
    struct store_fade *op = arg;
    op->rc = store_tx(db, fade_tx, NULL, op);
}
