/*
 * store_mariadb.c - one blocking MariaDB connection with prepared statements.
 *
 * Owns: the connection, its statements (prepared once, kept by their text),
 * the rows of the last query. Must never reconnect behind a transaction's
 * back, and never commit one that a deadlock has ended (after an ignored 1213
 * COMMIT succeeds and is empty). Fails by code: see enum db_rc; the text of
 * the last failure is kept for people.
 */
#include "dispatcher/store_mariadb.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"

#include <mariadb/mysql.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PARAMS_MAX 300
#define BULK_COLUMNS_MAX 24
#define STATEMENTS_MAX 256
#define SLOTS 512 /* of the table that finds statements: a power of two, over STATEMENTS_MAX */
#define TX_TRIES 5
#define PATIENCE_S 20
#define STALE_MS 1000 /* a failure that comes sooner than this was a connection found dead: worth a second try */
#define COLUMN_ROOM 512 /* longer values are fetched again, whole */

struct column {
    MYSQL_BIND *bind;
    char room[COLUMN_ROOM + 1];
    char *big; /* a value longer than room, owned */
    unsigned long len;
    my_bool null;
};

struct statement {
    char *sql;
    MYSQL_STMT *stmt;
    unsigned n_params, n_columns;
    MYSQL_BIND *binds;
    struct column *columns;
};

struct db {
    const struct conf *conf;
    MYSQL *my; /* NULL = not connected */
    struct statement statements[STATEMENTS_MAX];
    unsigned n_statements;
    uint16_t slot[SLOTS]; /* by hash of the text: index in statements + 1, 0 = none */
    struct statement *current; /* whose rows db_next reads */
    bool in_tx;
    enum db_rc poison; /* what ended the transaction, whatever its function makes of it; DB_OK = it lives */
    struct db_refusal refusal; /* the last DB_REFUSED; number 0 = none since db_refusal_clear() */
    struct db_refusal taken;   /* the last DB_DUP of this try of a transaction, likewise */
    unsigned patience_s;
    uint64_t affected, insert_id;
    char error[300];
};

/* libmariadb prepares its globals at the first use, without a lock. */
static void library_init(void)
{
    mysql_library_init(0, NULL, NULL);
}

struct db *db_new(const struct conf *conf)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_init);
    struct db *db = xcalloc(1, sizeof(*db));
    db->conf = conf;
    db->patience_s = PATIENCE_S;
    return db;
}

static void statement_close(struct statement *s)
{
    for (unsigned i = 0; i < s->n_columns; i++)
        free(s->columns[i].big);
    free(s->columns);
    free(s->binds);
    free(s->sql);
    mysql_stmt_close(s->stmt);
    memset(s, 0, sizeof(*s));
}

static void disconnect(struct db *db)
{
    for (unsigned i = 0; i < db->n_statements; i++)
        statement_close(&db->statements[i]);
    db->n_statements = 0;
    memset(db->slot, 0, sizeof(db->slot));
    db->current = NULL;
    if (db->my)
        mysql_close(db->my);
    db->my = NULL;
    db->in_tx = false;
    db->poison = DB_OK;
}

void db_destroy(struct db **dp)
{
    if (!*dp)
        return;
    disconnect(*dp);
    free(*dp);
    *dp = NULL;
}

bool db_is_open(const struct db *db)
{
    return db->my != NULL;
}

void db_patience(struct db *db, unsigned seconds)
{
    disconnect(db);
    db->patience_s = seconds;
}

const char *db_error(const struct db *db)
{
    return db->error;
}

const struct db_refusal *db_refusal(const struct db *db)
{
    return &db->refusal;
}

void db_refusal_clear(struct db *db)
{
    db->refusal.number = 0;
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
    log_line(LOG_WARN, "refused_by_database", "number", log_i(db->refusal.number), "what", words, "statement", sql, NULL);
    return poisoned(db, DB_REFUSED);
}

/* What an error means, and what follows for the connection and the transaction. */
static enum db_rc classify(struct db *db, unsigned number, const char *state, const char *text, const char *sql)
{
    snprintf(db->error, sizeof(db->error), "%u %s", number, text);
    switch (db_error_kind(number, state)) {
    case DB_KIND_DUPLICATE:
        db_refusal_read(&db->taken, number, text, sql);
        return DB_DUP;
    case DB_KIND_NOT_NOW:
        db->taken.number = 0;
        return poisoned(db, DB_RETRY);
    case DB_KIND_GONE:
        disconnect(db);
        return DB_GONE;
    case DB_KIND_NOT_HERE:
        log_line(LOG_WARN, "database_read_only", "number", log_i(number), "text", text, NULL);
        disconnect(db);
        return DB_NOT_HERE;
    case DB_KIND_REFUSED:
        db_refusal_read(&db->refusal, number, text, sql);
        return refused(db, sql);
    case DB_KIND_FORGOTTEN:
    case DB_KIND_OTHER:
        break;
    }
    log_line(LOG_ERROR, "sql_failed", "number", log_i(number), "text", text, "statement", sql, NULL);
    return poisoned(db, DB_FAIL);
}

static enum db_rc connection_fail(struct db *db, const char *sql)
{
    return classify(db, mysql_errno(db->my), mysql_sqlstate(db->my), mysql_error(db->my), sql);
}

static bool connect_one(struct db *db, const char *host)
{
    const struct conf *c = db->conf;
    unsigned connect_s = 3, io_s = db->patience_s;
    my_bool no = 0;
    unsigned off = 0;
    MYSQL *my = mysql_init(NULL);
    mysql_options(my, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    mysql_options(my, MYSQL_OPT_READ_TIMEOUT, &io_s);
    mysql_options(my, MYSQL_OPT_WRITE_TIMEOUT, &io_s);
    mysql_options(my, MYSQL_OPT_RECONNECT, &no);
    mysql_options(my, MYSQL_OPT_LOCAL_INFILE, &off);
    mysql_options(my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    if (!mysql_real_connect(my, c->db_socket ? NULL : host, c->db_user, c->db_password, c->db_name,
                            (unsigned)c->db_port, c->db_socket, CLIENT_FOUND_ROWS) ||
        mysql_query(my, "SET SESSION time_zone='+00:00', tx_isolation='READ-COMMITTED', "
                        "innodb_lock_wait_timeout=10, sql_mode='STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', autocommit=1")) {
        snprintf(db->error, sizeof(db->error), "%u %s", mysql_errno(my), mysql_error(my));
        mysql_close(my);
        return false;
    }
    db->my = my;
    return true;
}

enum db_rc db_ready(struct db *db)
{
    if (db->my)
        return DB_OK;
    unsigned n;
    char **hosts = conf_list(db->conf->db_host, &n);
    for (unsigned i = 0; i < n && !db->my; i++)
        connect_one(db, hosts[i]);
    free(hosts);
    return db->my ? DB_OK : DB_GONE;
}

/* ---- statements ------------------------------------------------------------------------------------------------ */

static enum db_rc statement_fail(struct db *db, MYSQL_STMT *stmt, const char *sql)
{
    char text[600], state[6]; /* of a statement that a lost connection takes with it */
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

/* The slot that names this text, or the empty one where it belongs. */
static uint16_t *slot_for(struct db *db, const char *sql)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const unsigned char *p = (const unsigned char *)sql; *p; p++)
        hash = (hash ^ *p) * 16777619u;
    for (unsigned i = hash;; i++) {
        uint16_t *slot = &db->slot[i % SLOTS];
        if (!*slot || strcmp(db->statements[*slot - 1].sql, sql) == 0)
            return slot;
    }
}

static enum db_rc statement_for(struct db *db, const char *sql, struct statement **out)
{
    uint16_t *slot = slot_for(db, sql);
    if (*slot)
        return *out = &db->statements[*slot - 1], DB_OK;
    CHECK(db->n_statements < STATEMENTS_MAX, "too many statements: %s", sql);
    struct statement *s = &db->statements[db->n_statements];
    memset(s, 0, sizeof(*s));
    s->stmt = mysql_stmt_init(db->my);
    if (mysql_stmt_prepare(s->stmt, sql, strlen(sql))) {
        MYSQL_STMT *failed = s->stmt;
        char text[600], state[6];
        unsigned number = mysql_stmt_errno(failed);
        snprintf(text, sizeof(text), "%s", mysql_stmt_error(failed));
        snprintf(state, sizeof(state), "%s", mysql_stmt_sqlstate(failed));
        mysql_stmt_close(failed);
        s->stmt = NULL;
        return classify(db, number, state, text, sql);
    }
    s->sql = xstrdup(sql);
    s->n_params = mysql_stmt_param_count(s->stmt);
    columns_make(s);
    *slot = (uint16_t)++db->n_statements;
    *out = s;
    return DB_OK;
}

struct params {
    MYSQL_BIND bind[PARAMS_MAX];
    union {
        long long number;
        unsigned long len;
    } value[PARAMS_MAX];
    unsigned n;
};

static void param_number(struct params *p, uint64_t n, bool is_unsigned, bool is_null)
{
    MYSQL_BIND *b = &p->bind[p->n];
    memset(b, 0, sizeof(*b));
    p->value[p->n].number = (long long)n;
    b->buffer_type = is_null ? MYSQL_TYPE_NULL : MYSQL_TYPE_LONGLONG;
    b->buffer = &p->value[p->n].number;
    b->is_unsigned = is_unsigned;
    p->n++;
}

static void param_bytes(struct params *p, const void *data, size_t len, bool text)
{
    MYSQL_BIND *b = &p->bind[p->n];
    memset(b, 0, sizeof(*b));
    p->value[p->n].len = len;
    b->buffer_type = !data ? MYSQL_TYPE_NULL : text ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
    b->buffer = (void *)(uintptr_t)data;
    b->buffer_length = len;
    b->length = &p->value[p->n].len;
    p->n++;
}

static void params_add(struct params *p, const char *types, size_t n_types, va_list *ap)
{
    for (; n_types; n_types--, types++) {
        CHECK(p->n < PARAMS_MAX, "too many parameters");
        switch (*types) {
        case 'i':
            param_number(p, (uint64_t)va_arg(*ap, int64_t), false, false);
            break;
        case 'u':
            param_number(p, va_arg(*ap, uint64_t), true, false);
            break;
        case 'N': {
            uint64_t n = va_arg(*ap, uint64_t);
            param_number(p, n, true, n == 0);
            break;
        }
        case 's': {
            const char *s = va_arg(*ap, const char *);
            param_bytes(p, s, s ? strlen(s) : 0, true);
            break;
        }
        case 'b': {
            const void *data = va_arg(*ap, const void *);
            size_t len = va_arg(*ap, size_t);
            param_bytes(p, data, len, false);
            break;
        }
        default:
            CHECK(false, "parameter type %c", *types);
        }
    }
}

/* The prepared statement of that text, on a connection that can run it. */
static enum db_rc statement_begin(struct db *db, const char *sql, struct statement **out)
{
    if (db->poison)
        return db->poison;
    enum db_rc rc = db->in_tx ? (db->my ? DB_OK : DB_GONE) : db_ready(db);
    if (rc)
        return rc;
    if (db->current) {
        mysql_stmt_free_result(db->current->stmt);
        db->current = NULL;
    }
    return statement_for(db, sql, out);
}

static enum db_rc run_once(struct db *db, const char *sql, struct params *p, bool wants_rows)
{
    struct statement *s = NULL;
    enum db_rc rc = statement_begin(db, sql, &s);
    if (rc)
        return rc;
    CHECK(s->n_params == p->n, "%u parameters for %u: %s", p->n, s->n_params, sql);
    CHECK(wants_rows == (s->n_columns > 0), "rows or no rows: %s", sql);
    if ((p->n && mysql_stmt_bind_param(s->stmt, p->bind)) || mysql_stmt_execute(s->stmt))
        return statement_fail(db, s->stmt, sql);
    if (!wants_rows) {
        db->affected = mysql_stmt_affected_rows(s->stmt);
        db->insert_id = mysql_stmt_insert_id(s->stmt);
        return DB_OK;
    }
    if (mysql_stmt_bind_result(s->stmt, s->binds) || mysql_stmt_store_result(s->stmt))
        return statement_fail(db, s->stmt, sql);
    db->current = s;
    return DB_OK;
}

/* A read outside a transaction that finds its connection dead (the server was restarted, or closed an idle one) is
 * tried once more on a new one. */
static enum db_rc run(struct db *db, const char *sql, struct params *p, bool wants_rows)
{
    uint64_t began = clock_ms();
    bool repeatable = wants_rows && !db->in_tx && db->my;
    enum db_rc rc = run_once(db, sql, p, wants_rows);
    return rc == DB_GONE && repeatable && clock_ms() - began < STALE_MS ? run_once(db, sql, p, wants_rows) : rc;
}

enum db_rc db_exec(struct db *db, const char *sql, const char *types, ...)
{
    struct params p;
    va_list ap;
    p.n = 0;
    va_start(ap, types);
    params_add(&p, types, strlen(types), &ap);
    va_end(ap);
    return run(db, sql, &p, false);
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
    return run(db, sql, &p, true);
}

/* `sql` with its one %s replaced by n question marks, n padded to a power of two; how many stand before it. */
static unsigned in_list(const char *sql, unsigned n, struct buf *out, unsigned *before)
{
    unsigned padded = 1;
    while (padded < n)
        padded *= 2;
    CHECK(n >= 1 && padded <= 256, "%u values in a list", n);
    const char *at = strstr(sql, "%s");
    CHECK(at, "no list in %s", sql);
    *before = 0;
    for (const char *s = sql; s < at; s++)
        *before += *s == '?';
    buf_add(out, sql, (size_t)(at - sql));
    for (unsigned i = 0; i < padded; i++)
        buf_adds(out, i ? ",?" : "?");
    buf_adds(out, at + 2);
    return padded;
}

enum db_rc db_query_in(struct db *db, const char *sql, const char *const *in, unsigned n, const char *types, ...)
{
    struct params p;
    struct buf text = {0};
    va_list ap;
    unsigned before, padded = in_list(sql, n, &text, &before);
    p.n = 0;
    va_start(ap, types);
    params_add(&p, types, before, &ap);
    for (unsigned i = 0; i < padded; i++) {
        const char *s = in[i < n ? i : n - 1];
        param_bytes(&p, s, strlen(s), true);
    }
    params_add(&p, types + before, strlen(types + before), &ap);
    va_end(ap);
    enum db_rc rc = run(db, text.data, &p, true);
    buf_free(&text);
    return rc;
}

static enum db_rc run_in_u64(struct db *db, const char *sql, const uint64_t *in, unsigned n, const char *types, va_list *ap, bool wants_rows)
{
    struct params p;
    struct buf text = {0};
    unsigned before, padded = in_list(sql, n, &text, &before);
    p.n = 0;
    params_add(&p, types, before, ap);
    for (unsigned i = 0; i < padded; i++)
        param_number(&p, in[i < n ? i : n - 1], true, false);
    params_add(&p, types + before, strlen(types + before), ap);
    enum db_rc rc = run(db, text.data, &p, wants_rows);
    buf_free(&text);
    return rc;
}

enum db_rc db_exec_in_u64(struct db *db, const char *sql, const uint64_t *in, unsigned n, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    enum db_rc rc = run_in_u64(db, sql, in, n, types, &ap, false);
    va_end(ap);
    return rc;
}

enum db_rc db_query_in_u64(struct db *db, const char *sql, const uint64_t *in, unsigned n, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    enum db_rc rc = run_in_u64(db, sql, in, n, types, &ap, true);
    va_end(ap);
    return rc;
}

/* ---- many rows at once ------------------------------------------------------------------------------------------ */

/* One bound column of a bulk statement. */
struct bulk_column {
    long long *number;
    const void **data;
    unsigned long *len;
    char *indicator;
};

static void bulk_cell(struct bulk_column *c, unsigned row, char type, const struct db_cell *cell)
{
    c->indicator[row] = STMT_INDICATOR_NONE;
    switch (type) {
    case 'i':
    case 'u':
    case 'N':
        c->number[row] = (long long)cell->n;
        if (type == 'N' && !cell->n)
            c->indicator[row] = STMT_INDICATOR_NULL;
        break;
    case 's':
    case 'b':
        c->data[row] = cell->data;
        c->len[row] = !cell->data ? 0 : type == 's' ? strlen(cell->data) : cell->len;
        if (!cell->data)
            c->indicator[row] = STMT_INDICATOR_NULL;
        break;
    default:
        CHECK(false, "parameter type %c", type);
    }
}

static enum db_rc bulk_run(struct db *db, const char *sql, unsigned n_columns, unsigned n, MYSQL_BIND *bind)
{
    struct statement *s = NULL;
    enum db_rc rc = statement_begin(db, sql, &s);
    if (rc)
        return rc;
    CHECK(s->n_params == n_columns && !s->n_columns, "a bulk statement of %u parameters: %s", n_columns, sql);
    unsigned none = 0;
    bool is_done = !mysql_stmt_attr_set(s->stmt, STMT_ATTR_ARRAY_SIZE, &n) && !mysql_stmt_bind_param(s->stmt, bind) &&
                   !mysql_stmt_execute(s->stmt);
    mysql_stmt_attr_set(s->stmt, STMT_ATTR_ARRAY_SIZE, &none); /* the same text may be run for one row next time */
    if (!is_done)
        return statement_fail(db, s->stmt, sql);
    db->affected = mysql_stmt_affected_rows(s->stmt);
    return DB_OK;
}

enum db_rc db_bulk(struct db *db, const char *sql, const char *types, unsigned n,
                   void (*fill)(void *arg, unsigned row, struct db_cell *cells), void *arg)
{
    unsigned n_columns = (unsigned)strlen(types);
    MYSQL_BIND bind[BULK_COLUMNS_MAX];
    struct bulk_column columns[BULK_COLUMNS_MAX];
    struct db_cell cells[BULK_COLUMNS_MAX];
    CHECK(n >= 1 && n <= DB_BULK_MAX && n_columns <= BULK_COLUMNS_MAX, "%u rows of %u columns", n, n_columns);
    memset(bind, 0, sizeof(bind));
    memset(columns, 0, sizeof(columns));
    for (unsigned i = 0; i < n_columns; i++) {
        struct bulk_column *c = &columns[i];
        bool is_number = types[i] != 's' && types[i] != 'b';
        c->indicator = xcalloc(n, 1);
        if (is_number)
            c->number = xcalloc(n, sizeof(*c->number));
        else {
            c->data = xcalloc(n, sizeof(*c->data));
            c->len = xcalloc(n, sizeof(*c->len));
        }
        bind[i].buffer_type = is_number ? MYSQL_TYPE_LONGLONG : types[i] == 's' ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
        bind[i].buffer = is_number ? (void *)c->number : (void *)c->data;
        bind[i].length = c->len;
        bind[i].is_unsigned = types[i] != 'i';
        bind[i].u.indicator = c->indicator;
    }
    for (unsigned row = 0; row < n; row++) {
        memset(cells, 0, sizeof(cells));
        fill(arg, row, cells);
        for (unsigned i = 0; i < n_columns; i++)
            bulk_cell(&columns[i], row, types[i], &cells[i]);
    }
    enum db_rc rc = bulk_run(db, sql, n_columns, n, bind);
    for (unsigned i = 0; i < n_columns; i++) {
        free(columns[i].number);
        free(columns[i].data);
        free(columns[i].len);
        free(columns[i].indicator);
    }
    return rc;
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

bool db_next(struct db *db)
{
    struct statement *s = db->current;
    if (!s)
        return false;
    int rc = mysql_stmt_fetch(s->stmt);
    if (rc == 0 || rc == MYSQL_DATA_TRUNCATED)
        return true;
    mysql_stmt_free_result(s->stmt);
    db->current = NULL;
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
        *len = 0;
    if (c->null)
        return NULL;
    if (len)
        *len = c->len;
    if (c->len <= COLUMN_ROOM) {
        c->room[c->len] = 0;
        return c->room;
    }
    MYSQL_BIND whole = {.buffer_type = MYSQL_TYPE_STRING, .buffer_length = c->len, .length = &c->len,
                        .is_null = &c->null};
    free(c->big);
    c->big = xmalloc(c->len + 1);
    whole.buffer = c->big;
    mysql_stmt_fetch_column(db->current->stmt, &whole, col, 0);
    c->big[c->len] = 0;
    return c->big;
}

uint64_t db_u64(struct db *db, unsigned col)
{
    const char *s = db_str(db, col, NULL);
    return s ? strtoull(s, NULL, 10) : 0;
}

int64_t db_i64(struct db *db, unsigned col)
{
    const char *s = db_str(db, col, NULL);
    return s ? strtoll(s, NULL, 10) : 0;
}

void db_str_copy(struct db *db, unsigned col, char *out, size_t room)
{
    const char *s = db_str(db, col, NULL);
    snprintf(out, room, "%s", s ? s : "");
}

enum db_rc db_run(struct db *db, const char *sql, size_t len)
{
    enum db_rc rc = db_ready(db);
    if (rc)
        return rc;
    if (mysql_real_query(db->my, sql, len))
        return connection_fail(db, sql);
    MYSQL_RES *rows = mysql_store_result(db->my);
    if (rows)
        mysql_free_result(rows);
    return DB_OK;
}

/* ---- transactions ---------------------------------------------------------------------------------------------- */

static void back_off(unsigned attempt)
{
    struct timespec pause = {0, (long)(id_random_u64() % (10000000ull << attempt))};
    nanosleep(&pause, NULL);
}

static enum db_rc finish(struct db *db, bool commit)
{
    if (!db->my)
        return DB_GONE;
    if (db->current) {
        mysql_stmt_free_result(db->current->stmt);
        db->current = NULL;
    }
    db->in_tx = false;
    db->poison = DB_OK;
    if (commit ? mysql_commit(db->my) : mysql_rollback(db->my)) {
        enum db_rc rc = connection_fail(db, commit ? "COMMIT" : "ROLLBACK");
        if (rc != DB_RETRY && rc != DB_GONE) /* nothing that says clearly "rolled back" */
            disconnect(db);
        return rc == DB_RETRY ? rc : DB_GONE;
    }
    return DB_OK;
}

static enum db_done settle(struct db *db, int (*was_done)(struct db *db, void *arg), void *arg)
{
    for (unsigned attempt = 0; was_done && attempt < TX_TRIES; attempt++) {
        if (db_ready(db) == DB_OK) {
            int done = was_done(db, arg);
            if (done >= 0)
                return done ? TX_DONE : TX_NOT;
        }
        back_off(attempt + 2);
    }
    return TX_UNKNOWN;
}

/* A unique key of somebody else's on a table that is not ours: another try meets it again. */
static bool is_unique_key_of_others(const struct db *db)
{
    return db->taken.number && strncmp(db->taken.table, "chasqui_", 8) != 0;
}

static enum db_rc begin(struct db *db)
{
    enum db_rc rc = db_ready(db);
    db->taken.number = 0;
    if (rc)
        return rc;
    if (mysql_query(db->my, "START TRANSACTION"))
        return connection_fail(db, "START TRANSACTION");
    db->in_tx = true;
    return DB_OK;
}

enum db_done db_tx(struct db *db, enum db_rc (*fn)(struct db *db, void *arg), int (*was_done)(struct db *db, void *arg),
                   void *arg, enum db_rc *rc)
{
    bool again = db->my != NULL; /* one more try when the connection we had turns out to be dead */
    for (unsigned attempt = 0; attempt < TX_TRIES; attempt++) {
        uint64_t began = clock_ms();
        *rc = begin(db);
        if (*rc == DB_OK)
            *rc = fn(db, arg);
        if (db->poison && *rc == DB_OK)
            *rc = db->poison;
        bool asked = *rc == DB_OK;
        if (asked && (*rc = finish(db, true)) == DB_OK)
            return TX_DONE;
        db->in_tx = false;
        if (asked && *rc == DB_GONE) {
            enum db_done done = settle(db, was_done, arg);
            if (done != TX_NOT)
                return done;
        } else if (!asked) {
            finish(db, false);
        }
        if (*rc == DB_GONE && again && clock_ms() - began < STALE_MS)
            again = false;
        else if (*rc != DB_RETRY)
            break;
        else
            back_off(attempt);
    }
    if ((*rc == DB_DUP || *rc == DB_RETRY) && is_unique_key_of_others(db)) {
        db->refusal = db->taken;
        *rc = refused(db, "");
    }
    return TX_NOT;
}
