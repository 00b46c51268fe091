/* SPDX-License-Identifier: MIT */
/*
 * migration.h - the migrations, which travel inside this program, and how far a
 * database has come: table chasqui_schema has a row for each that was applied.
 */
#ifndef CHASQUI_CTL_MIGRATION_H
#define CHASQUI_CTL_MIGRATION_H

#include "common/buf.h"
#include "db/mariadb.h"

struct migration {
    unsigned version;
    const char *name; /* "0001_portal_jobs" */
    const char *sql;
};
extern const struct migration migration_table[];
extern const unsigned migration_count;

unsigned migration_latest(void);
/* The highest version that was applied; 0 = none. */
enum db_rc migration_version(struct db *db, unsigned *version);

/* One statement of a text, or one line of instructions to us ("-- chasqui: ..."). */
struct sql_part {
    const char *text; /* borrowed */
    size_t len;
    bool is_instruction; /* text follows "-- chasqui: " */
};
/* The next part at *at, which moves behind it; false at the end. Comments, and ; in quotes, are understood. */
bool sql_next(const char **at, struct sql_part *out);

#endif
