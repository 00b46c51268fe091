/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* What a refusal is about: table, column and constraint, out of the server's words and our statement. */
#include "db/db_error.h"

#include "tests/unit/test.h"

TEST(test_what_it_is_about)
{
    static const struct {
        unsigned number;
        const char *message, *sql, *table, *column, *constraint;
    } rows[] = {
        {1054, "Unknown column 'j.batch_id' in 'WHERE'",
         "SELECT 1 FROM chasqui_batches b WHERE EXISTS (SELECT 1 FROM portal_jobs j WHERE j.batch_id = b.id)",
         "portal_jobs", "batch_id", ""},
        {1054, "Unknown column 'j.status' in 'SET'",
         "UPDATE portal_jobs j JOIN chasqui_jobs q ON q.job_id = j.id SET j.status = 'done'", "portal_jobs",
         "status", ""},
        {1054, "Unknown column 'priority' in 'INSERT INTO'", "INSERT INTO portal_jobs (priority) VALUES (?)",
         "portal_jobs", "priority", ""},
        {1054, "Unknown column 'x.y' in 'SELECT'", "SELECT y FROM chasqui_jobs", "chasqui_jobs", "y", ""},
        {1054, "Unknown column 's.x' in 'ON'",
         "SELECT s.x FROM chasqui_jobs q LEFT JOIN chasqui_sessions AS s ON s.x = 1", "chasqui_jobs", "x", ""},
        {1146, "Table 'db.portal_jobs' doesn't exist", "SELECT 1 FROM chasqui_jobs q JOIN portal_jobs j",
         "portal_jobs", "", ""},
        {4025, "CONSTRAINT `never_six` failed for `db`.`portal_jobs`", "UPDATE portal_jobs SET status = ?",
         "portal_jobs", "", "never_six"},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct db_refusal r;
        db_refusal_read(&r, rows[i].number, rows[i].message, rows[i].sql);
        assert_string_equal(r.table, rows[i].table);
        assert_string_equal(r.column, rows[i].column);
        assert_string_equal(r.constraint, rows[i].constraint);
    }
}

TEST_MAIN(NULL, NULL)
