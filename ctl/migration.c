/* SPDX-License-Identifier: MIT */
/*
 * migration.c - the texts of migrations/, put in by the assembler, and their
 * statements. A program that is copied alone still migrates.
 */
#include "ctl/migration.h"

#include <string.h>

/* Each file as a string. The Makefile knows that this object depends on the files. */
#define MIGRATION(version, file)                                                                                  \
    __asm__(".pushsection .rodata\n.hidden migration_" #version "\n.globl migration_" #version                    \
            "\nmigration_" #version ":\n.incbin \"migrations/" file ".sql\"\n.byte 0\n.popsection\n");            \
    extern const char migration_##version[] __attribute__((visibility("hidden")));
#include "ctl/migration.def"
#undef MIGRATION

const struct migration migration_table[] = {
#define MIGRATION(version, file) {version, file, migration_##version},
#include "ctl/migration.def"
#undef MIGRATION
};
const unsigned migration_count = sizeof(migration_table) / sizeof(migration_table[0]);

unsigned migration_latest(void)
{
    return migration_table[migration_count - 1].version;
}

enum db_rc migration_version(struct db *db, unsigned *version)
{
    *version = 0;
    enum db_rc rc = db_query(db,
                             "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND "
                             "TABLE_NAME = 'chasqui_schema'",
                             "");
    if (rc || !db_next(db))
        return rc;
    if ((rc = db_query(db, "SELECT COALESCE(MAX(version), 0) FROM chasqui_schema", "")))
        return rc;
    if (db_next(db))
        *version = (unsigned)db_u64(db, 0);
    return DB_OK;
}

/* ---- statements --------------------------------------------------------------------------------------------- */

#define INSTRUCTION "-- chasqui: "

/* Behind a comment at p, or p itself. */
static const char *skip_comment(const char *p)
{
    if (p[0] == '#' || (p[0] == '-' && p[1] == '-' && (p[2] == ' ' || p[2] == '\t' || p[2] == '\n' || !p[2])))
        return p + strcspn(p, "\n");
    if (p[0] == '/' && p[1] == '*') {
        const char *end = strstr(p + 2, "*/");
        return end ? end + 2 : p + strlen(p);
    }
    return p;
}

/* Behind a quoted text at p, or p itself. Doubled quotes are two texts, which comes to the same. */
static const char *skip_quoted(const char *p)
{
    char quote = *p;
    if (quote != '\'' && quote != '"' && quote != '`')
        return p;
    for (p++; *p && *p != quote; p++)
        if (*p == '\\' && quote != '`' && p[1])
            p++;
    return *p ? p + 1 : p;
}

bool sql_next(const char **at, struct sql_part *out)
{
    const char *p = *at;
    memset(out, 0, sizeof(*out));
    while (*p) {
        const char *behind = skip_comment(p);
        if (!out->text && strncmp(p, INSTRUCTION, strlen(INSTRUCTION)) == 0) {
            *out = (struct sql_part){p + strlen(INSTRUCTION), (size_t)(behind - p) - strlen(INSTRUCTION), true};
            *at = behind;
            return true;
        }
        if (behind == p)
            behind = skip_quoted(p);
        if (*p == ';' && out->text)
            break;
        if (!out->text && behind == p && !strchr(" \t\r\n;", *p))
            out->text = p;
        p = behind > p ? behind : p + 1;
    }
    if (out->text)
        out->len = (size_t)(p - out->text);
    *at = *p ? p + 1 : p;
    return out->text != NULL;
}
