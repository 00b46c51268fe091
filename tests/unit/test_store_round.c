/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_round.c - rounds in a real database: which row says what, and who may go on. */
#include "tests/unit/store_queue_fixture.h"

#include "dispatcher/store/store_round.h"

static char key_path[64];
static struct seal *seal;

static int start(void **state)
{
    snprintf(key_path, sizeof(key_path), "/tmp/chasqui-round-%d.key", (int)getpid());
    if (seal_key_make(key_path) || !(seal = seal_open(key_path)))
        return -1;
    return server_start(state);
}

static int stop(void **state)
{
    seal_close(&seal);
    unlink(key_path);
    return server_stop(state);
}

static uint64_t round_add(unsigned items, const char *steps, bool closes)
{
    exec_sql(
        "INSERT INTO chasqui_batches (token_id, portal, action, priority, turn, status, total, steps, closes, created_at) VALUES (7, 'acme', "
        "'acme.login', 5, 1, 'running', ?, ?, ?, NOW(6))",
        "usu", (uint64_t)items, steps, (uint64_t)closes);
    uint64_t id = db_insert_id(look);
    for (unsigned i = 0; i < items; i++)
        exec_sql(
            "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn, params) VALUES (?, ?, ?, 'queued', 1, 4, ?, 'sealed')",
            "uuuu", id, (uint64_t)i, (uint64_t)(i + 1), (uint64_t)(i + 1));
    return id;
}

static struct store_login_done logged_in_op(const struct claimed *got, const struct lease *lease,
                                            const char *session_id)
{
    struct store_login_done op = {.job_id = got->job_id,
                                  .session_ref = got->session_ref,
                                  .company_id = got->company_id,
                                  .boot_id = "boot-1",
                                  .ttl_ms = 15000,
                                  .worker = "r1",
                                  .item = got->item};
    strcpy(op.robot_base_url, BASE(1));
    memcpy(op.token, lease->token, sizeof(op.token));
    snprintf(op.session_id, sizeof(op.session_id), "%s", session_id);
    return op;
}

static struct store_round_turn turn_op(const struct claimed *got, const struct lease *lease, int next)
{
    struct store_round_turn op = {.job_id = got->job_id,
                                  .batch_id = got->item.batch_id,
                                  .idx = got->item.idx,
                                  .session_ref = got->session_ref,
                                  .company_id = got->company_id,
                                  .portal = "acme",
                                  .seal = seal,
                                  .next = next,
                                  .may_close = true,
                                  .retry_ms = -1};
    memcpy(op.token, lease->token, sizeof(op.token));
    return op;
}

static void answer_set(struct store_round_turn *op, unsigned step, int status, const char *text)
{
    op->answer = (struct round_answer){.is_set = true, .step = step, .status = status};
    buf_adds(&op->answer.body, text);
}

static void assert_item(uint64_t batch, uint64_t idx, const char *want)
{
    assert_text(
        want,
        "SELECT CONCAT_WS(' ', state, COALESCE(step, '-'), steps_done, COALESCE(ending, '-')) FROM chasqui_items WHERE batch_id = ? AND idx = ?",
        "uu", batch, idx);
}

STORE_TEST(test_a_round_from_the_queue_to_its_end)
{
    uint64_t batch = round_add(1, "acme.list,acme.submit", true);
    struct store_claim claim = claim_op(5);
    claim_fine(&claim, 1);
    const struct claimed *got = &claim.got[0];
    assert_true(got->item.is_round && !got->is_met);
    struct store_login_done done = logged_in_op(got, &claim.lease, "s-1");
    run_fine(store_login_done, &done);
    assert_int_equal(done.outcome, LOGIN_DONE_OK);
    assert_job(got->job_id, "running", "(null)");
    assert_session(got->session_ref, "active", "(null)", 0, 1);
    assert_text("round", "SELECT kind FROM chasqui_leases", "");
    assert_item(batch, 0, "running - 0 -");

    struct store_round_read read = {
        .job_id = got->job_id, .batch_id = batch, .idx = 0, .session_ref = got->session_ref};
    run_fine(store_round_read, &read);
    assert_true(read.found && read.closes && read.step == -1 && !read.steps_done && read.ending == ROUND_ON);
    assert_string_equal(read.names, "acme.list,acme.submit");
    assert_string_equal(read.portal, "acme");
    assert_string_equal(read.row.session_id, "s-1");

    struct store_round_turn op = turn_op(got, &claim.lease, 0);
    run_fine(store_round_turn, &op);
    assert_true(!op.lost && !op.gone && !op.is_closing);
    assert_item(batch, 0, "running 0 0 -");
    op = turn_op(got, &claim.lease, 1);
    op.steps_done = 1;
    answer_set(&op, 0, 200, "{\"ok\":true,\n \"page\":1}");
    run_fine(store_round_turn, &op);
    buf_free(&op.answer.body);
    assert_int_equal(op.verdict, ANSWER_GOOD);
    assert_item(batch, 0, "running 1 1 -");
    assert_number(1, "SELECT COUNT(*) FROM chasqui_results WHERE batch_id = ? AND step = 0 AND status = 200", "u",
                  batch);

    static const char *const bad[] = {"", "nonsense", "12", "{\"ok\":false,\"error\":\"x\"}"};
    for (unsigned i = 0; i < 4; i++) { /* nothing is written of what is no answer */
        struct store_round_turn refused = turn_op(got, &claim.lease, -1);
        refused.ending = ROUND_DONE;
        refused.steps_done = 2;
        answer_set(&refused, 1, 200, bad[i]);
        run_fine(store_round_turn, &refused);
        buf_free(&refused.answer.body);
        assert_int_equal(refused.verdict, i == 3 ? ANSWER_REFUSED : ANSWER_GARBAGE);
        assert_item(batch, 0, "running 1 1 -");
    }

    struct store_close_begin begin = {.session_ref = got->session_ref, .epoch = got->epoch, .lease = lease_make()};
    run_fine(store_close_begin, &begin);
    assert_true(!begin.ok && begin.is_at_work);

    op = turn_op(got, &claim.lease, -1);
    op.ending = ROUND_FAILED;
    op.steps_done = 1;
    strcpy(op.error, "step_failed");
    strcpy(op.message, "no");
    answer_set(&op, 1, 500, "{\"ok\":false}");
    op.answer.is_refusal = true;
    run_fine(store_round_turn, &op);
    assert_true(op.is_closing && op.row.state == SESSION_CLOSING);
    assert_item(batch, 0, "running 1 1 failed");
    assert_job(got->job_id, "running", "step_failed");
    /* Made again, since nobody heard of its COMMIT: the session still has somebody who closes it. */
    run_fine(store_round_turn, &op);
    buf_free(&op.answer.body);
    assert_true(op.is_closing && op.row.state == SESSION_CLOSING);
    assert_item(batch, 0, "running 1 1 failed");
    assert_number(1, "SELECT COUNT(*) FROM chasqui_leases", "");
    run_fine(store_round_read, &read);
    assert_true(read.ending == ROUND_FAILED && read.row.state == SESSION_CLOSING);
    assert_string_equal(read.error, "step_failed");

    struct store_round_closed closed = {
        .job_id = got->job_id, .batch_id = batch, .idx = 0, .session_ref = got->session_ref, .place = PLACE_FREE};
    memcpy(closed.token, lease_make().token, sizeof(closed.token));
    run_fine(store_round_closed, &closed);
    assert_true(closed.lost);
    memcpy(closed.token, claim.lease.token, sizeof(closed.token));
    run_fine(store_round_closed, &closed);
    assert_true(!closed.lost && closed.ending == ROUND_FAILED);
    assert_item(batch, 0, "failed 1 1 -");
    assert_job(got->job_id, "failed", "step_failed");
    assert_session(got->session_ref, "closed", "round_over", 0, 0);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_places WHERE session_ref IS NOT NULL", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_leases", "");

    struct store_results results = {.batch_id = batch, .viewer = {.all = true}};
    run_fine(store_results, &results);
    assert_true(results.found && results.n == 2 && !results.more && results.row[1].status == 500);
    struct buf plain = {0};
    assert_true(seal_unwrap(seal, 1, "acme", "result", results.row[0].body.data, results.row[0].body.len, &plain));
    assert_string_equal(plain.data, "{\"ok\":true,\"page\":1}");
    buf_free(&plain);
    for (unsigned i = 0; i < results.n; i++)
        buf_free(&results.row[i].body);
    struct store_results none = {.batch_id = batch, .viewer = {.token_id = 99}}, one = {.batch_id = batch,
                                                                                        .viewer = {.all = true},
                                                                                        .is_one = true,
                                                                                        .index = 5,
                                                                                        .from_idx = 5};
    run_fine(store_results, &none);
    assert_false(none.found);
    run_fine(store_results, &one);
    assert_true(one.found && !one.item_found);
    claim_forget(&claim);
}

STORE_TEST(test_a_round_that_meets_a_session)
{
    struct session_row met = session_make(1, 1, "s-1");
    uint64_t batch = round_add(1, "acme.list", true);
    struct store_claim claim = claim_op(5);
    claim_fine(&claim, 1);
    const struct claimed *got = &claim.got[0];
    assert_true(got->is_met && got->session_ref == met.ref && got->job_id != met.job_id);
    assert_item(batch, 0, "running - 0 -");
    assert_text("r1", "SELECT worker FROM portal_jobs WHERE id = ?", "u", got->job_id);
    exec_sql(
        "INSERT INTO chasqui_items (batch_id, idx, company_id, state, ready, urgency, turn) VALUES (?, 9, 1, 'queued', 1, 4, 9)",
        "u", batch);
    struct store_claim twin = claim_op(5);
    claim_fine(&twin, 0); /* one round at a time in a session */
    claim_forget(&twin);
    assert_text("queued", "SELECT state FROM chasqui_items WHERE idx = 9", "");
    struct store_round_turn op = turn_op(got, &claim.lease, 0);
    op.may_close = false;
    run_fine(store_round_turn, &op);
    op.next = -1;
    op.ending = ROUND_RETRYING;
    op.is_unbegun = true;
    op.retry_ms = 1000;
    strcpy(op.error, "robot_unreachable");
    run_fine(store_round_turn, &op);
    assert_false(op.is_closing || op.lost);
    assert_item(batch, 0, "retrying - 0 -");
    assert_job(got->job_id, "retrying", "robot_unreachable");
    assert_session(met.ref, "active", "(null)", 0, 1);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_leases", "");

    exec_sql("UPDATE chasqui_items SET ready = 1, due_at = NULL WHERE batch_id = ? AND idx = 0", "u", batch);
    exec_sql("UPDATE chasqui_items SET ready = NULL WHERE idx = 9", "");
    struct store_claim again = claim_op(5);
    claim_fine(&again, 1);
    assert_true(again.got[0].is_met && again.got[0].job_id == got->job_id && again.got[0].item.attempts == 2);
    exec_sql("UPDATE chasqui_leases SET expires_at = NOW(6) - INTERVAL 1 SECOND", "");
    struct store_rescue rescue = {.lease = lease_make(), .max = 16};
    run_fine(store_rescue, &rescue);
    assert_true(rescue.n == 1 && rescue.job[0].kind == LEASE_ROUND && rescue.job[0].item.is_set &&
                rescue.job[0].item.is_round);
    assert_int_equal(rescue.job[0].row.ref, met.ref);
    for (unsigned i = 0; i < rescue.n; i++)
        buf_free(&rescue.job[i].params);
    free(rescue.job);
    op = turn_op(&again.got[0], &again.lease, 0);
    run_fine(store_round_turn, &op);
    assert_true(op.lost);
    op = turn_op(&again.got[0], &rescue.lease, 0);
    exec_sql("UPDATE chasqui_sessions SET state = 'expired', live = NULL, live_session_id = NULL WHERE id = ?",
             "u", met.ref);
    run_fine(store_round_turn, &op);
    assert_true(op.gone && !op.lost);
    assert_item(batch, 0, "running - 0 -");
    op.next = -1;
    op.ending = ROUND_DONE;
    op.steps_done = 1;
    run_fine(store_round_turn, &op);
    assert_item(batch, 0, "done - 1 -");
    claim_forget(&claim);
    claim_forget(&again);
}

STORE_TEST(test_a_shared_session_stays_and_a_round_does_not_move)
{
    round_add(1, "", true);
    struct store_claim claim = claim_op(5);
    claim_fine(&claim, 1);
    const struct claimed *got = &claim.got[0];
    struct store_login_done done = logged_in_op(got, &claim.lease, "s-1");
    run_fine(store_login_done, &done);
    exec_sql(
        "INSERT INTO chasqui_credentials (company_id, portal, sealed, updated_at) VALUES (1, 'acme', 'x', NOW(6))",
        "");
    struct store_migrate_plan plan = {
        .robot_id = done.row.robot_id, .reason = "robot_silent", .is_only_stored = true};
    run_fine(store_migrate_plan, &plan);
    assert_true(!plan.planned && !plan.lost && !plan.more);
    struct store_reserve reserve = reserve_op(1, 1, 3);
    reserve_fine(&reserve, RESERVE_REUSED);
    struct store_round_turn op = turn_op(got, &claim.lease, -1);
    op.ending = ROUND_DONE;
    run_fine(store_round_turn, &op);
    assert_false(op.is_closing);
    assert_session(got->session_ref, "active", "(null)", 0, 1);
    assert_job(got->job_id, "done", "(null)");
    claim_forget(&claim);
}

STORE_TEST(test_about_a_company)
{
    uint64_t batch = round_add(3, "acme.list", true);
    struct store_company op = {.company_id = 3};
    run_fine(store_company, &op);
    assert_non_null(strstr(op.json.data, "\"before\":2"));
    buf_free(&op.json);
    struct store_batch_priority priority = {.batch_id = batch, .priority = 9, .by = {.name = "token:1:x"}};
    run_fine(store_batch_priority, &priority);
    assert_true(priority.found && !priority.more && !priority.wrong_state);
    assert_number(3, "SELECT COUNT(*) FROM chasqui_items WHERE urgency = 0", "");
    struct store_claim claim = claim_op(2);
    claim_fine(&claim, 2);
    struct store_login_done done = logged_in_op(&claim.got[0], &claim.lease, "s-1");
    run_fine(store_login_done, &done);
    struct store_round_turn turn = turn_op(&claim.got[0], &claim.lease, 0);
    run_fine(store_round_turn, &turn);
    op.company_id = 1;
    run_fine(store_company, &op);
    assert_non_null(strstr(op.json.data, "\"step\":\"acme.list\",\"kind\":\"round\""));
    assert_non_null(strstr(op.json.data, "\"in_a_round\":true"));
    buf_free(&op.json);
    claim_forget(&claim);
}

TEST_MAIN(start, stop)
