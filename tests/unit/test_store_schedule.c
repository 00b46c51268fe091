/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_schedule.c - recurring batches in a real database: once a time, whole whatever happens, and what was missed. */
#include "tests/unit/store_plan.h"

#include "db/schedule_sql.h"
#include "dispatcher/store/store_schedule.h"

#include <pthread.h>

static struct action login_acme = {.name = (char[]){"acme.login"}, .session = ACTION_CREATE};
static struct action_table actions = {&login_acme, 1};

/* A schedule whose next time was `late_s` ago, for `items` companies from 1 on. `cron` NULL: each day at that time, so that no other one comes
 * while a test runs. */
static uint64_t schedule_make(const char *name, const char *cron, int64_t late_s, uint64_t items)
{
    exec_sql(
        "INSERT INTO chasqui_schedules (name, cron, portal, action, priority, callback_url, actor, next_at, created_at) VALUES (?, ?, "
        "'acme', 'acme.login', 7, 'https://a.example/', 'cli:test', FROM_UNIXTIME(UNIX_TIMESTAMP(NOW(6)) DIV 60 * 60 - ?), NOW(6))",
        "ssi", name, cron ? cron : "", late_s);
    uint64_t id = db_insert_id(look);
    if (!cron)
        exec_sql(
            "UPDATE chasqui_schedules SET cron = CONCAT(MINUTE(next_at), ' ', HOUR(next_at), ' * * *') WHERE id = ?",
            "u", id);
    if (items)
        exec_sql(
            "INSERT INTO chasqui_schedule_items (schedule_id, idx, company_id, round, params) SELECT ?, seq - 1, seq, 0, IF(seq = 1, "
            "'sealed!', NULL) FROM seq_1_to_100000 WHERE seq <= ?",
            "uu", id, items);
    return id;
}

static struct store_schedule_begin begin_op(void)
{
    return (struct store_schedule_begin){.holder = "d1", .grace_s = 3600, .actions = &actions};
}

static uint64_t fill_all(void)
{
    uint64_t batch_id = 0;
    for (;;) {
        struct store_schedule_fill fill = {0};
        run_fine(store_schedule_fill, &fill);
        if (!fill.batch_id)
            return batch_id;
        batch_id = fill.batch_id;
        assert_true(fill.n <= SCHEDULE_STEP);
    }
}

static int64_t due_in(void)
{
    struct store_schedule_look op = {0};
    run_fine(store_schedule_look, &op);
    return op.due_in_ms;
}

STORE_TEST(test_nothing_is_due)
{
    struct store_schedule_begin op = begin_op();
    assert_int_equal(due_in(), -1);
    run_fine(store_schedule_begin, &op);
    assert_false(op.found);
    uint64_t id = schedule_make("later", "0 6 * * *", -7200, 1);
    assert_true(due_in() > 3500000 && due_in() <= 7200000);
    run_fine(store_schedule_begin, &op);
    assert_false(op.found);
    exec_sql("UPDATE chasqui_schedules SET enabled = 0, next_at = NULL WHERE id = ?", "u", id);
    assert_int_equal(due_in(), -1);
}

STORE_TEST(test_a_batch_is_made)
{
    struct store_schedule_begin op = begin_op();
    struct store_schedule_look looked = {0};
    uint64_t id = schedule_make("each", NULL, 0, 3);
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn) VALUES (99, 0, 1, 'queued', 1, 2, 40)",
        "");
    assert_int_equal(due_in(), 0);
    run_fine(store_schedule_begin, &op);
    assert_true(op.found && op.batch_id && !op.missed && !op.is_bad);
    assert_string_equal(op.name, "each");
    assert_text("open", "SELECT status FROM chasqui_batches WHERE id = ?", "u", op.batch_id);
    run_fine(store_schedule_look, &looked);
    assert_true(looked.is_filling);
    assert_int_equal(fill_all(), op.batch_id);
    run_fine(store_schedule_look, &looked);
    assert_false(looked.is_filling);
    assert_text(
        "running 3 7 acme.login https://a.example/ 0 41",
        "SELECT CONCAT_WS(' ', status, total, priority, action, callback_url, token_id, turn) FROM chasqui_batches WHERE id = ?",
        "u", op.batch_id);
    assert_text(
        "0:1:queued:1:2:41:sealed!,1:2:queued:1:2:42:,2:3:queued:1:2:43:",
        "SELECT GROUP_CONCAT(CONCAT_WS(':', idx, company_id, state, ready, urgency, turn, COALESCE(params, '')) ORDER BY idx) FROM "
        "chasqui_items WHERE batch_id = ?",
        "u", op.batch_id);
    assert_number(
        1,
        "SELECT COUNT(*) FROM chasqui_schedules s JOIN chasqui_schedule_runs r ON r.schedule_id = s.id WHERE s.id = ? AND "
        "s.next_at = r.run_at + INTERVAL 1 DAY",
        "u", id);
    assert_text("dispatcher:d1", "SELECT actor FROM chasqui_schedule_runs WHERE schedule_id = ? AND batch_id = ?",
                "uu", id, op.batch_id);
    run_fine(store_schedule_begin, &op);
    assert_false(op.found);
}

STORE_TEST(test_a_time_is_never_run_twice)
{
    struct store_schedule_begin op = begin_op();
    uint64_t id = schedule_make("each", NULL, 0, 1);
    run_fine(store_schedule_begin, &op);
    assert_true(op.batch_id);
    exec_sql(
        "UPDATE chasqui_schedules s JOIN chasqui_schedule_runs r ON r.schedule_id = s.id SET s.next_at = r.run_at WHERE s.id = ?",
        "u", id);
    run_fine(store_schedule_begin, &op); /* the same time again, as if the clock had been set back */
    assert_true(op.found && !op.batch_id);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_batches", "");
    assert_number(1, "SELECT COUNT(*) FROM chasqui_schedule_runs", "");
}

STORE_TEST(test_missed_times)
{
    struct store_schedule_begin op = begin_op();
    uint64_t id = schedule_make("daily", NULL, 3 * 86400, 1);
    run_fine(store_schedule_begin, &op); /* down for three days, and the fourth time is now */
    assert_true(op.found && op.batch_id && op.missed == 3);
    assert_number(3, "SELECT missed FROM chasqui_schedule_runs WHERE schedule_id = ? AND batch_id IS NULL", "u",
                  id);
    fill_all();
    exec_sql("UPDATE chasqui_schedules SET next_at = NOW() - INTERVAL 7200 SECOND WHERE id = ?", "u", id);
    run_fine(store_schedule_begin, &op); /* two hours late */
    assert_true(op.found && !op.batch_id && op.missed == 1);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_batches", "");
    assert_number(1, "SELECT next_at > NOW(6) FROM chasqui_schedules WHERE id = ?", "u", id);
}

STORE_TEST(test_what_cannot_run_is_disabled)
{
    struct store_schedule_begin op = begin_op();
    schedule_make("cron", "0 6 31 2 *", 0, 1);
    run_fine(store_schedule_begin, &op);
    assert_true(op.found && op.is_bad && !op.batch_id);
    schedule_make("action", "* * * * *", 0, 1);
    exec_sql("UPDATE chasqui_schedules SET action = 'acme.other' WHERE name = 'action'", "");
    run_fine(store_schedule_begin, &op);
    assert_true(op.found && op.is_bad && !op.batch_id);
    assert_number(2, "SELECT COUNT(*) FROM chasqui_schedules WHERE enabled = 0 AND next_at IS NULL", "");
    assert_number(
        2, "SELECT COUNT(*) FROM chasqui_audit WHERE action = 'schedule_disable' AND actor = 'dispatcher:d1'", "");
}

STORE_TEST(test_a_large_one_is_made_in_steps)
{
    struct store_schedule_begin op = begin_op();
    struct store_schedule_fill fill = {0};
    schedule_make("large", NULL, 0, 12345);
    run_fine(store_schedule_begin, &op);
    run_fine(store_schedule_fill, &fill);
    assert_true(fill.n == SCHEDULE_STEP && !fill.is_whole);
    assert_text("open", "SELECT status FROM chasqui_batches WHERE id = ?", "u", op.batch_id);
    assert_number(SCHEDULE_STEP, "SELECT COUNT(*) FROM chasqui_items WHERE ready = 1",
                  ""); /* they may run already */
    fill_all();        /* whoever goes on */
    assert_number(12345, "SELECT total FROM chasqui_batches WHERE id = ? AND status = 'running'", "u",
                  op.batch_id);
    assert_number(12345,
                  "SELECT COUNT(DISTINCT company_id) FROM chasqui_items WHERE batch_id = ? AND turn = idx + 1",
                  "u", op.batch_id);
}

STORE_TEST(test_one_that_fills_a_step_exactly)
{
    struct store_schedule_begin op = begin_op();
    schedule_make("exact", NULL, 0, SCHEDULE_STEP);
    run_fine(store_schedule_begin, &op);
    fill_all();
    assert_number(SCHEDULE_STEP, "SELECT total FROM chasqui_batches WHERE id = ? AND status = 'running'", "u",
                  op.batch_id);
}

STORE_TEST(test_a_cancelled_one_is_not_filled)
{
    struct store_schedule_begin op = begin_op();
    struct store_schedule_fill fill = {0};
    schedule_make("large", NULL, 0, 2 * SCHEDULE_STEP);
    run_fine(store_schedule_begin, &op);
    exec_sql("UPDATE chasqui_batches SET status = 'cancelled' WHERE id = ?", "u", op.batch_id);
    run_fine(store_schedule_fill, &fill);
    assert_true(fill.batch_id == op.batch_id && !fill.n && fill.is_whole);
    assert_text("cancelled", "SELECT status FROM chasqui_batches WHERE id = ?", "u", op.batch_id);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_items", "");
}

STORE_TEST(test_stored_credentials_at_run_time)
{
    struct store_schedule_begin op = begin_op();
    exec_sql(
        "INSERT INTO chasqui_credentials (company_id, portal, sealed, updated_at) SELECT seq * 3, 'acme', 'x', NOW(6) FROM seq_1_to_7000",
        "");
    exec_sql(
        "INSERT INTO chasqui_credentials (company_id, portal, sealed, updated_at) SELECT seq * 3, 'other', 'x', NOW(6) FROM seq_1_to_9000",
        "");
    uint64_t id = schedule_make("stored", NULL, 0, 0);
    exec_sql("UPDATE chasqui_schedules SET is_stored = 1 WHERE id = ?", "u", id);
    run_fine(store_schedule_begin, &op);
    fill_all();
    assert_number(7000, "SELECT total FROM chasqui_batches WHERE id = ? AND status = 'running'", "u", op.batch_id);
    assert_text(
        "0 6999 7000 3 21000 7000",
        "SELECT CONCAT_WS(' ', MIN(idx), MAX(idx), COUNT(DISTINCT idx), MIN(company_id), MAX(company_id), COUNT(DISTINCT company_id)) "
        "FROM chasqui_items WHERE batch_id = ? AND turn = idx + 1 AND company_id = 3 * (idx + 1)",
        "u", op.batch_id);
    exec_sql("DELETE FROM chasqui_credentials WHERE portal = 'acme'", "");
    exec_sql("UPDATE chasqui_schedule_runs SET run_at = run_at - INTERVAL 1 DAY", "");
    exec_sql(
        "UPDATE chasqui_schedules SET next_at = FROM_UNIXTIME(UNIX_TIMESTAMP(NOW(6)) DIV 60 * 60) WHERE id = ?",
        "u", id);
    run_fine(store_schedule_begin, &op); /* nobody's are stored: an empty batch says so */
    fill_all();
    assert_number(0, "SELECT total FROM chasqui_batches WHERE id = ? AND status = 'running'", "u", op.batch_id);
}

/* ---- many dispatchers at once ------------------------------------------------------------------------------- */

#define THREADS 4
#define SCHEDULES 30

static void *dispatch(void *arg)
{
    struct db *mine = db_new(&conf);
    bool *failed = arg;
    for (unsigned idle = 0; idle < 20 && !*failed;) {
        struct store_schedule_begin op = begin_op();
        struct store_schedule_fill fill = {0};
        store_schedule_begin(mine, &op);
        store_schedule_fill(mine, &fill);
        *failed = op.rc != STORE_OK || fill.rc != STORE_OK;
        idle = op.found || fill.batch_id ? 0 : idle + 1;
    }
    db_destroy(&mine);
    return NULL;
}

STORE_TEST(test_once_with_many_dispatchers)
{
    pthread_t thread[THREADS];
    bool failed[THREADS] = {false};
    char name[20];
    for (unsigned i = 0; i < SCHEDULES; i++) {
        snprintf(name, sizeof(name), "s%u", i);
        schedule_make(name, "* * * * *", 0, i < 2 ? 12000 : 10);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, dispatch, &failed[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        assert_false(failed[i]);
    }
    fill_all();
    assert_number(
        0,
        "SELECT COUNT(*) FROM (SELECT 1 FROM chasqui_schedule_runs GROUP BY schedule_id, run_at HAVING COUNT(*) > 1) twice",
        "");
    assert_number(
        0,
        "SELECT COUNT(*) FROM chasqui_batches b LEFT JOIN chasqui_schedule_runs r ON r.batch_id = b.id WHERE r.batch_id IS NULL",
        "");
    assert_number(
        0,
        "SELECT COUNT(*) FROM chasqui_schedules s WHERE NOT EXISTS (SELECT 1 FROM chasqui_schedule_runs r WHERE r.schedule_id = s.id)",
        "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_batches WHERE status <> 'running'", "");
    assert_number(
        0,
        "SELECT COUNT(*) FROM chasqui_batches b WHERE total <> (SELECT COUNT(*) FROM chasqui_items i WHERE i.batch_id = b.id) OR "
        "total NOT IN (10, 12000)",
        "");
}

STORE_TEST(test_plans)
{
    struct store_schedule_begin op = begin_op();
    exec_sql(
        "INSERT INTO chasqui_schedules (name, cron, portal, action, actor, next_at, created_at) SELECT CONCAT('x', seq), '0 6 * * *', 'acme', "
        "'acme.login', 'cli:test', NOW(6) + INTERVAL seq MINUTE, NOW(6) FROM seq_1_to_2000",
        "");
    exec_sql(
        "INSERT INTO chasqui_schedule_runs (schedule_id, run_at, batch_id, actor, made_at) SELECT seq, NOW(6) - INTERVAL seq MINUTE, seq + "
        "100000, 'x', NOW(6) FROM seq_1_to_5000",
        "");
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn) SELECT 50000 + seq MOD 7, seq, seq, 'queued', 1, 2, "
        "seq FROM seq_1_to_8000",
        "");
    schedule_make("due", NULL, 0, 20);
    static const char analyze[] =
        "ANALYZE TABLE chasqui_schedules, chasqui_schedule_runs, chasqui_items, chasqui_batches";
    sql_fine(db_run(look, analyze, sizeof(analyze) - 1));
    plan_begin();
    due_in();
    plan_check("store_schedule_look");
    run_fine(store_schedule_begin, &op);
    assert_true(op.batch_id);
    plan_check("store_schedule_begin");
    int64_t before = rows_begin();
    fill_all();
    assert_true(rows_read() - before < 200);
    plan_check("store_schedule_fill");
    before = rows_begin();
    due_in();
    assert_true(rows_read() - before < 20);
    plan_end();
}

TEST_MAIN(server_start, server_stop)
