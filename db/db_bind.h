/* SPDX-License-Identifier: MIT */
/*
 * db_bind.h - the values bound to a prepared statement: its parameters, or many rows of them (array binding).
 *
 * `types` has one letter per parameter, see mariadb.h.
 */
#ifndef CHASQUI_DB_BIND_H
#define CHASQUI_DB_BIND_H

#include "db/mariadb.h"

#include <mariadb/mysql.h>
#include <stdarg.h>

#define PARAMS_MAX 300

struct params { /* n = 0 is empty; texts and bytes are borrowed until the statement has run */
    MYSQL_BIND bind[PARAMS_MAX];
    union {
        long long number;
        unsigned long len;
    } value[PARAMS_MAX];
    unsigned n;
};

void params_add(struct params *p, const char *types, size_t n_types, va_list *ap);
void params_add_u64(struct params *p, uint64_t n);
void params_add_str(struct params *p, const char *s); /* NULL = SQL NULL */
void params_add_bytes(struct params *p, const void *data, size_t len);

/* Implemented in mariadb.c: runs a statement with these parameters; once, or as it says there. */
enum db_rc db_run_bound(struct db *db, const char *sql, MYSQL_BIND *bind, unsigned n, bool wants_rows);
enum db_rc db_run_params(struct db *db, const char *sql, struct params *p, bool wants_rows);

#define BULK_COLUMNS_MAX 24

struct bulk {
    unsigned n_columns, n; /* rows: 1..DB_BULK_MAX */
    MYSQL_BIND bind[BULK_COLUMNS_MAX];
    struct bulk_column {
        long long *number;
        const void **data;
        unsigned long *len;
        char *indicator;
    } columns[BULK_COLUMNS_MAX];
};

/* Binds the cells of n rows; `fill` sets the cells of one row. Texts and bytes are borrowed until bulk_free(). */
void bulk_fill(struct bulk *b, const char *types, unsigned n,
               void (*fill)(void *arg, unsigned row, struct db_cell *cells), void *arg);
/* One value of it, for a statement without array binding. It points into the bulk. */
MYSQL_BIND bulk_value(const struct bulk *b, unsigned row, unsigned column);
void bulk_free(struct bulk *b);

#endif
