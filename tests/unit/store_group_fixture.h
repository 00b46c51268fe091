/* SPDX-License-Identifier: MIT */
/* store_group_fixture.h - what happens to a group that is written together: a company that another transaction holds, a connection that
 * is killed at COMMIT. After store_fixture.h. */
#ifndef CHASQUI_TESTS_STORE_GROUP_FIXTURE_H
#define CHASQUI_TESTS_STORE_GROUP_FIXTURE_H

#include "tests/unit/store_fixture.h"

#include <pthread.h>

/* A transaction of another connection that holds the epoch of a company. */
static inline struct db *epoch_held(uint64_t company)
{
    uint64_t epoch;
    struct db *other = db_new(&conf);
    assert_int_equal(db_ready(other), DB_OK);
    assert_int_equal(db_begin(other), DB_OK);
    assert_int_equal(epoch_lock(other, company, "acme", &epoch), DB_OK);
    return other;
}

static inline void epoch_let_go(struct db *other)
{
    assert_int_equal(db_end(other, false), DB_OK);
    db_destroy(&other);
}

/* ---- killed at COMMIT --------------------------------------------------------------------------------------- */

struct killed {
    store_fn *fn;
    void *op;
};

static inline void *killed_run(void *arg)
{
    struct killed *k = arg;
    k->fn(db, k->op);
    return NULL;
}

static uint64_t killed_ms; /* how long the last one took */

static inline void killed_at_commit(store_fn *fn, void *op)
{
    static const char *const stages[] = {"BACKUP STAGE START", "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL",
                                         "BACKUP STAGE BLOCK_COMMIT"};
    struct killed k = {fn, op};
    pthread_t thread;
    char sql[50];
    int64_t at_commit = 0;
    assert_int_equal(db_query(db, "SELECT CONNECTION_ID()", ""), DB_OK);
    assert_true(db_next(db));
    uint64_t id = db_u64(db, 0), began_ms = clock_ms();
    for (unsigned i = 0; i < 4; i++)
        sql_fine(db_run(look, stages[i], strlen(stages[i])));
    assert_int_equal(pthread_create(&thread, NULL, killed_run, &k), 0);
    for (uint64_t until = clock_ms() + 20000; at_commit != 1 && clock_ms() < until;)
        at_commit = number_of(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ? AND INFO = 'COMMIT'", "u", id);
    assert_int_equal(at_commit, 1);
    sql_fine(db_run(look, sql, (size_t)snprintf(sql, sizeof(sql), "KILL %llu", (unsigned long long)id)));
    sql_fine(db_run(look, "BACKUP STAGE END", 16));
    pthread_join(thread, NULL);
    killed_ms = clock_ms() - began_ms;
}

/* Runs an op whose connection is killed while the server works on its COMMIT. What was not done is done again by db_tx() if all of that took
 * less than a second: a busy machine may need more than one turn to be so quick. `its_rc`: of the op, or of one of its group. */
static inline void run_killed(store_fn *fn, void *op, const enum store_rc *its_rc)
{
    for (unsigned turn = 0; turn < 20; turn++) {
        killed_at_commit(fn, op);
        if (*its_rc != STORE_DOWN || killed_ms < 1000)
            break;
    }
}

#endif
