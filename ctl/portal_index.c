/* SPDX-License-Identifier: MIT */
/*
 * portal_index.c - plain indexes on Laravel's table. Its texts may be VARCHAR,
 * TEXT or ENUM: the first is short enough for a key or not, the second needs
 * a prefix, the third may have none. So the column is looked at.
 */
#include "ctl/portal_index.h"

#include "ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

#define WORD_ROOM 65

static enum db_rc column_add(struct db *db, const char *table, char *column, struct buf *sql, struct buf *why)
{
    char *colon = strchr(column, ':');
    uint64_t most = 0;
    if (colon) {
        *colon = 0;
        most = strtoull(colon + 1, NULL, 10);
    }
    TRY(db_query(
        db,
        "SELECT IF(DATA_TYPE = 'enum', 0, COALESCE(CHARACTER_MAXIMUM_LENGTH, 0)) FROM information_schema.COLUMNS "
        "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND COLUMN_NAME = ?",
        "ss", table, column));
    if (!db_next(db)) {
        buf_addf(why, "column %s.%s is not there", table, column);
        return DB_FAIL;
    }
    buf_addf(sql, "`%s`", column);
    if (most && db_u64(db, 0) > most)
        buf_addf(sql, "(%llu)", (unsigned long long)most);
    return DB_OK;
}

static enum db_rc malformed(struct buf *why)
{
    buf_adds(why, "an instruction plain-index is malformed");
    return DB_FAIL;
}

static enum db_rc index_write(struct db *db, char *text, struct buf *sql, struct buf *why)
{
    char *save = NULL, *name = strtok_r(text, " \t\r\n", &save), *table = strtok_r(NULL, " \t\r\n", &save),
         *column;
    unsigned n = 0;
    if (!name || !table || strlen(name) >= WORD_ROOM || strlen(table) >= WORD_ROOM)
        return malformed(why);
    buf_addf(sql, "CREATE INDEX IF NOT EXISTS `%s` ON `%s` (", name, table);
    for (; (column = strtok_r(NULL, " \t\r\n", &save)); n++) {
        buf_adds(sql, n ? ", " : "");
        TRY(column_add(db, table, column, sql, why));
    }
    buf_adds(sql, ")");
    return n ? DB_OK : malformed(why);
}

enum db_rc plain_index_sql(struct db *db, const char *arguments, size_t len, struct buf *sql, struct buf *why)
{
    char text[500] = "";
    if (len < sizeof(text))
        memcpy(text, arguments, len);
    return index_write(db, text, sql, why);
}
