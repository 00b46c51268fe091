/* SPDX-License-Identifier: MIT */
/* portal_index.h - plain indexes on Laravel's table, whatever its texts are like. */
#ifndef CHASQUI_CTL_PORTAL_INDEX_H
#define CHASQUI_CTL_PORTAL_INDEX_H

#include "common/buf.h"
#include "db/mariadb.h"

/* The instruction "plain-index NAME TABLE COLUMN[:N] ...": a non-unique index, unless one of that name is there.
 * Of a text column longer than N characters only the first N are indexed: a TEXT has no key of its own. DB_FAIL
 * with `why` when the instruction is malformed or a column is not there. `sql` gets the statement; changes nothing. */
enum db_rc plain_index_sql(struct db *db, const char *arguments, size_t len, struct buf *sql, struct buf *why);

#endif
