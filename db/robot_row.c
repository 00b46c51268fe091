/* SPDX-License-Identifier: MIT */
/*
 * robot_row.c - adds a robot, and changes an operator's settings of it.
 *
 * A robot is identified by its name; its address may change. An address may change only while the robot gets no
 * log-ins (draining or disabled) and has none in flight, because a log-in that began at the old address would be
 * recorded with that address. Existing sessions keep running: each call reads its robot's address from the
 * session's portal_jobs row, and these rows change in the same transaction. If a different process listens at the
 * new address, its boot id reveals it.
 */
#include "db/robot_row.h"

#include <stdio.h>
#include <string.h>

enum db_rc robot_revision_raise(struct db *db)
{
    return db_exec(db, "UPDATE chasqui_revision SET revision = revision + 1 WHERE one = 1", "");
}

enum db_rc robot_row_want(struct db *db, uint64_t robot_id, const char *wanted, bool has_deadline,
                          uint64_t deadline_ms)
{
    bool is_drain = strcmp(wanted, "draining") == 0;
    TRY(db_exec(
        db,
        "UPDATE chasqui_robots SET drain_since = IF(? = 0, NULL, IF(wanted = 'draining', COALESCE(drain_since, NOW(6)), NOW(6))), "
        "drain_deadline = IF(? = 0, NULL, NOW(6) + INTERVAL ? * 1000 MICROSECOND), wanted = ? WHERE id = ?",
        "uuusu", (uint64_t)is_drain, (uint64_t)(is_drain && has_deadline), deadline_ms, wanted, robot_id));
    if (!is_drain)
        TRY(db_exec(
            db,
            "DELETE m FROM chasqui_sessions s JOIN chasqui_session_migrations m ON m.job_id = s.job_id WHERE s.robot_id = ? AND s.live "
            "= 1 AND s.state = 'active' AND m.reason = 'drain'",
            "u", robot_id));
    return robot_revision_raise(db);
}

enum db_rc robot_places_make(struct db *db, uint64_t robot_id)
{
    TRY(db_query(db,
                 "SELECT " ROBOT_CAPACITY
                 ", (SELECT COALESCE(MAX(slot), 0) FROM chasqui_places WHERE robot_id = r.id) FROM "
                 "chasqui_robots r WHERE id = ? FOR UPDATE",
                 "u", robot_id));
    if (!db_next(db))
        return DB_OK;
    uint64_t capacity = db_u64(db, 0), have = db_u64(db, 1);
    if (capacity > ROBOT_CAPACITY_MAX)
        capacity = ROBOT_CAPACITY_MAX;
    if (have >= capacity)
        return DB_OK;
    return db_exec(
        db,
        "INSERT IGNORE INTO chasqui_places (robot_id, slot) SELECT ?, seq FROM seq_1_to_100000 WHERE seq > ? AND seq <= ?",
        "uuu", robot_id, have, capacity);
}

/* Finds another robot than `id` with this name or this address. */
static enum db_rc clash_find(struct db *db, struct robot_row_change *c, uint64_t id)
{
    TRY(db_query(
        db,
        "SELECT name FROM chasqui_robots WHERE removed = 0 AND (name = ? OR base_url = ?) AND id <> ? ORDER BY name <> ? LIMIT 1 FOR UPDATE",
        "ssus", c->name, c->base_url, id, c->name));
    if (!db_next(db))
        return DB_OK;
    db_str_copy(db, 0, c->other, sizeof(c->other));
    c->outcome = strcmp(c->other, c->name) == 0 ? ROBOT_ROW_NAME_TAKEN : ROBOT_ROW_URL_TAKEN;
    return DB_OK;
}

enum db_rc robot_row_add(struct db *db, struct robot_row_change *c)
{
    c->outcome = ROBOT_ROW_DONE;
    c->is_changed = false;
    TRY(clash_find(db, c, 0));
    if (c->outcome != ROBOT_ROW_DONE)
        return DB_OK;
    enum db_rc rc = db_exec(
        db,
        "INSERT INTO chasqui_robots (name, base_url, viewer_url, capacity, created_at) VALUES (?, ?, NULLIF(?, ''), ?, NOW(6))",
        "sssN", c->name, c->base_url, c->viewer_url ? c->viewer_url : "", c->capacity);
    if (rc == DB_DUP) /* another operator adds it at the same time */
        c->outcome = ROBOT_ROW_NAME_TAKEN;
    TRY(rc);
    c->id = db_insert_id(db);
    c->is_changed = true;
    TRY(robot_places_make(db, c->id));
    snprintf(c->detail, sizeof(c->detail), "%s", c->base_url);
    return robot_revision_raise(db);
}

/* ---- set ---------------------------------------------------------------------------------------------------- */

static void detail_add(struct robot_row_change *c, const char *what, const char *before, const char *after)
{
    size_t len = strlen(c->detail);
    if (strcmp(before, after) == 0)
        return;
    snprintf(c->detail + len, sizeof(c->detail) - len, "%s%s %s -> %s", len ? ", " : "", what, before, after);
    c->is_changed = true;
}

static const char *capacity_text(uint64_t n, char out[24])
{
    snprintf(out, 24, "%llu", (unsigned long long)n);
    return n ? out : "as reported";
}

/* Refuses while sessions are about to be written with the address that they began with. */
static enum db_rc address_may_change(struct db *db, struct robot_row_change *c, const char *wanted)
{
    if (strcmp(wanted, "active") == 0) {
        c->outcome = ROBOT_ROW_ACTIVE;
        return DB_OK;
    }
    TRY(clash_find(db, c, c->id));
    if (c->outcome != ROBOT_ROW_DONE)
        return DB_OK;
    TRY(db_query(db, "SELECT COUNT(*) FROM chasqui_sessions WHERE robot_id = ? AND live = 1 AND state <> 'active'",
                 "u", c->id));
    if (db_next(db) && db_u64(db, 0)) {
        c->sessions = db_u64(db, 0);
        c->outcome = ROBOT_ROW_BUSY;
    }
    return DB_OK;
}

/* Updates the rows of existing sessions. `column` and the robot's own column have the same form. */
static enum db_rc sessions_follow(struct db *db, const struct robot_row_change *c)
{
    static const char base[] =
        "UPDATE portal_jobs j JOIN chasqui_sessions s ON s.current_job_id = j.id SET j.robot_worker_base_url = ? WHERE "
        "s.robot_id = ? AND s.live = 1";
    static const char viewer[] =
        "UPDATE portal_jobs j JOIN chasqui_sessions s ON s.current_job_id = j.id SET j.robot_worker_viewer_url = NULLIF(?, "
        "'') WHERE s.robot_id = ? AND s.live = 1";
    if (c->base_url)
        TRY(db_exec(db, base, "su", c->base_url, c->id));
    if (c->viewer_url)
        TRY(db_exec(db, viewer, "su", c->viewer_url, c->id));
    return DB_OK;
}

enum db_rc robot_row_set(struct db *db, struct robot_row_change *c)
{
    char base_url[256], viewer_url[256], wanted[16], a[24], b[24];
    c->outcome = ROBOT_ROW_UNKNOWN;
    c->is_changed = false;
    c->detail[0] = 0;
    TRY(db_query(
        db,
        "SELECT id, base_url, COALESCE(viewer_url, ''), COALESCE(capacity, 0), wanted, COALESCE(reported_capacity, 0) FROM chasqui_robots WHERE name = ? AND removed = 0 FOR UPDATE",
        "s", c->name));
    if (!db_next(db))
        return DB_OK;
    c->outcome = ROBOT_ROW_DONE;
    c->id = db_u64(db, 0);
    db_str_copy(db, 1, base_url, sizeof(base_url));
    db_str_copy(db, 2, viewer_url, sizeof(viewer_url));
    uint64_t capacity = db_u64(db, 3);
    db_str_copy(db, 4, wanted, sizeof(wanted));
    c->stays = c->has_capacity && c->capacity > db_u64(db, 5) ? db_u64(db, 5) : 0;
    bool is_moved = c->base_url && strcmp(c->base_url, base_url) != 0;
    if (is_moved)
        TRY(address_may_change(db, c, wanted));
    if (c->outcome != ROBOT_ROW_DONE)
        return DB_OK;
    if (is_moved)
        detail_add(c, "base URL", base_url, c->base_url);
    if (c->viewer_url)
        detail_add(c, "viewer URL", *viewer_url ? viewer_url : "none", *c->viewer_url ? c->viewer_url : "none");
    if (c->has_capacity)
        detail_add(c, "capacity", capacity_text(capacity, a), capacity_text(c->capacity, b));
    if (!c->is_changed)
        return DB_OK;
    enum db_rc rc = db_exec(
        db, "UPDATE chasqui_robots SET base_url = ?, viewer_url = NULLIF(?, ''), capacity = ? WHERE id = ?",
        "ssNu", c->base_url ? c->base_url : base_url, c->viewer_url ? c->viewer_url : viewer_url,
        c->has_capacity ? c->capacity : capacity, c->id);
    if (rc == DB_DUP)
        c->outcome = ROBOT_ROW_URL_TAKEN;
    TRY(rc);
    TRY(robot_places_make(db, c->id));
    TRY(sessions_follow(db, c));
    return robot_revision_raise(db);
}

/* ---- what it holds ------------------------------------------------------------------------------------------ */

enum db_rc robot_row_may_rest(struct db *db, struct robot_row_change *c, bool force)
{
    c->outcome = ROBOT_ROW_DONE;
    TRY(db_query(
        db,
        "SELECT (SELECT COUNT(*) FROM chasqui_sessions s WHERE s.robot_id = r.id AND s.live = 1), (SELECT COUNT(*) FROM chasqui_sessions a "
        "WHERE a.close_pending = 1 AND a.robot_id = r.id) FROM chasqui_robots r WHERE r.name = ? AND r.removed = 0 FOR UPDATE",
        "s", c->name));
    if (!db_next(db)) {
        c->outcome = ROBOT_ROW_UNKNOWN;
        return DB_OK;
    }
    c->sessions = db_u64(db, 0);
    c->abandoned = db_u64(db, 1);
    if (!force && (c->sessions || c->abandoned))
        c->outcome = ROBOT_ROW_HOLDS;
    return DB_OK;
}

void robot_row_words(const struct robot_row_change *c, char *out, size_t room)
{
    switch (c->outcome) {
    case ROBOT_ROW_UNKNOWN:
        snprintf(out, room, "there is no robot %s", c->name);
        return;
    case ROBOT_ROW_NAME_TAKEN:
        snprintf(out, room, "there is a robot %s already", c->name);
        return;
    case ROBOT_ROW_URL_TAKEN:
        snprintf(out, room, "this base URL is registered already, as robot %s",
                 *c->other ? c->other : "that was added just now");
        return;
    case ROBOT_ROW_ACTIVE:
        snprintf(out, room, "robot %s gets log-ins: drain or disable it before its base URL is changed", c->name);
        return;
    case ROBOT_ROW_BUSY:
        snprintf(out, room, "%llu of the sessions on robot %s open, close or move just now: try again in a minute",
                 (unsigned long long)c->sessions, c->name);
        return;
    case ROBOT_ROW_HOLDS:
        snprintf(
            out, room,
            "robot %s has %llu live and %llu abandoned sessions, and a disabled robot is not probed: drain it first",
            c->name, (unsigned long long)c->sessions, (unsigned long long)c->abandoned);
        return;
    case ROBOT_ROW_DONE:
        break;
    }
    if (room)
        out[0] = 0;
}
