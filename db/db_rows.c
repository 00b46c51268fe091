/* SPDX-License-Identifier: MIT */
/*
 * db_rows.c - an UPDATE that gives many rows values of their own, as one statement: each value is
 * ELT(FIELD(key, keys ...), values ...). Lists are padded to db_list.h's sizes by the last row, of which FIELD finds
 * the first, so that few statement texts exist.
 *
 * Owns nothing. A text that does not fit the types is our bug and ends the process.
 */
#include "db/db_list.h"

#include "common/buf.h"
#include "common/check.h"
#include "db/db_bind.h"

#include <stdlib.h>
#include <string.h>

#define EACH "{each}"
#define ROWS "{rows}"

struct update {
    const char *key;
    const struct bulk *rows; /* its last column is the key */
    unsigned padded;
    struct buf text;
    MYSQL_BIND *bind;
    unsigned n_bind;
};

/* A question mark for each row, and the column's values. */
static void column_add(struct update *u, unsigned column)
{
    for (unsigned i = 0; i < u->padded; i++) {
        buf_adds(&u->text, i ? ",?" : "?");
        u->bind[u->n_bind++] = bulk_value(u->rows, i < u->rows->n ? i : u->rows->n - 1, column);
    }
}

static void keys_add(struct update *u, const char *before)
{
    buf_adds(&u->text, before);
    column_add(u, u->rows->n_columns - 1);
    buf_adds(&u->text, ")");
}

static void each_add(struct update *u, unsigned column)
{
    buf_adds(&u->text, "ELT(FIELD(");
    buf_adds(&u->text, u->key);
    keys_add(u, ",");
    buf_adds(&u->text, ",");
    column_add(u, column);
    buf_adds(&u->text, ")");
}

static void text_make(struct update *u, const char *sql)
{
    unsigned column = 0;
    for (const char *at; (at = strchr(sql, '{')); sql = at) {
        bool is_each = strncmp(at, EACH, strlen(EACH)) == 0, is_rows = strncmp(at, ROWS, strlen(ROWS)) == 0;
        buf_add(&u->text, sql, (size_t)(at - sql));
        if (is_each) {
            each_add(u, column++);
        } else if (is_rows) {
            buf_adds(&u->text, u->key);
            keys_add(u, " IN (");
        } else {
            buf_adds(&u->text, "{"); /* another token: a state's, or of Laravel's table */
        }
        at += is_each ? strlen(EACH) : is_rows ? strlen(ROWS) : 1;
    }
    buf_adds(&u->text, sql);
    CHECK(column == u->rows->n_columns - 1, "%u values for %u: %s", column, u->rows->n_columns - 1, u->text.data);
}

enum db_rc db_update_rows(struct db *db, const char *sql, const char *key, const char *types, unsigned n,
                          void (*fill)(void *arg, unsigned row, struct db_cell *cells), void *arg)
{
    struct bulk rows;
    struct update u = {.key = key, .rows = &rows, .padded = db_list_size(n)};
    bulk_fill(&rows, types, n, fill, arg);
    u.bind = xcalloc((size_t)u.padded * 2 * rows.n_columns, sizeof(*u.bind));
    text_make(&u, sql);
    enum db_rc rc = db_run_bound(db, u.text.data, u.bind, u.n_bind, false);
    buf_free(&u.text);
    free(u.bind);
    bulk_free(&rows);
    return rc;
}
