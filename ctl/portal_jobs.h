/* SPDX-License-Identifier: MIT */
/* portal_jobs.h - Laravel's table, looked at before anything in it is changed. */
#ifndef CHASQUI_CTL_PORTAL_JOBS_H
#define CHASQUI_CTL_PORTAL_JOBS_H

#include "common/buf.h"
#include "db/mariadb.h"

struct portal_jobs {
    bool is_there;
    bool complete; /* all our columns are there */
    /* one line for each reason why Chasqui would fail on it; empty = good. The caller frees it */
    struct buf refused;
};
/* Reads the table's definition; changes nothing. */
enum db_rc portal_jobs_look(struct db *db, struct portal_jobs *out);

/* The instruction "widen-enum TABLE.COLUMN v1 v2 ...": an ENUM gets the values it lacks, at its end; a text column
 * that is too short for one of them becomes VARCHAR(20). NULL-ability, default, character set and comment stay.
 * `sql` gets the statement, nothing when none is needed. DB_FAIL with `why` when the instruction or the column is not
 * what it must be. Changes nothing. */
enum db_rc column_widen_sql(struct db *db, const char *arguments, size_t len, struct buf *sql, struct buf *why);

#endif
