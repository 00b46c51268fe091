/* SPDX-License-Identifier: MIT */
/*
 * mariadb.c - one blocking MariaDB connection with prepared statements.
 *
 * Owns: the connection, its prepared statements (keyed by their text, evicted least recently used first), the rows
 * of the last query. Must never reconnect in the middle of a transaction, and must never commit a transaction that
 * a deadlock has ended (after an ignored 1213, COMMIT succeeds and is empty). Fails by code: see enum db_rc. The
 * text of the last failure is kept for people.
 */
#include "db/mariadb.h"

#include "db/portal_shape.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "db/db_bind.h"
#include "db/db_connect.h"

#include <mariadb/mysql.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATEMENTS_MAX 200 /* per connection */
/* per process, shared among its connections; max_prepared_stmt_count is 16,382 by default */
#define STATEMENTS_ALL 4000
#define STATEMENTS_LEAST 16
#define PATIENCE_S 20
#define CONNECT_S 3
#define STALE_MS 1000 /* a failure sooner than this came from a connection found dead: worth a second try */
/* sent by a node that lost its cluster at COMMIT: the other nodes may or may not have the transaction */
#define COMMIT_FAILED 1180
/* Waits until this node has applied what the cluster had committed. */
#define CATCH_UP "SET STATEMENT wsrep_sync_wait = 1 FOR SELECT 1"
#define COLUMN_ROOM 512 /* longer values are fetched again, in full */

struct column {
    MYSQL_BIND *bind;
    char room[COLUMN_ROOM + 1];
    char *big; /* a value longer than room, owned */
    unsigned long len;
    my_bool null;
};

struct statement {
    char *sql; /* NULL = a free slot */
    uint32_t hash;
    uint64_t used; /* value of db->uses at its last run */
    MYSQL_STMT *stmt;
    unsigned n_params, n_columns;
    MYSQL_BIND *binds;
    struct column *columns;
};

struct db {
    struct db_link link; /* the connection; my = NULL: not connected */
    struct statement statements[STATEMENTS_MAX];
    unsigned most_statements; /* <= STATEMENTS_MAX; beyond it the least recently used one is evicted */
    uint64_t uses;
    struct db_counts counts;
    struct statement *current; /* the statement whose rows db_next reads */
    struct portal_shape shape;
    uint64_t shape_at_ms; /* time of the next look at the shape */
    bool in_tx, missed;   /* missed: a db_find() of this transaction found no row, and db_catch_up() might help */
    enum db_rc poison;    /* what ended the transaction, even if its function ignores it; DB_OK = alive */
    struct db_refusal refusal; /* the last DB_REFUSED; number 0 = none since db_news_clear() */
    struct db_refusal told;    /* likewise, including forgiven refusals: for the counters */
    /* of the last statement that failed for good (not DB_DUP); DB_OK = none since db_news_clear() */
    enum db_rc failure;
    struct db_refusal taken; /* the last DB_DUP of this try of a transaction, likewise */
    uint64_t affected, insert_id;
};

struct db *db_new_on(const struct conf *conf, struct db_hosts *hosts)
{
    struct db *db = xcalloc(1, sizeof(*db));
    db_link_init(&db->link, conf, hosts, PATIENCE_S);
    shape_begin(&db->shape);
    shape_words(&db->shape, conf);
    db->most_statements =
        (unsigned)(STATEMENTS_ALL / (conf->dispatcher_db_threads > 0 ? conf->dispatcher_db_threads : 1));
    if (db->most_statements > STATEMENTS_MAX)
        db->most_statements = STATEMENTS_MAX;
    if (db->most_statements < STATEMENTS_LEAST)
        db->most_statements = STATEMENTS_LEAST;
    return db;
}

struct db *db_new(const struct conf *conf)
{
    return db_new_on(conf, NULL);
}

static void statement_close(struct db *db, struct statement *s)
{
    if (!s->sql)
        return;
    db->counts.held--;
    for (unsigned i = 0; i < s->n_columns; i++)
        free(s->columns[i].big);
    free(s->columns);
    free(s->binds);
    free(s->sql);
    mysql_stmt_close(s->stmt);
    memset(s, 0, sizeof(*s));
}

static void statements_close(struct db *db)
{
    db->current = NULL;
    for (unsigned i = 0; i < STATEMENTS_MAX; i++)
        statement_close(db, &db->statements[i]);
}

void db_disconnect(struct db *db)
{
    statements_close(db);
    db_link_close(&db->link);
    db->shape_at_ms = 0;
    if (db->in_tx) /* the rest of it must not run on another connection, outside of any transaction */
        db->poison = DB_GONE;
}

void db_destroy(struct db **dp)
{
    if (!*dp)
        return;
    db_disconnect(*dp);
    db_link_end(&(*dp)->link);
    free(*dp);
    *dp = NULL;
}

void db_patience(struct db *db, unsigned seconds)
{
    db_disconnect(db);
    db->link.patience_s = seconds;
}

void db_cut(struct db *db)
{
    db_link_cut(&db->link);
}

const struct portal_shape *db_shape(const struct db *db)
{
    return &db->shape;
}

const char *db_error(const struct db *db)
{
    return db->link.error;
}

const struct db_counts *db_counts(const struct db *db)
{
    return &db->counts;
}

const struct db_refusal *db_refusal(const struct db *db)
{
    return &db->refusal;
}

enum db_rc db_failure(const struct db *db)
{
    return db->failure;
}

void db_news_clear(struct db *db)
{
    db->failure = DB_OK;
    db->refusal.number = db->told.number = 0;
}

const struct db_refusal *db_refusal_told(const struct db *db)
{
    return &db->told;
}

struct db_refusal db_forgive(struct db *db)
{
    struct db_refusal why = db->poison == DB_REFUSED ? db->refusal : db->taken;
    if (db->poison == DB_REFUSED)
        db->poison = DB_OK;
    db->taken.number = db->refusal.number = 0;
    return why;
}

static enum db_rc poisoned(struct db *db, enum db_rc rc)
{
    if (db->in_tx)
        db->poison = rc;
    return rc;
}

static enum db_rc refused(struct db *db, const char *sql)
{
    char words[500];
    db_refusal_words(&db->refusal, words, sizeof(words));
    db->counts.refused++;
    db->told = db->refusal;
    log_line(LOG_WARN, "refused_by_database", "number", log_i(db->refusal.number), "what", words, "statement", sql,
             NULL);
    return poisoned(db, DB_REFUSED);
}

/* Classifies an error, and applies its consequences to the connection and the transaction. */
static enum db_rc judge(struct db *db, unsigned number, const char *state, const char *text, const char *sql)
{
    switch (db_error_kind(number, state)) {
    case DB_KIND_DUPLICATE:
        db_refusal_read(&db->taken, number, text, sql);
        return DB_DUP;
    case DB_KIND_NOT_NOW:
        db->taken.number = 0;
        return poisoned(db, DB_RETRY);
    case DB_KIND_GONE:
        db_disconnect(db);
        return DB_GONE;
    case DB_KIND_NOT_HERE:
        log_line(LOG_WARN, "database_read_only", "number", log_i(number), "text", text, NULL);
        db_disconnect(db);
        return DB_NOT_HERE;
    case DB_KIND_REFUSED:
        /* Laravel dropped or narrowed a column while we ran: the next transaction looks again. */
        if (number == 1054 || number == 1406 || number == 1366 || number == 1977)
            db->shape_at_ms = 0;
        db_refusal_read(&db->refusal, number, text, sql);
        return refused(db, sql);
    case DB_KIND_FORGOTTEN:
        return DB_FORGOTTEN;
    case DB_KIND_OTHER:
        break;
    }
    log_line(LOG_ERROR, "sql_failed", "number", log_i(number), "text", text, "statement", sql, NULL);
    return poisoned(db, DB_FAIL);
}

static enum db_rc classify(struct db *db, unsigned number, const char *state, const char *text, const char *sql)
{
    snprintf(db->link.error, sizeof(db->link.error), "%u %.380s", number, text);
    enum db_rc rc = judge(db, number, state, text, sql);
    if (rc != DB_DUP && rc != DB_FORGOTTEN)
        db->failure = rc;
    return rc;
}

/* The server forgot the statement a second time. When it holds too many statements the answer is "not now"; else
 * the connection is unusable. */
static enum db_rc forgotten(struct db *db, const char *sql)
{
    log_line(LOG_WARN, "statement_forgotten_twice", "text", db->link.error, "statement", sql, NULL);
    db->failure =
        strncmp(db->link.error, DB_TOO_MANY_STATEMENTS, strlen(DB_TOO_MANY_STATEMENTS)) == 0 ? DB_RETRY : DB_GONE;
    if (db->failure == DB_RETRY)
        return poisoned(db, DB_RETRY);
    db_disconnect(db);
    return DB_GONE;
}

static enum db_rc connection_fail(struct db *db, const char *sql)
{
    enum db_rc rc =
        classify(db, mysql_errno(db->link.my), mysql_sqlstate(db->link.my), mysql_error(db->link.my), sql);
    return rc == DB_FORGOTTEN ? forgotten(db, sql) : rc;
}

enum db_rc db_probe(struct db *db, struct db_node *node)
{
    static const enum db_rc rc_of[] = {[DB_TAKES_WRITES] = DB_OK,
                                       [DB_TAKES_READS] = DB_NOT_HERE,
                                       [DB_TAKES_OTHERS] = DB_FAIL,
                                       [DB_TAKES_NOTHING] = DB_GONE};
    enum db_takes takes = db->link.my ? db_link_ask(&db->link) : DB_TAKES_NOTHING;
    if (takes == DB_TAKES_WRITES && !db_link_node(&db->link, node))
        takes = DB_TAKES_NOTHING;
    if (takes == DB_TAKES_NOTHING)
        db_disconnect(db);
    return rc_of[takes];
}

enum db_rc db_ready_at(struct db *db, unsigned i, unsigned connect_s)
{
    if (db->link.my && db->link.at == i)
        return DB_OK;
    db_disconnect(db);
    return db_link_open(&db->link, i, connect_s) ? DB_OK : DB_GONE;
}

/* Looks at the shape. Statements prepared for another shape are forgotten. */
static void shape_look(struct db *db)
{
    struct portal_shape now;
    db->shape_at_ms = clock_ms() + SHAPE_EVERY_MS;
    if (!db_link_shape(&db->link, &now) || memcmp(&now, &db->shape, sizeof(now)) == 0)
        return;
    statements_close(db);
    db->shape = now;
}

enum db_rc db_ready(struct db *db)
{
    enum db_rc rc = DB_OK;
    if (db->in_tx)
        return db->link.my ? DB_OK : DB_GONE;
    if (db->link.is_alone)
        rc = db->link.my || db_link_open_alone(&db->link, CONNECT_S) ? DB_OK : DB_GONE;
    else {
        int chosen = db_hosts_chosen(db->link.hosts);
        rc = chosen == DB_NO_HOST ? DB_GONE : db_ready_at(db, (unsigned)chosen, CONNECT_S);
    }
    if (rc == DB_OK && db->link.is_new) {
        db->link.is_new = false;
        /* Rows that we committed on another node may not be here yet. */
        if (db->link.is_node && !db_catch_up(db)) {
            db_disconnect(db);
            rc = DB_GONE;
        }
    }
    if (rc == DB_OK && !db->current && clock_ms() >= db->shape_at_ms)
        shape_look(db);
    return rc;
}

static void rows_forget(struct db *db)
{
    if (db->current)
        mysql_stmt_free_result(db->current->stmt);
    db->current = NULL;
}

/* ---- statements --------------------------------------------------------------------------------------------- */

static enum db_rc statement_fail(struct db *db, MYSQL_STMT *stmt, const char *sql)
{
    char text[600], state[6]; /* error of a statement that is lost with its connection */
    snprintf(text, sizeof(text), "%s", mysql_stmt_error(stmt));
    snprintf(state, sizeof(state), "%s", mysql_stmt_sqlstate(stmt));
    return classify(db, mysql_stmt_errno(stmt), state, text, sql);
}

static void columns_make(struct statement *s)
{
    s->n_columns = mysql_stmt_field_count(s->stmt);
    if (!s->n_columns)
        return;
    s->binds = xcalloc(s->n_columns, sizeof(*s->binds));
    s->columns = xcalloc(s->n_columns, sizeof(*s->columns));
    for (unsigned i = 0; i < s->n_columns; i++) {
        struct column *c = &s->columns[i];
        c->bind = &s->binds[i];
        c->bind->buffer_type = MYSQL_TYPE_STRING;
        c->bind->buffer = c->room;
        c->bind->buffer_length = COLUMN_ROOM;
        c->bind->length = &c->len;
        c->bind->is_null = &c->null;
    }
}

bool db_is_open(const struct db *db)
{
    return db->link.my != NULL;
}

bool db_is_node(const struct db *db)
{
    return db->link.is_node;
}

static uint32_t hash_of(const char *sql)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const unsigned char *p = (const unsigned char *)sql; *p; p++)
        hash = (hash ^ *p) * 16777619u;
    return hash;
}

/* Evicts the least recently used statement and returns its slot. Never evicts the one whose rows are being
 * read. */
static struct statement *statement_evict(struct db *db)
{
    struct statement *oldest = NULL;
    for (unsigned i = 0; i < db->most_statements; i++) {
        struct statement *s = &db->statements[i];
        if (s->sql && s != db->current && (!oldest || s->used < oldest->used))
            oldest = s;
    }
    CHECK(oldest, "no statement to evict among %u", db->most_statements);
    statement_close(db, oldest);
    db->counts.evicted++;
    return oldest;
}

static struct statement *statement_room(struct db *db)
{
    for (unsigned i = 0; i < db->most_statements; i++)
        if (!db->statements[i].sql)
            return &db->statements[i];
    return statement_evict(db);
}

static enum db_rc statement_prepare(struct db *db, const char *sql, struct statement **out)
{
    MYSQL_STMT *stmt = mysql_stmt_init(db->link.my);
    struct buf shaped = {0};
    if (shape_concerns(sql))
        shape_text(&db->shape, sql, &shaped);
    int failed = mysql_stmt_prepare(stmt, shaped.data ? shaped.data : sql, shaped.data ? shaped.len : strlen(sql));
    buf_free(&shaped);
    if (failed) {
        enum db_rc rc = statement_fail(db, stmt, sql);
        mysql_stmt_close(stmt);
        return rc;
    }
    struct statement *s = statement_room(db);
    memset(s, 0, sizeof(*s));
    s->stmt = stmt;
    s->sql = xstrdup(sql);
    s->hash = hash_of(sql);
    s->n_params = mysql_stmt_param_count(s->stmt);
    columns_make(s);
    db->counts.held++;
    *out = s;
    return DB_OK;
}

static enum db_rc statement_for(struct db *db, const char *sql, struct statement **out)
{
    uint32_t hash = hash_of(sql);
    *out = NULL;
    for (unsigned i = 0; i < db->most_statements && !*out; i++)
        if (db->statements[i].sql && db->statements[i].hash == hash && strcmp(db->statements[i].sql, sql) == 0)
            *out = &db->statements[i];
    enum db_rc rc = *out ? DB_OK : statement_prepare(db, sql, out);
    if (rc == DB_FORGOTTEN) {
        for (unsigned n = db->counts.held / 2; n; n--) /* its maximum of statements is reached: ours make room */
            statement_evict(db);
        rc = statement_prepare(db, sql, out);
    }
    if (rc == DB_OK)
        (*out)->used = ++db->uses;
    return rc;
}

/* Finds or prepares the statement with that text, on a connection that can run it. */
static enum db_rc statement_begin(struct db *db, const char *sql, struct statement **out)
{
    if (db->poison)
        return db->poison;
    enum db_rc rc = db_ready(db);
    if (rc)
        return rc;
    rows_forget(db);
    return statement_for(db, sql, out);
}

static bool is_in_tx_still(const struct db *db)
{
    return !db->in_tx || (db->link.my->server_status & SERVER_STATUS_IN_TRANS);
}

/* Checks after a statement of a transaction that the server is still in it. This may be the only sign that a proxy
 * has switched servers, or that a cluster has aborted the transaction. */
static enum db_rc in_tx_still(struct db *db)
{
    if (is_in_tx_still(db))
        return DB_OK;
    db->counts.torn++;
    snprintf(db->link.error, sizeof(db->link.error), "the server left the transaction");
    log_line(LOG_WARN, "transaction_torn", NULL);
    return poisoned(db, DB_RETRY);
}

/* Prepares and runs. A statement that the server forgot is prepared again, once. `run` does the actual work and
 * returns whether it succeeded. */
static enum db_rc statement_run(struct db *db, const char *sql, struct statement **s,
                                bool (*run)(struct db *, struct statement *, void *), void *arg)
{
    for (unsigned tries = 0;; tries++) {
        enum db_rc rc = statement_begin(db, sql, s);
        if (rc == DB_FORGOTTEN)
            return forgotten(db, sql);
        if (rc)
            return rc;
        if (run(db, *s, arg))
            return in_tx_still(db);
        rc = statement_fail(db, (*s)->stmt, sql);
        if (rc != DB_FORGOTTEN)
            return rc;
        statement_close(db, *s);
        if (tries)
            return forgotten(db, sql);
        db->counts.prepared_again++;
    }
}

struct one_run {
    const char *sql;
    MYSQL_BIND *bind;
    unsigned n;
    bool wants_rows;
};

static bool one_execute(struct db *db, struct statement *s, void *arg)
{
    const struct one_run *one = arg;
    CHECK(s->n_params == one->n, "%u parameters for %u: %s", one->n, s->n_params, one->sql);
    CHECK(one->wants_rows == (s->n_columns > 0), "rows or no rows: %s", one->sql);
    if ((one->n && mysql_stmt_bind_param(s->stmt, one->bind)) || mysql_stmt_execute(s->stmt))
        return false;
    if (one->wants_rows)
        return !mysql_stmt_bind_result(s->stmt, s->binds) && !mysql_stmt_store_result(s->stmt);
    db->affected = mysql_stmt_affected_rows(s->stmt);
    db->insert_id = mysql_stmt_insert_id(s->stmt);
    return true;
}

enum db_rc db_run_bound(struct db *db, const char *sql, MYSQL_BIND *bind, unsigned n, bool wants_rows)
{
    struct statement *s = NULL;
    enum db_rc rc = statement_run(db, sql, &s, one_execute, &(struct one_run){sql, bind, n, wants_rows});
    if (rc == DB_OK && wants_rows)
        db->current = s;
    return rc;
}

/* A read outside a transaction may find its connection dead (the server was restarted, or closed an idle
 * connection). It is then tried once more on a new connection. */
enum db_rc db_run_params(struct db *db, const char *sql, struct params *p, bool wants_rows)
{
    uint64_t began = clock_ms();
    bool repeatable = wants_rows && !db->in_tx && db->link.my;
    enum db_rc rc = db_run_bound(db, sql, p->bind, p->n, wants_rows);
    return rc == DB_GONE && repeatable && clock_ms() - began < STALE_MS
               ? db_run_bound(db, sql, p->bind, p->n, wants_rows)
               : rc;
}

enum db_rc db_exec(struct db *db, const char *sql, const char *types, ...)
{
    struct params p;
    va_list ap;
    p.n = 0;
    va_start(ap, types);
    params_add(&p, types, strlen(types), &ap);
    va_end(ap);
    return db_run_params(db, sql, &p, false);
}

uint64_t db_affected(const struct db *db)
{
    return db->affected;
}

uint64_t db_insert_id(const struct db *db)
{
    return db->insert_id;
}

enum db_rc db_query(struct db *db, const char *sql, const char *types, ...)
{
    struct params p;
    va_list ap;
    p.n = 0;
    va_start(ap, types);
    params_add(&p, types, strlen(types), &ap);
    va_end(ap);
    return db_run_params(db, sql, &p, true);
}

bool db_catch_up(struct db *db)
{
    if (db->in_tx || !db->link.my || !db->link.is_node)
        return false;
    rows_forget(db);
    db->counts.caught_up++;
    return db_run(db, CATCH_UP, sizeof(CATCH_UP) - 1) == DB_OK;
}

bool db_missed(const struct db *db)
{
    return db->missed;
}

static enum db_rc find_once(struct db *db, bool *found, const char *sql, struct params *p)
{
    enum db_rc rc = db_run_params(db, sql, p, true);
    *found = rc == DB_OK && db_next(db);
    return rc;
}

enum db_rc db_find(struct db *db, bool *found, const char *sql, const char *types, ...)
{
    struct params p;
    va_list ap;
    p.n = 0;
    va_start(ap, types);
    params_add(&p, types, strlen(types), &ap);
    va_end(ap);
    enum db_rc rc = find_once(db, found, sql, &p);
    if (rc || *found)
        return rc;
    if (db->in_tx)
        db->missed |= db->link.is_node;
    else if (db_catch_up(db))
        rc = find_once(db, found, sql, &p);
    return rc;
}

/* ---- many rows at once -------------------------------------------------------------------------------------- */

struct many_run {
    const char *sql;
    struct bulk *bulk;
    uint64_t *ids; /* NULL = the statement returns nothing */
};

/* The one number that each row returns; *n is their number so far. The server tells only now that there is one. */
static bool ids_read(struct statement *s, uint64_t *ids, unsigned *n, unsigned room)
{
    uint64_t id = 0;
    MYSQL_BIND bind = {.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = &id, .is_unsigned = true};
    if (mysql_stmt_bind_result(s->stmt, &bind) || mysql_stmt_store_result(s->stmt))
        return false;
    while (*n < room && mysql_stmt_fetch(s->stmt) == 0)
        ids[(*n)++] = id;
    mysql_stmt_free_result(s->stmt);
    return true;
}

static bool rows_execute(struct db *db, struct statement *s, const struct many_run *many)
{
    MYSQL_BIND bind[BULK_COLUMNS_MAX];
    uint64_t affected = 0;
    unsigned n_ids = 0;
    for (unsigned row = 0; row < many->bulk->n && is_in_tx_still(db); row++) {
        for (unsigned column = 0; column < many->bulk->n_columns; column++)
            bind[column] = bulk_value(many->bulk, row, column);
        if (mysql_stmt_bind_param(s->stmt, bind) || mysql_stmt_execute(s->stmt) ||
            (many->ids && !ids_read(s, many->ids, &n_ids, many->bulk->n)))
            return false;
        affected += mysql_stmt_affected_rows(s->stmt);
    }
    db->affected = affected;
    return true;
}

static bool many_execute(struct db *db, struct statement *s, void *arg)
{
    const struct many_run *many = arg;
    struct bulk *bulk = many->bulk;
    unsigned none = 0, n_ids = 0;
    CHECK(s->n_params == bulk->n_columns && !s->n_columns, "a bulk statement of %u parameters: %s",
          bulk->n_columns, many->sql);
    if (db->link.is_node)
        return rows_execute(db, s, many);
    bool is_done = !mysql_stmt_attr_set(s->stmt, STMT_ATTR_ARRAY_SIZE, &bulk->n) &&
                   !mysql_stmt_bind_param(s->stmt, bulk->bind) && !mysql_stmt_execute(s->stmt) &&
                   (!many->ids || ids_read(s, many->ids, &n_ids, bulk->n));
    mysql_stmt_attr_set(s->stmt, STMT_ATTR_ARRAY_SIZE, &none); /* the next run of this text may be for one row */
    if (is_done)
        db->affected = mysql_stmt_affected_rows(s->stmt);
    return is_done;
}

enum db_rc db_bulk_ids(struct db *db, const char *sql, const char *types, unsigned n,
                       void (*fill)(void *arg, unsigned row, struct db_cell *cells), void *arg, uint64_t *ids)
{
    struct bulk bulk;
    struct statement *s = NULL;
    bulk_fill(&bulk, types, n, fill, arg);
    enum db_rc rc = statement_run(db, sql, &s, many_execute, &(struct many_run){sql, &bulk, ids});
    bulk_free(&bulk);
    return rc;
}

enum db_rc db_bulk(struct db *db, const char *sql, const char *types, unsigned n,
                   void (*fill)(void *arg, unsigned row, struct db_cell *cells), void *arg)
{
    return db_bulk_ids(db, sql, types, n, fill, arg, NULL);
}

/* ---- rows --------------------------------------------------------------------------------------------------- */

bool db_next(struct db *db)
{
    struct statement *s = db->current;
    if (!s)
        return false;
    int rc = mysql_stmt_fetch(s->stmt);
    if (rc == 0 || rc == MYSQL_DATA_TRUNCATED)
        return true;
    rows_forget(db);
    return false;
}

static struct column *column_at(struct db *db, unsigned col)
{
    CHECK(db->current && col < db->current->n_columns, "no column %u", col);
    return &db->current->columns[col];
}

bool db_is_null(struct db *db, unsigned col)
{
    return column_at(db, col)->null;
}

const char *db_str(struct db *db, unsigned col, size_t *len)
{
    struct column *c = column_at(db, col);
    if (len)
        *len = c->null ? 0 : c->len;
    if (c->null)
        return NULL;
    if (c->len <= COLUMN_ROOM) {
        c->room[c->len] = 0;
        return c->room;
    }
    MYSQL_BIND whole = {
        .buffer_type = MYSQL_TYPE_STRING, .buffer_length = c->len, .length = &c->len, .is_null = &c->null};
    free(c->big);
    c->big = xmalloc(c->len + 1);
    whole.buffer = c->big;
    mysql_stmt_fetch_column(db->current->stmt, &whole, col, 0);
    c->big[c->len] = 0;
    return c->big;
}

enum db_rc db_run(struct db *db, const char *sql, size_t len)
{
    enum db_rc rc = db_ready(db);
    if (rc)
        return rc;
    if (mysql_real_query(db->link.my, sql, len))
        return connection_fail(db, sql);
    MYSQL_RES *rows = mysql_store_result(db->link.my);
    if (rows)
        mysql_free_result(rows);
    return DB_OK;
}

/* ---- transactions: the steps that db_tx() is made of -------------------------------------------------------- */

enum db_rc db_begin(struct db *db)
{
    db->in_tx = db->missed = false;
    db->poison = DB_OK;
    db->taken.number = 0;
    enum db_rc rc = db_ready(db);
    if (rc)
        return rc;
    if (mysql_query(db->link.my, "START TRANSACTION"))
        return connection_fail(db, "START TRANSACTION");
    db->in_tx = true;
    return DB_OK;
}

enum db_rc db_poison(const struct db *db)
{
    return db->poison;
}

enum db_rc db_end(struct db *db, bool commit)
{
    db->counts.aborted += db->poison == DB_RETRY;
    db->in_tx = false;
    db->poison = DB_OK;
    if (!db->link.my)
        return DB_GONE;
    rows_forget(db);
    if (commit ? mysql_commit(db->link.my) : mysql_rollback(db->link.my)) {
        bool is_unknown = commit && mysql_errno(db->link.my) == COMMIT_FAILED;
        enum db_rc rc = connection_fail(db, commit ? "COMMIT" : "ROLLBACK");
        if (is_unknown)
            rc = DB_FAIL;
        db->counts.aborted += rc == DB_RETRY;
        if (rc != DB_RETRY && rc != DB_GONE) /* no result that clearly means "rolled back" */
            db_disconnect(db);
        return rc == DB_RETRY ? rc : DB_GONE;
    }
    db->failure = commit ? DB_OK : db->failure; /* an earlier failure no longer counts */
    return DB_OK;
}

bool db_dup_of_others(struct db *db)
{
    if (!db->taken.number || strncmp(db->taken.table, "chasqui_", 8) == 0)
        return false;
    db->refusal = db->taken;
    refused(db, "");
    return true;
}
