/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_history.c - minutes are summed up once and whole, and a day stands beside the day before. */
#include "tests/unit/store_fixture.h"

#include "dispatcher/store/store_history.h"

#include <time.h>

static int64_t base_s; /* the middle of the minute in which a test began */

/* `n` log-ins of company 1 that ended `ago_s` seconds before the test began. */
static void attempts_add(unsigned n, const char *worker, const char *outcome, int64_t ago_s, int64_t wait_ms,
                         int64_t robot_ms)
{
    for (unsigned i = 0; i < n; i++)
        exec_sql(
            "INSERT INTO chasqui_job_events (job_id, at, event, worker, attempt, outcome, queued_ms, robot_ms) VALUES (1, FROM_UNIXTIME(?), 'done', "
            "?, 1, ?, ?, ?)",
            "issii", base_s - ago_s, worker, outcome, wait_ms, robot_ms);
}

static void begin(int64_t ago_s)
{
    base_s = (int64_t)time(NULL) / 60 * 60 + 30;
    exec_sql("DELETE FROM chasqui_history", "");
    exec_sql("DELETE FROM chasqui_job_events", "");
    exec_sql(
        "INSERT IGNORE INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal) VALUES (1, 'U-1', 'login', 1, 'acme')",
        "");
    exec_sql("UPDATE chasqui_history_at SET minute = FROM_UNIXTIME(?), event_id = 0", "i", base_s - 30 - ago_s);
}

static unsigned sum_all(void)
{
    struct store_history_sum op = {.minutes = 0};
    unsigned steps = 0;
    do
        run_fine(store_history_sum, &op);
    while (op.is_behind && ++steps < 1000);
    return steps;
}

static struct jv *look_at(int64_t range_s, const char *worker)
{
    struct store_history op = {.range_s = range_s};
    enum jv_bad why;
    snprintf(op.worker, sizeof(op.worker), "%s", worker);
    run_fine(store_history, &op);
    struct jv *body = jv_parse(op.json.data, op.json.len, &why);
    assert_non_null(body);
    buf_free(&op.json);
    return body;
}

static int64_t number_at(const struct jv *body, const char *a, const char *b, const char *key)
{
    int64_t n = -1;
    jv_int(jv_get(jv_get(jv_get(body, a), b), key), &n);
    return n;
}

TEST(test_minutes_are_summed_up_once)
{
    begin(7200);
    attempts_add(3, "r1", "done", 3600, 100, 2000);
    attempts_add(2, "r1", "refused", 3600, 5000, 1000);
    attempts_add(1, NULL, "not_called", 3600, 0, 0);
    attempts_add(4, "r1", "done", 600, 100, 2000);
    attempts_add(5, "r1", "done", -120, 100, 2000); /* a minute that is not over */
    exec_sql("INSERT INTO chasqui_job_events (job_id, at, event) VALUES (1, FROM_UNIXTIME(?), 'running')", "i",
             base_s - 600);
    sum_all();
    assert_text("10", "SELECT SUM(n) FROM chasqui_history", "");
    assert_text(
        "3:3,0:3",
        "SELECT CONCAT(n, ':', wait_0, ',', wait_1, ':', robot_3) FROM chasqui_history WHERE outcome = 'done' ORDER BY minute LIMIT 1",
        "");
    assert_text("2", "SELECT wait_3 FROM chasqui_history WHERE outcome = 'refused'", "");
    assert_text("", "SELECT worker FROM chasqui_history WHERE outcome = 'not_called'", "");
    assert_int_equal(sum_all(), 0);
    assert_text("10", "SELECT SUM(n) FROM chasqui_history", "");
    exec_sql("UPDATE chasqui_job_events SET at = at - INTERVAL 420 SECOND WHERE at > FROM_UNIXTIME(?)", "i",
             base_s + 60);
    exec_sql("UPDATE chasqui_history_at SET minute = FROM_UNIXTIME(?)", "i", base_s - 30 - 420);
    sum_all();
    assert_text("15", "SELECT SUM(n) FROM chasqui_history", "");
}

TEST(test_a_silent_night_is_passed_over)
{
    begin(20 * 86400);
    attempts_add(1, "r1", "done", 19 * 86400, 1, 1);
    attempts_add(1, "r1", "done", 3600, 1, 1);
    assert_true(sum_all() < 20);
    assert_text("2", "SELECT SUM(n) FROM chasqui_history", "");
}

TEST(test_an_event_that_commits_late_is_found_by_its_time)
{
    begin(1200);
    attempts_add(1, "r1", "done", 590, 1, 1);
    attempts_add(1, "r1", "done", 610, 1, 1); /* a greater id, and earlier */
    sum_all();
    assert_text("2", "SELECT SUM(n) FROM chasqui_history", "");
}

TEST(test_a_day_beside_the_day_before)
{
    begin(30 * 3600);
    attempts_add(8, "r1", "done", 27 * 3600, 300, 2000);
    attempts_add(2, "r2", "refused", 27 * 3600, 300, 900);
    for (unsigned hour = 5; hour > 0; hour--) {
        attempts_add(4, "r1", "done", hour * 3600, 300, 2000);
        attempts_add(4, "r3", "done", hour * 3600, 300, 2200);
        attempts_add(4, "r2", "done", hour * 3600, 300, hour > 3 ? 2000 : 11000);
    }
    sum_all();
    struct jv *body = look_at(86400, "");
    assert_int_equal(number_at(body, "totals", "now", "done"), 60);
    assert_int_equal(number_at(body, "totals", "before", "attempts"), 10);
    assert_int_equal(number_at(body, "totals", "before", "refused"), 2);
    int64_t median = number_at(body, "totals", "now", "login_p50_ms");
    assert_true(median > 1000 && median <= 4000);
    const struct jv *robots = jv_get(body, "robots"), *first = jv_at(robots, 0);
    assert_int_equal(jv_len(robots), 3);
    assert_string_equal(jv_str(jv_get(first, "worker")), "r2");
    assert_text(jv_str(jv_get(first, "slow_since")),
                "SELECT DATE_FORMAT(FROM_UNIXTIME(?), '%Y-%m-%dT%H:%i:00.000Z')", "i", base_s - 3 * 3600);
    char since[30];
    snprintf(since, sizeof(since), "%s", jv_str(jv_get(first, "slow_since")));
    assert_null(jv_str(jv_get(jv_at(robots, 1), "slow_since")));
    assert_int_equal(jv_len(jv_get(jv_get(jv_get(body, "series"), "now"), "done")), 144);
    jv_free(body);
    body = look_at(86400, "r1");
    assert_int_equal(number_at(body, "totals", "now", "done"), 20);
    assert_int_equal(number_at(body, "totals", "before", "done"), 8);
    jv_free(body);
    body = look_at(604800, "");
    assert_int_equal(number_at(body, "totals", "now", "attempts"), 70);
    assert_string_equal(jv_str(jv_get(jv_at(jv_get(body, "robots"), 0), "slow_since")),
                        since); /* one rule for all */
    jv_free(body);
    exec_sql(
        "INSERT INTO chasqui_robots (name, base_url, created_at) VALUES ('r2', 'http://x', FROM_UNIXTIME(?) + INTERVAL 7200 SECOND)",
        "i", base_s - 3 * 3600);
    body = look_at(86400, "r2"); /* the name was another robot's before */
    assert_text(jv_str(jv_get(jv_at(jv_get(body, "robots"), 0), "slow_since")),
                "SELECT DATE_FORMAT(FROM_UNIXTIME(?), '%Y-%m-%dT%H:%i:%S.000Z')", "i", base_s - 3600);
    jv_free(body);
}

TEST_MAIN(server_start, server_stop)
