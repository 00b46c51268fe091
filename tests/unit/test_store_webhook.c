/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_webhook.c - callbacks in a real database: each is claimed by one, and settled only by the try that holds it. */
#include "tests/unit/store_plan.h"

#include "dispatcher/store/store_webhook.h"

#include <pthread.h>

static void batch_make(uint64_t id, const char *callback_url)
{
    exec_sql(
        "INSERT INTO chasqui_batches (id, token_id, portal, action, priority, turn, status, total, callback_url, created_at, finished_at, done) "
        "VALUES (?, 1, 'acme', 'acme.login', 5, 1, 'done', 3, ?, NOW(6), NOW(6), 3)",
        "us", id, callback_url);
}

static void add(uint64_t batch_id)
{
    assert_int_equal(webhook_add(db, batch_id), DB_OK);
}

static struct store_webhook_claim claim_op(void)
{
    return (struct store_webhook_claim){.lease_ms = 20000};
}

static void claim_forget(struct store_webhook_claim *op)
{
    for (unsigned i = 0; i < op->n; i++)
        buf_free(&op->got[i].body);
}

static struct store_webhook_end end_of(const struct webhook *w, bool is_delivered, int64_t again_ms)
{
    struct store_webhook_end op = {.batch_id = w->batch_id,
                                   .is_delivered = is_delivered,
                                   .again_ms = again_ms,
                                   .error = "it answered 500",
                                   .holder = "d1"};
    memcpy(op.token, w->token, sizeof(op.token));
    return op;
}

#define assert_webhook(want, batch_id)                                                                                   \
    assert_text(                                                                                                         \
        want,                                                                                                            \
        "SELECT CONCAT_WS(' ', state, attempts, due_at IS NOT NULL, token IS NOT NULL, COALESCE(last_error, '-')) FROM " \
        "chasqui_webhooks WHERE batch_id = ?",                                                                           \
        "u", (uint64_t)(batch_id))

STORE_TEST(test_a_callback_is_claimed_and_delivered)
{
    struct store_webhook_claim op = claim_op(), other = claim_op();
    uint8_t delivery[ID_TOKEN_BYTES];
    run_fine(store_webhook_claim, &op);
    assert_true(op.n == 0 && op.due_in_ms == -1);
    batch_make(1, "https://a.example/x");
    batch_make(2, NULL);
    add(1);
    add(2); /* nobody is to be told */
    assert_number(1, "SELECT COUNT(*) FROM chasqui_webhooks", "");
    run_fine(store_webhook_claim, &op);
    assert_int_equal(op.n, 1);
    assert_true(op.got[0].batch_id == 1 && op.got[0].attempts == 1);
    assert_string_equal(op.got[0].url, "https://a.example/x");
    assert_non_null(
        strstr(op.got[0].body.data, "{\"event\":\"batch.finished\",\"batch\":{\"id\":1,\"status\":\"done\""));
    memcpy(delivery, op.got[0].delivery, sizeof(delivery));
    run_fine(store_webhook_claim, &other); /* it is held */
    assert_true(other.n == 0 && other.due_in_ms > 15000 && other.due_in_ms <= 20000);
    struct store_webhook_end end = end_of(&op.got[0], false, 3600000);
    run_fine(store_webhook_end, &end);
    assert_false(end.lost);
    assert_webhook("waiting 1 1 0 it answered 500", 1);
    exec_sql("UPDATE chasqui_webhooks SET due_at = NOW(6)", "");
    claim_forget(&op);
    run_fine(store_webhook_claim, &op);
    assert_true(op.n == 1 && op.got[0].attempts == 2);
    assert_memory_equal(op.got[0].delivery, delivery, sizeof(delivery)); /* the same at each try */
    end = end_of(&op.got[0], true, 0);
    run_fine(store_webhook_end, &end);
    assert_webhook("delivered 2 0 0 -", 1);
    run_fine(store_webhook_claim, &other);
    assert_true(other.n == 0 && other.due_in_ms == -1);
    claim_forget(&op);
}

STORE_TEST(test_a_late_try_settles_nothing)
{
    struct store_webhook_claim first = claim_op(), second = claim_op();
    batch_make(1, "https://a.example/x");
    add(1);
    first.lease_ms = 1;
    run_fine(store_webhook_claim, &first);
    usleep(5000);
    run_fine(store_webhook_claim, &second); /* the first one's lease has ended */
    assert_true(first.n == 1 && second.n == 1 && second.got[0].attempts == 2);
    struct store_webhook_end late = end_of(&first.got[0], false, -1);
    run_fine(store_webhook_end, &late);
    assert_true(late.lost);
    assert_webhook("waiting 2 1 1 -", 1);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_audit", "");
    struct store_webhook_end end = end_of(&second.got[0], true, 0);
    run_fine(store_webhook_end, &end);
    assert_webhook("delivered 2 0 0 -", 1);
    claim_forget(&first);
    claim_forget(&second);
}

STORE_TEST(test_giving_up_leaves_a_trace)
{
    struct store_webhook_claim op = claim_op();
    batch_make(7, "https://a.example/x");
    add(7);
    run_fine(store_webhook_claim, &op);
    struct store_webhook_end end = end_of(&op.got[0], false, -1);
    run_fine(store_webhook_end, &end);
    assert_webhook("given_up 1 0 0 it answered 500", 7);
    assert_text("dispatcher:d1 webhook_given_up batch:7 it answered 500",
                "SELECT CONCAT_WS(' ', actor, action, subject, detail) FROM chasqui_audit", "");
    add(7); /* it ran again and has ended again: told anew */
    assert_webhook("waiting 0 1 0 -", 7);
    claim_forget(&op);
}

#define THREADS 4
#define BATCHES 60

static unsigned claimed_total;

static void *claim_all(void *arg)
{
    struct db *mine = db_new(&conf);
    bool *failed = arg;
    for (unsigned idle = 0; idle < 20 && !*failed;) {
        struct store_webhook_claim op = claim_op();
        store_webhook_claim(mine, &op);
        *failed |= op.rc != STORE_OK;
        idle = op.n ? 0 : idle + 1;
        for (unsigned i = 0; i < op.n && !*failed; i++) {
            struct store_webhook_end end = end_of(&op.got[i], true, 0);
            store_webhook_end(mine, &end);
            *failed |= end.rc != STORE_OK || end.lost || !op.got[i].body.len;
            __atomic_add_fetch(&claimed_total, 1, __ATOMIC_RELAXED);
        }
        claim_forget(&op);
    }
    db_destroy(&mine);
    return NULL;
}

STORE_TEST(test_many_dispatchers_claim_each_once)
{
    pthread_t thread[THREADS];
    bool failed[THREADS] = {false};
    for (uint64_t id = 1; id <= BATCHES; id++) {
        batch_make(id, "https://a.example/x");
        add(id);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, claim_all, &failed[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        assert_false(failed[i]);
    }
    assert_int_equal(claimed_total, BATCHES);
    assert_number(BATCHES, "SELECT COUNT(*) FROM chasqui_webhooks WHERE state = 'delivered' AND attempts = 1", "");
}

static unsigned claimed_of(struct store_webhook_claim *op, uint64_t first, uint64_t last)
{
    unsigned n = 0;
    for (unsigned i = 0; i < op->n; i++)
        n += op->got[i].batch_id >= first && op->got[i].batch_id <= last;
    return n;
}

STORE_TEST(test_a_receiver_that_hangs_holds_back_its_own_only)
{
    struct store_webhook_claim op = claim_op();
    for (uint64_t id = 1; id <= 300; id++) { /* due first */
        batch_make(id, "https://hangs.example/x?/y");
        add(id);
    }
    batch_make(500, "https://hangs.example:8443/x");
    add(500);
    batch_make(501, "https://well.example/x");
    add(501);
    batch_make(502, "https://hangs.example/x");
    exec_sql("UPDATE chasqui_batches SET token_id = 2 WHERE id = 502", "");
    add(502);
    run_fine(store_webhook_claim, &op);
    assert_true(op.n == 4 && claimed_of(&op, 1, 300) == 4); /* and no more of them at once */
    for (unsigned i = 0; i < op.n; i++)
        receivers_add(&op.busy, op.got[i].token_id, op.got[i].url);
    claim_forget(&op);
    run_fine(store_webhook_claim, &op);
    assert_int_equal(claimed_of(&op, 1, 300), 0);
    assert_int_equal(claimed_of(&op, 500, 502), 3); /* another port, another host, another token */
    claim_forget(&op);
    for (unsigned i = 0; i < 12; i++) /* the receiver hangs for others too */
        receivers_add(&op.busy, 3 + i, "https://hangs.example/z");
    exec_sql("UPDATE chasqui_webhooks SET due_at = NOW(6) WHERE batch_id >= 500", "");
    run_fine(store_webhook_claim, &op);
    assert_true(op.n == 2 && claimed_of(&op, 500, 501) == 2);
    claim_forget(&op);
    for (unsigned i = 0; i < 12; i++) /* so has a token that keeps many receivers waiting */
        receivers_add(&op.busy, 1, i % 2 ? "https://b.example/z" : "http://c.example");
    exec_sql("UPDATE chasqui_webhooks SET due_at = NOW(6) WHERE batch_id >= 500", "");
    run_fine(store_webhook_claim, &op);
    assert_true(op.n == 0 && op.due_in_ms == 0);
    receivers_drop(&op.busy, 1, "https://hangs.example/other");
    run_fine(store_webhook_claim, &op);
    assert_true(op.n == 1 && claimed_of(&op, 1, 300) == 1);
    claim_forget(&op);
}

STORE_TEST(test_plans)
{
    struct store_webhook_claim op = claim_op();
    exec_sql(
        "INSERT INTO chasqui_batches (id, token_id, portal, action, priority, turn, status, callback_url, created_at, finished_at) SELECT seq, seq, "
        "'acme', 'acme.login', 5, 1, 'done', 'https://a.example', NOW(6), NOW(6) FROM seq_1_to_3000",
        "");
    exec_sql(
        "INSERT INTO chasqui_webhooks (batch_id, state, due_at, delivery, created_at) SELECT seq, IF(seq > 40, 'delivered', 'waiting'), IF(seq > 40, "
        "NULL, NOW(6)), REPEAT('x', 16), NOW(6) FROM seq_1_to_3000",
        "");
    static const char analyze[] = "ANALYZE TABLE chasqui_webhooks, chasqui_batches";
    sql_fine(db_run(look, analyze, sizeof(analyze) - 1));
    plan_begin();
    int64_t before = rows_begin();
    run_fine(store_webhook_claim, &op);
    int64_t n_read = rows_read() - before;
    if (op.n != WEBHOOK_CLAIM_MAX || n_read >= 200) /* each with the shape of its batch */
        fail_msg("%u claimed, %lld rows read", op.n, (long long)n_read);
    claim_forget(&op);
    plan_check("store_webhook_claim");
    exec_sql("UPDATE chasqui_webhooks SET due_at = NULL", "");
    run_fine(store_webhook_claim, &op);
    before = rows_begin();
    run_fine(store_webhook_claim, &op);
    assert_true(op.n == 0 && rows_read() - before < 20);
    plan_end();
}

TEST_MAIN(server_start, server_stop)
