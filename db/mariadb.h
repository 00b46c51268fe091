/* SPDX-License-Identifier: MIT */
/*
 * mariadb.h - one blocking MariaDB connection, so that a transaction is one straight function. Only
 * mariadb.c, db_connect.c and db_bind.h include mysql.h. The dispatcher's actor threads and the command line `chasqui` use it.
 *
 * Every statement is prepared once per connection and kept. A connection keeps at most 200 statements (a process
 * 4,000) and evicts the least recently used one. Settings: READ COMMITTED, utf8mb4, time_zone '+00:00',
 * CLIENT_FOUND_ROWS, LOCAL_INFILE off, no automatic reconnect: a lost connection poisons the handle until
 * db_ready() opens a new one.
 */
#ifndef CHASQUI_STORE_MARIADB_H
#define CHASQUI_STORE_MARIADB_H

#include "common/conf.h"
#include "db/db_error.h"
#include "db/db_hosts.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;
struct portal_shape;

/* beginning of db_error() when max_prepared_stmt_count is reached, which is a DB_RETRY */
#define DB_TOO_MANY_STATEMENTS "1461 "
#define DB_LOCKED "1205 " /* a row that another transaction holds */

enum db_rc {
    DB_OK = 0,
    DB_DUP,      /* 1062: violates a unique key; the transaction stays alive */
    DB_RETRY,    /* not now (1213, 1205, 1020, ...): the transaction is gone; db_tx() runs it again */
    DB_GONE,     /* the connection broke (2006, 2013, 1047, ...) */
    DB_NOT_HERE, /* the server takes no writes (1290, 1792, 1836, ...): the connection is dropped */
    /* A constraint, trigger or column refuses the row (1452, 4025, 1364, ...), now and in future: db_refusal()
     * names it. The transaction is poisoned and is rolled back as a whole (including the rows of a db_bulk()
     * before the refused one). */
    DB_REFUSED,
    DB_FORGOTTEN, /* inside mariadb.c only: the statement must be prepared again */
    DB_FAIL       /* any other error: logged with its number */
};

struct db *
db_new(const struct conf
           *conf); /* not connected yet; later on the first server of db.host that takes writes, else reads */
/* For the server that is chosen among these hosts, which other handles share. */
struct db *db_new_on(const struct conf *conf, struct db_hosts *hosts);
void db_destroy(struct db **dp);
void db_disconnect(struct db *db);
/* Connects when needed. Outside a transaction it also switches servers, when another one was chosen. DB_OK or
 * DB_GONE. */
enum db_rc db_ready(struct db *db);
/* Connects to that one of the hosts, whichever is chosen. Returns as db_ready(). */
enum db_rc db_ready_at(struct db *db, unsigned i, unsigned connect_s);
/* Whether the open connection's server takes writes: DB_OK, DB_NOT_HERE (reads only; the connection is kept),
 * DB_FAIL (our tables do not exist) or DB_GONE. With DB_OK, *node is the server's own report as a node of a Galera
 * cluster; it is empty for a single server. */
enum db_rc db_probe(struct db *db, struct db_node *node);
/* Breaks the connection: a call that waits for the server returns DB_GONE. The only function that another thread
 * may call. */
void db_cut(struct db *db);
/* Whether a connection is open, as far as its last use showed. */
bool db_is_open(const struct db *db);
/* Whether the open connection's server is a node of a Galera cluster. */
bool db_is_node(const struct db *db);
/* Sets the time limit of one statement (20 s when never called). Drops an open connection; the next use opens
 * one. */
void db_patience(struct db *db, unsigned seconds);
/* The shape of portal_jobs at the last look. It changes between transactions only. */
const struct portal_shape *db_shape(const struct db *db);
/* The text of the last error, for people (CLI), without secrets. */
const char *db_error(const struct db *db);

/* The result of the last failed statement, unless its transaction was run again and succeeded. DB_OK = none. */
enum db_rc db_failure(const struct db *db);

/* Counters of this handle since it was made. */
struct db_counts {
    unsigned held;           /* statements prepared now */
    uint64_t evicted;        /* statements evicted to make room */
    uint64_t prepared_again; /* because the server forgot them */
    uint64_t refused;        /* statements that failed with DB_REFUSED */
    uint64_t torn;           /* transactions that the server left by itself */
    uint64_t caught_up;      /* waits of a cluster's node for commits of the others */
    uint64_t aborted;        /* transactions that ended with DB_RETRY: deadlocks, lock waits, certification */
};
const struct db_counts *db_counts(const struct db *db);

/* The names in the last DB_REFUSED; number 0 = none since it was cleared. Valid until the next error. */
const struct db_refusal *db_refusal(const struct db *db);
void db_news_clear(struct db *db);                             /* also clears db_failure() and db_refusal_told() */
const struct db_refusal *db_refusal_told(const struct db *db); /* the last one, even if forgiven */
/* Forgives a DB_REFUSED or DB_DUP, and returns it. The server has undone only the refused statement (in a
 * db_bulk(): the refused row and the rows after it), and the transaction goes on. */
struct db_refusal db_forgive(struct db *db);

/* Returns the first failure from the calling function. */
#define TRY(call)                                                                                                 \
    do {                                                                                                          \
        enum db_rc try_rc_ = (call);                                                                              \
        if (try_rc_ != DB_OK)                                                                                     \
            return try_rc_;                                                                                       \
    } while (0)

/* `types` has one letter per parameter: i int64_t, u uint64_t, s const char * (NULL = SQL NULL), b const void *,
 * size_t (NULL = SQL NULL), N uint64_t where 0 = SQL NULL. */
enum db_rc db_exec(struct db *db, const char *sql, const char *types, ...);
uint64_t db_affected(const struct db *db); /* rows matched by the last db_exec */
uint64_t db_insert_id(const struct db *db);
/* Runs a query and buffers all its rows; read them with db_next. A new query frees the old rows. */
enum db_rc db_query(struct db *db, const char *sql, const char *types, ...);
/* As db_query, for a row that another dispatcher may have committed a moment ago, and goes to the first row. If no
 * row is found on a node of a Galera cluster, the node catches up with the others and looks again. Inside a
 * transaction, db_tx() runs the transaction once more for that. */
enum db_rc db_find(struct db *db, bool *found, const char *sql, const char *types, ...);
/* Outside a transaction, on a node of a Galera cluster: waits until the commits of the other nodes so far are
 * visible here, and returns true: look again. On a single server it returns false at once without a query. */
bool db_catch_up(struct db *db);
/* As db_query, with `n` strings for an IN (...) list: `sql` holds one %s where "?,?,..." goes. n is padded with
 * the last value to one of a few sizes (<= 256, db_list.h), so that few statements are prepared. `types` are the
 * parameters around the list, in the order of the text. */
enum db_rc db_query_in(struct db *db, const char *sql, const char *const *in, unsigned n, const char *types, ...);
enum db_rc db_query_in_u64(struct db *db, const char *sql, const uint64_t *in, unsigned n, const char *types, ...);
/* Of `n` values of `len` bytes each. */
enum db_rc db_query_in_bytes(struct db *db, const char *sql, const void *const *in, size_t len, unsigned n);
enum db_rc db_exec_in_u64(struct db *db, const char *sql, const uint64_t *in, unsigned n, const char *types, ...);

/* A value in one row: `n` for i, u and N; `data` (NULL = SQL NULL) for s, and for b with `len`. Borrowed until
 * db_bulk returns. */
struct db_cell {
    uint64_t n;
    const void *data;
    size_t len;
};
#define DB_BULK_MAX 1000
/* Runs a statement once for each of n rows (1..DB_BULK_MAX) in one round trip, by array binding. `fill` sets the
 * cells of a row, one for each letter of `types`. db_affected() is the sum. DB_DUP leaves the rows before the
 * duplicate written: roll back. A node of a Galera cluster receives the rows one by one, because after an abort by
 * the cluster its server would run the rest of an array outside the transaction and commit it. */
enum db_rc db_bulk(struct db *db, const char *sql, const char *types, unsigned n,
                   void (*fill)(void *arg, unsigned row, struct db_cell *cells), void *arg);
/* Likewise an INSERT ... RETURNING of one number: ids[i] is that of row i. */
enum db_rc db_bulk_ids(struct db *db, const char *sql, const char *types, unsigned n,
                       void (*fill)(void *arg, unsigned row, struct db_cell *cells), void *arg, uint64_t *ids);
/* As db_bulk(), for an UPDATE of n rows (1..DB_LIST_MAX, each once) by one statement, which costs the server a part of one for each row.
 * `sql` has {each} where a value of the row's own goes, in the order of `types`, and {rows} for the condition that finds the rows. `key` =
 * the column that they are found by, the last of `types`. */
enum db_rc db_update_rows(struct db *db, const char *sql, const char *key, const char *types, unsigned n,
                          void (*fill)(void *arg, unsigned row, struct db_cell *cells), void *arg);
bool db_next(struct db *db); /* false = no more rows */
/* Columns of the current row, from 0. Strings are borrowed until the next db_next/db_query. */
bool db_is_null(struct db *db, unsigned col);
int64_t db_i64(struct db *db, unsigned col); /* 0 for NULL */
uint64_t db_u64(struct db *db, unsigned col);
const char *db_str(struct db *db, unsigned col, size_t *len); /* len may be NULL; NULL for NULL; NUL-terminated */
void db_str_copy(struct db *db, unsigned col, char *out, size_t room); /* "" for NULL */

/* Plain text SQL, unprepared (DDL of migrations, SET). */
enum db_rc db_run(struct db *db, const char *sql, size_t len);

/* The steps of a transaction, for db_tx(). */
enum db_rc db_begin(struct db *db);
bool db_missed(const struct db *db);       /* whether one of its db_find() found no row, on a node that may lag */
enum db_rc db_poison(const struct db *db); /* what has ended it; DB_OK = alive */
enum db_rc db_end(struct db *db, bool commit); /* of a commit: DB_OK, DB_RETRY (rolled back), DB_GONE (unknown) */
/* Whether the last DB_DUP of this transaction was about a table that is not ours. Such a duplicate would recur at
 * every try, so it becomes the refusal. */
bool db_dup_of_others(struct db *db);

enum db_done { TX_DONE, TX_NOT, TX_UNKNOWN };
/* Runs fn in a transaction. fn returns DB_OK to commit; any other result rolls back. DB_RETRY runs fn again (<= 5
 * times, full jitter), so fn must set all its outputs anew each time. When the connection breaks at COMMIT the
 * outcome is unknown. It is settled by was_done(db, arg) on a new connection (returns 1 done, 0 not done, -1
 * cannot tell). The reads of was_done must lock (LOCK IN SHARE MODE WAIT n), because the server may still be
 * executing the old connection's COMMIT. A connection found dead, and a commit settled as not done, begin the
 * transaction once more. TX_NOT with *rc = DB_OK never happens. */
enum db_done db_tx(struct db *db, enum db_rc (*fn)(struct db *db, void *arg),
                   int (*was_done)(struct db *db, void *arg), void *arg, enum db_rc *rc);

#endif
