/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_batch_course.c - how a batch goes: when its items ended, what its robots had of it, what takes longest; of a large one a sample. */
#include "tests/unit/store_queue_fixture.h"
#include "tests/unit/store_plan.h"

#include "common/jv.h"

#define BASE_MS 1790000000000ll /* unix */

static struct jv *course_of(uint64_t batch_id)
{
    struct store_batch op = {.batch_id = batch_id, .viewer = {.all = true}, .with_course = true};
    enum jv_bad why;
    run_fine(store_batch, &op);
    assert_true(op.found);
    struct jv *body = jv_parse(op.json.data, op.json.len, &why);
    assert_non_null(body);
    buf_free(&op.json);
    struct jv *course = jv_copy(jv_get(body, "course"));
    assert_non_null(course);
    jv_free(body);
    return course;
}

static int64_t int_of(const struct jv *v, const char *key)
{
    int64_t n = -1;
    jv_int(jv_get(v, key), &n);
    return n;
}

static int64_t sum_of(const struct jv *list)
{
    int64_t sum = 0, n;
    for (size_t i = 0; i < jv_len(list); i++)
        sum += jv_int(jv_at(list, i), &n) ? n : 0;
    return sum;
}

static void assert_dump(const struct jv *v, const char *want)
{
    char *got = jv_dump(v, NULL);
    assert_string_equal(got, want);
    free(got);
}

/* The jobs of items idx from <= idx < to: all ended, each `s` seconds after the one before, on r1 and r2 in turn. */
static void ended(uint64_t batch_id, unsigned from, unsigned to, const char *state, int64_t began_s,
                  unsigned each_ms, int64_t robot_ms)
{
    exec_sql(
        "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal, batch_id, idx) SELECT idx + 1 + batch_id * 1000000, CONCAT('U-', batch_id, '-', idx), 'login', "
        "company_id, 'acme', batch_id, idx FROM chasqui_items WHERE batch_id = ? AND idx >= ? AND idx < ?",
        "uuu", batch_id, (uint64_t)from, (uint64_t)to);
    exec_sql(
        "INSERT INTO portal_jobs (id, job_uid, company_id, portal, action, status, attempts, batch_id, worker, error, created_at) SELECT job_id, job_uid, company_id, "
        "'acme', 'acme.login', ?, 1, batch_id, IF(idx % 2, 'r2', 'r1'), IF(? = 'failed', 'robot_error', NULL), NOW() FROM chasqui_jobs WHERE batch_id = ? AND idx >= "
        "? AND idx < ?",
        "ssuuu", state, state, batch_id, (uint64_t)from, (uint64_t)to);
    exec_sql(
        "UPDATE chasqui_items SET state = ?, ready = NULL, job_id = idx + 1 + batch_id * 1000000 WHERE batch_id = ? AND idx >= ? AND idx < ?",
        "suuu", state, batch_id, (uint64_t)from, (uint64_t)to);
    exec_sql(
        "INSERT INTO chasqui_job_events (job_id, at, event, worker) SELECT job_id, FROM_UNIXTIME(? + (idx - ?) * ? / 1000), 'started', IF(idx % 2, 'r2', 'r1') FROM "
        "chasqui_jobs WHERE batch_id = ? AND idx >= ? AND idx < ?",
        "iuuuuu", BASE_MS / 1000 + began_s, (uint64_t)from, (uint64_t)each_ms, batch_id, (uint64_t)from,
        (uint64_t)to);
    exec_sql(
        "INSERT INTO chasqui_job_events (job_id, at, event, worker, attempt, outcome, queued_ms, robot_ms) SELECT job_id, FROM_UNIXTIME(? + (idx - ?) * ? / 1000 + ? / 1000), ?, "
        "IF(idx % 2, 'r2', 'r1'), 1, IF(? = 'done', 'done', IF(idx % 4, 'robot', 'refused')), 5, ? * (1 + idx % 2) FROM chasqui_jobs WHERE batch_id = ? AND idx >= ? AND idx < ?",
        "iuuissiuuu", BASE_MS / 1000 + began_s, (uint64_t)from, (uint64_t)each_ms, robot_ms, state, state,
        robot_ms, batch_id, (uint64_t)from, (uint64_t)to);
}

static void over(uint64_t batch_id, int64_t at_s)
{
    exec_sql("UPDATE chasqui_batches SET status = 'done', finished_at = FROM_UNIXTIME(?) WHERE id = ?", "iu",
             BASE_MS / 1000 + at_s, batch_id);
}

STORE_TEST(test_when_its_items_ended)
{
    uint64_t id = batch_make(12, 1);
    ended(id, 0, 8, "done", 0, 10000, 2000);   /* at 2, 12, 22 ... 72 s */
    ended(id, 8, 11, "failed", 90, 1000, 500); /* at 90.5, 91.5, 92.5 s */
    exec_sql(
        "UPDATE chasqui_items SET state = 'done', ready = NULL, job_id = 4711 WHERE batch_id = ? AND idx = 11",
        "u", id); /* its company had a session */
    exec_sql(
        "UPDATE portal_jobs SET status = 'failed', error = 'session_lost', finished_at = NOW() WHERE batch_id = ? AND status = 'done'",
        "u", id); /* later */
    over(id, 100);
    struct jv *course = course_of(id);
    assert_int_equal(int_of(course, "step_s"), 2);
    assert_int_equal(int_of(course, "n"), 51);
    assert_string_equal(jv_str(jv_get(course, "from")), "2026-09-21T14:13:20.000Z");
    assert_int_equal(sum_of(jv_get(course, "done")), 8);
    assert_int_equal(sum_of(jv_get(course, "failed")), 3);
    int64_t n = 0;
    assert_true(jv_int(jv_at(jv_get(course, "failed"), 45), &n) && n == 2);
    assert_int_equal(int_of(course, "looked"), 12);
    assert_int_equal(int_of(course, "untimed"), 1);
    assert_dump(jv_get(course, "sampled"), "false");
    assert_dump(jv_get(course, "robots"),
                "[{\"worker\":\"r2\",\"attempts\":5,\"done\":4,\"failed\":1,\"faults\":1,\"login_p50_ms\":4000},"
                "{\"worker\":\"r1\",\"attempts\":6,\"done\":4,\"failed\":2,\"faults\":1,\"login_p50_ms\":2000}]");
    const struct jv *tail = jv_get(course, "tail"), *first = jv_at(tail, 0);
    assert_int_equal(jv_len(tail), 10);
    assert_int_equal(int_of(first, "index"), 0);
    assert_int_equal(int_of(first, "took_ms"), 2000);
    assert_dump(jv_get(first, "error"), "null");
    assert_string_equal(jv_str(jv_get(jv_at(tail, 9), "error")), "robot_error");
    jv_free(course);
}

STORE_TEST(test_one_that_was_put_back_counts_once)
{
    uint64_t id = batch_make(2, 1);
    ended(id, 0, 2, "failed", 0, 1000, 1000);
    uint64_t job = 1 + id * 1000000;
    exec_sql(
        "INSERT INTO chasqui_job_events (job_id, at, event, detail) VALUES (?, FROM_UNIXTIME(?), 'queued', 'put back by hand')",
        "ui", job, BASE_MS / 1000 + 7200);
    exec_sql(
        "INSERT INTO chasqui_job_events (job_id, at, event, worker) VALUES (?, FROM_UNIXTIME(?), 'started', 'r3')",
        "ui", job, BASE_MS / 1000 + 7201);
    exec_sql(
        "INSERT INTO chasqui_job_events (job_id, at, event, worker, attempt, outcome, robot_ms) VALUES (?, FROM_UNIXTIME(?), 'logged_in', 'r3', 1, 'done', 900)",
        "ui", job, BASE_MS / 1000 + 7202);
    exec_sql("INSERT INTO chasqui_job_events (job_id, at, event) VALUES (?, FROM_UNIXTIME(?), 'done')", "ui", job,
             BASE_MS / 1000 + 7210); /* after its steps */
    exec_sql("UPDATE chasqui_items SET state = 'done' WHERE batch_id = ? AND idx = 0", "u", id);
    over(id, 7210);
    struct jv *course = course_of(id);
    assert_int_equal(int_of(course, "step_s"), 300); /* two hours, from the first attempt on */
    assert_int_equal(sum_of(jv_get(course, "done")), 1);
    assert_int_equal(sum_of(jv_get(course, "failed")), 1);
    assert_int_equal(jv_len(jv_get(course, "robots")), 3);
    assert_int_equal(int_of(jv_at(jv_get(course, "tail"), 0), "took_ms"), 9000); /* not the hours between */
    jv_free(course);
}

STORE_TEST(test_what_runs_longest)
{
    uint64_t id = batch_make(40, 1);
    struct jv *course = course_of(id);
    assert_int_equal(int_of(course, "n"), 0);
    assert_dump(jv_get(course, "from"), "null");
    assert_dump(jv_get(course, "tail"), "[]");
    jv_free(course);
    ended(id, 0, 5, "done", 0, 1000, 1000);
    ended(id, 5, 20, "running", 100, 1000, 1000);
    ended(id, 20, 22, "retrying", 50, 1000, 1000);
    exec_sql("DELETE FROM chasqui_job_events WHERE event = 'running'", "");
    course = course_of(id);
    const struct jv *tail = jv_get(course, "tail");
    assert_int_equal(jv_len(tail), 10);
    assert_int_equal(int_of(jv_at(tail, 0), "index"), 20);
    assert_string_equal(jv_str(jv_get(jv_at(tail, 0), "status")), "retrying");
    assert_int_equal(int_of(jv_at(tail, 2), "index"), 5);
    assert_true(int_of(jv_at(tail, 2), "took_ms") > 1000);
    assert_int_equal(int_of(jv_at(tail, 2), "job_id"), 6 + (int64_t)id * 1000000);
    assert_true(int_of(course, "n") <= 60);
    jv_free(course);
}

/* It costs the database no more than a small one does, and says what it is. */
STORE_TEST(test_of_a_large_one_a_sample_is_looked_at)
{
    uint64_t id = batch_make(1, 1);
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, urgency, turn) SELECT ?, seq, seq, 'queued', 4, seq FROM seq_1_to_29999",
        "u", id);
    exec_sql("UPDATE chasqui_batches SET total = 30000 WHERE id = ?", "u", id);
    ended(id, 0, 27000, "done", 0, 100, 1000);
    ended(id, 27000, 30000, "failed", 2700, 100, 1000);
    over(id, 3001);
    sql_fine(db_run(look, "ANALYZE TABLE chasqui_items, chasqui_jobs, chasqui_job_events", 61));
    struct jv *course = course_of(id);
    assert_dump(jv_get(course, "sampled"), "true");
    assert_int_equal(int_of(course, "looked"), 5000);
    assert_int_equal(int_of(course, "n"), 51);
    assert_in_range(sum_of(jv_get(course, "done")), 26800, 27200);
    assert_in_range(sum_of(jv_get(course, "failed")), 2800, 3200);
    assert_in_range(int_of(jv_at(jv_get(course, "robots"), 0), "done"), 12800, 14200);
    jv_free(course);
    plan_begin();
    int64_t before = rows_begin();
    jv_free(course_of(id));
    assert_true(rows_read() - before < 40000);
    explained("batch_course_read", true);
    plan_end();
}

TEST_MAIN(server_start, server_stop)
