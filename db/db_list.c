/* SPDX-License-Identifier: MIT */
/* db_list.c - statements with an IN (...) list. Lists are padded to a few sizes, so that few statement texts
 * exist. Owns nothing. */
#include "db/db_list.h"

#include "common/buf.h"
#include "common/check.h"
#include "db/db_bind.h"

#include <string.h>

static const unsigned sizes[] = {1, 8, 32, 128, DB_LIST_MAX};

unsigned db_list_size(unsigned n)
{
    unsigned i = 0;
    CHECK(n >= 1 && n <= DB_LIST_MAX, "%u values in a list", n);
    while (sizes[i] < n)
        i++;
    return sizes[i];
}

/* Replaces the one %s in `sql` by question marks, as many as a list of n is padded to. Returns that number.
 * *before = the number of question marks before the list. */
static unsigned list_text(const char *sql, unsigned n, struct buf *out, unsigned *before)
{
    unsigned padded = db_list_size(n);
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
    unsigned before, padded = list_text(sql, n, &text, &before);
    p.n = 0;
    va_start(ap, types);
    params_add(&p, types, before, &ap);
    for (unsigned i = 0; i < padded; i++)
        params_add_str(&p, in[i < n ? i : n - 1]);
    params_add(&p, types + before, strlen(types + before), &ap);
    va_end(ap);
    enum db_rc rc = db_run_params(db, text.data, &p, true);
    buf_free(&text);
    return rc;
}

enum db_rc db_query_in_bytes(struct db *db, const char *sql, const void *const *in, size_t len, unsigned n)
{
    struct params p;
    struct buf text = {0};
    unsigned before, padded = list_text(sql, n, &text, &before);
    p.n = 0;
    for (unsigned i = 0; i < padded; i++)
        params_add_bytes(&p, in[i < n ? i : n - 1], len);
    enum db_rc rc = db_run_params(db, text.data, &p, true);
    buf_free(&text);
    return rc;
}

static enum db_rc run_in_u64(struct db *db, const char *sql, const uint64_t *in, unsigned n, const char *types,
                             va_list *ap, bool wants_rows)
{
    struct params p;
    struct buf text = {0};
    unsigned before, padded = list_text(sql, n, &text, &before);
    p.n = 0;
    params_add(&p, types, before, ap);
    for (unsigned i = 0; i < padded; i++)
        params_add_u64(&p, in[i < n ? i : n - 1]);
    params_add(&p, types + before, strlen(types + before), ap);
    enum db_rc rc = db_run_params(db, text.data, &p, wants_rows);
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
