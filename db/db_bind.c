/* SPDX-License-Identifier: MIT */
/*
 * db_bind.c - the values bound to a prepared statement.
 *
 * Owns: the arrays of a bulk statement's columns, until bulk_free(). An unknown type, or more values than there is
 * room for, is our bug and ends the process.
 */
#include "db/db_bind.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

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

void params_add(struct params *p, const char *types, size_t n_types, va_list *ap)
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

void params_add_u64(struct params *p, uint64_t n)
{
    CHECK(p->n < PARAMS_MAX, "too many parameters");
    param_number(p, n, true, false);
}

void params_add_str(struct params *p, const char *s)
{
    CHECK(p->n < PARAMS_MAX, "too many parameters");
    param_bytes(p, s, s ? strlen(s) : 0, true);
}

void params_add_bytes(struct params *p, const void *data, size_t len)
{
    CHECK(p->n < PARAMS_MAX, "too many parameters");
    param_bytes(p, data, len, false);
}

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

static void column_bind(struct bulk_column *c, MYSQL_BIND *bind, char type, unsigned n)
{
    bool is_number = type != 's' && type != 'b';
    c->indicator = xcalloc(n, 1);
    if (is_number)
        c->number = xcalloc(n, sizeof(*c->number));
    else {
        c->data = xcalloc(n, sizeof(*c->data));
        c->len = xcalloc(n, sizeof(*c->len));
    }
    bind->buffer_type = is_number ? MYSQL_TYPE_LONGLONG : type == 's' ? MYSQL_TYPE_STRING : MYSQL_TYPE_BLOB;
    bind->buffer = is_number ? (void *)c->number : (void *)c->data;
    bind->length = c->len;
    bind->is_unsigned = type != 'i';
    bind->u.indicator = c->indicator;
}

void bulk_fill(struct bulk *b, const char *types, unsigned n,
               void (*fill)(void *arg, unsigned row, struct db_cell *cells), void *arg)
{
    struct db_cell cells[BULK_COLUMNS_MAX];
    memset(b, 0, sizeof(*b));
    b->n = n;
    b->n_columns = (unsigned)strlen(types);
    CHECK(n >= 1 && n <= DB_BULK_MAX && b->n_columns <= BULK_COLUMNS_MAX, "%u rows of %u columns", n,
          b->n_columns);
    for (unsigned i = 0; i < b->n_columns; i++)
        column_bind(&b->columns[i], &b->bind[i], types[i], n);
    for (unsigned row = 0; row < n; row++) {
        memset(cells, 0, sizeof(cells));
        fill(arg, row, cells);
        for (unsigned i = 0; i < b->n_columns; i++)
            bulk_cell(&b->columns[i], row, types[i], &cells[i]);
    }
}

MYSQL_BIND bulk_value(const struct bulk *b, unsigned row, unsigned column)
{
    CHECK(row < b->n && column < b->n_columns, "row %u of %u, column %u", row, b->n, column);
    const struct bulk_column *c = &b->columns[column];
    return (MYSQL_BIND){.buffer_type = c->indicator[row] == STMT_INDICATOR_NULL ? MYSQL_TYPE_NULL
                                                                                : b->bind[column].buffer_type,
                        .is_unsigned = b->bind[column].is_unsigned,
                        .buffer = c->number ? (void *)&c->number[row] : (void *)(uintptr_t)c->data[row],
                        .buffer_length = c->len ? c->len[row] : 0,
                        .length = c->len ? &c->len[row] : NULL};
}

void bulk_free(struct bulk *b)
{
    for (unsigned i = 0; i < b->n_columns; i++) {
        free(b->columns[i].number);
        free(b->columns[i].data);
        free(b->columns[i].len);
        free(b->columns[i].indicator);
    }
}
