/* SPDX-License-Identifier: MIT */
/*
 * store_schedule.c - schedules whose time has come. Of many dispatchers that
 * look at once, one has the schedule's row (SKIP LOCKED) and moves its next
 * time on; a time that has its row in chasqui_schedule_runs is never run again.
 */
#include "dispatcher/store/store_schedule.h"

#include "common/cron.h"
#include "common/steps.h"
#include "db/schedule_sql.h"
#include "dispatcher/store/store_sql.h"

#include <stdio.h>

static enum db_rc look(struct db *db, struct store_schedule_look *op)
{
    TRY(db_query(
        db,
        "SELECT (SELECT CAST(CEIL((UNIX_TIMESTAMP(MIN(next_at)) - UNIX_TIMESTAMP(NOW(6))) * 1000) AS INT) FROM chasqui_schedules), "
        "EXISTS (SELECT 1 FROM chasqui_schedule_runs WHERE filling = 1)",
        ""));
    if (!db_next(db))
        return DB_FAIL;
    int64_t due = db_i64(db, 0);
    op->due_in_ms = db_is_null(db, 0) ? -1 : due > 0 ? due : 0;
    op->is_filling = db_u64(db, 1);
    return DB_OK;
}

void store_schedule_look(struct db *db, void *arg)
{
    struct store_schedule_look *op = arg;
    op->rc = store_rc_of(db ? look(db, op) : DB_GONE);
}

/* It cannot run: better seen than tried each minute. */
static enum db_rc disable(struct db *db, struct store_schedule_begin *op, uint64_t id, const char *why)
{
    char actor[NAME_ROOM + 12], subject[NAME_ROOM + 12];
    snprintf(actor, sizeof(actor), "dispatcher:%s", op->holder);
    snprintf(subject, sizeof(subject), "schedule:%s", op->name);
    op->is_bad = true;
    TRY(db_exec(db, "UPDATE chasqui_schedules SET enabled = 0, next_at = NULL WHERE id = ?", "u", id));
    return audit_add(db, actor, NULL, NULL, "schedule_disable", subject, why);
}

static bool steps_are_known(const struct action_table *actions, const char *steps)
{
    char name[ACTION_NAME_MAX + 1];
    for (unsigned i = 0; steps_name(steps, i, name); i++) {
        const struct action *action = action_find(actions, name);
        if (!action || action->session != ACTION_USE)
            return false;
    }
    return true;
}

const char *schedule_wrong(const struct action_table *actions, const char *action_name, const char *steps)
{
    const struct action *action = action_find(actions, action_name);
    if (!action || action->session != ACTION_CREATE)
        return "its action is not a log-in that is configured";
    return steps_are_known(actions, steps) ? NULL
                                           : "an action after its log-in is not configured, or makes a session";
}

static enum db_rc begin_tx(struct db *db, void *arg)
{
    struct store_schedule_begin *op = arg;
    char text[CRON_TEXT_MAX + 1], action_name[ACTION_NAME_MAX + 1], actor[NAME_ROOM + 12], steps[STEPS_NAMES_ROOM],
        zone[61];
    const char *why;
    struct cron cron;
    struct cron_due due;
    op->found = op->is_bad = false;
    op->batch_id = op->missed = 0;
    TRY(db_query(
        db,
        "SELECT id, name, cron, action, UNIX_TIMESTAMP(next_at) DIV 1, UNIX_TIMESTAMP(NOW(6)) DIV 1, steps, zone FROM chasqui_schedules FORCE "
        "INDEX (next) WHERE next_at <= NOW(6) ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED",
        ""));
    if (!db_next(db))
        return DB_OK;
    op->found = true;
    uint64_t id = db_u64(db, 0);
    int64_t planned_s = db_i64(db, 4), now_s = db_i64(db, 5);
    db_str_copy(db, 1, op->name, sizeof(op->name));
    db_str_copy(db, 2, text, sizeof(text));
    db_str_copy(db, 3, action_name, sizeof(action_name));
    db_str_copy(db, 6, steps, sizeof(steps));
    db_str_copy(db, 7, zone, sizeof(zone));
    if (!cron_parse(text, &cron, &why) || (why = schedule_wrong(op->actions, action_name, steps)))
        return disable(db, op, id, why);
    struct zone *z = zone[0] ? zone_new(zone, &why) : NULL;
    if (zone[0] && !z)
        return disable(db, op, id, "this host's tzdata does not know its time zone");
    cron_due(&cron, z, planned_s, now_s, op->grace_s, &due);
    zone_destroy(&z);
    snprintf(actor, sizeof(actor), "dispatcher:%s", op->holder);
    op->missed = due.missed;
    if (due.missed)
        TRY(db_exec(
            db,
            "INSERT IGNORE INTO chasqui_schedule_runs (schedule_id, run_at, missed, actor, made_at) VALUES (?, FROM_UNIXTIME(?), ?, ?, "
            "NOW(6))",
            "uius", id, due.missed_at, (uint64_t)due.missed, actor));
    if (due.run_at)
        TRY(schedule_batch_make(db, id, due.run_at, actor, &op->batch_id));
    return db_exec(db, "UPDATE chasqui_schedules SET next_at = FROM_UNIXTIME(?) WHERE id = ?", "Nu",
                   (uint64_t)due.next_at, id);
}

void store_schedule_begin(struct db *db, void *arg)
{
    struct store_schedule_begin *op = arg;
    op->rc = store_tx(db, begin_tx, NULL, op);
}

static enum db_rc fill_tx(struct db *db, void *arg)
{
    struct store_schedule_fill *op = arg;
    struct schedule_fill fill = {0};
    TRY(schedule_fill_step(db, &fill));
    op->batch_id = fill.batch_id;
    op->n = fill.n;
    op->is_whole = fill.is_whole;
    return DB_OK;
}

void store_schedule_fill(struct db *db, void *arg)
{
    struct store_schedule_fill *op = arg;
    op->rc = store_tx(db, fill_tx, NULL, op);
}
