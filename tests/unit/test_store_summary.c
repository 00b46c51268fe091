/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* What operators see of the database, and how robots are emptied: in a real one, with many rows. */
#include "tests/unit/store_fixture.h"

#include "tests/unit/store_plan.h"

#include "common/clock.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/store/store_depth.h"
#include "dispatcher/store/store_drain.h"
#include "dispatcher/store/store_summary.h"

#define READY 100300

static int64_t number_at(const struct jv *v, const char *key)
{
    int64_t n = -1;
    jv_int(jv_get(v, key), &n);
    return n;
}

static bool is_capped(const struct jv *count)
{
    bool capped = false;
    jv_bool(jv_get(count, "capped"), &capped);
    return capped;
}

static struct jv *summary(int64_t *took_ms)
{
    struct store_summary op = {.rc = STORE_DOWN};
    run_fine(store_summary, &op);
    assert_non_null(op.json);
    if (took_ms)
        *took_ms = op.took_ms;
    return op.json;
}

STORE_TEST(test_an_empty_database)
{
    struct jv *all = summary(NULL), *queue = jv_get(all, "queue");
    assert_int_equal(jv_len(jv_get(queue, "ready")), 0);
    assert_int_equal(jv_type(jv_get(queue, "oldest_age_ms")), JV_NULL);
    assert_int_equal(number_at(jv_get(queue, "scheduled"), "n"), 0);
    assert_int_equal(jv_type(jv_get(queue, "paused")), JV_NULL);
    assert_int_equal(jv_len(jv_get(all, "robots")), 3);
    jv_free(all);
}

STORE_TEST(test_counts_stop_at_a_cap_and_say_so)
{
    int64_t took_ms;
    exec_sql(
        "INSERT INTO chasqui_batches (id, token_id, portal, action, priority, turn, status, created_at) VALUES (1, 1, 'p', 'p.l', 5, 1, "
        "'running', NOW(6) - INTERVAL 90 SECOND), (2, 1, 'p', 'p.l', 9, 1, 'running', NOW(6)), (3, 1, 'p', 'p.l', 9, 1, 'done', NOW(6))",
        "");
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn) SELECT 1, seq, seq, 'queued', 1, 4, seq FROM "
        "seq_1_to_100300",
        "");
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn) SELECT 2, seq, seq, 'queued', 1, 0, seq FROM "
        "seq_1_to_7",
        "");
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn, due_at) SELECT 2, 100 + seq, seq, 'retrying', "
        "NULL, 0, seq, NOW(6) + INTERVAL 1 HOUR FROM seq_1_to_5",
        "");
    exec_sql("INSERT INTO chasqui_pause (one, actor, reason, since) VALUES (1, 'token:1:ana', 'night', NOW(6))",
             "");
    jv_free(summary(NULL)); /* the statements are prepared */
    struct jv *all = summary(&took_ms), *queue = jv_get(all, "queue"), *ready = jv_get(queue, "ready");
    assert_int_equal(jv_len(ready), 2);
    assert_int_equal(number_at(jv_at(ready, 0), "priority"), 9);
    assert_int_equal(number_at(jv_at(ready, 0), "n"), 7);
    assert_false(is_capped(jv_at(ready, 0)));
    assert_int_equal(number_at(jv_at(ready, 1), "priority"), 5);
    assert_int_equal(number_at(jv_at(ready, 1), "n"), DEPTH_CAP - 7);
    assert_true(is_capped(jv_at(ready, 1)));
    assert_in_range(number_at(queue, "oldest_age_ms"), 90000, 120000);
    assert_int_equal(number_at(jv_get(queue, "scheduled"), "n"), 5);
    assert_int_equal(number_at(jv_get(queue, "batches_open"), "n"), 2);
    assert_string_equal(jv_str(jv_get(jv_get(queue, "paused"), "reason")), "night");
    jv_free(all);
    for (unsigned i = 0; i < 9 && took_ms > 1000; i++) /* on a busy machine one of ten is quick enough */
        jv_free(summary(&took_ms));
    printf("a summary of %d ready items took %lld ms\n", READY, (long long)took_ms);
    assert_in_range(took_ms, 0, 1000);
}

STORE_TEST(test_single_jobs_have_an_age_too)
{
    exec_sql(
        "INSERT INTO portal_jobs (id, job_uid, company_id, portal, action, status, created_at, available_at) VALUES (900, 'U900', 1, 'p', "
        "'p.l', 'queued', NOW() - INTERVAL 1 DAY, NOW(3) - INTERVAL 5 MINUTE)",
        "");
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn, job_id) VALUES (0, 900, 1, 'queued', 1, 4, 1, 900)",
        "");
    struct jv *all = summary(NULL);
    assert_in_range(number_at(jv_get(all, "queue"), "oldest_age_ms"), 300000, 330000);
    jv_free(all);
}

static const struct jv *robot_at(const struct jv *all, const char *name)
{
    const struct jv *robots = jv_get(all, "robots");
    for (size_t i = 0; i < jv_len(robots); i++)
        if (strcmp(jv_str(jv_get(jv_at(robots, i), "name")), name) == 0)
            return jv_at(robots, i);
    return NULL;
}

static void drain(const char *name, int64_t deadline_in_ms)
{
    struct store_robot_want want = {.wanted = deadline_in_ms < 0 ? WANTED_ACTIVE : WANTED_DRAINING,
                                    .by.name = "token:1:ops",
                                    .deadline_in_ms = deadline_in_ms > 0 ? deadline_in_ms : 0};
    strcpy(want.name, name);
    run_fine(store_robot_want, &want);
    assert_true(want.found);
}

static unsigned leave(int64_t idle_ms)
{
    struct store_drain op = {.idle_ms = idle_ms, .n_candidates = 1};
    op.candidate[0].robot_id = robot[2];
    run_fine(store_drain, &op);
    return op.planned;
}

STORE_TEST(test_places_and_what_is_left_of_a_drain)
{
    session_make(1, 1, "s-1");
    session_make(2, 1, "s-2");
    credentials_store(1);
    drain("r1", 60000);
    struct jv *all = summary(NULL);
    const struct jv *one = robot_at(all, "r1"), *two = robot_at(all, "r2");
    assert_int_equal(number_at(one, "used"), 2);
    assert_int_equal(number_at(one, "left"), 2);
    assert_int_equal(number_at(one, "movable"), 1);
    assert_true(number_at(one, "drain_deadline_ms") > number_at(one, "drain_since_ms"));
    assert_int_equal(number_at(two, "used"), 0);
    assert_int_equal(jv_type(jv_get(two, "left")), JV_ABSENT);
    jv_free(all);
}

/* Who leaves a draining robot: idle ones, all at the deadline; only with credentials; only where there is room. */
STORE_TEST(test_who_leaves)
{
    struct session_row first = session_make(1, 1, "s-1"), second = session_make(2, 1, "s-2");
    credentials_store(1);
    assert_int_equal(leave(0), 0); /* nobody is asked to */
    drain("r1", 0);
    assert_int_equal(leave(60000), 0); /* in use */
    exec_sql("UPDATE chasqui_sessions SET last_activity_at = NOW(6) - INTERVAL 2 MINUTE", "");
    assert_int_equal(leave(60000), 1);
    assert_int_equal(leave(60000), 0); /* it is planned */
    assert_number((int64_t)first.job_id, "SELECT job_id FROM chasqui_session_migrations WHERE reason = 'drain'",
                  "");
    drain("r1", -1); /* wanted again: it stays */
    assert_number(0, "SELECT COUNT(*) FROM chasqui_session_migrations", "");
    credentials_store(2);
    exec_sql("UPDATE chasqui_sessions SET last_activity_at = NOW(6)", "");
    drain("r1", 1);
    session_make(3, 2, "s-3");
    exec_sql("UPDATE chasqui_robots SET capacity = 2 WHERE id = ?", "u", (uint64_t)robot[2]);
    usleep(5000);                      /* the deadline is over */
    assert_int_equal(leave(60000), 1); /* there is one place */
    assert_int_equal(leave(60000), 0);
    (void)second;
}

/* What an operator wished and found no room costs nothing: it is forgotten. */
STORE_TEST(test_a_wish_that_found_no_room_is_forgotten)
{
    session_make(1, 1, "s-1");
    credentials_store(1);
    exec_sql("UPDATE chasqui_sessions SET last_activity_at = NOW(6) - INTERVAL 2 MINUTE", "");
    drain("r1", 0);
    assert_int_equal(leave(60000), 1);
    exec_sql("UPDATE chasqui_session_migrations SET created_at = NOW(6) - INTERVAL 1 HOUR", "");
    struct store_migrate_claim claim = {.lease = lease_make(), .timeout_ms = 1000, .max = 4};
    run_fine(store_migrate_claim, &claim);
    assert_int_equal(claim.timed_out, 0);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_session_migrations", "");
    assert_number(1, "SELECT COUNT(*) FROM chasqui_sessions WHERE state = 'active'", "");
}

/* It reads what it counts, by index, and little else. */
STORE_TEST(test_what_it_reads)
{
    exec_sql(
        "INSERT INTO chasqui_batches (id, token_id, portal, action, priority, turn, status, created_at, finished_at) SELECT seq, 1, 'p', 'p.l', "
        "5, 1, IF(seq % 50, 'done', 'running'), NOW(6), IF(seq % 50, NOW(6), NULL) FROM seq_1_to_3000",
        "");
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn) SELECT 50, seq, seq, 'queued', IF(seq % 2, 1, "
        "NULL), 4, seq FROM seq_1_to_20000",
        "");
    static const char analyze[] = "ANALYZE TABLE chasqui_items, chasqui_batches, chasqui_places, chasqui_sessions";
    sql_fine(db_run(look, analyze, sizeof(analyze) - 1));
    jv_free(summary(NULL)); /* its tables are open */
    int64_t before = rows_begin(), own = rows_read() - before;
    struct jv *all = summary(NULL);
    int64_t read = rows_read() - before - 2 * own;
    assert_int_equal(number_at(jv_at(jv_get(jv_get(all, "queue"), "ready"), 0), "n"), 10000);
    jv_free(all);
    assert_in_range(read, 10000, 2 * 10000 + 500); /* a bounded subquery's rows are read twice */
}

TEST_MAIN(server_start, server_stop)
