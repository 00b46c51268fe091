/* SPDX-License-Identifier: MIT */
/*
 * db_rows.c - an UPDATE that gives many rows values of their own, as one statement: each value is
 * ELT(FIELD(key, keys ...), values ...). Lists are padded to db_list.h's sizes by the last row, of which FIELD finds
 * the first, so that few statement texts exist.
 *
 * Owns nothing. What it is given wrongly is our bug and ends the process.
 */
#include "db/db_list.h"

#include "common/buf.h"
#include "common/check.h"
#include "db/db_bind.h"

#include <stdlib.h>
#include <string.h>

#define EACH "{each}"
#define ROWS "{rows}"
#define KEY_ROOM 64

struct update {
    const struct bulk *rows;
    char key[2][KEY_ROOM];
    unsigned n_keys, n_values; /* columns of a row: its values, and then its keys */
    unsigned padded;
    uint64_t *both; /* each row's key as one number */
    struct buf text;
    MYSQL_BIND *bind;
    unsigned n_bind;
};

static void key_read(struct update *u, const char *key)
{
    const char *comma = strchr(key, ',');
    size_t len = comma ? (size_t)(comma - key) : strlen(key);
    CHECK(len < KEY_ROOM && strlen(key) < KEY_ROOM, "key %s", key);
    memcpy(u->key[0], key, len);
    if (comma)
        memcpy(u->key[1], comma + 2, strlen(comma + 2));
    u->n_keys = comma ? 2 : 1;
    CHECK(u->rows->n_columns >= u->n_keys, "no key among the columns");
    u->n_values = u->rows->n_columns - u->n_keys;
}

static unsigned row_at(const struct update *u, unsigned i)
{
    return i < u->rows->n ? i : u->rows->n - 1;
}

static void marks_add(struct update *u, const char *first, const char *next)
{
    for (unsigned i = 0; i < u->padded; i++)
        buf_adds(&u->text, i ? next : first);
}

static void column_add(struct update *u, unsigned column)
{
    for (unsigned i = 0; i < u->padded; i++)
        u->bind[u->n_bind++] = bulk_value(u->rows, row_at(u, i), column);
}

static void each_add(struct update *u, unsigned column)
{
    buf_adds(&u->text, "ELT(FIELD(");
    buf_adds(&u->text, u->key[0]);
    if (u->n_keys == 2) {
        buf_adds(&u->text, " << 32 | ");
        buf_adds(&u->text, u->key[1]);
    }
    marks_add(u, ",?", ",?");
    for (unsigned i = 0; i < u->padded; i++)
        u->bind[u->n_bind++] =
            (MYSQL_BIND){.buffer_type = MYSQL_TYPE_LONGLONG, .is_unsigned = 1, .buffer = &u->both[row_at(u, i)]};
    buf_adds(&u->text, "),");
    marks_add(u, "?", ",?");
    buf_adds(&u->text, ")");
    column_add(u, column);
}

static void rows_add(struct update *u)
{
    if (u->n_keys == 1) {
        buf_adds(&u->text, u->key[0]);
        buf_adds(&u->text, " IN (");
        marks_add(u, "?", ",?");
        buf_adds(&u->text, ")");
        column_add(u, u->n_values);
        return;
    }
    buf_adds(&u->text, "(");
    for (unsigned i = 0; i < u->padded; i++) {
        buf_adds(&u->text, i ? " OR (" : "(");
        buf_adds(&u->text, u->key[0]);
        buf_adds(&u->text, " = ? AND ");
        buf_adds(&u->text, u->key[1]);
        buf_adds(&u->text, " = ?)");
        u->bind[u->n_bind++] = bulk_value(u->rows, row_at(u, i), u->n_values);
        u->bind[u->n_bind++] = bulk_value(u->rows, row_at(u, i), u->n_values + 1);
    }
    buf_adds(&u->text, ")");
}

static void statement_make(struct update *u, const char *sql)
{
    unsigned column = 0;
    for (const char *at; (at = strstr(sql, EACH)) || (at = strstr(sql, ROWS));) {
        const char *rows = strstr(sql, ROWS);
        bool is_each = !rows || at < rows;
        at = is_each ? at : rows;
        buf_add(&u->text, sql, (size_t)(at - sql));
        if (is_each)
            each_add(u, column++);
        else
            rows_add(u);
        sql = at + strlen(is_each ? EACH : ROWS);
    }
    buf_adds(&u->text, sql);
    CHECK(column == u->n_values, "%u values for %u: %s", column, u->n_values, u->text.data);
}

enum db_rc db_update_rows(struct db *db, const char *sql, const char *key, const char *types, unsigned n,
                          void (*fill)(void *arg, unsigned row, struct db_cell *cells), void *arg)
{
    struct bulk rows;
    struct update u = {.rows = &rows, .padded = db_list_size(n)};
    bulk_fill(&rows, types, n, fill, arg);
    key_read(&u, key);
    u.both = xcalloc(n, sizeof(*u.both));
    for (unsigned i = 0; i < n; i++) {
        uint64_t first = (uint64_t)rows.columns[u.n_values].number[i];
        u.both[i] = u.n_keys == 1 ? first : first << 32 | (uint64_t)rows.columns[u.n_values + 1].number[i];
    }
    u.bind = xcalloc((size_t)u.padded * (2 * u.n_values + u.n_keys), sizeof(*u.bind));
    statement_make(&u, sql);
    enum db_rc rc = db_run_bound(db, u.text.data, u.bind, u.n_bind, false);
    buf_free(&u.text);
    free(u.bind);
    free(u.both);
    bulk_free(&rows);
    return rc;
}
