/* SPDX-License-Identifier: MIT */
/* store_plan.h - how the server runs the statements of an op: its plans, and how many rows it reads. After store_fixture.h. */
#ifndef CHASQUI_TESTS_STORE_PLAN_H
#define CHASQUI_TESTS_STORE_PLAN_H

#include "tests/unit/store_fixture.h"

#define PLAN_STATEMENTS_MAX 60
#define PLAN_STATEMENTS(which)                                                                                             \
    "SELECT DISTINCT argument FROM mysql.general_log WHERE command_type = 'Execute' AND thread_id <> CONNECTION_ID() AND " \
    "argument NOT LIKE '%general_log%' AND " which " LIMIT 60"

/* The server writes every statement down, from now on or no more. */
static inline void statements_log(bool is_on)
{
    const char *sql =
        is_on ? "SET GLOBAL log_output = 'TABLE', GLOBAL general_log = 1" : "SET GLOBAL general_log = 0";
    sql_fine(db_run(look, "TRUNCATE mysql.general_log", 26));
    sql_fine(db_run(look, sql, strlen(sql)));
}

/* Explains each statement that `find` finds in the log, which it then forgets: none reads a whole table, and none sorts unless it
 * may. `may_read_small`: the robots, always all of them, and the one row of a pause may be read in any way. */
static inline void statements_explain(const char *what, const char *find, bool may_read_small, bool may_sort)
{
    char *statement[PLAN_STATEMENTS_MAX];
    unsigned n = 0, rows = 0;
    sql_fine(db_query(look, find, ""));
    while (n < PLAN_STATEMENTS_MAX && db_next(look))
        statement[n++] = strdup(db_str(look, 0, NULL));
    if (!n)
        fail_msg("%s: no statement was written down", what);
    for (unsigned i = 0; i < n; i++) {
        char *sql = malloc(strlen(statement[i]) + 10);
        sprintf(sql, "EXPLAIN %s", statement[i]);
        for (char *at = sql; (at = strchr(at, '{'));
             at++) /* a byte of a digest: with it the text would name a token of the shape */
            *at = '[';
        sql_fine(db_query(look, sql, ""));
        while (db_next(look)) {
            const char *table = db_str(look, 2, NULL), *type = db_str(look, 3, NULL),
                       *extra = db_str(look, 9, NULL);
            bool is_derived = table && *table == '<'; /* <derived2>: what a bounded subquery found */
            rows++;
            if (may_read_small && table &&
                (is_derived || strcmp(table, "r") == 0 || strcmp(table, "p") == 0 ||
                 strncmp(table, "chasqui_pause", 13) == 0))
                continue;
            if (type && strcmp(type, "ALL") == 0 && !is_derived)
                fail_msg("%s reads all of %s: %s", what, table ? table : "?", statement[i]);
            if (!may_sort && extra && strstr(extra, "filesort"))
                fail_msg("%s sorts %s: %s", what, table ? table : "?", statement[i]);
        }
        free(sql);
        free(statement[i]);
    }
    assert_true(rows >= n);
    sql_fine(db_run(look, "TRUNCATE mysql.general_log", 26));
}

/* Every statement since the log was begun or looked at. (One that the server prepares anew is written down with its question
 * marks: run an op twice.) */
static inline void explained(const char *what, bool may_sort)
{
    statements_explain(
        what,
        PLAN_STATEMENTS(
            "argument REGEXP '^(SELECT|UPDATE|DELETE)' AND argument NOT LIKE '%?%' AND argument NOT LIKE '%information_schema%'"),
        true, may_sort);
}

/* As statements_log(true). With its values the server writes only statements that are prepared from now on: the connection is a new
 * one. */
static inline void plan_begin(void)
{
    statements_log(true);
    db_destroy(&db);
    db = db_new(&conf);
}

/* Every SELECT written down since plan_begin(). */
static inline void plan_check(const char *what)
{
    statements_explain(
        what,
        PLAN_STATEMENTS(
            "argument LIKE 'SELECT%' AND argument NOT LIKE '%information_schema%' AND argument NOT LIKE '%= ?%' AND "
            "argument NOT LIKE '%> ?%'"),
        false, false);
}

static inline void plan_end(void)
{
    statements_log(false);
}

/* Rows that the connection under test has read so far; see rows_begin(). */
static inline int64_t rows_read(void)
{
    sql_fine(db_query(
        db,
        "SELECT CAST(SUM(VARIABLE_VALUE) AS INT) FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME IN "
        "('Handler_read_key', 'Handler_read_first', 'Handler_read_last', 'Handler_read_next', 'Handler_read_prev', "
        "'Handler_read_rnd', 'Handler_read_rnd_next')",
        ""));
    return db_next(db) ? db_i64(db, 0) : -1;
}

/* What rows_read() is compared with. A connection that has just been made has looked at the shape of Laravel's table, and looks at it again,
 * which reads rows too, only after seconds. */
static inline int64_t rows_begin(void)
{
    db_disconnect(db);
    return rows_read();
}

#endif
