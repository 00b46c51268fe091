/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_batch.c - batches: opening, bodies sent once and again, counts, cancelling, ending, who may see them, in a real database. */
#include "tests/unit/store_queue_fixture.h"

#include "common/jv.h"
#include "dispatcher/queue/batch_body.h"

#include "common/check.h"
#include <pthread.h>

static struct seal *seal;

static struct batch_body *body_new(uint64_t batch_id, uint64_t first, const char *text, size_t len)
{
    return batch_body_new(seal, batch_id, 7, true, NULL, 0, memcpy(xmalloc(len), text, len), len, first);
}

/* All steps of a body; what it answers, or "" when it was refused. */
static enum body_outcome body_run(struct db *on, struct batch_body *b)
{
    do {
        batch_body_step(on, b);
        assert_int_equal(batch_body_rc(b), STORE_OK);
    } while (batch_body_outcome(b) == BODY_MORE);
    return batch_body_outcome(b);
}

static void body_sent(uint64_t batch_id, uint64_t first, const char *text, enum body_outcome want,
                      const char *answer)
{
    struct batch_body *b = body_new(batch_id, first, text, strlen(text));
    assert_int_equal(body_run(db, b), want);
    if (answer) {
        struct jv *body = batch_body_answer(b);
        char *got = jv_dump(body, NULL);
        assert_string_equal(got, answer);
        free(got);
        jv_free(body);
    }
    batch_body_free(&b);
}

static char *many_lines(unsigned n, uint64_t first_company, const char *params)
{
    struct buf text = {0};
    for (unsigned i = 0; i < n; i++)
        buf_addf(&text, "{\"company_id\":%llu%s%s}\n", (unsigned long long)(first_company + i),
                 *params ? ",\"params\":" : "", params);
    size_t len;
    return buf_take(&text, &len);
}

static struct jv *shape_of(uint64_t batch_id)
{
    struct store_batch op = {.batch_id = batch_id, .viewer = {.token_id = 7}};
    enum jv_bad why;
    run_fine(store_batch, &op);
    assert_true(op.found);
    struct jv *body = jv_parse(op.json.data, op.json.len, &why);
    assert_non_null(body);
    buf_free(&op.json);
    return body;
}

static void assert_counts(uint64_t batch_id, const char *status, int64_t total, const char *counts)
{
    struct jv *body = shape_of(batch_id), *batch = jv_get(body, "batch");
    int64_t n = -1;
    assert_string_equal(jv_str(jv_get(batch, "status")), status);
    assert_true(jv_int(jv_get(batch, "total"), &n));
    assert_int_equal(n, total);
    char *got = jv_dump(jv_get(batch, "counts"), NULL);
    assert_string_equal(got, counts);
    free(got);
    jv_free(body);
}

/* ---- opening ------------------------------------------------------------------------------------------------ */

STORE_TEST(test_a_key_stands_for_one_batch)
{
    uint64_t id = batch_opened("k1");
    struct store_batch_open again = batch_open_op("k1", "body"), other = batch_open_op("k1", "another body");
    run_fine(store_batch_open, &again);
    assert_true(again.replayed);
    assert_int_equal(again.batch_id, id);
    assert_string_equal(again.status, "open");
    run_fine(store_batch_open, &other);
    assert_true(other.mismatch);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_batches", "");
    exec_sql("UPDATE chasqui_idempotency SET created_at = NOW(6) - INTERVAL 25 HOUR", "");
    run_fine(store_batch_open, &other); /* a day later the key is new */
    assert_false(other.mismatch || other.replayed);
    assert_number(2, "SELECT COUNT(*) FROM chasqui_batches", "");
}

STORE_TEST(test_a_batch_takes_its_turn_behind_what_is_next)
{
    uint64_t first = batch_opened("k1");
    body_sent(first, 0, "{\"company_id\":1}\n{\"company_id\":2}\n{\"company_id\":1}\n{\"company_id\":1}",
              BODY_DONE, NULL);
    assert_number(1, "SELECT turn FROM chasqui_batches WHERE id = ?", "u", first);
    assert_number(2, "SELECT turn FROM chasqui_items WHERE idx = 1", "");
    assert_number(1000003, "SELECT turn FROM chasqui_items WHERE idx = 2",
                  ""); /* a company's second waits behind others' first */
    assert_number(2000004, "SELECT turn FROM chasqui_items WHERE idx = 3", "");
    uint64_t second = batch_opened("k2");
    assert_number(2, "SELECT turn FROM chasqui_batches WHERE id = ?", "u", second);
    assert_number(4, "SELECT urgency FROM chasqui_items WHERE idx = 0", "");
}

STORE_TEST(test_available_at)
{
    struct store_batch_open op = batch_open_op("k", "body");
    op.available_at_ms = clock_unix_ms() + 3600000;
    run_fine(store_batch_open, &op);
    body_sent(op.batch_id, 0, "{\"company_id\":1}", BODY_DONE, NULL);
    assert_number(
        1,
        "SELECT ready IS NULL AND due_at > NOW(6) + INTERVAL 59 MINUTE AND due_at < NOW(6) + INTERVAL 61 MINUTE FROM chasqui_items",
        "");
    exec_sql("UPDATE chasqui_batches SET available_at = NOW(6) - INTERVAL 1 SECOND", "");
    body_sent(op.batch_id, 1, "{\"company_id\":2}", BODY_DONE, NULL); /* it has come meanwhile */
    assert_number(1, "SELECT ready = 1 AND due_at IS NULL FROM chasqui_items WHERE idx = 1", "");
}

/* ---- bodies ------------------------------------------------------------------------------------------------- */

static const char three[] =
    "{\"company_id\":1}\n\n \t\r\n{\"company_id\":\"x\"}\n{\"company_id\":2,\"params\":{\"user\":\"u\",\"key\":\"k\"}}\n";
static const char three_answer[] =
    "{\"ok\":true,\"accepted\":2,\"rejected_total\":1,\"rejected\":[{\"index\":11,\"error\":"
    "\"validation_failed\",\"errors\":{\"company_id\":[\"must be an integer of 1 or more\"]}}]}";

STORE_TEST(test_a_body_sent_again_changes_nothing)
{
    uint64_t id = batch_opened("k");
    for (unsigned i = 0; i < 3; i++) {
        body_sent(id, 10, three, BODY_DONE, three_answer); /* blank lines have no index */
        assert_number(2,
                      "SELECT COUNT(*) FROM chasqui_items WHERE batch_id = ? AND state = 'queued' AND ready = 1",
                      "u", id);
    }
    assert_number(
        1,
        "SELECT idx = 12 AND LENGTH(digest) = 16 AND LENGTH(params) > 45 FROM chasqui_items WHERE company_id = 2",
        "");
    assert_number(
        1, "SELECT idx = 10 AND digest IS NULL AND params IS NULL FROM chasqui_items WHERE company_id = 1", "");
    size_t len;
    struct buf plain = {0};
    sql_fine(db_query(look, "SELECT params FROM chasqui_items WHERE company_id = 2", ""));
    assert_true(db_next(look));
    const char *sealed = db_str(look, 0, &len);
    assert_true(seal_unwrap(seal, 2, "acme", "params", sealed, len, &plain));
    assert_string_equal(plain.data, "{\"user\":\"u\",\"key\":\"k\"}");
    buf_free(&plain);
    body_sent(id, 0, "{\"company_id\":3}", BODY_DONE, NULL); /* any order, with gaps */
    assert_counts(id, "open", 3,
                  "{\"queued\":3,\"running\":0,\"retrying\":0,\"done\":0,\"failed\":0,\"cancelled\":0}");
}

STORE_TEST(test_a_body_that_differs_is_told)
{
    uint64_t id = batch_opened("k");
    body_sent(id, 10, three, BODY_DONE, NULL);
    body_sent(id, 10, "{\"company_id\":4}", BODY_DIFFERS, NULL);
    body_sent(id, 10, "{\"company_id\":1,\"params\":{\"a\":1}}", BODY_DIFFERS, NULL);
    body_sent(id, 12, "{\"company_id\":2,\"params\":{\"user\":\"u\",\"key\":\"K\"}}\n{\"company_id\":5}",
              BODY_DIFFERS, NULL);
    body_sent(id, 12, "{\"company_id\":2}", BODY_DIFFERS, NULL);
    assert_number(2, "SELECT COUNT(*) FROM chasqui_items", "");
    exec_sql("UPDATE chasqui_items SET params = NULL, state = 'done', ready = NULL", "");
    body_sent(id, 10, three, BODY_DONE, three_answer); /* known by its digest when its params are erased */
}

STORE_TEST(test_a_closed_batch_is_compared)
{
    uint64_t id = batch_opened("k");
    body_sent(id, 10, three, BODY_DONE, NULL);
    batch_closed(id, "running", 2);
    batch_closed(id, "running", 2);
    body_sent(id, 10, three, BODY_DONE, three_answer);
    body_sent(id, 13, "{\"company_id\":9}", BODY_DIFFERS, NULL);
    body_sent(id, 13, "\n\n", BODY_DONE, NULL);
    assert_number(2, "SELECT COUNT(*) FROM chasqui_items", "");
    body_sent(id + 1, 0, "{\"company_id\":1}", BODY_GONE, NULL);
    exec_sql("UPDATE chasqui_batches SET token_id = 8", "");
    body_sent(id, 10, three, BODY_GONE, NULL); /* another token's */
    struct store_batch_close op = {.batch_id = id, .token_id = 7, .lines = 1000000};
    run_fine(store_batch_close, &op);
    assert_false(op.found);
}

STORE_TEST(test_many_lines_in_steps)
{
    uint64_t id = batch_opened("k");
    char *text = many_lines(2500, 1, "");
    struct batch_body *b = body_new(id, 0, text, strlen(text));
    unsigned steps = 0;
    do {
        batch_body_step(db, b);
        assert_number(steps < 2 ? 1000 * (steps + 1) : 2500, "SELECT COUNT(*) FROM chasqui_items", "");
        steps++;
    } while (batch_body_outcome(b) == BODY_MORE);
    assert_int_equal(steps, 3);
    assert_int_equal(batch_body_added(b), 2500);
    batch_body_free(&b);
    b = body_new(id, 0, text, strlen(text));
    batch_body_step(NULL, b); /* no database: the same step again */
    assert_int_equal(batch_body_rc(b), STORE_DOWN);
    assert_int_equal(body_run(db, b), BODY_DONE);
    assert_int_equal(batch_body_added(b), 0);
    batch_body_free(&b);
    free(text);
    batch_closed(id, "running", 2500);
}

STORE_TEST(test_a_batch_of_nothing)
{
    uint64_t id = batch_opened("k");
    batch_closed(id, "done", 0);
    assert_counts(id, "done", 0,
                  "{\"queued\":0,\"running\":0,\"retrying\":0,\"done\":0,\"failed\":0,\"cancelled\":0}");
}

/* ---- its end ------------------------------------------------------------------------------------------------ */

STORE_TEST(test_it_is_done_once_nothing_is_left)
{
    uint64_t id = batch_opened("k");
    body_sent(id, 0, "{\"company_id\":1}\n{\"company_id\":2}\n{\"company_id\":1}\n", BODY_DONE, NULL);
    struct store_claim op = claim_op(2), rest = claim_op(2);
    claim_fine(&op, 2);
    assert_counts(id, "open", 3,
                  "{\"queued\":1,\"running\":2,\"retrying\":0,\"done\":0,\"failed\":0,\"cancelled\":0}");
    batch_closed(id, "running", 3);
    claimed_finish(&op.got[0], &op.lease, "s-1");
    claimed_fail(&op.got[1], &op.lease, -1);
    assert_int_equal(batch_finished(id), 0);
    claim_fine(&rest, 0); /* the company has a session: done with it */
    assert_int_equal(rest.n_met, 1);
    assert_int_equal(rest.batch[0], id);
    assert_int_equal(batch_finished(id), 1);
    assert_int_equal(batch_finished(id), 0);
    const char *counts = "{\"queued\":0,\"running\":0,\"retrying\":0,\"done\":2,\"failed\":1,\"cancelled\":0}";
    assert_counts(id, "done", 3, counts);
    exec_sql("DELETE FROM chasqui_items", ""); /* pruned: its counts stay */
    assert_counts(id, "done", 3, counts);
    claim_forget(&op);
    claim_forget(&rest);
}

STORE_TEST(test_the_look_at_all)
{
    uint64_t ended = batch_opened("k1"), waits = batch_opened("k2"), fresh = batch_opened("k3"),
             old = batch_opened("k4"), old_empty = batch_opened("k5");
    body_sent(ended, 0, "{\"company_id\":1}", BODY_DONE, NULL);
    body_sent(waits, 0, "{\"company_id\":2}", BODY_DONE, NULL);
    body_sent(old, 0, "{\"company_id\":3}", BODY_DONE, NULL);
    batch_closed(ended, "running", 1);
    batch_closed(waits, "running", 1);
    exec_sql("UPDATE chasqui_items SET state = 'failed', ready = NULL WHERE batch_id = ?", "u", ended);
    exec_sql("UPDATE chasqui_batches SET created_at = NOW(6) - INTERVAL 25 HOUR WHERE id IN (?, ?)", "uu", old,
             old_empty);
    struct store_batch_finish op = {0};
    run_fine(store_batch_finish, &op);
    assert_int_equal(op.n_done, 2);
    assert_int_equal(op.done[0], ended);
    assert_int_equal(op.done[1], old_empty);
    assert_int_equal(op.after, 0);
    assert_text("running", "SELECT status FROM chasqui_batches WHERE id = ?", "u", waits);
    assert_text("open", "SELECT status FROM chasqui_batches WHERE id = ?", "u", fresh);
    assert_number(1, "SELECT status = 'running' AND total = 1 FROM chasqui_batches WHERE id = ?", "u", old);
    run_fine(store_batch_finish, &op);
    assert_int_equal(op.n_done, 0);
}

/* ---- cancelling --------------------------------------------------------------------------------------------- */

STORE_TEST(test_cancel_what_is_left)
{
    uint64_t id = batch_opened("k");
    char *text = many_lines(2300, 1, "{\"user\":\"u\"}");
    body_sent(id, 0, text, BODY_DONE, NULL);
    free(text);
    struct store_claim op = claim_op(4);
    claim_fine(&op, 4);
    claimed_finish(&op.got[0], &op.lease, "s-1");
    claimed_fail(&op.got[1], &op.lease, 60000);
    assert_text("retrying", "SELECT status FROM portal_jobs WHERE id = ?", "u", op.got[1].job_id);

    struct store_batch_cancel done = batch_cancelled(id);
    assert_true(done.found && done.asked);
    assert_string_equal(done.status, "cancelled");
    assert_counts(id, "cancelled", 2300,
                  "{\"queued\":0,\"running\":2,\"retrying\":0,\"done\":1,\"failed\":0,\"cancelled\":2297}");
    assert_number(2, "SELECT COUNT(*) FROM chasqui_leases WHERE cancel = 1", "");
    assert_number(
        0,
        "SELECT COUNT(*) FROM chasqui_items WHERE state = 'cancelled' AND (params IS NOT NULL OR ready = 1 OR due_at IS NOT NULL)",
        "");
    assert_job(op.got[1].job_id, "cancelled", "robot_error");
    assert_number(1, "SELECT COUNT(*) FROM chasqui_job_events WHERE event = 'cancelled'", "");
    assert_number(1, "SELECT COUNT(*) FROM chasqui_audit WHERE action = 'batch.cancel' AND actor = 'token:7:t'",
                  "");
    assert_int_equal(batch_finished(id), 0); /* two still run */
    body_sent(id, 2300, "{\"company_id\":9999}", BODY_CANCELLED, NULL);

    done = batch_cancelled(id); /* again, while they run: the same answer, and no second audit row */
    assert_true(done.found && !done.wrong_state);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_audit", "");
    for (unsigned i = 2; i < 4; i++) {
        struct store_login_failed stop = claimed_failed_op(&op.got[i], &op.lease, 1);
        strcpy(stop.error, "cancelled");
        stop.cancelled = true;
        login_failed_fine(&stop);
    }
    assert_int_equal(batch_finished(id), 1);
    assert_counts(id, "cancelled", 2300,
                  "{\"queued\":0,\"running\":0,\"retrying\":0,\"done\":1,\"failed\":0,\"cancelled\":2299}");
    done = batch_cancelled(id);
    assert_true(done.wrong_state);
    claim_forget(&op);
}

STORE_TEST(test_a_cancel_that_died_half_way_is_finished)
{
    uint64_t id = batch_opened("k");
    char *text = many_lines(1500, 1, "");
    body_sent(id, 0, text, BODY_DONE, NULL);
    free(text);
    struct store_batch_cancel op = {.batch_id = id, .viewer = {.all = true}, .by.name = "token:1:ops"};
    run_fine(store_batch_cancel, &op);
    assert_true(op.more && op.begun);
    assert_number(500, "SELECT COUNT(*) FROM chasqui_items WHERE state = 'queued'", "");
    struct store_claim claim = claim_op(4); /* nothing of it begins any more */
    claim_fine(&claim, 0);
    claim_forget(&claim);
    assert_int_equal(batch_finished(id), 1);
    assert_number(1500, "SELECT cancelled FROM chasqui_batches WHERE id = ?", "u", id);
}

/* ---- seeing ------------------------------------------------------------------------------------------------- */

static void token_make(uint64_t id, bool all, unsigned first, unsigned last)
{
    exec_sql(
        "INSERT INTO chasqui_tokens (id, name, secret_sha256, abilities, all_companies, rate_per_minute, created_at) VALUES (?, 't', '', "
        "'app', ?, 1, NOW(6))",
        "uu", id, (uint64_t)all);
    for (uint64_t company = first; company && company <= last; company++)
        exec_sql("INSERT INTO chasqui_token_companies (token_id, company_id) VALUES (?, ?)", "uu", id, company);
}

static bool is_seen(uint64_t batch_id, uint64_t token_id, bool all)
{
    struct store_batch op = {.batch_id = batch_id, .viewer = {.all = all, .token_id = token_id}};
    struct store_batch_items items = {.batch_id = batch_id, .viewer = {.all = all, .token_id = token_id}};
    struct store_batch_cancel cancel = {.batch_id = batch_id, .viewer = {.all = all, .token_id = token_id}};
    run_fine(store_batch, &op);
    run_fine(store_batch_items, &items);
    assert_int_equal(op.found, items.found);
    if (!op.found) {
        run_fine(store_batch_cancel, &cancel);
        assert_false(cancel.found);
    }
    buf_free(&op.json);
    buf_free(&items.json);
    return op.found;
}

STORE_TEST(test_who_sees_a_batch)
{
    uint64_t id = batch_opened("k");
    token_make(7, false, 3, 5);
    token_make(8, false, 3, 5);  /* the same companies */
    token_make(9, false, 2, 6);  /* more */
    token_make(10, false, 3, 4); /* fewer */
    token_make(11, true, 0, 0);
    assert_true(is_seen(id, 7, false));
    assert_true(is_seen(id, 8, false));
    assert_true(is_seen(id, 9, false));
    assert_false(is_seen(id, 10, false));
    assert_true(is_seen(id, 11, true));
    assert_false(is_seen(id, 99, false));
    assert_false(is_seen(id + 1, 11, true));
    exec_sql("UPDATE chasqui_tokens SET all_companies = 1 WHERE id = 7",
             ""); /* it was for all: only such see it */
    exec_sql("DELETE FROM chasqui_token_companies WHERE token_id = 7", "");
    assert_true(is_seen(id, 7, true));
    assert_false(is_seen(id, 9, false));
}

static void items_page(uint64_t batch_id, const char *status, uint64_t cursor, unsigned limit, const char *want)
{
    struct store_batch_items op = {
        .batch_id = batch_id, .viewer = {.all = true}, .cursor = cursor, .limit = limit};
    strcpy(op.state, status);
    run_fine(store_batch_items, &op);
    for (char *at = op.json.data; (at = strstr(at, "\"finished_at\":\""));
         at += 15) { /* a moment: all but its first two digits go */
        assert_int_equal(strcspn(at + 15, "\""), 24);
        memmove(at + 17, at + 39, strlen(at + 39) + 1);
    }
    assert_string_equal(op.json.data, want);
    buf_free(&op.json);
}

STORE_TEST(test_items_by_index)
{
    uint64_t id = batch_opened("k");
    char want[1400];
    body_sent(id, 0, "{\"company_id\":1}\n{\"company_id\":2}\n{}\n{\"company_id\":1}\n", BODY_DONE, NULL);
    items_page(
        id, "", 0, 1,
        "{\"ok\":true,\"items\":[{\"index\":0,\"company_id\":1,\"status\":\"queued\",\"job_id\":null,\"job_uid\":null,\"attempts\":0,"
        "\"session_id\":null,\"worker\":null,\"error\":null,\"message\":null,\"step\":null,\"robot_status\":null,\"robot_error\":null,\"robot_message\":null,\"finished_at\":null}],\"next_cursor\":1}");
    struct store_claim op = claim_op(2), rest = claim_op(2);
    claim_fine(&op, 2);
    claimed_finish(&op.got[0], &op.lease, "s-1");
    claimed_fail(&op.got[1], &op.lease, -1);
    claim_fine(&rest, 0);
    assert_int_equal(rest.n_met, 1);
    snprintf(
        want, sizeof(want),
        "{\"ok\":true,\"items\":[{\"index\":1,\"company_id\":2,\"status\":\"failed\",\"job_id\":%llu,\"job_uid\":\"%s\",\"attempts\":1,"
        "\"session_id\":null,\"worker\":\"r2\",\"error\":\"robot_error\",\"message\":\"no\",\"step\":null,\"robot_status\":null,\"robot_error\":null,\"robot_message\":null,\"finished_at\":\"20\"},{\"index\":3,\"company_id\":1,\"status\":\"done\","
        "\"job_id\":%llu,\"job_uid\":\"%s\",\"attempts\":1,\"session_id\":\"s-1\",\"worker\":\"r1\",\"error\":null,\"message\":null,\"step\":null,\"robot_status\":null,\"robot_error\":null,\"robot_message\":null,\"finished_at\":\"20\"}],"
        "\"next_cursor\":null}",
        (unsigned long long)op.got[1].job_id, op.got[1].job_uid, (unsigned long long)op.got[0].job_id,
        op.got[0].job_uid);
    items_page(id, "", 1, 2, want);
    items_page(id, "cancelled", 0, 50, "{\"ok\":true,\"items\":[],\"next_cursor\":null}");
    struct store_batch_items page = {.batch_id = id, .viewer = {.all = true}, .state = "done", .limit = 1};
    run_fine(store_batch_items, &page);
    assert_non_null(strstr(page.json.data, "\"next_cursor\":1}"));
    buf_free(&page.json);
    claim_forget(&op);
    claim_forget(&rest);
}

STORE_TEST(test_the_list_of_batches)
{
    uint64_t first = batch_opened("k1"), second = batch_opened("k2");
    char tail[60];
    batch_closed(first, "done", 0);
    struct store_batches op = {.limit = 1}, open = {.state = "open"};
    run_fine(store_batches, &op);
    snprintf(tail, sizeof(tail), "\"next_cursor\":%llu}", (unsigned long long)second);
    assert_non_null(strstr(op.json.data, tail));
    buf_free(&op.json);
    op.cursor = second;
    run_fine(store_batches, &op);
    snprintf(tail, sizeof(tail), "{\"ok\":true,\"batches\":[{\"id\":%llu,\"status\":\"done\"",
             (unsigned long long)first);
    assert_memory_equal(op.json.data, tail, strlen(tail));
    assert_non_null(strstr(op.json.data, "\"next_cursor\":null}"));
    buf_free(&op.json);
    run_fine(store_batches, &open);
    snprintf(tail, sizeof(tail), "{\"ok\":true,\"batches\":[{\"id\":%llu,", (unsigned long long)second);
    assert_memory_equal(open.json.data, tail, strlen(tail));
    buf_free(&open.json);
}

STORE_TEST(test_how_long_the_rest_will_take)
{
    uint64_t id = batch_opened("k");
    int64_t eta = -1;
    char *text = many_lines(300, 1, "");
    body_sent(id, 0, text, BODY_DONE, NULL);
    free(text);
    struct jv *body = shape_of(id);
    assert_int_equal(jv_type(jv_get(jv_get(body, "batch"), "eta_s")), JV_NULL); /* nothing has begun */
    jv_free(body);
    struct store_claim op = claim_op(6);
    claim_fine(&op, 6);
    body = shape_of(id);
    assert_int_equal(jv_type(jv_get(jv_get(body, "batch"), "eta_s")), JV_NULL); /* six have begun at once */
    jv_free(body);
    uint64_t at_ms = clock_ms();
    exec_sql("UPDATE portal_jobs SET started_at = NOW(3) - INTERVAL 60 SECOND", ""); /* 6 a minute, 300 left */
    body = shape_of(id);
    assert_int_equal(jv_type(jv_get(jv_get(body, "batch"), "eta_s")),
                     JV_NULL); /* all run, and none has begun since */
    jv_free(body);
    exec_sql("UPDATE portal_jobs SET started_at = NOW(3) - INTERVAL 5 SECOND ORDER BY id DESC LIMIT 1", "");
    exec_sql("UPDATE chasqui_leases SET taken_at = NOW(6) - INTERVAL 60 SECOND", "");
    exec_sql("UPDATE chasqui_batches SET closes = 1 WHERE id = ?", "u", id);
    body = shape_of(id);
    assert_true(jv_int(jv_get(jv_get(body, "batch"), "eta_s"), &eta));
    assert_in_range(eta, 2990, 3010 + (clock_ms() - at_ms) * 300 / 6 / 1000); /* the time since counts */
    int64_t min_s = -1, max_s = -1, oldest_s = -1;
    jv_int(jv_get(jv_get(body, "batch"), "eta_min_s"), &min_s);
    jv_int(jv_get(jv_get(body, "batch"), "eta_max_s"), &max_s);
    jv_int(jv_get(jv_get(body, "batch"), "oldest_running_s"), &oldest_s);
    assert_true(min_s > eta / 2 && min_s < eta && max_s > eta &&
                max_s < eta * 2); /* seen at six items only: a wide range */
    assert_in_range(oldest_s, 59, 120);
    jv_free(body);
    /* sessions that keep their places: no place is free, and none has begun for longer than that pace lets expect */
    exec_sql("UPDATE chasqui_batches SET closes = 0 WHERE id = ?", "u", id);
    exec_sql("UPDATE portal_jobs SET started_at = NOW(3) - INTERVAL 60 SECOND", "");
    body = shape_of(id);
    assert_int_equal(jv_type(jv_get(jv_get(body, "batch"), "eta_s")), JV_NULL);
    jv_free(body);
    batch_cancelled(id);
    body = shape_of(id); /* six run still: they were asked to stop */
    assert_int_equal(jv_type(jv_get(jv_get(body, "batch"), "eta_s")), JV_NULL);
    jv_free(body);
    claim_forget(&op);
}

STORE_TEST(test_no_end_is_told_while_nothing_moves)
{
    uint64_t id = batch_opened("k");
    char *text = many_lines(300, 1, "");
    body_sent(id, 0, text, BODY_DONE, NULL);
    free(text);
    struct store_claim op = claim_op(2);
    claim_fine(&op, 2);
    for (unsigned i = 0; i < 2; i++)
        claimed_finish(&op.got[i], &op.lease, i ? "s-2" : "s-1");
    exec_sql("UPDATE portal_jobs SET started_at = NOW(3) - INTERVAL 60 SECOND", "");
    exec_sql("UPDATE chasqui_places SET session_ref = 1000 + 10 * robot_id + slot WHERE session_ref IS NULL", "");
    exec_sql("UPDATE chasqui_places SET session_ref = NULL WHERE robot_id = ? AND slot = 1", "u",
             (uint64_t)robot[1]);
    struct store_batch seen = {
        .batch_id = id, .viewer = {.token_id = 7}, .room = {.kept_back_percent = 50, .logins_per_robot = 9}};
    for (unsigned i = 1; i < 4; i++)
        seen.room.candidate[seen.room.n_candidates++] = (struct candidate){.robot_id = robot[i]};
    run_fine(store_batch, &seen);
    assert_non_null(strstr(seen.json.data, "\"eta_s\":null"));
    assert_non_null(
        strstr(seen.json.data, "All places for queued work are taken; 1 place is kept for interactive log-ins."));
    buf_free(&seen.json);
    struct store_company about = {.company_id = 50, .room = seen.room};
    run_fine(store_company, &about);
    assert_non_null(strstr(about.json.data, "\"reason\":\"waiting_for_place\""));
    buf_free(&about.json);
    claim_forget(&op);
}

/* ---- many at once ------------------------------------------------------------------------------------------- */

struct sender {
    pthread_t thread;
    uint64_t batch_id;
    char *text;
    unsigned n; /* items in text */
    enum store_rc rc;
};

/* Four threads send the same chunks in different orders, and claim and cancel between them. */
static void *sender_main(void *arg)
{
    struct sender *s = arg;
    struct db *own = db_new(&conf);
    s->rc = STORE_OK;
    for (unsigned i = 0; i < 6 && s->rc == STORE_OK; i++) {
        struct batch_body *b =
            body_new(s->batch_id, (uint64_t)((i + (uintptr_t)s) % 6) * s->n, s->text, strlen(s->text));
        do {
            batch_body_step(own, b);
            s->rc = batch_body_rc(b);
        } while (s->rc == STORE_OK && batch_body_outcome(b) == BODY_MORE);
        if (s->rc == STORE_OK && batch_body_outcome(b) != BODY_DONE)
            s->rc = STORE_UNKNOWN;
        batch_body_free(&b);
        struct store_claim op = claim_op(2);
        if (s->rc == STORE_OK) {
            store_claim(own, &op);
            s->rc = op.rc;
            claim_forget(&op);
        }
    }
    db_destroy(&own);
    return NULL;
}

STORE_TEST(test_senders_at_once)
{
    uint64_t id = batch_opened("k");
    char *text = many_lines(400, 1, "");
    struct sender sender[4];
    for (unsigned i = 0; i < 4; i++) {
        sender[i] = (struct sender){.batch_id = id, .text = text, .n = 400};
        pthread_create(&sender[i].thread, NULL, sender_main, &sender[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(sender[i].thread, NULL);
        assert_int_equal(sender[i].rc, STORE_OK);
    }
    free(text);
    assert_number(2400, "SELECT COUNT(*) FROM chasqui_items", "");
    assert_number(6, "SELECT COUNT(*) FROM chasqui_items WHERE state = 'running'", "");
    batch_closed(id, "running", 2400);
    assert_true(batch_cancelled(id).found);
    assert_number(2394, "SELECT COUNT(*) FROM chasqui_items WHERE state = 'cancelled'", "");
}

static void *opener_main(void *arg)
{
    struct store_batch_open *op = arg;
    struct db *own = db_new(&conf);
    store_batch_open(own, op);
    db_destroy(&own);
    return NULL;
}

STORE_TEST(test_one_key_opened_at_once)
{
    for (unsigned round = 0; round < 10; round++) {
        char key[20];
        struct store_batch_open op[4];
        pthread_t thread[4];
        unsigned made = 0;
        snprintf(key, sizeof(key), "k%u", round);
        for (unsigned i = 0; i < 4; i++) {
            op[i] = batch_open_op(key, "body");
            pthread_create(&thread[i], NULL, opener_main, &op[i]);
        }
        for (unsigned i = 0; i < 4; i++) {
            pthread_join(thread[i], NULL);
            assert_int_equal(op[i].rc, STORE_OK);
            assert_int_equal(op[i].batch_id, op[0].batch_id);
            made += !op[i].replayed;
        }
        assert_int_equal(made, 1);
    }
    assert_number(10, "SELECT COUNT(*) FROM chasqui_batches", "");
}

static int start(void **state)
{
    char key_file[40];
    snprintf(key_file, sizeof(key_file), "/tmp/test_batch.%d.key", (int)getpid());
    if (seal_key_make(key_file) || !(seal = seal_open(key_file)))
        return -1;
    unlink(key_file);
    return server_start(state);
}

static int stop(void **state)
{
    seal_close(&seal);
    return server_stop(state);
}

TEST_MAIN(start, stop)
