/* SPDX-License-Identifier: MIT */
/*
 * laravel.c - what Laravel's side of the database is like, before and after our
 * migrations. Reads only. Must never refuse an empty database, nor one that our
 * migrations were run on before.
 */
#include "ctl/laravel.h"

#include "ctl/ctl.h"
#include "ctl/plain.h"

#include <stdio.h>
#include <string.h>

#define OWN_MIGRATION "2026\\\\_02\\\\_02\\\\_%" /* add_robot_worker_fields_to_portal_jobs_table */

static enum db_rc truth_read(struct db *db, const char *sql, bool *out)
{
    TRY(db_query(db, sql, ""));
    *out = db_next(db) && db_u64(db, 0);
    return DB_OK;
}

/* artisan adds the robots' columns without looking: after us it would fail (1060), and stay behind for ever. */
static enum db_rc artisan_look(struct db *db, struct laravel *l)
{
    bool has_run = true, has_columns = false;
    TRY(truth_read(
        db,
        "SELECT COUNT(*) >= 2 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'migrations' AND "
        "COLUMN_NAME IN ('migration', 'batch')",
        &l->has_migrations));
    if (!l->has_migrations || l->is_ours || l->is_without_artisan)
        return DB_OK;
    TRY(truth_read(
        db,
        "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'portal_jobs' AND "
        "COLUMN_NAME = 'robot_worker_base_url'",
        &has_columns));
    TRY(truth_read(db,
                   "SELECT COUNT(*) FROM migrations WHERE migration LIKE '" OWN_MIGRATION
                   "' OR migration LIKE '%robot\\\\_worker\\\\_fields%'",
                   &has_run));
    if (!l->was_there)
        buf_adds(
            &l->refused,
            "Laravel's migrations are here, but no portal_jobs: run php artisan migrate first, or see whether db.name is the right database; "
            "if Laravel will never make the table: chasqui migrate --without-artisan\n");
    else if (!has_run && !has_columns)
        buf_adds(
            &l->refused,
            "Laravel's own migration of the robots' columns (2026_02_02_..., add_robot_worker_fields_to_portal_jobs_table) has not run: run php "
            "artisan migrate first, it would fail on columns that are there already (1060); if it will never run: chasqui migrate --without-artisan\n");
    return DB_OK;
}

/* Laravel's `prefix` gives its tables other names. */
static enum db_rc prefix_look(struct db *db, struct laravel *l)
{
    if (l->was_there || l->is_ours)
        return DB_OK;
    TRY(db_query(
        db,
        "SELECT t.TABLE_NAME FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_NAME LIKE '_%portal\\\\_jobs' AND 2 = "
        "(SELECT COUNT(*) FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME = t.TABLE_NAME AND "
        "c.COLUMN_NAME IN ('company_id', 'portal'))",
        ""));
    while (db_next(db))
        buf_addf(
            &l->refused,
            "it has %s, but no portal_jobs: Laravel's connection has a table prefix, which Chasqui does not know; rename the table, or give the model "
            "PortalJob a connection without prefix\n",
            db_str(db, 0, NULL));
    return DB_OK;
}

/* What may refuse a row, or goes with one. */
static enum db_rc notes_look(struct db *db, struct laravel *l)
{
    if (!l->was_there)
        return DB_OK;
    TRY(db_query(
        db,
        "SELECT CONCAT('foreign key ', k.CONSTRAINT_NAME, ': ', k.COLUMN_NAME, ' must be in ', k.REFERENCED_TABLE_NAME, '; a job of another one is "
        "refused (refused_by_database)') FROM information_schema.KEY_COLUMN_USAGE k WHERE k.TABLE_SCHEMA = DATABASE() AND k.TABLE_NAME = 'portal_jobs' "
        "AND k.REFERENCED_TABLE_NAME IS NOT NULL UNION ALL SELECT CONCAT('foreign key of ', k.TABLE_NAME, '.', k.COLUMN_NAME, ' points at portal_jobs: its rows are "
        "never deleted here') FROM information_schema.KEY_COLUMN_USAGE k WHERE k.REFERENCED_TABLE_SCHEMA = DATABASE() AND k.REFERENCED_TABLE_NAME = "
        "'portal_jobs' UNION ALL SELECT CONCAT('trigger ', TRIGGER_NAME, ' (', ACTION_TIMING, ' ', EVENT_MANIPULATION, ') runs with each row that is "
        "written here; what it refuses is refused for good') FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND "
        "EVENT_OBJECT_TABLE = 'portal_jobs' UNION ALL SELECT CONCAT('CHECK ', CONSTRAINT_NAME, ': ', LEFT(CHECK_CLAUSE, 200)) FROM "
        "information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() AND TABLE_NAME = 'portal_jobs' AND LEVEL = 'Table'",
        ""));
    while (db_next(db))
        buf_addf(&l->notes, "%s\n", db_str(db, 0, NULL));
    return DB_OK;
}

enum db_rc laravel_look(struct db *db, struct laravel *l)
{
    buf_adds(&l->refused, "");
    buf_adds(&l->notes, "");
    TRY(artisan_look(db, l));
    TRY(prefix_look(db, l));
    return notes_look(db, l);
}

enum db_rc laravel_count(struct db *db, struct laravel *l)
{
    TRY(db_query(db, "SELECT COUNT(*) FROM (SELECT 1 FROM portal_jobs LIMIT ?) t", "u",
                 (uint64_t)ROWS_COUNTED_MAX));
    l->rows = db_next(db) ? db_u64(db, 0) : 0;
    return DB_OK;
}

static const char *became(const struct laravel *l)
{
    return !l->was_there ? "made" : l->is_ours ? "kept" : "completed";
}

void laravel_print(const struct laravel *l)
{
    const char *more = l->rows == ROWS_COUNTED_MAX ? " or more" : "";
    if (!l->was_there)
        printf("; portal_jobs was made new: if Laravel has one already, db.name is another database");
    else if (!l->is_ours)
        printf("; portal_jobs is Laravel's, it was completed and its %llu%s rows are as they were",
               (unsigned long long)l->rows, more);
    else
        printf("; portal_jobs has %llu%s rows", (unsigned long long)l->rows, more);
    fflush(stdout);
    for (const char *at = l->notes.data; *at;) {
        size_t len = strcspn(at, "\n");
        plain_line(stderr, "note: %.*s", (int)len, at);
        at += len + (at[len] == '\n');
    }
}

void laravel_jv(const struct laravel *l, struct jv *body)
{
    struct jv *table = jv_new_object(), *notes = jv_new_array();
    for (const char *at = l->notes.data; *at;) {
        char line[600];
        size_t len = strcspn(at, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)len, at);
        jv_push_str(notes, line);
        at += len + (at[len] == '\n');
    }
    jv_set_str(table, "was", became(l));
    jv_set_int(table, "rows", (int64_t)l->rows);
    jv_set(table, "notes", notes);
    jv_set(body, "portal_jobs", table);
}

void laravel_free(struct laravel *l)
{
    buf_free(&l->refused);
    buf_free(&l->notes);
}
