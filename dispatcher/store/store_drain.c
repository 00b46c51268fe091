/* SPDX-License-Identifier: MIT */
/*
 * store_drain.c - which sessions leave a draining robot now. Moving one costs
 * its callers a moment, so it waits for one in which nobody uses it; and a
 * session is only asked to go where there is room, so that it never hangs
 * between two robots.
 */
#include "dispatcher/store/store_drain.h"
#include "dispatcher/store/store_down.h"
#include "dispatcher/store/store_place.h"
#include "dispatcher/store/store_sql.h"

#include "common/check.h"

#include <stdlib.h>

#define AT_ONCE 64

/* Places that are free elsewhere and that no planned migration will take. */
static enum db_rc room_read(struct db *db, struct store_drain *op, uint64_t *room)
{
    struct load *load = xcalloc(CANDIDATES_MAX, sizeof(*load));
    unsigned n = 0;
    *room = 0;
    for (unsigned i = 0; i < op->n_candidates; i++)
        op->candidate[i].counted = 0; /* counted now: what is planned has to find its place */
    loads_forget();
    enum db_rc rc = op->n_candidates ? loads_read(db, op->candidate, op->n_candidates, load, &n) : DB_OK;
    for (unsigned i = 0; rc == DB_OK && i < n; i++)
        *room += load[i].capacity > load[i].used ? load[i].capacity - load[i].used : 0;
    free(load);
    TRY(rc);
    TRY(db_query(db, "SELECT COUNT(*) FROM chasqui_session_migrations", ""));
    uint64_t planned = db_next(db) ? db_u64(db, 0) : 0;
    *room = *room > planned ? *room - planned : 0;
    return DB_OK;
}

static enum db_rc drain_tx(struct db *db, void *arg)
{
    struct store_drain *op = arg;
    uint64_t room;
    unsigned n = 0;
    op->planned = 0;
    TRY(room_read(db, op, &room));
    if (!room)
        return DB_OK;
    struct session_row *rows = xcalloc(AT_ONCE, sizeof(*rows));
    enum db_rc rc = db_query(
        db,
        "SELECT " SESSION_COLUMNS SESSION_FROM
        "JOIN chasqui_robots r ON r.id = s.robot_id JOIN chasqui_credentials c ON c.company_id = s.company_id AND c.portal "
        "= s.portal WHERE r.wanted = 'draining' AND r.removed = 0 AND s.live = 1 AND s.state = 'active' AND m.job_id IS "
        "NULL AND NOT EXISTS (SELECT 1 FROM chasqui_leases l WHERE l.job_id = s.job_id AND l.kind = 'round') AND NOT " IS_DOWN(
            "r") " AND (s.last_activity_at < NOW(6) - INTERVAL ? MICROSECOND OR r.drain_deadline <= NOW(6)) ORDER BY s.id "
                 "LIMIT ?",
        "iu", op->idle_ms * 1000, room < AT_ONCE ? room : (uint64_t)AT_ONCE);
    while (rc == DB_OK && n < AT_ONCE && db_next(db))
        session_read(db, 0, &rows[n++]);
    for (unsigned i = 0; i < n && rc == DB_OK; i++) {
        enum move move;
        rc = move_plan(db, &rows[i], "drain", &move);
        op->planned += move == MOVE_PLANNED;
    }
    free(rows);
    return rc;
}

void store_drain(struct db *db, void *arg)
{
    struct store_drain *op = arg;
    op->rc = store_tx(db, drain_tx, NULL, op);
}
