/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_groups.c - log-ins by execute that are written together: their outcomes, in a real database. */
#include "tests/unit/store_queue_fixture.h"

#include <pthread.h>

static void capacity_raise(void)
{
    for (unsigned i = 1; i < 4; i++) {
        struct store_robot_seen seen = {.robot_id = robot[i], .reported_capacity = 20, .fenced = -1};
        run_fine(store_robot_seen, &seen);
    }
}

/* A transaction of another connection that holds the epoch of a company. */
static struct db *epoch_held(uint64_t company)
{
    uint64_t epoch;
    struct db *other = db_new(&conf);
    assert_int_equal(db_ready(other), DB_OK);
    assert_int_equal(db_begin(other), DB_OK);
    assert_int_equal(epoch_lock(other, company, "acme", &epoch), DB_OK);
    return other;
}

static void epoch_let_go(struct db *other)
{
    assert_int_equal(db_end(other, false), DB_OK);
    db_destroy(&other);
}

/* ---- killed at COMMIT --------------------------------------------------------------------------------------- */

struct killed {
    store_fn *fn;
    void *op;
};

static void *killed_run(void *arg)
{
    struct killed *k = arg;
    k->fn(db, k->op);
    return NULL;
}

/* Runs an op whose connection is killed while the server works on its COMMIT. */
static void run_killed(store_fn *fn, void *op)
{
    static const char *const stages[] = {"BACKUP STAGE START", "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL",
                                         "BACKUP STAGE BLOCK_COMMIT"};
    struct killed k = {fn, op};
    pthread_t thread;
    char sql[50];
    int64_t at_commit = 0;
    assert_int_equal(db_query(db, "SELECT CONNECTION_ID()", ""), DB_OK);
    assert_true(db_next(db));
    uint64_t id = db_u64(db, 0);
    for (unsigned i = 0; i < 4; i++)
        sql_fine(db_run(look, stages[i], strlen(stages[i])));
    assert_int_equal(pthread_create(&thread, NULL, killed_run, &k), 0);
    for (uint64_t until = clock_ms() + 20000; at_commit != 1 && clock_ms() < until;)
        at_commit = number_of(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ? AND INFO = 'COMMIT'", "u", id);
    assert_int_equal(at_commit, 1);
    sql_fine(db_run(look, sql, (size_t)snprintf(sql, sizeof(sql), "KILL %llu", (unsigned long long)id)));
    sql_fine(db_run(look, "BACKUP STAGE END", 16));
    pthread_join(thread, NULL);
}

/* ---- outcomes ----------------------------------------------------------------------------------------------- */

#define N 4

struct ended {
    struct store_reserve login[N];
    struct store_login_done done[N];
    struct store_logins_done all;
};

/* Four companies whose robots have answered. */
static void ended_make(struct ended *e)
{
    memset(e, 0, sizeof(*e));
    capacity_raise();
    e->all.n = N;
    for (unsigned i = 0; i < N; i++) {
        char id[20];
        e->login[i] = reserve_op(i + 1, 1, 3);
        e->login[i].params = "sealed params";
        e->login[i].params_len = 13;
        reserve_fine(&e->login[i], RESERVE_OK);
        snprintf(id, sizeof(id), "s-%u", i);
        e->done[i] = login_done_op(&e->login[i], id);
        e->done[i].attempt =
            (struct attempt_end){.n = 1, .outcome = OUTCOME_DONE, .queued_ms = i, .robot_ms = 30, .status = 200};
        e->all.op[N - 1 - i] = &e->done[i];
    }
}

static void assert_ended(const struct ended *e, unsigned i)
{
    const struct store_login_done *done = &e->done[i];
    char id[20];
    snprintf(id, sizeof(id), "s-%u", i);
    assert_int_equal(done->rc, STORE_OK);
    assert_int_equal(done->outcome, LOGIN_DONE_OK);
    assert_int_equal(done->row.ref, done->session_ref);
    assert_int_equal(done->row.state, SESSION_ACTIVE);
    assert_int_equal(done->row.company_id, i + 1);
    assert_string_equal(done->row.session_id, id);
    assert_string_equal(done->row.base_url, done->robot_base_url);
    assert_string_equal(done->row.title, "Acme S.A.");
    assert_true(done->row.started_ms > 0);
    assert_job(done->job_id, "done", "(null)");
    assert_session(done->session_ref, "active", "(null)", 0, 1);
    assert_text("(null)", "SELECT params FROM chasqui_jobs WHERE job_id = ?", "u", done->job_id);
    assert_number(1, "SELECT finished_at IS NOT NULL FROM portal_jobs WHERE id = ?", "u", done->job_id);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_leases WHERE job_id = ?", "u", done->job_id);
    assert_number(
        1,
        "SELECT COUNT(*) FROM chasqui_job_events WHERE job_id = ? AND event = 'done' AND attempt = 1 AND outcome = 'done' AND queued_ms <=> ? AND "
        "robot_ms = 30 AND robot_status = 200 AND robot_error IS NULL",
        "uN", done->job_id, (uint64_t)done->attempt.queued_ms);
}

STORE_TEST(test_outcomes_of_executes_together)
{
    struct ended e;
    ended_make(&e);
    e.done[0].attempt.queued_ms = -1; /* not known, as of one that was rescued */
    store_logins_done(db, &e.all);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_job_events WHERE event = 'done' AND queued_ms IS NULL", "");
    e.done[0].attempt.queued_ms = 0;
    exec_sql("UPDATE chasqui_job_events SET queued_ms = NULLIF(queued_ms, 0)", "");
    for (unsigned i = 0; i < N; i++) {
        assert_false(e.all.is_apart[i]);
        assert_ended(&e, i);
    }
}

/* A queued job of its own and an item of a batch among them. */
STORE_TEST(test_outcomes_of_all_kinds_together)
{
    capacity_raise();
    uint64_t batch = batch_make(1, 10);
    uint64_t alone = enqueued(11, 5);
    struct store_claim claim = claim_op(2);
    claim_fine(&claim, 2);
    struct store_reserve login = reserve_op(12, 1, 3);
    reserve_fine(&login, RESERVE_OK);
    struct store_login_done done[3] = {claimed_done_op(&claim.got[0], &claim.lease, "s-0"),
                                       claimed_done_op(&claim.got[1], &claim.lease, "s-1"),
                                       login_done_op(&login, "s-2")};
    struct store_logins_done all = {.n = 3, .op = {&done[0], &done[1], &done[2]}};
    store_logins_done(db, &all);
    for (unsigned i = 0; i < 3; i++) {
        assert_false(all.is_apart[i]);
        assert_int_equal(done[i].rc, STORE_OK);
        assert_int_equal(done[i].outcome, LOGIN_DONE_OK);
        assert_job(done[i].job_id, "done", "(null)");
        assert_int_equal(done[i].row.ref, done[i].item.batch_id ? 0 : done[i].session_ref);
    }
    assert_text("done", "SELECT state FROM chasqui_items WHERE batch_id = ?", "u", batch);
    assert_text("done", "SELECT state FROM chasqui_items WHERE batch_id = 0 AND job_id = ?", "u", alone);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_items WHERE params IS NOT NULL OR state <> 'done'", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_jobs WHERE params IS NOT NULL", "");
    claim_forget(&claim);
}

STORE_TEST(test_outcomes_do_not_wait_for_one)
{
    struct ended e;
    ended_make(&e);
    struct db *other = epoch_held(3);
    store_logins_done(db, &e.all);
    epoch_let_go(other);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(e.all.is_apart[N - 1 - i], i == 2);
    exec_sql("UPDATE chasqui_job_events SET queued_ms = NULLIF(queued_ms, 0)", "");
    assert_ended(&e, 0);
    assert_ended(&e, 1);
    assert_ended(&e, 3);
    assert_session(e.done[2].session_ref, "opening", "(null)", 0, 1);
    run_fine(store_login_done, &e.done[2]);
    assert_ended(&e, 2);
}

static void assert_all_apart(const struct ended *e)
{
    for (unsigned i = 0; i < N; i++) {
        assert_true(e->all.is_apart[i]);
        assert_session(e->done[i].session_ref, "opening", "(null)", 0, 1);
    }
    assert_number(N, "SELECT COUNT(*) FROM chasqui_leases", "");
}

STORE_TEST(test_outcomes_that_do_not_fit_together)
{
    struct ended e;
    ended_make(&e);
    exec_sql("UPDATE chasqui_leases SET token = REPEAT('x', 16) WHERE job_id = ?", "u", e.done[1].job_id);
    exec_sql("DELETE FROM portal_jobs WHERE id = ?", "u", e.done[2].job_id);
    strcpy(e.done[3].session_id, "s-0");
    store_logins_done(db, &e.all);
    assert_all_apart(&e);
    static const int outcome[N] = {LOGIN_DONE_OK, LOGIN_DONE_LOST, LOGIN_DONE_ROWLESS, LOGIN_DONE_DUP_SESSION};
    for (unsigned i = 0; i < N; i++) {
        run_fine(store_login_done, &e.done[i]);
        assert_int_equal(e.done[i].outcome, outcome[i]);
    }
}

STORE_TEST(test_outcomes_with_one_that_the_database_refuses)
{
    struct ended e;
    ended_make(&e);
    exec_sql("ALTER TABLE portal_jobs ADD CONSTRAINT not_two CHECK (company_id <> 2 OR status <> 'done')", "");
    store_logins_done(db, &e.all);
    assert_all_apart(&e);
    for (unsigned i = 0; i < N; i++)
        store_login_done(db, &e.done[i]);
    exec_sql("ALTER TABLE portal_jobs DROP CONSTRAINT not_two", "");
    assert_int_equal(e.done[1].rc, STORE_REFUSED);
    assert_int_equal(e.done[0].outcome + e.done[2].outcome + e.done[3].outcome, 3 * LOGIN_DONE_OK);
}

STORE_TEST(test_outcomes_killed_at_commit)
{
    struct ended e;
    ended_make(&e);
    run_killed((store_fn *)store_logins_done, &e.all);
    exec_sql("UPDATE chasqui_job_events SET queued_ms = NULLIF(queued_ms, 0)", "");
    for (unsigned i = 0; i < N; i++) {
        assert_false(e.all.is_apart[i]);
        assert_ended(&e, i);
    }
}

TEST_MAIN(server_start, server_stop)
