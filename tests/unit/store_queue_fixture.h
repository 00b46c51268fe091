/* SPDX-License-Identifier: MIT */
/*
 * store_queue_fixture.h - the queue's side of store_fixture.h: log-ins of portal acme that are put in, claimed and ended, one by one and
 * in batches. All are token 7's.
 */
#ifndef CHASQUI_TESTS_STORE_QUEUE_FIXTURE_H
#define CHASQUI_TESTS_STORE_QUEUE_FIXTURE_H

#include "tests/unit/store_fixture.h"

#include "dispatcher/store/store_queue.h"

/* ---- putting in --------------------------------------------------------------------------------------------- */

static inline struct store_enqueue enqueue_op(uint64_t company, uint8_t priority)
{
    struct store_enqueue op = {.company_id = company,
                               .portal = "acme",
                               .action = "acme.login",
                               .priority = priority,
                               .params = "sealed",
                               .params_len = 6,
                               .token_id = 7,
                               .request_id = "req-1",
                               .tries = 3};
    id_job_uid(op.job_uid);
    return op;
}

/* available_at_ms 0 = now. */
static inline uint64_t enqueued_at(uint64_t company, uint8_t priority, int64_t available_at_ms)
{
    struct store_enqueue op = enqueue_op(company, priority);
    op.available_at_ms = available_at_ms;
    run_fine(store_enqueue, &op);
    assert_int_equal(op.outcome, ENQUEUE_OK);
    return op.job_id;
}

static inline uint64_t enqueued(uint64_t company, uint8_t priority)
{
    return enqueued_at(company, priority, 0);
}

/* ---- batches ------------------------------------------------------------------------------------------------ */

static inline struct store_batch_open batch_open_op(const char *key, const char *digest)
{
    struct store_batch_open op = {.token_id = 7,
                                  .portal = "acme",
                                  .action = "acme.login",
                                  .priority = 5,
                                  .request_id = "req-1",
                                  .key = {.is_set = true}};
    id_sha256(key, strlen(key), op.key.scope);
    id_sha256(digest, strlen(digest), op.key.digest);
    return op;
}

static inline uint64_t batch_opened(const char *key)
{
    struct store_batch_open op = batch_open_op(key, "body");
    run_fine(store_batch_open, &op);
    assert_false(op.replayed || op.mismatch);
    assert_string_equal(op.status, "open");
    return op.batch_id;
}

/* The items from index `first` on, of the companies from `first_company` on. How many were not there yet. */
static inline unsigned batch_appended(uint64_t batch_id, uint64_t first, uint64_t first_company, unsigned n)
{
    struct batch_item *item = calloc(n, sizeof(*item));
    for (unsigned i = 0; i < n; i++)
        item[i] = (struct batch_item){.idx = first + i, .company_id = first_company + i};
    struct store_batch_append op = {.batch_id = batch_id, .token_id = 7, .n = n, .item = item};
    run_fine(store_batch_append, &op);
    assert_int_equal(op.n_differ, 0);
    free(item);
    return op.n_added;
}

static inline void batch_closed(uint64_t batch_id, const char *status, uint64_t total)
{
    struct store_batch_close op = {.batch_id = batch_id, .token_id = 7, .lines = 1000000};
    run_fine(store_batch_close, &op);
    assert_true(op.found);
    assert_string_equal(op.status, status);
    assert_int_equal(op.total, total);
}

/* A batch of `items` companies from `first_company` on, that runs. */
static inline uint64_t batch_make(unsigned items, uint64_t first_company)
{
    static unsigned n;
    char key[20];
    snprintf(key, sizeof(key), "batch-%u", n++);
    uint64_t id = batch_opened(key);
    assert_int_equal(batch_appended(id, 0, first_company, items), items);
    batch_closed(id, "running", items);
    return id;
}

/* All steps. */
static inline struct store_batch_cancel batch_cancelled(uint64_t batch_id)
{
    struct store_batch_cancel op = {
        .batch_id = batch_id, .viewer = {.token_id = 7}, .by = {.name = "token:7:t", .request_id = "r"}};
    do
        run_fine(store_batch_cancel, &op);
    while (op.more);
    return op;
}

/* 1 = it ended at this look. */
static inline unsigned batch_finished(uint64_t batch_id)
{
    struct store_batch_finish op = {.n = 1, .batch = {batch_id}};
    run_fine(store_batch_finish, &op);
    return op.n_done;
}

/* ---- claiming ----------------------------------------------------------------------------------------------- */

static inline struct store_claim claim_op(unsigned max)
{
    static struct action acme = {.name = "acme.login",
                                 .portal = "acme",
                                 .method = "POST",
                                 .path = "/acme/login",
                                 .session = ACTION_CREATE,
                                 .timeout_ms = 60000};
    static const struct action_table actions = {&acme, 1};
    struct store_claim op = {.lease = lease_make(),
                             .max = max,
                             .tries = 3,
                             .logins_per_robot = 100,
                             .laravel_max_age_ms = 3600000,
                             .actions = &actions};
    for (unsigned i = 1; i < 4; i++)
        op.candidate[op.n_candidates++] = (struct candidate){.robot_id = robot[i]};
    return op;
}

static inline void claim_forget(struct store_claim *op)
{
    for (unsigned i = 0; i < op->n; i++) {
        buf_free(&op->got[i].params);
        buf_free(&op->got[i].credentials);
    }
    free(op->got);
    op->got = NULL;
}

static inline void claim_fine(struct store_claim *op, unsigned want)
{
    run_fine(store_claim, op);
    assert_int_equal(op->n, want);
}

/* ---- outcomes of what was claimed --------------------------------------------------------------------------- */

static inline struct store_login_done claimed_done_op(const struct claimed *got, const struct lease *lease,
                                                      const char *session_id)
{
    struct store_reserve as = {
        .job_id = got->job_id, .session_ref = got->session_ref, .robot_id = got->robot_id, .lease = *lease};
    struct store_login_done op = login_done_op(&as, session_id);
    op.item = got->item;
    op.company_id = got->company_id;
    return op;
}

/* As the dispatcher does: what does not fit with the others is recorded by itself. */
static inline void logins_done(struct db *on, struct store_group *all)
{
    store_logins_done(on, all);
    for (unsigned i = 0; i < all->n; i++)
        if (all->is_apart[i])
            store_login_done(on, all->op[i]);
}

static inline void claimed_finish(const struct claimed *got, const struct lease *lease, const char *session_id)
{
    struct store_login_done op = claimed_done_op(got, lease, session_id);
    run_fine(store_login_done, &op);
    assert_int_equal(op.outcome, LOGIN_DONE_OK);
}

static inline struct store_login_failed claimed_failed_op(const struct claimed *got, const struct lease *lease,
                                                          int64_t retry_ms)
{
    struct store_login_failed op = {.job_id = got->job_id,
                                    .session_ref = got->session_ref,
                                    .error = "robot_error",
                                    .message = "no",
                                    .item = got->item,
                                    .retry_ms = retry_ms};
    memcpy(op.token, lease->token, sizeof(op.token));
    return op;
}

static inline void login_failed_fine(struct store_login_failed *op)
{
    run_fine(store_login_failed, op);
    assert_false(op->lost);
}

/* retry_ms < 0: no further try. */
static inline void claimed_fail(const struct claimed *got, const struct lease *lease, int64_t retry_ms)
{
    struct store_login_failed op = claimed_failed_op(got, lease, retry_ms);
    login_failed_fine(&op);
}

#endif
