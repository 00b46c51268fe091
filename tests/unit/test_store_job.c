/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_job.c - jobs: pages, cancelling, putting back, what one waits for; the queue's state; the audit trail; in a real database. */
#include "tests/unit/store_queue_fixture.h"

#include "common/jv.h"

#include <pthread.h>

/* ---- pages -------------------------------------------------------------------------------------------------- */

/* The ids of a page, as "3 2 1 >1": with what the cursor says. */
static void assert_page(struct store_jobs op, const char *want)
{
    enum jv_bad why;
    char got[2000] = "";
    run_fine(store_jobs, &op);
    struct jv *body = jv_parse(op.json.data, op.json.len, &why);
    for (size_t i = 0; i < jv_len(jv_get(body, "jobs")); i++) {
        int64_t id = 0;
        jv_int(jv_get(jv_at(jv_get(body, "jobs"), i), "id"), &id);
        snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%lld", i ? " " : "", (long long)id);
    }
    int64_t cursor;
    if (jv_int(jv_get(body, "next_cursor"), &cursor))
        snprintf(got + strlen(got), sizeof(got) - strlen(got), " >%lld", (long long)cursor);
    assert_string_equal(got, want);
    jv_free(body);
    buf_free(&op.json);
}

/* Jobs 101..112 of companies 1..4 in turn; the odd ones failed, 104 has not ended; 110 and 112 ran on r2. */
static void jobs_make(void)
{
    for (uint64_t i = 0; i < 12; i++)
        exec_sql(
            "INSERT INTO portal_jobs (id, job_uid, company_id, portal, action, status, worker, batch_id, created_at) VALUES (?, CONCAT('JOBUID-', "
            "?), ?, ?, 'login', ?, ?, ?, NOW())",
            "uuusssN", 101 + i, 101 + i, 1 + i % 4, i < 6 ? "acme" : "other",
            i == 3  ? "queued"
            : i % 2 ? "done"
                    : "failed",
            i == 9 || i == 11 ? "r2" : "r1", (uint64_t)(i >= 4 && i < 8 ? 9 : 0));
}

STORE_TEST(test_pages_of_all_jobs)
{
    jobs_make();
    assert_page((struct store_jobs){.all = true, .limit = 5}, "112 111 110 109 108 >108");
    assert_page((struct store_jobs){.all = true, .limit = 5, .cursor = 108}, "107 106 105 104 103 >103");
    assert_page((struct store_jobs){.all = true, .limit = 5, .cursor = 103}, "102 101");
    assert_page((struct store_jobs){.all = true, .limit = 12}, "112 111 110 109 108 107 106 105 104 103 102 101");
    assert_page((struct store_jobs){.all = true, .status = "done", .limit = 3}, "112 110 108 >108");
    assert_page((struct store_jobs){.all = true, .status = "done", .limit = 3, .cursor = 108}, "106 102");
    assert_page((struct store_jobs){.all = true, .status = "done", .portal = "acme"}, "106 102");
    assert_page((struct store_jobs){.all = true, .portal = "acme", .limit = 2}, "106 105 >105");
    assert_page((struct store_jobs){.all = true, .company_id = 3}, "111 107 103");
    assert_page((struct store_jobs){.all = true, .company_id = 3, .status = "failed", .portal = "other"},
                "111 107");
    assert_page((struct store_jobs){.all = true, .batch_id = 9, .limit = 3}, "108 107 106 >106");
    assert_page((struct store_jobs){.all = true, .batch_id = 9, .status = "failed"}, "107 105");
    assert_page((struct store_jobs){.all = true, .worker = "r2"}, "112 110");
    assert_page((struct store_jobs){.all = true, .status = "running"}, "");
}

STORE_TEST(test_pages_of_a_tokens_jobs)
{
    uint64_t two[] = {4, 1}, one[] = {2}, many[300];
    jobs_make();
    for (uint64_t i = 0; i < 300; i++)
        many[i] = 600 - 2 * i;
    assert_page((struct store_jobs){.companies = two, .n_companies = 2, .limit = 4}, "112 109 108 105 >105");
    assert_page((struct store_jobs){.companies = two, .n_companies = 2, .limit = 4, .cursor = 105}, "104 101");
    assert_page((struct store_jobs){.companies = two, .n_companies = 2, .status = "done"}, "112 108");
    assert_page((struct store_jobs){.companies = one, .n_companies = 1}, "110 106 102");
    assert_page((struct store_jobs){.companies = one, .n_companies = 1, .company_id = 1}, "");
    assert_page((struct store_jobs){.companies = one, .n_companies = 1, .company_id = 2, .limit = 1}, "110 >110");
    assert_page((struct store_jobs){.companies = one, .n_companies = 1, .batch_id = 9}, "106");
    assert_page((struct store_jobs){.companies = two, .n_companies = 2, .batch_id = 9, .limit = 1}, "108 >108");
    assert_page((struct store_jobs){.companies = many, .n_companies = 300, .limit = 3}, "112 110 108 >108");
    assert_page((struct store_jobs){.companies = many, .n_companies = 300, .limit = 6, .cursor = 108},
                "106 104 102");
    assert_page((struct store_jobs){0}, "");
    assert_page((struct store_jobs){.batch_id = 9}, "");
}

STORE_TEST(test_searching)
{
    jobs_make();
    struct session_row s = session_make(104, 1, "s-104");
    char id[30];
    snprintf(id, sizeof(id), "%llu", (unsigned long long)s.job_id);
    assert_page((struct store_jobs){.all = true, .search = "JOBUID-103"}, "103");
    assert_page((struct store_jobs){.all = true, .search = "s-104"}, id);
    snprintf(id, sizeof(id), "%llu 104", (unsigned long long)s.job_id);
    assert_page((struct store_jobs){.all = true, .search = "104"},
                id); /* the job of that number, and the company's */
    assert_page((struct store_jobs){.all = true, .search = "nothing"}, "");
    assert_page((struct store_jobs){.all = true, .search = "99999999999999999999999"}, "");
    uint64_t one[] = {104};
    assert_page((struct store_jobs){.companies = one, .n_companies = 1, .search = "104"}, "");
}

STORE_TEST(test_the_shape_in_a_page)
{
    exec_sql(
        "INSERT INTO portal_jobs (id, job_uid, company_id, portal, action, status, robot_session_id, created_at) VALUES (5, 'L-1', 3, 'acme', "
        "'login', 'done', 'sid', '2026-01-02 03:04:05')",
        "");
    struct store_jobs op = {.all = true};
    run_fine(store_jobs, &op);
    assert_string_equal(
        op.json.data,
        "{\"ok\":true,\"jobs\":[{\"id\":5,\"job_uid\":\"L-1\",\"company_id\":3,\"portal\":\"acme\",\"action\":\"login\",\"status\":"
        "\"done\",\"priority\":null,\"attempts\":null,\"batch_id\":null,\"session_id\":\"sid\",\"worker\":null,\"error\":null,"
        "\"message\":null,\"created_at\":\"2026-01-02T03:04:05.000Z\",\"available_at\":null,\"started_at\":null,\"finished_at\":null,\"robot_status\":null,\"robot_error\":null,\"robot_message\":null}],"
        "\"next_cursor\":null}");
    buf_free(&op.json);
}

/* ---- cancelling --------------------------------------------------------------------------------------------- */

static struct store_cancel cancelled(uint64_t job_id, enum cancel_outcome want)
{
    struct store_cancel op = {
        .job_id = job_id, .all = true, .by = {.name = "token:1:ops", .request_id = "r"}, .reason = "not needed"};
    run_fine(store_cancel, &op);
    assert_int_equal(op.outcome, want);
    return op;
}

STORE_TEST(test_cancel_one_that_waits)
{
    uint64_t id = enqueued(1, 5), mine[] = {1}, other[] = {2};
    struct store_cancel not_mine = {.job_id = id, .companies = other, .n_companies = 1, .by.name = "t"};
    run_fine(store_cancel, &not_mine);
    assert_int_equal(not_mine.outcome, CANCEL_NOT_FOUND);
    struct store_cancel op = {.job_id = id, .companies = mine, .n_companies = 1, .by.name = "token:7:t"};
    run_fine(store_cancel, &op);
    assert_int_equal(op.outcome, CANCEL_DONE);
    assert_string_equal(op.status, "cancelled");
    assert_job(id, "cancelled", "(null)");
    assert_text("cancelled", "SELECT state FROM chasqui_items WHERE ready IS NULL", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_jobs WHERE params IS NOT NULL", "");
    assert_text(
        "job:%",
        "SELECT IF(subject = CONCAT('job:', ?), 'job:%', subject) FROM chasqui_audit WHERE action = 'job.cancel'",
        "u", id);
    cancelled(id, CANCEL_ENDED);
    cancelled(id + 1, CANCEL_NOT_FOUND);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_audit", "");
    struct store_claim none = claim_op(5);
    claim_fine(&none, 0);
    claim_forget(&none);
}

STORE_TEST(test_cancel_one_that_runs)
{
    uint64_t id = enqueued(1, 5);
    struct store_claim op = claim_op(1);
    claim_fine(&op, 1);
    struct store_cancel asked = cancelled(id, CANCEL_ASKED);
    assert_string_equal(asked.status, "running");
    assert_string_equal(asked.job_uid, op.got[0].job_uid);
    assert_number(1, "SELECT cancel FROM chasqui_leases WHERE job_id = ?", "u", id);
    assert_job(id, "running", "(null)");
    claimed_fail(&op.got[0], &op.lease, 60000);
    assert_job(id, "retrying", "robot_error");
    struct store_cancel by_uid = {.all = true, .by.name = "t"};
    strcpy(by_uid.job_uid, op.got[0].job_uid);
    run_fine(store_cancel, &by_uid);
    assert_int_equal(by_uid.outcome, CANCEL_DONE);
    assert_int_equal(by_uid.job_id, id);
    claim_forget(&op);
}

STORE_TEST(test_cancel_an_item_of_a_batch_and_laravels_row)
{
    uint64_t batch = batch_make(1, 1);
    struct store_claim op = claim_op(1);
    claim_fine(&op, 1);
    claimed_fail(&op.got[0], &op.lease, 60000);
    struct store_cancel done = cancelled(op.got[0].job_id, CANCEL_DONE);
    assert_int_equal(done.batch_id, batch);
    assert_text("cancelled", "SELECT state FROM chasqui_items WHERE batch_id = ?", "u", batch);
    uint64_t laravels = laravel_make(3, BASE(1), "l-1", 10);
    exec_sql("UPDATE portal_jobs SET status = 'queued' WHERE id = ?", "u", laravels);
    cancelled(laravels, CANCEL_NOT_OURS);
    struct session_row s = session_make(4, 1, "s-4");
    cancelled(s.job_id, CANCEL_ENDED);
    claim_forget(&op);
}

struct racer {
    pthread_t thread;
    const uint64_t *ids;
    unsigned n, done;
    bool failed;
};

static void *cancel_race(void *arg)
{
    struct racer *r = arg;
    struct db *mine = db_new(&conf);
    for (unsigned i = 0; i < r->n; i++) {
        struct store_cancel op = {.job_id = r->ids[i], .all = true, .by.name = "t"};
        store_cancel(mine, &op);
        r->failed |= op.rc != STORE_OK;
        r->done += op.outcome == CANCEL_DONE;
    }
    db_destroy(&mine);
    return NULL;
}

static void *claim_race(void *arg)
{
    struct racer *r = arg;
    struct db *mine = db_new(&conf);
    for (unsigned i = 0; i < 15; i++) {
        struct store_claim op = claim_op(3);
        store_claim(mine, &op);
        r->failed |= op.rc != STORE_OK;
        for (unsigned k = 0; k < op.n; k++) { /* fails, and is retried at once */
            struct store_login_failed no = claimed_failed_op(&op.got[k], &op.lease, 0);
            store_login_failed(mine, &no);
            r->failed |= no.rc != STORE_OK;
        }
        claim_forget(&op);
        struct store_queue_look due = {0};
        store_queue_look(mine, &due);
        r->failed |= due.rc != STORE_OK;
    }
    db_destroy(&mine);
    return NULL;
}

STORE_TEST(test_cancels_and_claims_at_once)
{
    uint64_t ids[60];
    struct racer racer[4];
    for (unsigned i = 0; i < 60; i++)
        ids[i] = enqueued(i + 1, 5);
    for (unsigned i = 0; i < 4; i++) {
        racer[i] = (struct racer){.ids = ids, .n = 60};
        pthread_create(&racer[i].thread, NULL, i < 2 ? claim_race : cancel_race, &racer[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(racer[i].thread, NULL);
        assert_false(racer[i].failed);
    }
    assert_number(
        0,
        "SELECT COUNT(*) FROM chasqui_items i JOIN portal_jobs j ON j.id = i.job_id WHERE CONVERT(i.state USING utf8mb4) COLLATE utf8mb4_bin <> j.status",
        "");
    assert_number(racer[2].done + racer[3].done, "SELECT COUNT(*) FROM portal_jobs WHERE status = 'cancelled'",
                  "");
}

/* ---- putting back ------------------------------------------------------------------------------------------- */

static struct store_retry retried(uint64_t job_id, bool ok)
{
    struct store_retry op = {.job_id = job_id, .tries = 5, .by.name = "token:1:ops", .reason = "try again"};
    run_fine(store_retry, &op);
    assert_true(op.found);
    assert_int_equal(op.ok, ok);
    return op;
}

STORE_TEST(test_put_back_by_hand)
{
    uint64_t batch = batch_make(2, 1);
    struct store_claim op = claim_op(2), again = claim_op(2);
    claim_fine(&op, 2);
    uint64_t id = op.got[0].job_id;
    retried(id, false); /* it runs */
    claimed_fail(&op.got[0], &op.lease, -1);
    claimed_fail(&op.got[1], &op.lease, -1);
    assert_int_equal(batch_finished(batch), 1);
    struct store_retry back = retried(id, true);
    assert_int_equal(back.batch_id, batch);
    assert_string_equal(back.status, "queued");
    assert_job(id, "queued", "(null)");
    assert_number(0, "SELECT attempts FROM portal_jobs WHERE id = ?", "u", id);
    assert_number(1, "SELECT status = 'running' AND finished_at IS NULL FROM chasqui_batches", "");
    assert_number(
        1,
        "SELECT COUNT(*) FROM chasqui_audit WHERE action = 'job.retry' AND detail = 'failed -> queued: try again'",
        "");
    retried(id, false);
    claim_fine(&again, 1);
    assert_int_equal(again.got[0].job_id, id);
    assert_int_equal(again.got[0].item.attempts, 1);
    assert_int_equal(again.got[0].item.tries, 5);
    claimed_fail(&again.got[0], &again.lease, -1);
    assert_int_equal(batch_finished(batch), 1);
    claim_forget(&op);
    claim_forget(&again);
}

STORE_TEST(test_put_back_what_was_synchronous)
{
    struct store_reserve r = reserve_op(1, 1, 1);
    reserve_fine(&r, RESERVE_OK);
    struct store_login_failed no = {
        .job_id = r.job_id, .session_ref = r.session_ref, .error = "robot_error", .message = "no", .retry_ms = -1};
    memcpy(no.token, r.lease.token, sizeof(no.token));
    run_fine(store_login_failed, &no);
    retried(r.job_id, true);
    assert_number(1, "SELECT batch_id = 0 AND idx = ? AND ready = 1 FROM chasqui_items", "u", r.job_id);
    struct store_claim op = claim_op(2);
    claim_fine(&op, 1);
    assert_int_equal(op.got[0].job_id, r.job_id);
    buf_free(&r.credentials);
    claim_forget(&op);
}

STORE_TEST(test_put_back_one_whose_session_was_lost)
{
    struct session_row s = session_make(1, 1, "s-1");
    retried(s.job_id, false); /* done */
    exec_sql("UPDATE chasqui_sessions SET state = 'lost', live = NULL, live_session_id = NULL", "");
    exec_sql("UPDATE chasqui_places SET session_ref = NULL", "");
    exec_sql("UPDATE portal_jobs SET status = 'failed', error = 'session_lost'", "");
    retried(s.job_id, true);
    struct store_claim op = claim_op(2);
    claim_fine(&op, 1);
    assert_number(2, "SELECT COUNT(*) FROM chasqui_sessions WHERE job_id = ?", "u", s.job_id);
    claim_forget(&op);
}

STORE_TEST(test_put_back_out_of_a_cancelled_batch)
{
    uint64_t batch = batch_make(1, 1);
    struct store_claim op = claim_op(1);
    claim_fine(&op, 1);
    claimed_fail(&op.got[0], &op.lease, 60000);
    batch_cancelled(batch);
    assert_int_equal(batch_finished(batch), 1);
    struct store_retry back = retried(op.got[0].job_id, true);
    assert_int_equal(back.batch_id, 0);
    assert_text("cancelled", "SELECT status FROM chasqui_batches", "");
    assert_text("cancelled", "SELECT state FROM chasqui_items WHERE batch_id = ?", "u", batch);
    assert_text("queued", "SELECT state FROM chasqui_items WHERE batch_id = 0", "");
    struct store_retry none = {.job_id = 1, .tries = 3};
    run_fine(store_retry, &none);
    assert_false(none.found);
    retried(laravel_make(3, BASE(1), "l-1", 10), false);
    claim_forget(&op);
}

/* ---- all that a filter finds -------------------------------------------------------------------------------- */

static void assert_bulk(store_fn *fn, struct store_bulk op, unsigned want)
{
    snprintf(op.by.name, sizeof(op.by.name), "token:1:ops");
    do
        run_fine(fn, &op);
    while (op.more);
    assert_int_equal(op.n, want);
    assert_false(op.capped);
}

STORE_TEST(test_all_that_a_filter_finds)
{
    uint64_t failed = enqueued(1, 9), waits = enqueued(2, 5);
    struct store_claim op = claim_op(1);
    claim_fine(&op, 1);
    claimed_fail(&op.got[0], &op.lease, -1);
    uint64_t laravels = laravel_make(3, BASE(1), "l-1", 10);
    exec_sql("UPDATE portal_jobs SET status = 'failed' WHERE id = ?", "u", laravels); /* not ours: never meant */
    exec_sql(
        "INSERT INTO portal_jobs (id, job_uid, company_id, portal, action, status, created_at) VALUES (9000, 'A-1', 4, 'acme', 'acme.x', "
        "'failed', NOW())",
        "");
    exec_sql(
        "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal) VALUES (9000, 'A-1', 'action', 4, 'acme')",
        "");
    assert_bulk(store_bulk_count, (struct store_bulk){.is_retry = true, .tries = 3}, 1);
    assert_bulk(store_bulk_count, (struct store_bulk){.is_retry = true, .tries = 3, .worker = "r9"}, 0);
    assert_bulk(store_bulk_count, (struct store_bulk){.portal = "acme"}, 1);
    assert_bulk(store_bulk, (struct store_bulk){.is_retry = true, .tries = 3}, 1);
    assert_job(failed, "queued", "(null)");
    assert_job(9000, "failed", "(null)");
    assert_bulk(store_bulk_count, (struct store_bulk){.company_id = 2}, 1);
    assert_text("1 failed -> 1 queued", "SELECT detail FROM chasqui_audit WHERE action = 'jobs.retry'", "");
    struct store_claim other = claim_op(1);
    claim_fine(&other, 1); /* one runs, one waits */
    assert_bulk(store_bulk, (struct store_bulk){.portal = "acme", .reason = "wrong day"}, 2);
    assert_text("1 queued, 1 running -> 1 cancelled, 1 asked to stop: wrong day",
                "SELECT detail FROM chasqui_audit WHERE action = 'jobs.cancel'", "");
    struct store_login_failed stop = claimed_failed_op(&other.got[0], &other.lease, -1);
    stop.cancelled = true;
    login_failed_fine(&stop);
    claim_forget(&other);
    assert_job(failed, "cancelled", "(null)");
    assert_job(waits, "cancelled", "(null)");
    claim_forget(&op);
}

/* One of three that the table refuses stays as it was, with all that hangs on it; the others go on. */
STORE_TEST(test_one_of_many_is_refused)
{
    static const char make[] =
        "CREATE TRIGGER not_two BEFORE UPDATE ON portal_jobs FOR EACH ROW IF NEW.company_id = 2 AND NEW.status = 'queued' THEN SIGNAL "
        "SQLSTATE '45000' SET MESSAGE_TEXT = 'two stays'; END IF",
                      drop[] = "DROP TRIGGER not_two";
    uint64_t job[3];
    for (unsigned i = 0; i < 3; i++)
        job[i] = enqueued(i + 1, 5);
    struct store_claim op = claim_op(3);
    claim_fine(&op, 3);
    for (unsigned i = 0; i < 3; i++)
        claimed_fail(&op.got[i], &op.lease, -1);
    assert_int_equal(db_run(look, make, sizeof(make) - 1), DB_OK);
    struct store_bulk all = {.is_retry = true, .tries = 3, .by.name = "token:1:ops"};
    run_fine(store_bulk, &all);
    assert_int_equal(db_run(look, drop, sizeof(drop) - 1), DB_OK);
    assert_int_equal(all.n, 2);
    assert_int_equal(all.n_refused, 1);
    assert_text("queued,failed,queued",
                "SELECT GROUP_CONCAT(status ORDER BY id) FROM portal_jobs WHERE id IN (?, ?, ?)", "uuu", job[0],
                job[1], job[2]);
    assert_number(2, "SELECT COUNT(*) FROM chasqui_items WHERE state = 'queued'", "");
    assert_text("2 failed -> 2 queued, 1 refused by the database",
                "SELECT detail FROM chasqui_audit WHERE action = 'jobs.retry'", "");
    claim_forget(&op);
}

/* ---- what it waits for -------------------------------------------------------------------------------------- */

static void assert_why(uint64_t job_id, const char *want)
{
    struct store_why op = {.job_id = job_id, .room = {.kept_back_percent = 10, .logins_per_robot = 100}};
    enum jv_bad bad;
    char got[300] = "";
    for (unsigned i = 1; i < 4; i++)
        op.room.candidate[op.room.n_candidates++] = (struct candidate){.robot_id = robot[i]};
    run_fine(store_why, &op);
    assert_true(op.found);
    struct jv *body = jv_parse(op.json.data, op.json.len, &bad), *why = jv_get(body, "why");
    snprintf(got, sizeof(got), "%s:", jv_str(jv_get(body, "status")));
    for (size_t i = 0; i < jv_len(why); i++) {
        const struct jv *one = jv_at(why, i);
        assert_non_null(jv_str(jv_get(one, "detail")));
        snprintf(got + strlen(got), sizeof(got) - strlen(got), " %s", jv_str(jv_get(one, "reason")));
    }
    assert_string_equal(got, want);
    jv_free(body);
    buf_free(&op.json);
}

STORE_TEST(test_what_a_job_waits_for)
{
    uint64_t first = enqueued(1, 5), second = enqueued(2, 5), urgent = enqueued(3, 9);
    uint64_t later = enqueued_at(4, 5, clock_unix_ms() + 60000);
    assert_why(urgent, "queued: next");
    assert_why(first, "queued: behind");
    assert_why(second, "queued: behind");
    assert_why(later, "queued: scheduled");
    struct store_queue_state pause = {.change = PAUSE_SET, .by.name = "token:1:ops", .reason = "night"};
    run_fine(store_queue_state, &pause);
    buf_free(&pause.json);
    assert_why(urgent, "queued: paused");
    assert_why(first, "queued: paused behind");
    exec_sql("UPDATE chasqui_pause SET until_at = NOW(6) - INTERVAL 1 SECOND", ""); /* it has passed */
    struct store_claim op = claim_op(1);
    claim_fine(&op, 1);
    assert_int_equal(op.got[0].job_id, urgent);
    assert_why(urgent, "running: running");
    cancelled(urgent, CANCEL_ASKED);
    assert_why(urgent, "running: cancelling");
    uint64_t same = enqueued(5, 5);
    exec_sql("UPDATE portal_jobs SET company_id = 3 WHERE id = ?", "u", same);
    assert_why(same, "queued: company_busy behind");
    claimed_fail(&op.got[0], &op.lease, 60000);
    assert_why(urgent, "retrying: retrying");
    cancelled(urgent, CANCEL_DONE);
    assert_why(urgent, "cancelled: ended");
    for (unsigned i = 1; i < 4; i++)
        exec_sql("UPDATE chasqui_places SET session_ref = 1000 + slot + ? WHERE robot_id = ?", "uu",
                 (uint64_t)(100 * i), (uint64_t)robot[i]);
    assert_why(first, "queued: waiting_for_place");
    exec_sql("UPDATE chasqui_robots SET wanted = 'draining'", "");
    assert_why(first, "queued: no_robot");
    uint64_t laravels = laravel_make(6, BASE(1), "l-1", 10);
    assert_why(laravels, "done: ended");
    exec_sql("UPDATE portal_jobs SET status = 'running' WHERE id = ?", "u", laravels);
    assert_why(laravels, "running: not_ours");
    exec_sql("UPDATE portal_jobs SET status = 'queued' WHERE id = ?", "u", laravels);
    assert_why(laravels, "queued: not_ours");
    struct store_why none = {.job_id = laravels + 1};
    run_fine(store_why, &none);
    assert_false(none.found);
    claim_forget(&op);
}

/* ---- the queue as a whole ----------------------------------------------------------------------------------- */

static void assert_state(enum pause_change change, const char *want)
{
    struct store_queue_state op = {
        .change = change, .by = {.name = "token:1:ops", .request_id = "r-9"}, .reason = "night"};
    run_fine(store_queue_state, &op);
    assert_non_null(strstr(op.json.data, want));
    buf_free(&op.json);
}

/* What has waited longest has waited `least` seconds, and those since clock_ms() was `since_ms`. */
static void assert_oldest(uint64_t least, uint64_t since_ms)
{
    struct store_queue_state op = {.change = PAUSE_LOOK};
    enum jv_bad why;
    int64_t oldest_s = -1;
    run_fine(store_queue_state, &op);
    struct jv *body = jv_parse(op.json.data, op.json.len, &why);
    jv_int(jv_get(jv_get(body, "queue"), "oldest_s"), &oldest_s);
    assert_in_range(oldest_s, least, least + 1 + (clock_ms() - since_ms) / 1000);
    jv_free(body);
    buf_free(&op.json);
}

STORE_TEST(test_the_state_of_the_queue)
{
    uint64_t began_ms = clock_ms();
    assert_state(
        PAUSE_LOOK,
        "{\"ok\":true,\"queue\":{\"ready\":{\"n\":0,\"capped\":false},\"by_priority\":[],\"oldest_s\":null,\"scheduled\":{\"n\":0,"
        "\"capped\":false},\"running\":0,\"paused\":null,\"pauses\":[],\"held\":{\"n\":0,\"capped\":false}}}");
    batch_make(3, 1);
    enqueued(10, 9);
    enqueued_at(11, 9, clock_unix_ms() + 60000);
    struct store_claim op = claim_op(1);
    claim_fine(&op, 1);
    claim_forget(&op);
    enqueued(12, 9);
    assert_state(
        PAUSE_LOOK,
        "\"ready\":{\"n\":4,\"capped\":false},\"by_priority\":[{\"n\":1,\"capped\":false,\"priority\":9},{\"n\":3,\"capped\":false,"
        "\"priority\":5}],\"oldest_s\":");
    assert_state(PAUSE_LOOK, ",\"scheduled\":{\"n\":1,\"capped\":false},\"running\":1,\"paused\":null");
    assert_oldest(0, began_ms);
    exec_sql("UPDATE portal_jobs SET available_at = NOW() - INTERVAL 100 SECOND WHERE company_id = 12", "");
    assert_oldest(100, began_ms);
    exec_sql("UPDATE chasqui_batches SET created_at = NOW() - INTERVAL 300 SECOND", "");
    assert_oldest(300, began_ms);
}

STORE_TEST(test_a_pause)
{
    enqueued(1, 5);
    assert_state(PAUSE_SET, "\"paused\":{\"by\":\"token:1:ops\",\"reason\":\"night\",\"since\":\"2");
    assert_state(PAUSE_SET, "\"until\":null}");
    struct store_claim op = claim_op(1);
    claim_fine(&op, 0);
    assert_true(op.is_paused);
    claim_forget(&op);
    assert_state(PAUSE_END, "\"paused\":null");
    claim_fine(&op, 1);
    claim_forget(&op);
    assert_number(2, "SELECT COUNT(*) FROM chasqui_audit WHERE action = 'queue.pause' AND request_id = 'r-9'", "");
    assert_number(
        1,
        "SELECT COUNT(*) FROM chasqui_audit WHERE action = 'queue.resume' AND detail = 'paused -> going: night'",
        "");
    struct store_queue_state past = {.change = PAUSE_SET, .by.name = "t", .until_ms = clock_unix_ms() + 3600000};
    run_fine(store_queue_state, &past);
    assert_non_null(strstr(past.json.data, "\"until\":\"2"));
    exec_sql("UPDATE chasqui_pause SET until_at = NOW(6)", "");
    assert_state(PAUSE_LOOK, "\"paused\":null");
    buf_free(&past.json);
}

STORE_TEST(test_the_audit_trail)
{
    for (uint64_t i = 1; i <= 5; i++)
        exec_sql(
            "INSERT INTO chasqui_audit (id, at, actor, action, subject, detail) VALUES (?, NOW(6), IF(? % 2, 'token:1:ana', 'cli:bo@h'), "
            "'job.retry', CONCAT('job:', ?), '50% of _')",
            "uuu", i, i, 70 + i);
    struct store_audit op = {.limit = 2}, found = {.search = "ana", .cursor = 5},
                       all = {.search = "50% of _", .limit = 5};
    run_fine(store_audit, &op);
    assert_memory_equal(op.json.data, "{\"ok\":true,\"audit\":[{\"id\":5,\"at\":\"2", 33);
    assert_non_null(strstr(
        op.json.data,
        "\"actor\":\"token:1:ana\",\"peer\":null,\"request_id\":null,\"action\":\"job.retry\",\"subject\":\"job:75\","
        "\"detail\":\"50% of _\"}"));
    assert_non_null(strstr(op.json.data, "\"next_cursor\":4}"));
    run_fine(store_audit, &found);
    assert_memory_equal(found.json.data, "{\"ok\":true,\"audit\":[{\"id\":3,", 28);
    assert_non_null(strstr(found.json.data, "{\"id\":1,"));
    assert_null(strstr(found.json.data, "{\"id\":2,"));
    run_fine(store_audit, &all);
    assert_non_null(strstr(all.json.data, "{\"id\":1,"));
    assert_non_null(strstr(all.json.data, "\"next_cursor\":null}"));
    buf_free(&op.json);
    buf_free(&found.json);
    buf_free(&all.json);
}

TEST_MAIN(server_start, server_stop)
