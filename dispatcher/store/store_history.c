/* SPDX-License-Identifier: MIT */
/*
 * store_history.c - the timelines summed up by minute (chasqui_history).
 *
 * Owns how far that is (chasqui_history_at): the row is locked, so one
 * dispatcher sums up at a time, and a minute is summed up once. The events of
 * a minute are found by their ids, which grow with time but for transactions
 * that overlap: ORDER_S is what they may differ by.
 */
#include "dispatcher/store/store_history.h"

#include "dispatcher/store/store_sql.h"

#define MINUTES_MAX 10
#define ORDER_S 60
#define STRIDE 2000 /* ids */
#define STRIDES_MAX 1000

#define WITHIN(column, above, upto) "SUM(" column " > " #above " AND " column " <= " #upto ")"
#define BEYOND(column, above) "SUM(" column " > " #above ")"
#define WAITS                                                                                                        \
    "SUM(w <= 250), " WITHIN("w", 250, 1000) ", " WITHIN("w", 1000, 4000) ", " WITHIN("w", 4000, 16000) ", " WITHIN( \
        "w", 16000,                                                                                                  \
        64000) ", " WITHIN("w", 64000,                                                                               \
                           256000) ", " WITHIN("w", 256000,                                                          \
                                               1024000) ", " WITHIN("w", 1024000,                                    \
                                                                    4096000) ", " WITHIN("w", 4096000,               \
                                                                                         16384000) ", " BEYOND("w",  \
                                                                                                               16384000)
#define ROBOTS                                                                                                    \
    "SUM(r <= 250), " WITHIN("r", 250, 500) ", " WITHIN("r", 500, 1000) ", " WITHIN("r", 1000, 2000) ", " WITHIN( \
        "r", 2000,                                                                                                \
        4000) ", " WITHIN("r", 4000,                                                                              \
                          8000) ", " WITHIN("r", 8000,                                                            \
                                            16000) ", " WITHIN("r", 16000,                                        \
                                                               32000) ", " WITHIN("r", 32000,                     \
                                                                                  64000) ", " BEYOND("r", 64000)

struct span {
    int64_t from_s, to_s; /* unix, whole minutes */
    uint64_t event_id;
    unsigned minutes; /* 0: all that were due were silent */
    bool is_due;
};

/* Old events are passed over in long strides: one row is read of each. */
static enum db_rc old_skip(struct db *db, struct span *s)
{
    for (unsigned i = 0; i < STRIDES_MAX; i++) {
        TRY(db_query(db,
                     "SELECT id, at < FROM_UNIXTIME(?) FROM chasqui_job_events WHERE id >= ? ORDER BY id LIMIT 1",
                     "iu", s->from_s - ORDER_S, s->event_id + STRIDE));
        if (!db_next(db) || !db_u64(db, 1))
            break;
        s->event_id = db_u64(db, 0);
    }
    return DB_OK;
}

/* Minutes in which nothing happened are passed over: after a night without a dispatcher there are many. */
static enum db_rc silence_skip(struct db *db, struct span *s, int64_t over_s)
{
    int64_t first_s = over_s;
    TRY(db_query(
        db,
        "SELECT UNIX_TIMESTAMP(at) DIV 60 * 60 FROM chasqui_job_events WHERE id > ? AND at >= FROM_UNIXTIME(?) ORDER BY id LIMIT 1",
        "ui", s->event_id, s->from_s));
    if (db_next(db) && db_i64(db, 0) - ORDER_S < over_s)
        first_s = db_i64(db, 0) - ORDER_S;
    if (first_s > s->from_s)
        s->from_s = first_s;
    return DB_OK;
}

/* The database's clock tells what is over. */
static enum db_rc span_read(struct db *db, struct span *s)
{
    *s = (struct span){0};
    TRY(db_query(
        db,
        "SELECT UNIX_TIMESTAMP(minute), event_id, (UNIX_TIMESTAMP() - ?) DIV 60 * 60 FROM chasqui_history_at WHERE one = 1 FOR UPDATE SKIP LOCKED",
        "i", (int64_t)HISTORY_LATE_S));
    if (!db_next(db))
        return DB_OK;
    s->from_s = db_i64(db, 0);
    s->event_id = db_u64(db, 1);
    int64_t over_s = db_i64(db, 2);
    if (over_s <= s->from_s)
        return DB_OK;
    TRY(old_skip(db, s));
    TRY(silence_skip(db, s, over_s));
    int64_t over = (over_s - s->from_s) / 60;
    s->minutes = over < MINUTES_MAX ? (unsigned)over : MINUTES_MAX;
    s->to_s = s->from_s + s->minutes * 60;
    s->is_due = true;
    return DB_OK;
}

/* The first event at that time or later, the next id when there is none. */
static enum db_rc event_at(struct db *db, uint64_t after, int64_t at_s, uint64_t *id)
{
    TRY(db_query(db,
                 "SELECT id FROM chasqui_job_events WHERE id > ? AND at >= FROM_UNIXTIME(?) ORDER BY id LIMIT 1",
                 "ui", after, at_s));
    if (db_next(db)) {
        *id = db_u64(db, 0);
        return DB_OK;
    }
    TRY(db_query(db, "SELECT COALESCE(MAX(id), 0) + 1 FROM chasqui_job_events WHERE id > ?", "u", after));
    *id = db_next(db) ? db_u64(db, 0) : after + 1;
    if (*id <= after)
        *id = after + 1;
    return DB_OK;
}

static enum db_rc minute_sum(struct db *db, const struct span *s, uint64_t to_id, int64_t minute_s)
{
    return db_exec(
        db,
        "INSERT IGNORE INTO chasqui_history SELECT FROM_UNIXTIME(?), portal, worker, kind, outcome, COUNT(*), " WAITS
        ", " ROBOTS
        " FROM (SELECT q.portal AS portal, COALESCE(e.worker, '') AS worker, q.kind AS kind, e.outcome AS outcome, COALESCE(e.queued_ms, 0) AS w, "
        "COALESCE(e.robot_ms, 0) AS r FROM chasqui_job_events e JOIN chasqui_jobs q ON q.job_id = e.job_id WHERE e.id > ? AND e.id < ? AND "
        "e.at >= FROM_UNIXTIME(?) AND e.at < FROM_UNIXTIME(?) AND e.attempt IS NOT NULL AND e.outcome > '') a "
        "GROUP BY portal, worker, kind, outcome ORDER BY COUNT(*) DESC LIMIT ?",
        "iuuiiu", minute_s, s->event_id, to_id, minute_s, minute_s + 60, (uint64_t)HISTORY_ROWS_MAX);
}

static enum db_rc sum_tx(struct db *db, void *arg)
{
    struct store_history_sum *op = arg;
    struct span s;
    uint64_t to_id, next_id;
    op->minutes = 0;
    op->is_behind = false;
    TRY(span_read(db, &s));
    if (!s.is_due)
        return DB_OK;
    for (int64_t minute = s.from_s; minute < s.to_s; minute += 60) {
        TRY(event_at(db, s.event_id, minute + 60 + ORDER_S, &to_id));
        TRY(minute_sum(db, &s, to_id, minute));
        TRY(event_at(db, s.event_id, minute + 60 - ORDER_S, &next_id));
        s.event_id = next_id - 1;
    }
    TRY(db_exec(db, "UPDATE chasqui_history_at SET minute = FROM_UNIXTIME(?), event_id = ? WHERE one = 1", "iu",
                s.to_s, s.event_id));
    op->minutes = s.minutes;
    op->is_behind = s.minutes == MINUTES_MAX;
    return DB_OK;
}

void store_history_sum(struct db *db, void *arg)
{
    struct store_history_sum *op = arg;
    op->rc = store_tx(db, sum_tx, NULL, op);
}
