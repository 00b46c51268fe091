/* SPDX-License-Identifier: MIT */
/*
 * schedule_sql.c - creates a schedule's batch in steps. The batch stays open until its last item is in. The last
 * item so far marks where to continue, so any process may take over after a crash. Owns nothing.
 */
#include "db/schedule_sql.h"

#include "common/clock.h"

#include <stdio.h>

#define NEXT_SHOWN 5

enum db_rc schedule_batch_make(struct db *db, uint64_t schedule_id, int64_t run_at_s, const char *actor,
                               uint64_t *batch_id)
{
    *batch_id = 0;
    TRY(db_query(db, "SELECT 1 FROM chasqui_schedule_runs WHERE schedule_id = ? AND run_at = FROM_UNIXTIME(?)",
                 "uN", schedule_id, (uint64_t)run_at_s));
    if (db_next(db))
        return DB_OK;
    TRY(db_exec(
        db,
        "INSERT INTO chasqui_batches (token_id, portal, action, priority, turn, status, callback_url, name, steps, step_params, closes, "
        "created_at) SELECT 0, portal, action, priority, COALESCE((SELECT i.turn FROM chasqui_items i FORCE INDEX (ready) WHERE i.ready = 1 AND i.urgency = 9 - "
        "s.priority ORDER BY i.turn LIMIT 1), 0) + 1, 'open', callback_url, name, steps, step_params, closes, NOW(6) FROM chasqui_schedules s WHERE s.id = ?",
        "u", schedule_id));
    *batch_id = db_insert_id(db);
    enum db_rc rc = db_exec(
        db,
        "INSERT INTO chasqui_schedule_runs (schedule_id, run_at, batch_id, filling, actor, made_at) VALUES (?, "
        "COALESCE(FROM_UNIXTIME(?), NOW(6)), ?, 1, ?, NOW(6))",
        "uNus", schedule_id, (uint64_t)run_at_s, *batch_id, actor);
    return rc == DB_DUP ? DB_RETRY : rc; /* another process was faster: look again */
}

static enum db_rc items_copy(struct db *db, uint64_t schedule_id, uint64_t batch_id, uint64_t past)
{
    return db_exec(
        db,
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn, params) SELECT b.id, i.idx, "
        "i.company_id, {new item.add}, 1, 9 - b.priority, b.turn + i.idx + 1000000 * i.round, i.params FROM chasqui_batches b JOIN "
        "chasqui_schedule_items i ON i.schedule_id = ? AND i.idx >= ? WHERE b.id = ? ORDER BY i.idx LIMIT ?",
        "uuuu", schedule_id, past, batch_id, (uint64_t)SCHEDULE_STEP);
}

/* Inserts an item for each company with stored credentials, in order of their ids. */
static enum db_rc companies_copy(struct db *db, uint64_t batch_id, uint64_t next, uint64_t past)
{
    return db_exec(
        db,
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn) SELECT c.id, ? + c.n, c.company_id, "
        "{new item.add}, 1, 9 - c.priority, c.turn + ? + c.n FROM (SELECT b.id, b.priority, b.turn, k.company_id, ROW_NUMBER() OVER "
        "(ORDER BY k.company_id) - 1 AS n FROM chasqui_batches b JOIN chasqui_credentials k ON k.portal = b.portal AND "
        "k.company_id >= ? WHERE b.id = ? ORDER BY k.company_id LIMIT ?) c",
        "uuuuu", next, next, past, batch_id, (uint64_t)SCHEDULE_STEP);
}

static enum db_rc batch_close(struct db *db, uint64_t batch_id)
{
    return db_exec(
        db,
        "UPDATE chasqui_batches SET status = 'running', total = (SELECT COUNT(*) FROM chasqui_items WHERE batch_id = ?) WHERE id "
        "= ? AND status = 'open'",
        "uu", batch_id, batch_id);
}

enum db_rc schedule_fill_step(struct db *db, struct schedule_fill *fill)
{
    uint64_t only = fill->batch_id, schedule_id, next = 0, past = 0;
    bool is_open, is_stored;
    *fill = (struct schedule_fill){0};
    TRY(db_query(
        db,
        "SELECT schedule_id, batch_id FROM chasqui_schedule_runs FORCE INDEX (filling) WHERE filling = 1 AND (? = 0 OR batch_id = ?) "
        "LIMIT 1 FOR UPDATE SKIP LOCKED",
        "uu", only, only));
    if (!db_next(db))
        return DB_OK;
    schedule_id = db_u64(db, 0);
    fill->batch_id = db_u64(db, 1);
    TRY(db_query(
        db,
        "SELECT b.status = 'open', s.is_stored FROM chasqui_batches b JOIN chasqui_schedules s ON s.id = ? WHERE b.id = ? FOR UPDATE",
        "uu", schedule_id, fill->batch_id));
    bool found = db_next(db);
    is_open = found && db_u64(db, 0); /* it may have been cancelled in the meantime */
    is_stored = found && db_u64(db, 1);
    TRY(db_query(
        db,
        "SELECT idx, company_id FROM chasqui_items FORCE INDEX (PRIMARY) WHERE batch_id = ? ORDER BY idx DESC LIMIT 1",
        "u", fill->batch_id));
    if (db_next(db)) {
        next = db_u64(db, 0) + 1;
        past = db_u64(db, 1) + 1;
    }
    if (is_open) {
        TRY(is_stored ? companies_copy(db, fill->batch_id, next, past)
                      : items_copy(db, schedule_id, fill->batch_id, next));
        fill->n = (unsigned)db_affected(db);
    }
    if (fill->n == SCHEDULE_STEP)
        return DB_OK;
    fill->is_whole = true;
    TRY(db_exec(db, "UPDATE chasqui_schedule_runs SET filling = NULL WHERE batch_id = ?", "u", fill->batch_id));
    return batch_close(db, fill->batch_id);
}

enum db_rc schedule_lock(struct db *db, const char *name, struct schedule_row *out)
{
    *out = (struct schedule_row){0};
    TRY(db_query(
        db, "SELECT id, cron, UNIX_TIMESTAMP(NOW(6)) DIV 1, zone FROM chasqui_schedules WHERE name = ? FOR UPDATE",
        "s", name));
    if (!(out->found = db_next(db)))
        return DB_OK;
    out->id = db_u64(db, 0);
    db_str_copy(db, 1, out->cron, sizeof(out->cron));
    out->now_s = db_i64(db, 2);
    db_str_copy(db, 3, out->zone, sizeof(out->zone));
    return DB_OK;
}

enum db_rc schedule_want(struct db *db, const struct schedule_row *s, bool enable, int64_t *next_s, char why[200])
{
    const char *bad = "";
    struct cron cron;
    why[0] = 0;
    *next_s = 0;
    if (enable && !cron_parse(s->cron, &cron, &bad)) {
        snprintf(why, 200, "its cron expression %s is not good: %s", s->cron, bad);
        return DB_DUP;
    }
    struct zone *z = s->zone[0] ? zone_new(s->zone, &bad) : NULL;
    if (enable && s->zone[0] && !z) {
        snprintf(why, 200, "this host's tzdata does not know its time zone %.60s", s->zone);
        return DB_DUP;
    }
    *next_s = enable ? cron_next_in(&cron, z, s->now_s) : 0;
    zone_destroy(&z);
    return db_exec(db, "UPDATE chasqui_schedules SET enabled = ?, next_at = FROM_UNIXTIME(?) WHERE id = ?", "uNu",
                   (uint64_t)enable, (uint64_t)*next_s, s->id);
}

struct jv *schedule_next_jv(const char *text, const char *zone, int64_t next_s)
{
    const char *why;
    struct cron cron;
    struct jv *list = jv_new_array();
    struct zone *z = zone ? zone_new(zone, &why) : NULL;
    bool is_good = cron_parse(text, &cron, &why) && (!zone || z);
    char when[CLOCK_TEXT_BYTES];
    for (unsigned i = 0; i < NEXT_SHOWN && next_s && is_good; i++) {
        clock_text(next_s * 1000, when);
        jv_push_str(list, when);
        next_s = cron_next_in(&cron, z, next_s);
    }
    zone_destroy(&z);
    return list;
}
