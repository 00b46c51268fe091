/* SPDX-License-Identifier: MIT */
/* db_value.c - reads a column of the current row as a number or a text. Owns nothing. */
#include "db/mariadb.h"

#include <stdlib.h>
#include <string.h>

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
    size_t len;
    const char *s = db_str(db, col, &len);
    if (len >= room)
        for (len = room - 1; len && ((unsigned char)s[len] & 0xc0) == 0x80;) /* cut at a character boundary */
            len--;
    if (len)
        memcpy(out, s, len);
    out[len] = 0;
}
