/* SPDX-License-Identifier: MIT */
/*
 * migrate.c - `chasqui migrate`: the migrations that a database has not seen
 * yet. Looks at portal_jobs first and refuses before anything is changed.
 *
 * Fails by stopping at the first statement that fails; what was done stays,
 * and the next run goes on from there, because every statement can be run
 * again. So two runs at once are safe too, without a lock.
 */
#include "ctl/migration.h"

#include "ctl/ctl.h"
#include "ctl/laravel.h"
#include "ctl/plain.h"
#include "ctl/portal_index.h"
#include "ctl/portal_jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 5
#define OLDEST_MARIADB 1006 /* SKIP LOCKED */
/* A long transaction of somebody else must not make every query behind our ALTER wait for it. */
#define SETTINGS "SET SESSION lock_wait_timeout = 5"
#define PATIENCE_S 86400 /* an index on a large table takes its time */

static enum db_rc statement_run(struct db *db, const struct sql_part *part)
{
    enum db_rc rc = DB_RETRY;
    for (unsigned i = 0; i < TRIES && rc == DB_RETRY; i++)
        rc = db_run(db, part->text, part->len);
    return rc;
}

/* The statement that an instruction comes to on this database; empty = none. */
static enum db_rc instruction_sql(struct db *db, const struct sql_part *part, struct buf *sql, struct buf *why)
{
    static const char widen[] = "widen-enum ", plain_index[] = "plain-index ";
    size_t skip = strlen(widen);
    if (part->len > skip && strncmp(part->text, widen, skip) == 0)
        return column_widen_sql(db, part->text + skip, part->len - skip, sql, why);
    skip = strlen(plain_index);
    if (part->len > skip && strncmp(part->text, plain_index, skip) == 0)
        return plain_index_sql(db, part->text + skip, part->len - skip, sql, why);
    buf_addf(why, "the instruction %.*s is not known", (int)part->len, part->text);
    return DB_FAIL;
}

static enum db_rc instruction_run(struct db *db, const struct sql_part *part, struct buf *why)
{
    struct buf sql = {0};
    enum db_rc rc = instruction_sql(db, part, &sql, why);
    if (rc == DB_OK && sql.len)
        rc = db_run(db, sql.data, sql.len);
    buf_free(&sql);
    return rc;
}

static enum db_rc apply(struct db *db, const struct migration *m, struct buf *why)
{
    struct sql_part part;
    for (const char *at = m->sql; sql_next(&at, &part);)
        TRY(part.is_instruction ? instruction_run(db, &part, why) : statement_run(db, &part));
    return db_exec(db, "INSERT IGNORE INTO chasqui_schema (version, name, applied_at) VALUES (?, ?, NOW(6))", "us",
                   (uint64_t)m->version, m->name);
}

static const char schema_sql[] =
    "CREATE TABLE IF NOT EXISTS chasqui_schema (version INT UNSIGNED NOT NULL PRIMARY "
    "KEY, name VARCHAR(100) NOT "
    "NULL, applied_at DATETIME(6) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

static enum db_rc schema_make(struct db *db)
{
    struct sql_part part = {schema_sql, sizeof(schema_sql) - 1, false};
    return statement_run(db, &part);
}

/* ---- --print ------------------------------------------------------------------------------------------------ */

/* A table that is not there yet gets its indexes when it is made; else the statement is the one that would run. */
static void instruction_print(struct ctl *c, const struct sql_part *part)
{
    struct buf sql = {0}, why = {0};
    if (instruction_sql(c->db, part, &sql, &why) == DB_OK && sql.len)
        printf("%.*s;\n", (int)sql.len, sql.data);
    else
        printf("-- nothing to do: %.*s\n", (int)part->len, part->text);
    buf_free(&sql);
    buf_free(&why);
}

static enum ctl_exit print_all(struct ctl *c, unsigned version, bool again)
{
    struct sql_part part;
    printf("-- what chasqui migrate would run on %s; nothing was changed\n%s;\n", c->conf->db_name, schema_sql);
    for (unsigned i = 0; i < migration_count; i++) {
        const struct migration *m = &migration_table[i];
        if (m->version <= version && !again)
            continue;
        printf("\n-- %s\n", m->name);
        for (const char *at = m->sql; sql_next(&at, &part);)
            if (part.is_instruction)
                instruction_print(c, &part);
            else
                printf("%.*s;\n", (int)part.len, part.text);
        printf("INSERT IGNORE INTO chasqui_schema (version, name, applied_at) VALUES (%u, '%s', NOW(6));\n",
               m->version, m->name);
    }
    return CTL_DONE;
}

/* false after saying that this server is too old. */
static bool server_ok(struct ctl *c)
{
    unsigned major = 0, minor = 0;
    enum db_rc rc = db_query(c->db, "SELECT VERSION()", "");
    if (rc || !db_next(c->db))
        return ctl_db_fail(c, rc), false;
    const char *version = db_str(c->db, 0, NULL);
    if (strstr(version, "MariaDB") && sscanf(version, "%u.%u", &major, &minor) == 2 &&
        major * 100 + minor >= OLDEST_MARIADB)
        return true;
    return ctl_fail(c, "the database server is %s; Chasqui needs MariaDB 10.6 or newer", version), false;
}

/* `refused` holds a line for each reason. */
static enum ctl_exit refuse(struct ctl *c, struct buf *refused, const char *what)
{
    struct jv *reasons = jv_new_array();
    char *save = NULL;
    plain_line(stderr, "chasqui: %s in %s cannot be used as it is; nothing was changed:", what, c->conf->db_name);
    for (char *line = strtok_r(refused->data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        plain_line(stderr, "  - %s", line);
        jv_push_str(reasons, line);
    }
    if (!c->args.json) {
        jv_free(reasons);
        return CTL_FAILED;
    }
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", false);
    jv_set_str(body, "message",
               strcmp(what, "portal_jobs") == 0 ? "portal_jobs cannot be used as it is; nothing was changed"
                                                : "the database cannot be used as it is; nothing was changed");
    jv_set(body, "reasons", reasons);
    ctl_json(body);
    return CTL_FAILED;
}

static enum ctl_exit apply_all(struct ctl *c, bool again, struct laravel *l)
{
    struct jv *body = jv_new_object(), *applied = jv_new_array();
    struct buf why = {0};
    unsigned done = 0, version = 0;
    enum db_rc rc = schema_make(c->db);
    if (rc == DB_OK)
        rc = migration_version(c->db, &version);
    for (unsigned i = 0; i < migration_count && rc == DB_OK; i++) {
        const struct migration *m = &migration_table[i];
        if (m->version <= version && !again)
            continue;
        rc = apply(c->db, m, &why);
        if (rc == DB_OK) {
            done++;
            jv_push_str(applied, m->name);
            if (!c->args.json)
                printf("applied %s\n", m->name);
        } else {
            buf_adds(&why, why.len ? "" : db_error(c->db));
            ctl_fail(c, "%s: %s; run chasqui migrate again when that is settled, what was done stays", m->name,
                     why.data);
        }
    }
    if (rc && !why.len)
        ctl_db_fail(c, rc);
    buf_free(&why);
    if (!rc && (rc = laravel_count(c->db, l)))
        ctl_db_fail(c, rc);
    jv_set(body, "applied", applied);
    jv_set_int(body, "version", migration_latest());
    if (rc) {
        jv_free(body);
        return CTL_FAILED;
    }
    if (c->args.json) {
        if (done)
            laravel_jv(l, body);
        return ctl_json(body);
    }
    jv_free(body);
    printf("%sthe database %s is at version %u", done ? "" : "nothing to do: ", c->conf->db_name,
           migration_latest());
    if (done)
        laravel_print(l);
    puts("");
    return CTL_DONE;
}

enum ctl_exit migrate_command(struct ctl *c)
{
    struct portal_jobs table;
    struct laravel laravel = {.was_there = false};
    unsigned version = 0;
    db_patience(c->db, PATIENCE_S);
    enum db_rc rc = db_run(c->db, SETTINGS, strlen(SETTINGS));
    if (rc)
        return ctl_db_fail(c, rc);
    if (!server_ok(c))
        return CTL_FAILED;
    rc = portal_jobs_look(c->db, &table);
    if (rc == DB_OK)
        rc = migration_version(c->db, &version);
    laravel.was_there = table.is_there;
    laravel.is_ours = version > 0;
    laravel.is_without_artisan = c->args.n[OPT_WITHOUT_ARTISAN];
    if (rc == DB_OK)
        rc = laravel_look(c->db, &laravel);
    enum ctl_exit code;
    if (rc)
        code = ctl_db_fail(c, rc);
    else if (table.refused.len)
        code = refuse(c, &table.refused, "portal_jobs");
    else if (laravel.refused.len)
        code = refuse(c, &laravel.refused, "the database");
    else if (version > migration_latest())
        code = ctl_fail(c, "the database %s is at version %u, newer than this program (%u)", c->conf->db_name,
                        version, migration_latest());
    else if (c->args.n[OPT_PRINT])
        code = print_all(c, version, version && !table.complete);
    else
        code = apply_all(c, version && !table.complete,
                         &laravel); /* portal_jobs was made anew, or put back from a copy */
    buf_free(&table.refused);
    laravel_free(&laravel);
    return code;
}
