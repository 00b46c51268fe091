/* SPDX-License-Identifier: MIT */
/*
 * store_sql.h - pieces of SQL that the store_*.c files share. On a database
 * thread only. Lock order: docs/ARCHITECTURE.md, "Lock order".
 */
#ifndef CHASQUI_STORE_SQL_H
#define CHASQUI_STORE_SQL_H

#include "db/laravel_own.h"
#include "db/portal_shape.h"
#include "dispatcher/store/store.h"

/* A list of 200 values and more is judged by the index's statistics, not by what it holds: these are of a moment, and the server may
 * read all of the table instead. So statements with lists name their index. */

/* The types of an INSERT into portal_jobs that ends with {user value}: the user's id is its last argument. In a transaction. */
#define USER_TYPES(db, types) (shape_fills_user(db_shape(db)) ? types "N" : types)

/* The columns of a session_row, for queries over `s` (chasqui_sessions), `j` (portal_jobs) and `m`
 * (chasqui_session_migrations, left join), beginning at column `at`. */
#define SESSION_COLUMNS                                                                                           \
    "s.id, s.job_id, s.company_id, s.generation, s.state+0, s.epoch, s.robot_id, "                                \
    "(m.job_id IS NOT NULL), s.close_pending, "                                                                   \
    "CAST(UNIX_TIMESTAMP(s.since)*1000 AS INT), CAST(UNIX_TIMESTAMP(s.started_at)*1000 AS INT), "                 \
    "CAST(UNIX_TIMESTAMP(s.last_activity_at)*1000 AS INT), s.portal, s.robot_session_id, s.boot_id, s.reason, "   \
    "j.robot_worker_base_url, j.robot_worker_viewer_url, s.title, j.robot_session_id, j.job_uid, "                \
    "TIMESTAMPDIFF(MICROSECOND, s.since, NOW(6)) DIV 1000, j.id IS NULL"
/* The row in portal_jobs of what has `job_id` and `company_id`. Laravel may have deleted it, softly or not, or begun its numbers anew after
 * a TRUNCATE: another company's row is not ours. */
#define PORTAL_ROW(of) "j.id = " of ".job_id AND j.company_id = " of ".company_id AND j.deleted_at IS NULL"
#define SESSION_FROM SESSION_FROM_BY("")
#define SESSION_FROM_BY(index)                                                                                    \
    " FROM chasqui_sessions s " index                                                                             \
    " LEFT JOIN portal_jobs j ON " PORTAL_ROW("s") " LEFT JOIN chasqui_session_migrations m "                     \
                                                   "ON m.job_id = s.job_id "
void session_read(struct db *db, unsigned at, struct session_row *out);
/* By chasqui_sessions.id; *found tells. */
enum db_rc session_by_ref(struct db *db, uint64_t ref, bool *found, struct session_row *out);

/* Part of a transaction, after a unique key of ours refused a new job: when Laravel's table has begun its numbers anew, below those of jobs
 * that we still know, its next ones come after them. DB_RETRY: the transaction is to be run again; DB_OK: it was not that. */
enum db_rc job_numbers_lift(struct db *db, uint64_t job_id, uint64_t company_id, const char *portal,
                            const char *action);
enum db_rc event_add(struct db *db, uint64_t job_id, const char *event, const char *worker, const char *dispatcher,
                     const char *detail);
/* What the robot said in the job's last attempt that failed. */
enum db_rc robot_words_write(struct db *db, uint64_t job_id, const struct attempt_end *a);
/* An event that ends an attempt, with how it ended; outcome NONE: none did. When it failed, chasqui_jobs keeps what the robot said. */
enum db_rc event_add_attempt(struct db *db, uint64_t job_id, const char *event, const char *worker,
                             const char *detail, const struct attempt_end *a);
/* Of stored credentials `c`: what refused_before_read() reads, from column `at` on, and the join for it. They were refused if they have not
 * changed since. */
#define REFUSED_COLUMNS                                                                                           \
    "CAST(UNIX_TIMESTAMP(c.updated_at) * 1000000 AS INT), CAST(UNIX_TIMESTAMP(w.at) * 1000 AS INT), w.robot_error "
#define REFUSED_BEFORE                                                                                            \
    " LEFT JOIN chasqui_refused w ON w.company_id = c.company_id AND w.portal = c.portal AND w.credentials_at = c.updated_at "
void refused_before_read(struct db *db, unsigned at, struct refused_before *out);
/* The audit row of a change, with what it was before and is after: "failed -> queued: reason". */
struct audit {
    const struct actor *by;
    const char *action, *subject;
};
enum db_rc audit_change(struct db *db, const struct audit *a, const char *before, const char *after,
                        const char *reason);
enum db_rc audit_add(struct db *db, const char *actor, const char *peer, const char *request_id,
                     const char *action, const char *subject, const char *detail); /* nothing when actor is "" */
/* The pause of the queue that holds now. */
struct pause {
    bool is_on;
    const char *by, *reason;    /* reason NULL = none; both borrowed until the next statement */
    int64_t since_ms, until_ms; /* unix; until 0 = until it is ended */
};
enum db_rc pause_read(struct db *db, struct pause *out);
#define BEGIN_PATTERN_ROOM 420
/* What begins so: for LIKE with ESCAPE '|'. */
void begin_pattern(const char *begin, char out[BEGIN_PATTERN_ROOM]);
enum db_rc lease_insert(struct db *db, uint64_t job_id, const char *kind, uint64_t session_ref,
                        const struct lease *l);
/* Deletes the lease when the token holds; *held = it did. */
enum db_rc lease_end(struct db *db, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES], bool *held);
/* For settling a commit: 1 the lease is there with this token, 0 it is not, -1 cannot tell. Waits for a transaction of
 * a connection that broke. */
int lease_is_there(struct db *db, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES]);
/* Likewise: the epoch of a session row in *epoch; 0 = no such row. */
int session_is_there(struct db *db, uint64_t ref, uint64_t *epoch);
/* Locks the epoch row of a company and portal (made when missing) and reads it. */
/* Part of a transaction: a migration row for a session that is active under this epoch, if it can be opened again. */
enum move { MOVE_PLANNED, MOVE_PLANNED_ALREADY, MOVE_IMPOSSIBLE /* no stored credentials */, MOVE_MOVED_ON };
enum db_rc move_plan(struct db *db, const struct session_row *row, const char *reason, enum move *move);
/* Part of a transaction: locks Laravel's row of a job, which a transaction of Laravel may hold for long. DB_RETRY at once
 * when one does: no thread waits for it. A row that is not there is no error. */
enum db_rc portal_row_lock(struct db *db, uint64_t job_id);
/* Likewise of several: the answer has the ids of those that are locked, and is to be read with db_next(). */
enum db_rc portal_rows_lock(struct db *db, const uint64_t *job_ids, unsigned n);
enum db_rc epoch_lock(struct db *db, uint64_t company_id, const char *portal, uint64_t *epoch);
enum db_rc epoch_set(struct db *db, uint64_t company_id, const char *portal, uint64_t epoch);
/* Log-ins of several portals, for statements that are made once for each portal. */
struct company_at {
    const char *portal;
    uint64_t company_id;
};
/* The companies of the i-th's portal, into `out` (n of room); 0 when they were told with an earlier one. is_done begins all false. */
unsigned portal_next(const struct company_at *rows, unsigned n, unsigned i, bool *is_done, uint64_t *out);
/* Each one's epoch to the next number; they are locked, and at most DB_LIST_MAX. */
enum db_rc epochs_raise(struct db *db, const struct company_at *rows, unsigned n);
/* Of an opening session `s`: it moves to another robot, rather than being a company's log-in. */
#define IS_MIGRATION "EXISTS (SELECT 1 FROM chasqui_session_migrations m WHERE m.job_id = s.job_id)"
/* The item of a queued log-in ends: done, failed or cancelled. Nothing when it has none. */
enum db_rc item_end(struct db *db, const struct queued *item, const char *state);
/* Ends a session row that is live, by that event of state.def's machine session: state, reason, place. The caller has checked the row. */
enum db_rc session_close_row(struct db *db, const char *event, uint64_t ref, enum session_state to,
                             const char *reason, enum place_fate fate);
/* A job that was done has lost its session. */
enum db_rc job_session_lost(struct db *db, uint64_t job_id, enum session_state to, const char *reason);
/* Runs a transaction that may simply be run again; answers STORE_OK, STORE_DOWN, STORE_REFUSED or STORE_UNKNOWN. */
enum store_rc store_tx(struct db *db, enum db_rc (*fn)(struct db *, void *), int (*was_done)(struct db *, void *),
                       void *op);
enum store_rc store_rc_of(enum db_rc rc);
/* Runs the transaction of a group, which leaves apart what does not fit together. All are apart when it was not committed
 * by a database that is there. Returns the answer of each op that is not. */
enum store_rc group_tx(struct db *db, struct store_group *group, enum db_rc (*fn)(struct db *, void *),
                       int (*was_done)(struct db *, void *), void *arg);
/* Writes `body` as JSON behind what is in `out`, and frees it. */
void json_take(struct jv *body, struct buf *out);
/* A number, or null when the column is. */
void json_set_column(struct jv *obj, const char *key, struct db *db, unsigned col);
const char *worker_name(struct db *db, uint32_t robot_id, char out[NAME_ROOM]); /* "" when unknown */

#endif
