/* SPDX-License-Identifier: MIT */
/* db_list.c - sizes of IN lists. Owns nothing. */
#include "db/db_list.h"

#include "common/check.h"

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

unsigned db_list_text(const char *sql, unsigned n, struct buf *out, unsigned *before)
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
