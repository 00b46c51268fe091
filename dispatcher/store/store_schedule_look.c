/* SPDX-License-Identifier: MIT */
/*
 * store_schedule_look.c - schedules as operators see them, and what an operator
 * wants of one: run it now, let it rest, let it run again.
 */
#include "dispatcher/store/store_schedule.h"

#include "common/check.h"
#include "common/steps.h"
#include "db/schedule_sql.h"
#include "dispatcher/store/store_sql.h"

#include <stdio.h>
#include <string.h>

static struct jv *schedule_jv(struct db *db)
{
    struct jv *s = jv_new_object(), *then = jv_new_array();
    char step[ACTION_NAME_MAX + 1];
    const char *steps = db_str(db, 13, NULL);
    for (unsigned i = 0; steps && steps_name(steps, i, step); i++)
        jv_push_str(then, step);
    jv_set_str(s, "name", db_str(db, 1, NULL));
    jv_set_str(s, "cron", db_str(db, 2, NULL));
    jv_set_str(s, "zone", db_is_null(db, 3) ? "UTC" : db_str(db, 3, NULL));
    jv_set_str(s, "portal", db_str(db, 4, NULL));
    jv_set_str(s, "action", db_str(db, 5, NULL));
    jv_set_int(s, "priority", db_i64(db, 6));
    jv_set_bool(s, "stored", db_u64(db, 7) != 0);
    jv_set_bool(s, "enabled", db_u64(db, 8) != 0);
    jv_set_time(s, "next_at", db_i64(db, 9));
    jv_set(s, "next", schedule_next_jv(db_str(db, 2, NULL), db_str(db, 3, NULL), db_i64(db, 9) / 1000));
    jv_set_time(s, "created_at", db_i64(db, 10));
    jv_set_str(s, "made_by", db_str(db, 11, NULL));
    jv_set_int(s, "items", db_i64(db, 12));
    jv_set(s, "then", then);
    jv_set_bool(s, "close", db_u64(db, 14) != 0);
    jv_set_str(s, "done_by", db_str(db, 15, NULL));
    return s;
}

/* What became of a run stands in its batch; of one that has not ended only that it goes on. */
static struct jv *run_jv(struct db *db)
{
    struct jv *run = jv_new_object();
    jv_set_time(run, "run_at", db_i64(db, 0));
    json_set_column(run, "batch_id", db, 1);
    jv_set_int(run, "missed", db_i64(db, 2));
    jv_set_str(run, "by", db_str(db, 3, NULL));
    jv_set_str(run, "status", db_str(db, 4, NULL));
    json_set_column(run, "total", db, 5);
    json_set_column(run, "done", db, 6);
    json_set_column(run, "failed", db, 7);
    json_set_column(run, "cancelled", db, 8);
    jv_set_time(run, "finished_at", db_i64(db, 9));
    return run;
}

static enum db_rc runs_read(struct db *db, uint64_t schedule_id, struct jv *list)
{
    TRY(db_query(
        db,
        "SELECT CAST(UNIX_TIMESTAMP(r.run_at) * 1000 AS INT), r.batch_id, r.missed, r.actor, b.status, b.total, b.done, b.failed, "
        "b.cancelled, CAST(UNIX_TIMESTAMP(b.finished_at) * 1000 AS INT) FROM chasqui_schedule_runs r LEFT JOIN chasqui_batches b ON b.id = "
        "r.batch_id WHERE r.schedule_id = ? ORDER BY r.run_at DESC LIMIT ?",
        "uu", schedule_id, (uint64_t)SCHEDULE_RUNS_SHOWN));
    while (db_next(db))
        jv_push(list, run_jv(db));
    return DB_OK;
}

static enum db_rc schedules_read(struct db *db, struct jv *list)
{
    uint64_t id[SCHEDULES_MAX];
    unsigned n = 0;
    TRY(db_query(
        db,
        "SELECT s.id, s.name, s.cron, s.zone, s.portal, s.action, s.priority, s.is_stored, s.enabled, CAST(UNIX_TIMESTAMP(s.next_at) * 1000 "
        "AS INT), CAST(UNIX_TIMESTAMP(s.created_at) * 1000 AS INT), s.actor, (SELECT COUNT(*) FROM chasqui_schedule_items i WHERE "
        "i.schedule_id = s.id), s.steps, s.closes, s.done_by FROM chasqui_schedules s ORDER BY s.name LIMIT ?",
        "u", (uint64_t)SCHEDULES_MAX));
    while (n < SCHEDULES_MAX && db_next(db)) {
        id[n++] = db_u64(db, 0);
        jv_push(list, schedule_jv(db));
    }
    for (unsigned i = 0; i < n; i++) {
        struct jv *runs = jv_new_array();
        jv_set((struct jv *)jv_at(list, i), "runs", runs);
        TRY(runs_read(db, id[i], runs));
    }
    return DB_OK;
}

void store_schedules(struct db *db, void *arg)
{
    struct store_schedules *op = arg;
    struct jv *body = jv_new_object(), *list = jv_new_array();
    op->rc = store_rc_of(db ? schedules_read(db, list) : DB_GONE);
    jv_set_bool(body, "ok", true);
    jv_set(body, "schedules", list);
    json_take(body, &op->json);
}

/* ---- what an operator wants --------------------------------------------------------------------------------- */

static enum db_rc run(struct db *db, struct store_schedule_set *op, const struct schedule_row *row)
{
    char action[ACTION_NAME_MAX + 1] = "", steps[STEPS_NAMES_ROOM] = "";
    TRY(db_query(db, "SELECT action, steps FROM chasqui_schedules WHERE id = ?", "u", row->id));
    if (db_next(db)) {
        db_str_copy(db, 0, action, sizeof(action));
        db_str_copy(db, 1, steps, sizeof(steps));
    }
    const char *wrong = schedule_wrong(op->actions, action, steps);
    if (wrong)
        snprintf(op->refused, sizeof(op->refused), "%s", wrong);
    return wrong ? DB_OK : schedule_batch_make(db, row->id, 0, op->by.name, &op->batch_id);
}

static enum db_rc set_tx(struct db *db, void *arg)
{
    static const char *const done[] = {"schedule_run", "schedule_enable", "schedule_disable"};
    struct store_schedule_set *op = arg;
    struct schedule_row row;
    char subject[NAME_ROOM + 12], detail[260] = "";
    op->batch_id = 0;
    op->refused[0] = 0;
    TRY(schedule_lock(db, op->name, &row));
    if (!(op->found = row.found))
        return DB_OK;
    enum db_rc rc = op->wish == SCHEDULE_RUN
                        ? run(db, op, &row)
                        : schedule_want(db, &row, op->wish == SCHEDULE_ENABLE, &op->next_s, op->refused);
    if (op->refused[0])
        return DB_OK;
    TRY(rc);
    snprintf(subject, sizeof(subject), "schedule:%s", op->name);
    if (op->batch_id)
        snprintf(detail, sizeof(detail), "batch %llu%s%s", (unsigned long long)op->batch_id,
                 op->by.why[0] ? ": " : "", op->by.why);
    else
        snprintf(detail, sizeof(detail), "%s", op->by.why);
    return audit_add(db, op->by.name, op->by.peer, op->by.request_id, done[op->wish], subject,
                     detail[0] ? detail : NULL);
}

void store_schedule_set(struct db *db, void *arg)
{
    struct store_schedule_set *op = arg;
    op->rc = store_tx(db, set_tx, NULL, op);
}
