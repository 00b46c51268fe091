/* SPDX-License-Identifier: MIT */
/*
 * worker.c - `chasqui worker`: the robots, by name. Every change raises the
 * revision in its transaction, so that dispatchers read the list again.
 *
 * A removed robot keeps its row (removed NULL), so that its ended sessions
 * still have a name. Its places go first: a log-in that is being reserved
 * meanwhile either is seen here, or finds no place.
 */
#include "ctl/ctl.h"

#include "ctl/progress.h"
#include "ctl/table.h"
#include "db/robot_row.h"

#include <stdio.h>
#include <string.h>

#define URL_ROOM 256

/* ---- add ---------------------------------------------------------------------------------------------------- */

struct add {
    const char *actor;
    char base_url[URL_ROOM], viewer_url[URL_ROOM];
    struct robot_row_change row;
    char why[400];
};

static enum db_rc add_tx(struct db *db, void *arg)
{
    struct add *w = arg;
    enum db_rc rc = robot_row_add(db, &w->row);
    robot_row_words(&w->row, w->why, sizeof(w->why));
    TRY(rc);
    return *w->why ? DB_DUP : ctl_audit(db, w->actor, "worker_add", w->row.name, w->row.detail);
}

static int add_done(struct db *db, void *arg)
{
    struct add *w = arg;
    if (db_query(db, "SELECT 1 FROM chasqui_robots WHERE id = ? AND name = ?", "us", w->row.id, w->row.name))
        return -1;
    return db_next(db);
}

enum ctl_exit worker_add(struct ctl *c)
{
    struct add w = {.actor = c->actor, .row = {.name = c->args.word[0]}};
    const char *capacity = args_value(&c->args, OPT_CAPACITY);
    if (!args_worker_name(c, w.row.name))
        return CTL_USAGE;
    if (!args_value(&c->args, OPT_BASE_URL))
        return ctl_usage(c, "--base-url is missing");
    if (!args_url(c, OPT_BASE_URL, w.base_url, sizeof(w.base_url)) ||
        !args_url(c, OPT_VIEWER_URL, w.viewer_url, sizeof(w.viewer_url)) ||
        (capacity && !args_number(c, "--capacity", capacity, 1, ROBOT_CAPACITY_MAX, &w.row.capacity)))
        return CTL_USAGE;
    w.row.base_url = w.base_url;
    w.row.viewer_url = w.viewer_url;
    enum ctl_exit code = ctl_tx(c, add_tx, add_done, &w, w.why);
    return code != CTL_DONE ? code : ctl_say(c, "robot %s is known: %s", w.row.name, w.base_url);
}

/* ---- list --------------------------------------------------------------------------------------------------- */

static const char *optional_calls(struct db *db, unsigned col)
{
    return db_is_null(db, col) ? "not known yet" : db_u64(db, col) ? "yes" : "no";
}

static struct jv *worker_jv(struct db *db)
{
    static const char *const texts[] = {"name", "wanted", "base_url", "viewer_url"};
    static const char *const numbers[] = {"capacity",    "reported_capacity", "places_total",
                                          "places_used", "sessions",          "abandoned"};
    struct jv *w = jv_new_object();
    for (unsigned i = 0; i < 4; i++)
        jv_set_str(w, texts[i], db_str(db, i, NULL));
    for (unsigned i = 0; i < 6; i++) {
        jv_set(w, numbers[i], NULL);
        if (!db_is_null(db, 4 + i))
            jv_set_int(w, numbers[i], db_i64(db, 4 + i));
    }
    jv_set_str(w, "down_as", db_is_null(db, 12) ? NULL : db_str(db, 12, NULL));
    jv_set_int(w, "sessions_waiting", db_is_null(db, 13) ? 0 : db_i64(db, 13));
    jv_set(w, "down_s", NULL);
    if (!db_is_null(db, 12))
        jv_set_int(w, "down_s", db_i64(db, 14) / 1000);
    jv_set_str(w, "boot_id", db_str(db, 10, NULL));
    jv_set(w, "fenced", NULL);
    if (!db_is_null(db, 11))
        jv_set_bool(w, "fenced", db_u64(db, 11) != 0);
    return w;
}

/* How it is down, and until when its sessions wait. */
static void down_cell(struct ctl *c, struct table *table)
{
    struct db *db = c->db;
    bool is_down = !db_is_null(db, 12);
    int64_t waiting = db_i64(db, 13), left_s = c->conf->session_lost_after_s - db_i64(db, 14) / 1000;
    if (is_down && waiting)
        table_addf(table, "%s: %lld %s, %lld s more", db_str(db, 12, NULL), (long long)waiting,
                   waiting == 1 ? "waits" : "wait", (long long)(left_s > 0 ? left_s : 0));
    else
        table_add(table, is_down ? db_str(db, 12, NULL) : NULL);
}

enum ctl_exit worker_list(struct ctl *c)
{
    static const char *const heads[] = {"NAME", "=WANTED",         ">PLACES",    ">SESSIONS", ">ABANDONED",
                                        "DOWN", "2OPTIONAL CALLS", "~~BASE URL", "1~VIEWER",  NULL};
    struct db *db = c->db;
    enum db_rc rc = db_query(
        db,
        "SELECT r.name, r.wanted, r.base_url, r.viewer_url, r.capacity, r.reported_capacity, " ROBOT_CAPACITY
        ", (SELECT "
        "COUNT(p.session_ref) FROM "
        "chasqui_places p WHERE p.robot_id = r.id), (SELECT COUNT(*) FROM chasqui_sessions s "
        "WHERE s.robot_id = r.id AND "
        "s.live = 1), (SELECT COUNT(*) FROM chasqui_sessions a WHERE a.close_pending = 1 AND "
        "a.robot_id = r.id), r.boot_id, "
        "r.fenced, IF(r.down_seen > NOW(6) - INTERVAL 30 SECOND, r.down_as, NULL), (SELECT COUNT(*) FROM chasqui_sessions "
        "w WHERE w.robot_id = r.id AND w.live = 1 AND w.state = 'active' AND r.down_as = 'silent' AND r.down_seen > NOW(6) - "
        "INTERVAL 30 SECOND), r.down_ms FROM chasqui_robots r WHERE r.removed = 0 ORDER BY r.name",
        "");
    if (rc)
        return ctl_db_fail(c, rc);
    struct table *table = table_new(heads);
    struct jv *body = jv_new_object(), *list = jv_new_array();
    while (db_next(db)) {
        jv_push(list, worker_jv(db));
        table_add(table, db_str(db, 0, NULL));
        table_add(table, db_str(db, 1, NULL));
        table_addf(table, "%llu/%llu", (unsigned long long)db_u64(db, 7), (unsigned long long)db_u64(db, 6));
        table_add(table, db_str(db, 8, NULL));
        table_add(table, db_str(db, 9, NULL));
        down_cell(c, table);
        table_add(table, optional_calls(db, 11));
        table_add(table, db_str(db, 2, NULL));
        table_add(table, db_str(db, 3, NULL));
    }
    jv_set(body, "workers", list);
    if (c->args.json) {
        table_free(&table);
        return ctl_json(body);
    }
    jv_free(body);
    table_print(&table, "no robots are known; chasqui worker add makes one known");
    return CTL_DONE;
}

/* ---- remove ------------------------------------------------------------------------------------------------- */

struct remove {
    const char *actor, *name;
    bool force, found;
    uint64_t id, live, abandoned;
    char why[400];
};

/* The sessions on it are lost: so are their leases (a dispatcher that works on one finds out) and their jobs. */
static enum db_rc sessions_lose(struct db *db, uint64_t robot_id)
{
    static const char *const sql[] = {
        "UPDATE portal_jobs j JOIN chasqui_sessions s ON s.job_id = j.id SET {become job.lose j}, j.error = "
        "'session_lost', j.message = 'robot_removed' WHERE s.robot_id = ? AND s.live = 1 AND {from job.lose j}",
        "UPDATE portal_jobs j JOIN chasqui_sessions s ON s.job_id = j.id SET j.updated_at = j.updated_at{result j} WHERE s.robot_id = ? AND s.live = 1",
        "UPDATE chasqui_jobs q JOIN chasqui_sessions s ON s.job_id = q.job_id SET q.params = NULL WHERE "
        "s.robot_id = ? AND s.live = 1",
        "INSERT INTO chasqui_job_events (job_id, at, event, detail) SELECT job_id, NOW(6), 'session_lost', "
        "'robot_removed' FROM "
        "chasqui_sessions WHERE robot_id = ? AND live = 1",
        "UPDATE chasqui_items i JOIN chasqui_jobs q ON q.batch_id = i.batch_id AND q.idx = i.idx JOIN chasqui_sessions s ON "
        "s.job_id = q.job_id SET {become item.lose i} WHERE s.robot_id = ? AND s.live = 1 AND {from item.lose i}",
        "DELETE l FROM chasqui_leases l JOIN chasqui_sessions s ON s.job_id = l.job_id WHERE s.robot_id = ? AND "
        "s.live = 1",
        "DELETE m FROM chasqui_session_migrations m JOIN chasqui_sessions s ON s.job_id = m.job_id WHERE "
        "s.robot_id = ? AND s.live = 1",
        "UPDATE chasqui_sessions SET {become session.remove}, reason = 'robot_removed' WHERE robot_id = ? AND live = 1",
        "UPDATE chasqui_sessions SET {become remains.settle} WHERE robot_id = ? AND {from remains.settle}",
    };
    for (unsigned i = 0; i < sizeof(sql) / sizeof(*sql); i++)
        TRY(db_exec(db, sql[i], "u", robot_id));
    return DB_OK;
}

static enum db_rc remove_tx(struct db *db, void *arg)
{
    struct remove *w = arg;
    char detail[100];
    w->why[0] = 0;
    TRY(db_query(db, "SELECT id FROM chasqui_robots WHERE name = ? AND removed = 0 FOR UPDATE", "s", w->name));
    w->found = db_next(db);
    if (!w->found)
        return DB_OK;
    w->id = db_u64(db, 0);
    TRY(db_exec(db, "DELETE FROM chasqui_places WHERE robot_id = ?", "u", w->id));
    TRY(db_query(db,
                 "SELECT COALESCE(SUM(live = 1), 0), COALESCE(SUM(live IS NULL AND close_pending = 1), 0) FROM "
                 "chasqui_sessions WHERE robot_id = ? "
                 "AND (live = 1 OR close_pending = 1)",
                 "u", w->id));
    if (!db_next(db))
        return DB_FAIL;
    w->live = db_u64(db, 0);
    w->abandoned = db_u64(db, 1);
    if (!w->force && (w->live || w->abandoned)) {
        snprintf(w->why, sizeof(w->why),
                 "robot %s has %llu live and %llu abandoned sessions: drain it and close or migrate them, or lose "
                 "them with --force",
                 w->name, (unsigned long long)w->live, (unsigned long long)w->abandoned);
        return DB_DUP;
    }
    TRY(sessions_lose(db, w->id));
    TRY(db_exec(db, "UPDATE chasqui_robots SET wanted = 'disabled', removed = NULL WHERE id = ?", "u", w->id));
    TRY(robot_revision_raise(db));
    snprintf(detail, sizeof(detail), "%llu sessions lost, %llu abandoned", (unsigned long long)w->live,
             (unsigned long long)w->abandoned);
    return ctl_audit(db, w->actor, "worker_remove", w->name, detail);
}

enum ctl_exit worker_remove(struct ctl *c)
{
    struct remove w = {.actor = c->actor, .name = c->args.word[0], .force = c->args.n[OPT_FORCE] > 0};
    char text[TEXT_AMOUNT];
    if (!args_worker_name(c, w.name))
        return CTL_USAGE;
    enum ctl_exit code = ctl_tx(c, remove_tx, NULL, &w, w.why);
    if (code != CTL_DONE)
        return code;
    if (!w.found)
        return ctl_fail(c, "there is no robot %s", w.name);
    return ctl_say(c, "robot %s is removed, %s %s lost", w.name, amount_text(w.live, "session", text),
                   w.live == 1 ? "was" : "were");
}
