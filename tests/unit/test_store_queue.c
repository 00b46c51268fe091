/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_queue.c - queued jobs: putting in, claiming with places, outcomes, retries, in a real database. */
#include "tests/unit/store_queue_fixture.h"
#include "tests/unit/store_plan.h"

#include <pthread.h>

/* As store_batch_append writes it. */
static void item_add(uint64_t batch_id, uint64_t idx, uint64_t company)
{
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn, params) VALUES (?, ?, ?, 'queued', 1, 4, ?, "
        "'sealed')",
        "uuuu", batch_id, idx, company, idx + 1);
}

static uint64_t batch_add(unsigned items, uint64_t first_company)
{
    exec_sql(
        "INSERT INTO chasqui_batches (token_id, portal, action, priority, turn, status, total, created_at) VALUES (7, 'acme', "
        "'acme.login', 5, 1, 'running', ?, NOW(6))",
        "u", (uint64_t)items);
    uint64_t id = db_insert_id(look);
    for (unsigned i = 0; i < items; i++)
        item_add(id, i, first_company + i);
    return id;
}

static void due_now(void)
{
    struct store_queue_look op = {0};
    exec_sql("UPDATE chasqui_items SET due_at = NOW(6) - INTERVAL 1 SECOND WHERE due_at IS NOT NULL", "");
    run_fine(store_queue_look, &op);
    assert_true(op.is_ready);
}

STORE_TEST(test_a_job_from_the_queue_to_its_session)
{
    struct store_enqueue in = enqueue_op(1, 5);
    in.remember = true;
    run_fine(store_enqueue, &in);
    assert_int_equal(in.outcome, ENQUEUE_OK);
    assert_job(in.job_id, "queued", "(null)");
    run_fine(store_enqueue, &in); /* sent again: the same job */
    assert_int_equal(in.outcome, ENQUEUE_SAME);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_items", "");

    struct store_claim op = claim_op(10);
    claim_fine(&op, 1);
    struct claimed *got = &op.got[0];
    assert_int_equal(got->job_id, in.job_id);
    assert_int_equal(got->item.attempts, 1);
    assert_int_equal(got->item.tries, 3);
    assert_true(got->item.is_set && got->remember);
    assert_int_equal(got->params.len, 6);
    assert_job(in.job_id, "running", "(null)");
    assert_session(got->session_ref, "opening", "(null)", 0, 1);
    assert_text("running", "SELECT state FROM chasqui_items", "");
    assert_number(1, "SELECT COUNT(*) FROM chasqui_leases WHERE job_id = ? AND kind = 'login'", "u", in.job_id);
    struct store_claim none = claim_op(10);
    claim_fine(&none, 0);
    assert_false(none.is_full);
    claim_forget(&none);

    claimed_finish(got, &op.lease, "s-1");
    assert_job(in.job_id, "done", "(null)");
    assert_text("done", "SELECT state FROM chasqui_items", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_jobs WHERE params IS NOT NULL", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_leases", "");
    struct store_enqueue again = enqueue_op(1, 5);
    run_fine(store_enqueue, &again);
    assert_int_equal(again.outcome, ENQUEUE_REUSED);
    assert_string_equal(again.row.session_id, "s-1");
    assert_number(1, "SELECT COUNT(*) FROM portal_jobs", "");
    claim_forget(&op);
}

STORE_TEST(test_a_batch_item_gets_its_job_at_its_claim)
{
    uint64_t batch = batch_add(3, 1);
    struct store_claim op = claim_op(2);
    claim_fine(&op, 2);
    assert_number(2, "SELECT COUNT(*) FROM portal_jobs WHERE batch_id = ? AND status = 'running' AND attempts = 1",
                  "u", batch);
    assert_number(
        2,
        "SELECT COUNT(*) FROM chasqui_items i JOIN portal_jobs j ON j.id = i.job_id WHERE i.state = 'running' AND i.company_id = "
        "j.company_id",
        "");
    assert_number(1, "SELECT COUNT(*) FROM chasqui_items WHERE ready = 1 AND job_id IS NULL", "");
    assert_true(op.got[0].robot_id != op.got[1].robot_id); /* the one with the fewest sessions */
    claimed_finish(&op.got[0], &op.lease, "s-1");
    assert_number(
        1,
        "SELECT COUNT(*) FROM chasqui_items WHERE batch_id = ? AND idx = 0 AND state = 'done' AND params IS NULL",
        "u", batch);
    claim_forget(&op);
}

/* Neighbours of a batch are written by one statement; one that is left out, and another batch, divide them. */
STORE_TEST(test_each_item_has_its_own_job_and_place)
{
    uint64_t one = batch_add(7, 100), other = batch_add(2, 200);
    robot_add("wide", "http://wide.test", 20);
    exec_sql("UPDATE chasqui_items SET ready = NULL WHERE batch_id = ? AND idx = 3", "u", one);
    struct store_claim op = claim_op(20);
    op.logins_per_robot = 20;
    op.candidate[op.n_candidates++] = (struct candidate){
        .robot_id = (uint32_t)number_of("SELECT id FROM chasqui_robots WHERE name = 'wide'", "")};
    claim_fine(&op, 8);
    assert_number(
        8,
        "SELECT COUNT(DISTINCT i.job_id) FROM chasqui_items i JOIN chasqui_jobs q ON q.job_id = i.job_id AND q.batch_id = "
        "i.batch_id AND q.idx = i.idx AND q.company_id = i.company_id JOIN portal_jobs j ON j.id = i.job_id AND j.job_uid = q.job_uid "
        "WHERE i.state = 'running' AND i.ready IS NULL",
        "");
    assert_number(
        8,
        "SELECT COUNT(*) FROM chasqui_sessions s JOIN chasqui_items i ON i.job_id = s.job_id AND i.company_id = s.company_id JOIN "
        "chasqui_places p ON p.session_ref = s.id AND p.robot_id = s.robot_id",
        "");
    assert_text("queued", "SELECT state FROM chasqui_items WHERE batch_id = ? AND idx = 3", "u", one);
    assert_number(2, "SELECT COUNT(*) FROM chasqui_items WHERE batch_id = ? AND state = 'running'", "u", other);
    claim_forget(&op);
}

STORE_TEST(test_attempts_are_bounded_and_a_full_robot_costs_none)
{
    uint64_t job = enqueued(1, 5);
    struct store_claim op = claim_op(1);
    claim_fine(&op, 1);
    claimed_fail(&op.got[0], &op.lease, 60000);
    assert_job(job, "retrying", "robot_error");
    assert_text("retrying", "SELECT state FROM chasqui_items", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_places WHERE session_ref IS NOT NULL", "");
    claim_forget(&op);
    struct store_claim early = claim_op(1);
    claim_fine(&early, 0);
    claim_forget(&early);
    struct store_queue_look look_op = {0};
    run_fine(store_queue_look, &look_op);
    assert_false(look_op.is_ready);
    assert_true(look_op.due_in_ms > 0 && look_op.due_in_ms <= 60000);

    due_now();
    op = claim_op(1);
    claim_fine(&op, 1);
    assert_int_equal(op.got[0].item.attempts, 2);
    assert_number(2, "SELECT MAX(generation) FROM chasqui_sessions WHERE job_id = ?", "u", job);
    struct store_login_failed full = claimed_failed_op(&op.got[0], &op.lease, 1000);
    full.uncounted = true;
    login_failed_fine(&full);
    assert_number(1, "SELECT attempts FROM portal_jobs WHERE id = ?", "u", job);
    assert_text("queued", "SELECT state FROM chasqui_items", "");
    assert_text("queued", "SELECT status FROM portal_jobs WHERE id = ?", "u", job); /* one word for one state */
    claim_forget(&op);

    due_now();
    op = claim_op(1);
    claim_fine(&op, 1);
    assert_int_equal(op.got[0].item.attempts, 2);
    claimed_fail(&op.got[0], &op.lease, -1);
    assert_job(job, "failed", "robot_error");
    assert_text("failed", "SELECT state FROM chasqui_items", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_jobs WHERE params IS NOT NULL", "");
    claim_forget(&op);
}

STORE_TEST(test_a_job_asked_to_stop_ends_as_cancelled)
{
    uint64_t job = enqueued(1, 5);
    struct store_claim op = claim_op(1);
    claim_fine(&op, 1);
    struct store_login_failed stop = claimed_failed_op(&op.got[0], &op.lease, -1);
    stop.cancelled = true;
    login_failed_fine(&stop);
    assert_job(job, "cancelled", "(null)");
    assert_text("cancelled", "SELECT state FROM chasqui_items", "");
    claim_forget(&op);
}

STORE_TEST(test_priority_comes_first_then_the_turn)
{
    batch_add(3, 1); /* priority 5, turns 1 2 3 */
    enqueued(11, 5); /* turn 2, before the batch's own second */
    enqueued(12, 9);
    uint64_t order[] = {12, 1, 11, 2, 3};
    for (unsigned i = 0; i < 5; i++) {
        struct store_claim op = claim_op(1);
        claim_fine(&op, 1);
        assert_int_equal(op.got[0].company_id, order[i]);
        claim_forget(&op);
    }
}

/* Of `claims` claims of `most` items each, how many items were of companies from `first` to `last`. */
static unsigned claimed_of(unsigned claims, unsigned most, uint64_t first, uint64_t last)
{
    unsigned n = 0;
    for (unsigned i = 0; i < claims; i++) {
        struct store_claim op = claim_op(most);
        claim_fine(&op, most);
        for (unsigned k = 0; k < most; k++)
            n += op.got[k].company_id >= first && op.got[k].company_id <= last;
        claim_forget(&op);
    }
    return n;
}

STORE_TEST(test_urgent_work_without_end_leaves_a_share_to_what_waits)
{
    for (unsigned i = 1; i < 4; i++) {
        struct store_robot_seen seen = {.robot_id = robot[i], .reported_capacity = 500, .fenced = -1};
        run_fine(store_robot_seen, &seen);
    }
    batch_add(20, 1);                  /* priority 5 */
    uint64_t low = batch_add(20, 101); /* made priority 1 */
    exec_sql("UPDATE chasqui_items SET urgency = 8 WHERE batch_id = ?", "u", low);
    uint64_t urgent = batch_add(200, 1001);
    exec_sql("UPDATE chasqui_items SET urgency = 0 WHERE batch_id = ?", "u", urgent);
    enqueued(50, 7);
    assert_int_equal(claimed_of(24, 1, 1, 199),
                     0); /* nothing has waited for a minute: the urgent ones come first */
    exec_sql("UPDATE chasqui_batches SET created_at = created_at - INTERVAL 2 MINUTE WHERE id <= ?", "u", low);
    assert_int_equal(claimed_of(24, 1, 1, 199), 3);
    assert_int_equal(claimed_of(2, 32, 1, 199), 8);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_items WHERE company_id = 50 AND ready = 1",
                  ""); /* it has not waited yet */
    assert_number(2, "SELECT COUNT(DISTINCT batch_id) FROM chasqui_items WHERE urgency > 2 AND state = 'running'",
                  ""); /* of each priority */
    exec_sql(
        "UPDATE portal_jobs SET available_at = available_at - INTERVAL 2 MINUTE, created_at = created_at - INTERVAL 2 MINUTE WHERE company_id = 50",
        "");
    claimed_of(1, 24, 1, 199);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_items WHERE company_id = 50 AND ready = 1", "");
    exec_sql("DELETE FROM chasqui_places WHERE slot > 2", "");
}

STORE_TEST(test_what_waits_for_its_company)
{
    session_make(1, 1, "s-1");
    struct store_reserve runs = reserve_op(2, 2, 2);
    reserve_fine(&runs, RESERVE_OK);
    uint64_t batch = batch_add(2, 1);
    item_add(batch, 2, 3);
    item_add(batch, 3, 3); /* a twin */
    exec_sql("UPDATE chasqui_batches SET created_at = created_at - INTERVAL 1 HOUR", "");
    struct store_claim op = claim_op(10);
    claim_fine(&op, 1);
    assert_int_equal(op.n_met, 1);
    assert_int_equal(op.met[0].company_id, 1);
    assert_in_range(op.met[0].waited_ms, 3600000, 3660000); /* met items have waited like others */
    assert_int_equal(op.n_batches, 1);
    assert_int_equal(op.got[0].company_id, 3);
    assert_text("done", "SELECT state FROM chasqui_items WHERE idx = 0", "");
    assert_number(
        1,
        "SELECT COUNT(*) FROM chasqui_items i JOIN chasqui_sessions s ON s.job_id = i.job_id WHERE i.idx = 0 AND s.live = 1",
        "");
    assert_number(
        2, "SELECT COUNT(*) FROM chasqui_items WHERE state = 'queued' AND ready IS NULL AND due_at IS NOT NULL",
        "");
    claimed_finish(&op.got[0], &op.lease, "s-3");
    claim_forget(&op);
    due_now();
    op = claim_op(10);
    claim_fine(&op, 0);
    assert_int_equal(op.n_met, 1); /* the twin, with the first one's session */
    assert_number(2, "SELECT COUNT(*) FROM portal_jobs WHERE company_id IN (1, 3)", "");
    claim_forget(&op);
    buf_free(&runs.credentials);
}

STORE_TEST(test_places_are_kept_back_and_robots_are_not_flooded)
{
    exec_sql("UPDATE chasqui_robots SET wanted = 'draining' WHERE id IN (?, ?)", "uu", (uint64_t)robot[2],
             (uint64_t)robot[3]);
    struct store_robot_seen seen = {.robot_id = robot[1], .reported_capacity = 10, .fenced = -1};
    run_fine(store_robot_seen, &seen);
    batch_add(12, 1);
    struct store_claim op = claim_op(20);
    op.logins_per_robot = 4;
    claim_fine(&op, 4);
    assert_false(op.is_full);
    for (unsigned i = 0; i < 4; i++) {
        char id[20];
        snprintf(id, sizeof(id), "s-%u", i);
        claimed_finish(&op.got[i], &op.lease, id);
    }
    claim_forget(&op);
    op = claim_op(20);
    op.kept_back_percent = 10;
    claim_fine(&op, 5); /* 9 of 10 */
    claim_forget(&op);
    op = claim_op(20);
    op.kept_back_percent = 10;
    claim_fine(&op, 0);
    assert_true(op.is_full);
    claim_forget(&op);
    item_add(1, 99, 1); /* its company has a session: it needs no place */
    exec_sql(
        "UPDATE chasqui_items SET urgency = 0, batch_id = (SELECT MAX(id) FROM chasqui_batches) WHERE idx = 99",
        "");
    op = claim_op(20);
    op.kept_back_percent = 10;
    claim_fine(&op, 0);
    assert_int_equal(op.n_met, 1);
    claim_forget(&op);
    struct store_reserve interactive = reserve_op(50, 1, 1);
    reserve_fine(&interactive, RESERVE_OK); /* the place kept back */
    buf_free(&interactive.credentials);
}

STORE_TEST(test_claims_at_once_leave_what_is_kept_back)
{
    exec_sql("UPDATE chasqui_robots SET wanted = 'draining' WHERE id IN (?, ?)", "uu", (uint64_t)robot[2],
             (uint64_t)robot[3]);
    struct store_robot_seen seen = {.robot_id = robot[1], .reported_capacity = 10, .fenced = -1};
    run_fine(store_robot_seen, &seen);
    batch_add(12, 1);
    sql_fine(db_run(look, "START TRANSACTION", 17)); /* another claim, not committed yet, has five of its places */
    assert_number(1, "SELECT slot FROM chasqui_places WHERE robot_id = ? AND slot <= 5 FOR UPDATE", "u",
                  (uint64_t)robot[1]);
    struct store_claim op = claim_op(20);
    op.kept_back_percent = 10;
    claim_fine(&op, 4);
    sql_fine(db_run(look, "ROLLBACK", 8));
    assert_number(0, "SELECT COUNT(session_ref) FROM chasqui_places WHERE robot_id = ? AND slot = 10", "u",
                  (uint64_t)robot[1]);
    claim_forget(&op);
}

/* Its dispatcher counted when the robots had a thousand places each, and held nothing. */
struct optimist {
    pthread_t thread;
    unsigned logins_per_robot, got;
    bool failed;
};

static void *claim_all(void *arg)
{
    struct optimist *o = arg;
    struct db *mine = db_new(&conf);
    for (unsigned i = 0; i < 8; i++) {
        struct store_claim op = claim_op(10);
        op.logins_per_robot = o->logins_per_robot;
        for (unsigned k = 0; k < op.n_candidates; k++) {
            op.candidate[k].counted = 1;
            op.candidate[k].capacity = 1000;
        }
        store_claim(mine, &op);
        o->failed |= op.rc != STORE_OK;
        o->got += op.n;
        claim_forget(&op);
    }
    db_destroy(&mine);
    return NULL;
}

static void claim_race(unsigned logins_per_robot, unsigned want)
{
    struct optimist o[4];
    unsigned got = 0;
    batch_add(200, 1);
    for (unsigned i = 0; i < 4; i++) {
        o[i] = (struct optimist){.logins_per_robot = logins_per_robot};
        assert_int_equal(pthread_create(&o[i].thread, NULL, claim_all, &o[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(o[i].thread, NULL);
        assert_false(o[i].failed);
        got += o[i].got;
    }
    assert_int_equal(got, want);
    assert_number(want, "SELECT COUNT(session_ref) FROM chasqui_places", "");
    assert_number(want, "SELECT COUNT(*) FROM chasqui_sessions WHERE state = 'opening' AND robot_id IS NOT NULL",
                  "");
}

STORE_TEST(test_claims_by_an_old_count_keep_the_robots_places)
{
    claim_race(100, 6);
}

STORE_TEST(test_claims_by_an_old_count_keep_the_robots_log_ins)
{
    claim_race(1, 3);
}

STORE_TEST(test_a_paused_queue_gives_nothing)
{
    enqueued(1, 5);
    exec_sql(
        "INSERT INTO chasqui_pause (actor, since, until_at) VALUES ('cli:x', NOW(6), NOW(6) + INTERVAL 1 HOUR)",
        "");
    struct store_claim op = claim_op(10);
    claim_fine(&op, 0);
    assert_true(op.is_paused);
    claim_forget(&op);
    exec_sql("UPDATE chasqui_pause SET until_at = NOW(6) - INTERVAL 1 SECOND", "");
    op = claim_op(10);
    claim_fine(&op, 1);
    claim_forget(&op);
}

STORE_TEST(test_a_scheduled_job_waits_for_its_time)
{
    int64_t at_ms = clock_unix_ms() + 3600000;
    enqueued_at(1, 5, at_ms);
    struct store_claim op = claim_op(10);
    claim_fine(&op, 0);
    claim_forget(&op);
    assert_number(at_ms, "SELECT CAST(UNIX_TIMESTAMP(available_at) * 1000 AS INT) FROM portal_jobs", "");
    due_now();
    op = claim_op(10);
    claim_fine(&op, 1);
    claim_forget(&op);
}

STORE_TEST(test_a_key_stands_for_one_job)
{
    struct store_enqueue in = enqueue_op(1, 5), other = enqueue_op(1, 5);
    in.key.is_set = other.key.is_set = true;
    memset(in.key.scope, 7, DIGEST_BYTES);
    memset(other.key.scope, 7, DIGEST_BYTES);
    run_fine(store_enqueue, &in);
    assert_int_equal(in.outcome, ENQUEUE_OK);
    run_fine(store_enqueue, &other);
    assert_int_equal(other.outcome, ENQUEUE_REPLAY);
    assert_int_equal(other.job_id, in.job_id);
    memset(other.key.digest, 9, DIGEST_BYTES);
    run_fine(store_enqueue, &other);
    assert_int_equal(other.outcome, ENQUEUE_MISMATCH);
    assert_number(1, "SELECT COUNT(*) FROM portal_jobs", "");

    struct store_reserve sync = reserve_op(1, 1, 3);
    sync.key = in.key;
    reserve_fine(&sync, RESERVE_REPLAY);
    assert_int_equal(sync.job_id, in.job_id);
    sync.key = other.key;
    reserve_fine(&sync, RESERVE_MISMATCH);
    struct store_reserve keyed = reserve_op(2, 1, 3);
    keyed.key.is_set = true;
    reserve_fine(&keyed, RESERVE_OK);
    struct store_reserve again = reserve_op(2, 1, 3);
    again.key.is_set = true;
    reserve_fine(&again, RESERVE_REPLAY);
    assert_int_equal(again.job_id, keyed.job_id);
    buf_free(&keyed.credentials);
}

STORE_TEST(test_what_was_claimed_by_the_dead_is_rescued)
{
    uint64_t batch = batch_add(1, 1);
    struct store_claim op = claim_op(10);
    claim_fine(&op, 1);
    exec_sql("UPDATE chasqui_leases SET expires_at = NOW(6) - INTERVAL 1 SECOND, cancel = 1", "");
    struct store_rescue rescue = {.lease = lease_make(), .max = 10};
    run_fine(store_rescue, &rescue);
    assert_int_equal(rescue.n, 1);
    assert_true(rescue.job[0].item.is_set && rescue.job[0].cancelled);
    assert_int_equal(rescue.job[0].item.batch_id, batch);
    assert_int_equal(rescue.job[0].item.attempts, 1);
    assert_int_equal(rescue.job[0].item.tries, 3);
    struct store_login_failed late = claimed_failed_op(&op.got[0], &op.lease, 10);
    run_fine(store_login_failed, &late);
    assert_true(late.lost); /* its lease is another's now */
    assert_text("running", "SELECT state FROM chasqui_items", "");
    struct claimed taken = op.got[0];
    claimed_fail(&taken, &rescue.lease, 10);
    assert_text("retrying", "SELECT state FROM chasqui_items", "");
    free(rescue.job);
    claim_forget(&op);
}

STORE_TEST(test_many_outcomes_in_one_transaction)
{
    uint64_t batch = batch_add(4, 1);
    struct store_claim op = claim_op(4);
    claim_fine(&op, 4);
    exec_sql("UPDATE chasqui_leases SET token = REPEAT('x', 16) WHERE job_id = ?", "u", op.got[1].job_id);
    struct store_login_done done[4];
    struct store_group all = {.n = 4};
    for (unsigned i = 0; i < 4; i++) {
        char id[20];
        snprintf(id, sizeof(id), "s-%u", i % 3); /* the last one's id is the first one's */
        done[i] = claimed_done_op(&op.got[i], &op.lease, id);
        all.op[3 - i] = &done[i];
    }
    logins_done(db, &all);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(done[i].rc, STORE_OK);
    assert_int_equal(done[1].outcome, LOGIN_DONE_LOST);
    assert_int_equal(done[2].outcome, LOGIN_DONE_OK);
    assert_int_equal((done[0].outcome == LOGIN_DONE_OK) + (done[3].outcome == LOGIN_DONE_OK), 1);
    assert_int_equal((done[0].outcome == LOGIN_DONE_DUP_SESSION) + (done[3].outcome == LOGIN_DONE_DUP_SESSION), 1);
    assert_number(2, "SELECT COUNT(*) FROM chasqui_items WHERE batch_id = ? AND state = 'done'", "u", batch);
    assert_number(
        2,
        "SELECT COUNT(*) FROM portal_jobs WHERE status = 'done' AND robot_session_id IS NOT NULL AND finished_at IS NOT NULL",
        "");
    assert_number(2, "SELECT COUNT(*) FROM chasqui_leases", "");
    claim_forget(&op);
}

/* ---- many at once ------------------------------------------------------------------------------------------- */

#define THREADS 4
#define ITEMS 400

struct racer {
    pthread_t thread;
    unsigned claimed;
    bool failed;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct db *mine = db_new(&conf);
    for (unsigned idle = 0; idle < 20 && !r->failed;) {
        struct store_claim op = claim_op(16);
        store_claim(mine, &op);
        r->failed |= op.rc != STORE_OK;
        idle = op.n ? 0 : idle + 1;
        struct store_login_done done[16];
        struct store_group all = {.n = op.n};
        for (unsigned i = 0; i < op.n; i++) {
            char id[40];
            snprintf(id, sizeof(id), "s-%llu", (unsigned long long)op.got[i].session_ref);
            done[i] = claimed_done_op(&op.got[i], &op.lease, id);
            all.op[i] = &done[i];
        }
        if (op.n)
            logins_done(mine, &all);
        for (unsigned i = 0; i < op.n; i++)
            r->failed |= done[i].rc != STORE_OK || done[i].outcome != LOGIN_DONE_OK;
        r->claimed += op.n;
        claim_forget(&op);
    }
    db_destroy(&mine);
    return NULL;
}

STORE_TEST(test_claims_of_many_pass_each_other)
{
    struct racer racer[THREADS];
    memset(racer, 0, sizeof(racer));
    for (unsigned i = 1; i < 4; i++) {
        struct store_robot_seen seen = {.robot_id = robot[i], .reported_capacity = 200, .fenced = -1};
        run_fine(store_robot_seen, &seen);
    }
    uint64_t batch = batch_add(ITEMS, 1);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&racer[i].thread, NULL, race, &racer[i]), 0);
    unsigned claimed = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(racer[i].thread, NULL);
        assert_false(racer[i].failed);
        claimed += racer[i].claimed;
    }
    assert_int_equal(claimed, ITEMS);
    assert_number(ITEMS, "SELECT COUNT(*) FROM chasqui_items WHERE batch_id = ? AND state = 'done'", "u", batch);
    assert_number(ITEMS, "SELECT COUNT(DISTINCT company_id) FROM chasqui_sessions WHERE live = 1", "");
    assert_number(ITEMS, "SELECT COUNT(session_ref) FROM chasqui_places", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_leases", "");
    exec_sql("DELETE FROM chasqui_places WHERE slot > 2", "");
}

/* ---- plans -------------------------------------------------------------------------------------------------- */

STORE_TEST(test_hot_statements_use_indexes)
{
    uint64_t batch = batch_add(0, 1);
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn) SELECT ?, seq, seq, 'queued', 1, 4, seq FROM "
        "seq_1_to_20000",
        "u", batch);
    exec_sql(
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, "
        "updated_at) SELECT CONCAT('J-', seq), seq + 100000, 'acme', 'login', 'done', 'http://r1.test', CONCAT('id-', seq), NOW(), NOW() "
        "FROM seq_1_to_5000",
        "");
    exec_sql("INSERT INTO chasqui_epochs (company_id, portal, epoch) SELECT seq, 'acme', 1 FROM seq_1_to_30000",
             "");
    exec_sql(
        "INSERT INTO chasqui_sessions (job_id, current_job_id, company_id, portal, live, state, since, robot_id, robot_session_id, "
        "live_session_id, epoch, started_at, last_activity_at) SELECT id, id, company_id, portal, 1, 'active', NOW(6), ?, robot_session_id, "
        "robot_session_id, 1, NOW(6), NOW(6) FROM portal_jobs",
        "u", (uint64_t)robot[3]);
    for (unsigned i = 1; i < 3; i++) {
        struct store_robot_seen seen = {.robot_id = robot[i], .reported_capacity = 500, .fenced = -1};
        run_fine(store_robot_seen, &seen);
    }
    sql_fine(db_run(
        look, "ANALYZE TABLE portal_jobs, chasqui_sessions, chasqui_items, chasqui_epochs, chasqui_places", 82));
    for (unsigned round = 0; round < 3; round++) { /* the last one with statements that are prepared */
        statements_log(round == 2);
        struct store_enqueue in = enqueue_op(200001 + round, 9);
        run_fine(store_enqueue, &in);
        struct store_queue_look look_op = {0};
        run_fine(store_queue_look, &look_op);
        assert_true(look_op.is_ready);
        struct store_claim op = claim_op(40);
        claim_fine(&op, 40);
        struct store_login_done done[40];
        struct store_group all = {.n = 39};
        for (unsigned i = 0; i < 39; i++) {
            char id[20];
            snprintf(id, sizeof(id), "s-%u-%u", round, i);
            done[i] = claimed_done_op(&op.got[i], &op.lease, id);
            all.op[i] = &done[i];
        }
        logins_done(db, &all);
        assert_int_equal(done[0].rc, STORE_OK);
        claimed_fail(&op.got[39], &op.lease, 60000);
        claim_forget(&op);
    }
    explained("the queue", false);
    statements_log(false);

    /* What a claim reads of the items, behind those that were claimed before. */
    static const char items[] =
        "ANALYZE SELECT batch_id, idx, company_id, job_id, urgency, params FROM chasqui_items FORCE INDEX (ready) WHERE "
        "ready = 1 ORDER BY urgency, turn LIMIT 40 FOR UPDATE SKIP LOCKED";
    sql_fine(db_query(look, items, ""));
    assert_true(db_next(look));
    assert_string_equal(db_str(look, 5, NULL), "ready");
    assert_true(atof(db_str(look, 9, NULL)) <= 80); /* r_rows */
    exec_sql("DELETE FROM chasqui_places WHERE slot > 2", "");
}

TEST_MAIN(server_start, server_stop)
