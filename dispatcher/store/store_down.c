/* SPDX-License-Identifier: MIT */
/*
 * store_down.c - see store_down.h. The time that a robot is down is added up in steps of at most STEP_MS by the database's clock: it
 * survives dispatchers and healthds that restart, and a clock that jumps. What was not renewed for FORGET_S begins anew.
 */
#include "dispatcher/store/store_down.h"
#include "dispatcher/store/store_sql.h"

#include <stdio.h>

#define STEP_MS "5000"
#define FORGET_S "60"
#define RENEW_MICROSECONDS "300000" /* several dispatchers see the same robot */

static enum db_rc down_write(struct db *db, struct store_down *op)
{
    TRY(db_exec(
        db,
        "UPDATE chasqui_robots SET down_ms = IF(down_seen IS NULL OR down_seen < NOW(6) - INTERVAL " FORGET_S
        " SECOND, 0, down_ms + "
        "LEAST(GREATEST(TIMESTAMPDIFF(MICROSECOND, down_seen, NOW(6)) DIV 1000, 0), " STEP_MS
        ")), down_as = ?, down_seen = NOW(6) WHERE "
        "id = ? AND (down_seen IS NULL OR down_as <> ? OR NOT down_seen BETWEEN NOW(6) - INTERVAL " RENEW_MICROSECONDS
        " MICROSECOND AND NOW(6))",
        "sus", down_name[op->down], (uint64_t)op->robot_id, down_name[op->down]));
    TRY(db_query(db, "SELECT down_ms FROM chasqui_robots WHERE id = ?", "u", (uint64_t)op->robot_id));
    op->down_ms = db_next(db) ? db_i64(db, 0) : 0;
    return DB_OK;
}

static enum db_rc down_forget(struct db *db, const struct store_down *op)
{
    return db_exec(
        db,
        "UPDATE chasqui_robots SET down_as = NULL, down_seen = NULL, down_ms = 0 WHERE id = ? AND down_seen IS NOT NULL",
        "u", (uint64_t)op->robot_id);
}

void store_down(struct db *db, void *arg)
{
    struct store_down *op = arg;
    op->down_ms = 0;
    op->rc = store_rc_of(!db ? DB_GONE : op->down == DOWN_NOT ? down_forget(db, op) : down_write(db, op));
}

static enum db_rc two_boots_tx(struct db *db, void *arg)
{
    struct store_two_boots *op = arg;
    char actor[NAME_ROOM + 8], detail[200];
    TRY(db_query(
        db,
        "SELECT 1 FROM chasqui_audit WHERE at > NOW(6) - INTERVAL 10 MINUTE AND action = 'worker_two_boots' AND subject = ? LIMIT 1",
        "s", op->name));
    if (db_next(db))
        return DB_OK;
    snprintf(actor, sizeof(actor), "robot:%s", op->name);
    snprintf(detail, sizeof(detail), "two processes answer under its URL; the one that was known is %s",
             op->boot_id);
    return audit_add(db, actor, NULL, NULL, "worker_two_boots", op->name, detail);
}

void store_two_boots(struct db *db, void *arg)
{
    struct store_two_boots *op = arg;
    op->rc = store_tx(db, two_boots_tx, NULL, op);
}
