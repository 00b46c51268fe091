/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_queue_plan.c - what batches, lists of jobs and looks at the queue cost the database: no scan, no sort, few rows. */
#include "tests/unit/store_queue_fixture.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/store/store_errors.h"
#include "tests/unit/store_plan.h"

/* Jobs of 600 companies in turn; three batches of 1000 items, whose jobs these are when they have begun. */
static void fill(uint64_t batch[3])
{
    static const char *const keys[] = {"k1", "k2", "k3"};
    for (unsigned b = 0; b < 3; b++) {
        batch[b] = batch_opened(keys[b]);
        assert_int_equal(batch_appended(batch[b], 0, 1, 1000), 1000);
        batch_closed(batch[b], "running", 1000);
    }
    exec_sql(
        "INSERT INTO portal_jobs (id, job_uid, company_id, portal, action, status, priority, attempts, batch_id, worker, created_at, started_at) "
        "SELECT seq, CONCAT('JOBUID-', seq), 1 + seq % 600, 'acme', 'acme.login', IF(seq % 50, 'done', 'failed'), 5, 1, IF(seq <= 1000, ?, NULL), "
        "'r1', NOW(), NOW() FROM seq_1_to_6000",
        "u", batch[0]);
    exec_sql(
        "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal, batch_id, idx) SELECT id, job_uid, 'login', company_id, portal, "
        "batch_id, IF(batch_id IS NULL, NULL, id - 1) FROM portal_jobs",
        "");
    exec_sql("INSERT INTO chasqui_job_events (job_id, at, event) SELECT id, NOW(6), 'done' FROM portal_jobs", "");
    exec_sql(
        "UPDATE chasqui_items SET job_id = idx + 1, state = IF(idx % 50 = 49, 'failed', 'done'), ready = NULL WHERE batch_id = ? AND idx < 500",
        "u", batch[0]);
    exec_sql(
        "UPDATE chasqui_items SET job_id = idx + 1, state = 'running', ready = NULL WHERE batch_id = ? AND idx BETWEEN 500 AND 549",
        "u", batch[0]);
    exec_sql(
        "INSERT INTO chasqui_audit (at, actor, action, subject) SELECT NOW(6), 'a', 'b', CONCAT('c', seq) FROM seq_1_to_3000",
        "");
    static const char analyze[] =
        "ANALYZE TABLE portal_jobs, chasqui_jobs, chasqui_items, chasqui_batches, chasqui_job_events, chasqui_audit";
    sql_fine(db_run(look, analyze, sizeof(analyze) - 1));
}

/* Rows that the connection read since `before`, without what reading the counter cost. */
static int64_t rows_since(int64_t before)
{
    static int64_t own = -1;
    int64_t now = rows_read();
    if (own < 0) {
        int64_t first = rows_read();
        own = rows_read() - first;
    }
    return now - before - own;
}

static void assert_rows(int64_t before, int64_t most, const char *what)
{
    int64_t n = rows_since(before);
    if (n > most)
        fail_msg("%s read %lld rows, %lld are enough", what, (long long)n, (long long)most);
}

STORE_TEST(test_batches)
{
    uint64_t batch[3];
    fill(batch);
    plan_begin();
    rows_since(rows_begin());

    int64_t before = rows_begin();
    uint64_t fresh = batch_opened("k4");
    assert_rows(before, 10, "opening");
    plan_check("store_batch_open");
    before = rows_begin();
    assert_int_equal(batch_appended(fresh, 0, 1, 1000), 1000);
    assert_rows(before, 10, "appending what is new");
    before = rows_begin();
    assert_int_equal(batch_appended(fresh, 0, 1, 1000), 0);
    assert_rows(before, 1010, "appending what is there");
    plan_check("store_batch_append");
    before = rows_begin();
    batch_closed(fresh, "running", 1000);
    assert_rows(before, 1010, "closing");
    plan_check("store_batch_close");

    struct store_batch shape = {.batch_id = batch[0], .viewer = {.token_id = 7}};
    before = rows_begin();
    run_fine(store_batch, &shape);
    /* Its items in an index, its last jobs, those that run, what holds it; and its robots' places, if the last one began more than 2 s
     * ago. */
    assert_rows(before, 1000 + 2 * 500 + 2 * 50 + 50 + 25, "the shape of a batch");
    explained("store_batch", false);
    buf_free(&shape.json);
    static const char *const states[] = {"", "failed", "queued"};
    for (unsigned i = 0; i < 3; i++) {
        struct store_batch_items page = {.batch_id = batch[0], .viewer = {.all = true}, .cursor = 30, .limit = 10};
        strcpy(page.state, states[i]);
        before = rows_begin();
        run_fine(store_batch_items, &page);
        assert_rows(before, 5 * (10 + 1) + 5, "a page of items");
        plan_check("store_batch_items");
        buf_free(&page.json);
    }
    struct store_batch_finish look_at_one = {.n = 1, .batch = {batch[1]}}, at_all = {0};
    before = rows_begin();
    run_fine(store_batch_finish, &look_at_one);
    assert_rows(before, 5, "a look at one that runs");
    before = rows_begin();
    run_fine(store_batch_finish, &at_all);
    assert_rows(before, 25, "a look at all");
    assert_int_equal(at_all.n_done, 0);
    plan_check("store_batch_finish");
    before = rows_begin();
    batch_cancelled(batch[0]);
    assert_rows(
        before, 3 * 1000 + 2 * 50 + 30,
        "cancelling what is left of a thousand"); /* of which half have a job: their items are locked first */
    plan_check("store_batch_cancel");
    plan_end();
}

static void page_fine(struct store_jobs op, int64_t most, const char *what)
{
    int64_t before = rows_begin();
    run_fine(store_jobs, &op);
    assert_rows(before, most, what);
    plan_check(what);
    buf_free(&op.json);
}

STORE_TEST(test_lists_of_jobs)
{
    uint64_t batch[3], few[] = {17, 40, 333}, many[500];
    fill(batch);
    for (uint64_t i = 0; i < 500; i++)
        many[i] = i + 1;
    plan_begin();
    rows_since(rows_begin());
    page_fine((struct store_jobs){.all = true, .limit = 20}, 4 * 21 + 5, "all jobs");
    page_fine((struct store_jobs){.all = true, .limit = 20, .cursor = 3000}, 4 * 21 + 5, "all jobs from a cursor");
    page_fine((struct store_jobs){.all = true, .limit = 20, .status = "failed"}, 5 * 21 + 5, "jobs by status");
    page_fine((struct store_jobs){.all = true, .limit = 20, .batch_id = batch[0]}, 5 * 21 + 5, "jobs of a batch");
    page_fine((struct store_jobs){.all = true, .limit = 5, .company_id = 17}, 5 * 6 + 5, "jobs of a company");
    page_fine((struct store_jobs){.companies = few, .n_companies = 3, .limit = 5}, 3 * 5 * 6 + 10,
              "jobs of three companies");
    page_fine((struct store_jobs){.companies = few, .n_companies = 3, .limit = 5, .batch_id = batch[0]},
              2 * 1000 + 3 * 6, "jobs of three companies in a batch");
    page_fine((struct store_jobs){.companies = many, .n_companies = 500, .limit = 20}, 3 * 500 + 4 * 21 + 200,
              "jobs of many companies");
    page_fine((struct store_jobs){.all = true, .search = "JOBUID-100"}, 10, "jobs by their job_uid");
    plan_end();
}

STORE_TEST(test_one_job_and_the_queue)
{
    uint64_t batch[3];
    fill(batch);
    plan_begin();
    rows_since(rows_begin());
    struct store_job job = {.job_id = 50};
    int64_t before = rows_begin();
    run_fine(store_job, &job);
    assert_rows(before, 10, "a job");
    plan_check("store_job");
    buf_free(&job.json);
    struct store_retry retry = {.job_id = 50, .tries = 3, .by.name = "t"};
    before = rows_begin();
    run_fine(store_retry, &retry);
    assert_true(retry.ok);
    assert_rows(before, 15, "putting a job back");
    plan_check("store_retry");
    struct store_why why = {.job_id = 50, .room.logins_per_robot = 10};
    before = rows_begin();
    run_fine(store_why, &why);
    assert_rows(before, 1000, "why a job waits"); /* it counts those before it */
    buf_free(&why.json);
    plan_begin(); /* the robots' table is read whole: all of them are asked for */
    exec_sql("UPDATE chasqui_items SET ready = NULL, due_at = NOW(6) + INTERVAL 1 HOUR WHERE job_id = 50", "");
    run_fine(store_why, &why);
    plan_check("store_why");
    buf_free(&why.json);
    struct store_cancel cancel = {.job_id = 50, .all = true, .by.name = "t"};
    before = rows_begin();
    run_fine(store_cancel, &cancel);
    assert_int_equal(cancel.outcome, CANCEL_DONE);
    assert_rows(before, 12, "cancelling a job");
    plan_check("store_cancel");
    struct store_queue_state look_at = {0};
    before = rows_begin();
    run_fine(store_queue_state, &look_at);
    assert_rows(before, 2 * 2450 + 60,
                "the queue's depth"); /* each that is ready once, in its index, and once more as a count */
    plan_check("store_queue_state");
    buf_free(&look_at.json);
    struct store_audit audit = {.limit = 20}, search = {.limit = 20, .search = "c17"};
    before = rows_begin();
    run_fine(store_audit, &audit);
    assert_rows(before, 25, "the audit trail");
    run_fine(store_audit, &search);
    plan_check("store_audit");
    buf_free(&audit.json);
    buf_free(&search.json);
    struct store_audit since = {.limit = 20, .for_ms = 3600000, .action = "b", .subject = "c17"};
    run_fine(store_audit, &since);
    plan_check("store_audit");
    buf_free(&since.json);
    struct store_errors errors = {.for_ms = 3600000}, of_batch = {.batch_id = batch[0], .portal = "acme"};
    before = rows_begin();
    run_fine(store_errors, &errors);
    assert_rows(before, 120 * 9 + 50,
                "failures by class"); /* each failed job twice, with its own row and the temporary one's */
    buf_free(&errors.json);
    run_fine(store_errors, &of_batch);
    buf_free(&of_batch.json);
    explained("store_errors", true);
    plan_end();
}

static void place_taken(uint64_t company, unsigned want_robot, uint32_t want_slot)
{
    struct store_reserve op = reserve_op(company, 1, 2);
    reserve_fine(&op, RESERVE_OK);
    if (want_slot) {
        assert_int_equal(op.robot_id, robot[want_robot]);
        assert_int_equal(op.slot, want_slot);
    }
}

STORE_TEST(test_a_place_costs_the_same_however_many_are_held)
{
    robot[1] = robot_add("b1", "http://b1.test", 15000);
    robot[2] = robot_add("b2", "http://b2.test", 15000);
    exec_sql(
        "UPDATE chasqui_places SET session_ref = robot_id * 1000000 + slot WHERE robot_id IN (?, ?) AND slot <= 10000",
        "uu", (uint64_t)robot[1], (uint64_t)robot[2]);
    rows_since(rows_begin());
    uint64_t began_ms = clock_ms();
    place_taken(1, 0, 0); /* this one counts */
    int64_t before = rows_begin();
    for (uint64_t company = 2; company < 22; company++)
        place_taken(company, 0, 0);
    uint64_t counted =
        (clock_ms() - began_ms) /
        400; /* a count of 20,000 is good for 400 ms: a slow machine makes more, and the server reads each twice */
    assert_rows(before, 20 * 100 + (int64_t)counted * 2 * 20100, "twenty log-ins beside 20,000 held places");
    int64_t spread = places_used(robot[1]) - places_used(robot[2]);
    assert_true(spread >= -1 && spread <= 1);
    /* An old count says that there is room on both. Others have taken all but one place, which is found. */
    exec_sql(
        "UPDATE chasqui_places SET session_ref = robot_id * 1000000 + slot WHERE session_ref IS NULL AND robot_id IN (?, ?) AND NOT (robot_id = ? AND "
        "slot = 15000)",
        "uuu", (uint64_t)robot[1], (uint64_t)robot[2], (uint64_t)robot[2]);
    place_taken(30, 2, 15000);
    struct store_reserve full = reserve_op(31, 1, 2);
    reserve_fine(&full, RESERVE_NO_PLACE);
    exec_sql("UPDATE chasqui_places SET session_ref = NULL WHERE robot_id = ? AND slot = 7", "u",
             (uint64_t)robot[1]);
    place_taken(31, 1, 7);
}

/* The server judges a list of 200 values by the index's statistics: six thousand jobs are of one company, so it takes as many for each. */
STORE_TEST(test_old_jobs_of_one_company_cost_a_claim_of_others_nothing)
{
    uint64_t batch[3];
    fill(batch);
    robot[1] = robot_add("b1", "http://b1.test", 1000);
    for (unsigned b = 0; b < 3; b++)
        batch_cancelled(batch[b]);
    exec_sql("UPDATE portal_jobs SET company_id = 1", "");
    static const char analyze[] = "ANALYZE TABLE portal_jobs";
    sql_fine(db_run(look, analyze, sizeof(analyze) - 1));
    batch_make(800, 5001);
    rows_since(rows_begin());
    for (unsigned turn = 0; turn < 4; turn++) {
        struct store_claim op = claim_op(QUEUE_CLAIM_MAX);
        op.logins_per_robot = 1000;
        int64_t before = rows_begin();
        claim_fine(&op, QUEUE_CLAIM_MAX);
        assert_rows(before, 25 * QUEUE_CLAIM_MAX, "a claim");
        claim_forget(&op);
    }
}

TEST_MAIN(server_start, server_stop)
