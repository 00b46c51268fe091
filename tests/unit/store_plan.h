/* store_plan.h - how the server runs the statements of an op: its plans, and how many rows it reads. After store_fixture.h. */
#ifndef CHASQUI_TESTS_STORE_PLAN_H
#define CHASQUI_TESTS_STORE_PLAN_H

#include "tests/unit/store_fixture.h"

#define PLAN_STATEMENTS_MAX 40

/* From now on the server writes every statement down. With its values it writes only those that are prepared from now on: the connection is
 * a new one. */
static inline void plan_begin(void)
{
    static const char on[] = "SET GLOBAL log_output = 'TABLE', GLOBAL general_log = 1", clear[] = "TRUNCATE mysql.general_log";
    sql_fine(db_run(look, on, sizeof(on) - 1));
    sql_fine(db_run(look, clear, sizeof(clear) - 1));
    db_destroy(&db);
    db = db_new(&conf);
}

/* Every SELECT written down since plan_begin() is explained: none reads a whole table, none sorts. Then forgets them. */
static inline void plan_check(const char *what)
{
    static const char clear[] = "TRUNCATE mysql.general_log";
    char *statement[PLAN_STATEMENTS_MAX];
    unsigned n = 0;
    sql_fine(db_query(look, "SELECT DISTINCT argument FROM mysql.general_log WHERE command_type = 'Execute' AND argument LIKE 'SELECT%' AND "
                            "thread_id <> CONNECTION_ID() AND argument NOT LIKE '%general_log%' AND argument NOT LIKE '%SESSION_STATUS%' AND "
                            "argument NOT LIKE '%= ?%' AND argument NOT LIKE '%> ?%'", ""));
    while (n < PLAN_STATEMENTS_MAX && db_next(look))
        statement[n++] = strdup(db_str(look, 0, NULL));
    if (!n)
        fail_msg("%s: no statement was written down", what);
    for (unsigned i = 0; i < n; i++) {
        char *sql = malloc(strlen(statement[i]) + 10);
        sprintf(sql, "EXPLAIN %s", statement[i]);
        sql_fine(db_query(look, sql, ""));
        while (db_next(look)) {
            const char *type = db_str(look, 3, NULL), *extra = db_str(look, 9, NULL), *table = db_str(look, 2, NULL);
            if (type && strcmp(type, "ALL") == 0 && (!table || *table != '<')) /* <derived2>: what a bounded subquery found */
                fail_msg("%s reads all of %s: %s", what, db_str(look, 2, NULL), statement[i]);
            if (extra && strstr(extra, "filesort"))
                fail_msg("%s sorts: %s", what, statement[i]);
        }
        free(sql);
        free(statement[i]);
    }
    sql_fine(db_run(look, clear, sizeof(clear) - 1));
}

static inline void plan_end(void)
{
    static const char off[] = "SET GLOBAL general_log = 0";
    sql_fine(db_run(look, off, sizeof(off) - 1));
}

/* Rows that the connection under test has read so far. */
static inline int64_t rows_read(void)
{
    sql_fine(db_query(db, "SELECT CAST(SUM(VARIABLE_VALUE) AS INT) FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME IN "
                          "('Handler_read_key', 'Handler_read_first', 'Handler_read_last', 'Handler_read_next', 'Handler_read_prev', "
                          "'Handler_read_rnd', 'Handler_read_rnd_next')", ""));
    return db_next(db) ? db_i64(db, 0) : -1;
}

#endif
