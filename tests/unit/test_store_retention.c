/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_retention.c - what is too old goes, and nothing else does. */
#include "tests/unit/store_plan.h"

#include "dispatcher/store/store_retention.h"

#include <pthread.h>

#define OLD_S (30 * 86400)

/* A whole pass; answers the rows it deleted, *steps what it took. */
static unsigned prune(enum prune_what what, unsigned *steps)
{
    struct store_prune op = {.what = what, .older_s = OLD_S, .deletes_rows = true};
    unsigned n = 0;
    *steps = 0;
    do {
        run_fine(store_prune, &op);
        assert_true(op.n <= 5 * PRUNE_MAX);
        n += op.n;
        assert_true(++*steps < 1000);
    } while (!op.is_end);
    return n;
}

/* `n` jobs of ours with two events each, made and ended `age_d` days ago. */
static void jobs_make(unsigned from, unsigned n, const char *status, int64_t age_d)
{
    exec_sql(
        "INSERT INTO portal_jobs (id, job_uid, company_id, portal, action, status, attempts, created_at, finished_at, updated_at) SELECT ? + "
        "seq, CONCAT('U-', ? + seq), seq, 'acme', 'login_acme', ?, 1, NOW() - INTERVAL ? DAY, NOW() - INTERVAL ? DAY, NOW() - INTERVAL ? DAY "
        "FROM seq_0_to_9999 WHERE seq < ?",
        "uusiiiu", (uint64_t)from, (uint64_t)from, status, age_d, age_d, age_d, (uint64_t)n);
    exec_sql(
        "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal) SELECT id, job_uid, 'login', company_id, portal FROM portal_jobs "
        "WHERE id >= ? AND id < ?",
        "uu", (uint64_t)from, (uint64_t)(from + n));
    exec_sql(
        "INSERT INTO chasqui_job_events (job_id, at, event) SELECT id, created_at, e.event FROM portal_jobs JOIN (SELECT 'started' AS event "
        "UNION SELECT 'done') e WHERE id >= ? AND id < ?",
        "uu", (uint64_t)from, (uint64_t)(from + n));
}

static void session_add(uint64_t job_id, const char *state, int pending, int64_t since_d)
{
    exec_sql(
        "INSERT INTO chasqui_sessions (job_id, current_job_id, company_id, portal, live, state, since, close_pending) VALUES (?, ?, ?, 'acme', "
        "IF(? IN ('opening', 'active', 'closing'), 1, NULL), ?, NOW(6) - INTERVAL ? DAY, ?)",
        "uuussii", job_id, job_id, job_id, state, state, since_d, (int64_t)pending);
}

#define assert_jobs(want)                                                                                         \
    assert_text(want, "SELECT COALESCE(GROUP_CONCAT(id ORDER BY id), 'none') FROM portal_jobs", "")

STORE_TEST(test_old_jobs_go_with_all_that_is_theirs)
{
    unsigned steps;
    jobs_make(100, 130, "done", 40);
    jobs_make(1000, 3, "failed", 10);
    session_add(101, "expired", 0, 39);
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, urgency, turn, job_id) VALUES (0, 102, 2, 'done', 4, 1, 102), (0, 1001, 2, "
        "'failed', 4, 1, 1001)",
        "");
    assert_int_equal(prune(PRUNE_JOBS, &steps), 130 * 4 + 2);
    assert_jobs("1000,1001,1002");
    assert_number(3, "SELECT COUNT(*) FROM chasqui_jobs", "");
    assert_number(6, "SELECT COUNT(*) FROM chasqui_job_events", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_sessions", "");
    assert_number(1001, "SELECT idx FROM chasqui_items", "");
    assert_int_equal(prune(PRUNE_JOBS, &steps), 0);
    assert_int_equal(steps, 1);
}

/* A child row keeps its own job's row, by whichever column it points at it, and no other one; none is tried again. */
STORE_TEST(test_rows_that_others_point_at_stay)
{
    unsigned steps;
    exec_sql(
        "CREATE TABLE by_id (job_id BIGINT UNSIGNED NOT NULL, FOREIGN KEY (job_id) REFERENCES portal_jobs (id) ON DELETE CASCADE)",
        "");
    exec_sql("CREATE INDEX uid_of_test ON portal_jobs (job_uid)", "");
    exec_sql("CREATE TABLE by_uid AS SELECT job_uid FROM portal_jobs LIMIT 0", "");
    exec_sql("ALTER TABLE by_uid ADD FOREIGN KEY (job_uid) REFERENCES portal_jobs (job_uid)", "");
    jobs_make(1, 60, "done", 40);
    exec_sql("INSERT INTO by_id VALUES (7)", "");
    exec_sql("INSERT INTO by_uid VALUES ('U-9')", "");
    prune(PRUNE_JOBS, &steps);
    assert_jobs("7,9");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_jobs", "");
    assert_number(1, "SELECT COUNT(*) FROM by_id", "");
    assert_int_equal(prune(PRUNE_JOBS, &steps), 0);
    exec_sql("DROP TABLE by_id, by_uid", "");
    exec_sql("DROP INDEX uid_of_test ON portal_jobs", "");
}

STORE_TEST(test_what_must_stay)
{
    unsigned steps;
    jobs_make(1, 12, "done", 40);
    session_add(1, "active", 0, 40);
    session_add(2, "lost", 1, 40);  /* abandoned: its place is kept */
    session_add(3, "closed", 0, 5); /* its tombstone is young */
    session_add(12, "closed", 0, 35);
    exec_sql("UPDATE portal_jobs SET status = 'running', finished_at = NULL WHERE id = 4", "");
    exec_sql("UPDATE portal_jobs SET status = 'queued', finished_at = NULL WHERE id = 5", "");
    exec_sql("UPDATE portal_jobs SET status = 'retrying', finished_at = NULL WHERE id = 6", "");
    exec_sql("UPDATE portal_jobs SET finished_at = NOW() - INTERVAL 29 DAY WHERE id = 7", "");
    exec_sql(
        "INSERT INTO chasqui_leases (job_id, token, kind, holder, boot_id, taken_at, limit_at, expires_at) VALUES (8, REPEAT('x', 16), 'close', "
        "'d9', 'b', NOW(6), NOW(6), NOW(6))",
        "");
    exec_sql(
        "INSERT INTO chasqui_session_migrations (job_id, reason, created_at, available_at) VALUES (9, 'x', NOW(6), NOW(6))",
        "");
    exec_sql("DELETE FROM chasqui_jobs WHERE job_id IN (10, 11)", ""); /* Laravel's: never, adopted or not */
    session_add(11, "closed", 0, 40);
    prune(PRUNE_JOBS, &steps);
    assert_jobs("1,2,3,4,5,6,7,8,9,10,11");
    assert_number(4, "SELECT COUNT(*) FROM chasqui_sessions", "");
    assert_number(22, "SELECT COUNT(*) FROM chasqui_job_events", "");
}

STORE_TEST(test_a_locked_job_is_left)
{
    unsigned steps;
    jobs_make(1, 3, "failed", 40);
    exec_sql("SET innodb_lock_wait_timeout = 2", "");
    sql_fine(db_run(look, "START TRANSACTION", 17));
    exec_sql("UPDATE portal_jobs SET status = 'queued' WHERE id = 2",
             ""); /* somebody retries it by hand just now */
    prune(PRUNE_JOBS, &steps);
    sql_fine(db_run(look, "COMMIT", 6));
    assert_jobs("2");
    assert_text("queued", "SELECT status FROM portal_jobs WHERE id = 2", "");
}

STORE_TEST(test_a_long_timeline_goes_in_steps)
{
    unsigned steps;
    jobs_make(1, 2, "done", 40);
    exec_sql("INSERT INTO chasqui_job_events (job_id, at, event) SELECT 1, NOW(6), 'x' FROM seq_1_to_900", "");
    assert_int_equal(prune(PRUNE_JOBS, &steps), 904 + 4);
    assert_true(steps >= 5);
    assert_jobs("none");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_job_events", "");
}

STORE_TEST(test_events_audit_keys_and_runs)
{
    unsigned steps;
    exec_sql(
        "INSERT INTO chasqui_job_events (job_id, at, event) SELECT seq, NOW(6) - INTERVAL IF(seq <= 450, 40, 1) DAY, 'x' FROM seq_1_to_500",
        "");
    assert_int_equal(prune(PRUNE_EVENTS, &steps), 450);
    assert_true(steps >= 3);
    assert_number(50, "SELECT COUNT(*) FROM chasqui_job_events", "");
    exec_sql(
        "INSERT INTO chasqui_audit (at, actor, action, subject) SELECT NOW(6) - INTERVAL IF(seq <= 200, 40, 1) DAY, 'a', 'b', 'c' FROM seq_1_to_210",
        "");
    assert_int_equal(prune(PRUNE_AUDIT, &steps), 200);
    assert_int_equal(prune(PRUNE_AUDIT, &steps), 0);
    exec_sql(
        "INSERT INTO chasqui_idempotency (scope, digest, created_at) SELECT UNHEX(SHA2(seq, 256)), REPEAT('d', 32), NOW(6) - INTERVAL IF(seq > 60, "
        "40, 1) DAY FROM seq_1_to_300",
        "");
    assert_int_equal(prune(PRUNE_KEYS, &steps), 240);
    assert_number(60, "SELECT COUNT(*) FROM chasqui_idempotency", "");
    exec_sql(
        "INSERT INTO chasqui_schedule_runs (schedule_id, run_at, filling, actor, made_at) SELECT 1, NOW(6) - INTERVAL IF(seq > 10, 40, 1) DAY - "
        "INTERVAL seq SECOND, IF(seq = 20, 1, NULL), 'x', NOW(6) FROM seq_1_to_30",
        "");
    assert_int_equal(prune(PRUNE_RUNS, &steps), 19); /* not the one that is being filled */
    assert_number(11, "SELECT COUNT(*) FROM chasqui_schedule_runs", "");
}

STORE_TEST(test_minutes_of_portals)
{
    unsigned steps;
    exec_sql(
        "INSERT INTO chasqui_portal_minutes (portal, minute, dispatcher, outcome, n) SELECT 'acme', NOW() - INTERVAL 40 DAY + INTERVAL seq MINUTE, 'd', "
        "'done', 1 FROM seq_0_to_449",
        "");
    exec_sql(
        "INSERT INTO chasqui_portal_minutes (portal, minute, dispatcher, outcome, n) VALUES ('acme', NOW() - INTERVAL 29 DAY, 'd', 'done', 1)",
        "");
    assert_int_equal(prune(PRUNE_MINUTES, &steps), 450);
    assert_int_equal(steps, 3);
    assert_text("1", "SELECT COUNT(*) FROM chasqui_portal_minutes", "");
    assert_int_equal(prune(PRUNE_MINUTES, &steps), 0);
}

/* `n` minutes, the last of them `age_d` days ago. */
static void history_make(uint64_t n, int64_t age_d)
{
    exec_sql(
        "INSERT INTO chasqui_history SELECT NOW() - INTERVAL ? DAY - INTERVAL seq MINUTE, 'acme', 'r1', 'login', 'done', 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, "
        "0, 0, 0, 0, 0, 0, 0 FROM seq_1_to_9999 WHERE seq <= ?",
        "iu", age_d, n);
}

STORE_TEST(test_history_goes_by_its_age)
{
    unsigned steps;
    history_make(450, 40);
    history_make(1, 29);
    assert_int_equal(prune(PRUNE_HISTORY, &steps), 450);
    assert_int_equal(steps, 3);
    assert_text("1", "SELECT COUNT(*) FROM chasqui_history", "");
}

static void batch_make(uint64_t id, const char *status, int64_t age_d, uint64_t items, const char *item_state)
{
    exec_sql(
        "INSERT INTO chasqui_batches (id, token_id, portal, action, priority, turn, status, callback_url, created_at, finished_at) VALUES (?, 1, "
        "'acme', 'acme.login', 5, 1, ?, 'https://a.example', NOW(6) - INTERVAL ? DAY, IF(? IN ('open', 'running'), NULL, NOW(6) - INTERVAL ? DAY))",
        "usisi", id, status, age_d, status, age_d);
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, urgency, turn) SELECT ?, seq, seq, ?, 4, seq FROM seq_0_to_9999 WHERE seq < ?",
        "usu", id, item_state, items);
}

STORE_TEST(test_ended_batches_go_with_their_items)
{
    unsigned steps;
    batch_make(1, "done", 40, 450, "done");
    batch_make(2, "running", 40, 3, "queued");
    batch_make(3, "open", 40, 3, "done");
    batch_make(4, "cancelled", 40, 5, "cancelled");
    batch_make(5, "cancelled", 40, 2, "running"); /* asked to stop, not stopped yet */
    batch_make(6, "done", 40, 0, "done");
    batch_make(7, "done", 10, 4, "done");
    exec_sql(
        "INSERT INTO chasqui_webhooks (batch_id, state, delivery, created_at) SELECT id, 'delivered', REPEAT('x', 16), NOW(6) FROM chasqui_batches",
        "");
    assert_int_equal(prune(PRUNE_BATCHES, &steps), 450 + 5 + 3);
    assert_text("2,3,5,7", "SELECT GROUP_CONCAT(id ORDER BY id) FROM chasqui_batches", "");
    assert_text("2,3,5,7", "SELECT GROUP_CONCAT(batch_id ORDER BY batch_id) FROM chasqui_webhooks", "");
    assert_number(3 + 3 + 2 + 4, "SELECT COUNT(*) FROM chasqui_items", "");
}

/* ---- several dispatchers at once, and what it costs --------------------------------------------------------- */

static void *prune_all(void *arg)
{
    struct db *mine = db_new(&conf);
    bool *failed = arg;
    for (enum prune_what what = 0; what < PRUNE_COUNT; what++) {
        struct store_prune op = {.what = what, .older_s = OLD_S, .deletes_rows = true};
        do {
            store_prune(mine, &op);
            *failed |= op.rc != STORE_OK;
        } while (!op.is_end && !*failed);
    }
    db_destroy(&mine);
    return NULL;
}

STORE_TEST(test_several_at_once_are_harmless)
{
    pthread_t thread[4];
    bool failed[4] = {false};
    unsigned steps;
    jobs_make(1, 2000, "done", 40);
    jobs_make(5000, 5, "done", 1);
    for (uint64_t id = 1; id <= 20; id++)
        batch_make(id, "done", 40, 300, "done");
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, prune_all, &failed[i]), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < 4; i++)
        assert_false(failed[i]);
    prune(PRUNE_JOBS, &steps); /* what was passed over because another one had it */
    prune(PRUNE_BATCHES, &steps);
    assert_jobs("5000,5001,5002,5003,5004");
    assert_number(10, "SELECT COUNT(*) FROM chasqui_job_events", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_items", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_batches", "");
}

STORE_TEST(test_plans)
{
    static const char *const names[PRUNE_COUNT] = {"jobs", "events",  "audit",   "keys",   "batches",
                                                   "runs", "results", "minutes", "history"};
    jobs_make(1, 300, "done", 40);
    jobs_make(1000, 4000, "done", 1);
    exec_sql("UPDATE chasqui_job_events SET at = NOW(6) - INTERVAL 40 DAY WHERE job_id < 1200", "");
    exec_sql(
        "INSERT INTO chasqui_sessions (job_id, current_job_id, company_id, portal, state, since) SELECT id, id, id, 'acme', 'closed', created_at "
        "FROM portal_jobs",
        "");
    for (uint64_t id = 1; id <= 30; id++)
        batch_make(id, "done", id < 4 ? 40 : 1, 200, "done");
    exec_sql(
        "INSERT INTO chasqui_audit (at, actor, action, subject) SELECT NOW(6) - INTERVAL IF(seq <= 300, 40, 1) DAY, 'a', 'b', 'c' FROM seq_1_to_4000",
        "");
    exec_sql(
        "INSERT INTO chasqui_idempotency (scope, digest, created_at) SELECT UNHEX(SHA2(seq, 256)), REPEAT('d', 32), NOW(6) - INTERVAL IF(seq <= 300, "
        "40, 1) DAY FROM seq_1_to_4000",
        "");
    exec_sql(
        "INSERT INTO chasqui_schedule_runs (schedule_id, run_at, actor, made_at) SELECT seq, NOW(6) - INTERVAL IF(seq <= 300, 40, 1) DAY, 'x', NOW(6) "
        "FROM seq_1_to_4000",
        "");
    exec_sql(
        "INSERT INTO chasqui_results (batch_id, idx, step, job_id, company_id, at, status, body) SELECT 1, seq, 0, seq, 1, NOW(6) - INTERVAL IF(seq "
        "<= 300, 40, 1) DAY, 200, 'x' FROM seq_1_to_4000",
        "");
    exec_sql(
        "INSERT INTO chasqui_portal_minutes (portal, minute, dispatcher, outcome, n) SELECT seq, NOW() - INTERVAL IF(seq <= 300, 40, 1) DAY, 'd', "
        "'done', 1 FROM seq_1_to_4000",
        "");
    history_make(300, 40);
    history_make(3700, 1);
    static const char analyze[] =
        "ANALYZE TABLE portal_jobs, chasqui_jobs, chasqui_sessions, chasqui_job_events, chasqui_audit, chasqui_idempotency, "
        "chasqui_batches, chasqui_items, chasqui_schedule_runs, chasqui_leases, chasqui_session_migrations, chasqui_results, chasqui_portal_minutes, chasqui_history";
    sql_fine(db_run(look, analyze, sizeof(analyze) - 1));
    plan_begin();
    for (enum prune_what what = 0; what < PRUNE_COUNT; what++) {
        struct store_prune op = {.what = what, .older_s = OLD_S, .deletes_rows = true};
        unsigned steps;
        int64_t before = rows_begin();
        run_fine(store_prune, &op);
        assert_true(op.n > 0);
        if (rows_read() - before >
            2500) /* 200 rows at most, each found, locked and deleted, and what hangs on them */
            fail_msg("a step of %s reads %lld rows", names[what], (long long)(rows_read() - before));
        if (what != PRUNE_MINUTES && what != PRUNE_HISTORY) /* a DELETE alone: the rows that it reads say enough */
            plan_check(names[what]);
        prune(what, &steps);
        before = rows_begin();
        assert_int_equal(prune(what, &steps), 0);
        assert_int_equal(steps, 1);
        if (rows_read() - before > 210) /* a pass with nothing to do */
            fail_msg("an idle pass of %s reads %lld rows", names[what], (long long)(rows_read() - before));
    }
    plan_end();
}

TEST_MAIN(server_start, server_stop)
