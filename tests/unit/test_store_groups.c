/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_groups.c - log-ins by execute that are written together, their places and their outcomes, in a real database. */
#include "dispatcher/store/store_portal.h"
#include "tests/unit/store_group_fixture.h"
#include "tests/unit/store_plan.h"
#include "tests/unit/store_queue_fixture.h"

static void capacity_raise(void)
{
    for (unsigned i = 1; i < 4; i++) {
        struct store_robot_seen seen = {.robot_id = robot[i], .reported_capacity = 20, .fenced = -1};
        run_fine(store_robot_seen, &seen);
    }
}

/* ---- outcomes ----------------------------------------------------------------------------------------------- */

#define N 4

struct ended {
    struct store_reserve login[N];
    struct store_login_done done[N];
    struct store_group all;
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
    struct store_group all = {.n = 3, .op = {&done[0], &done[1], &done[2]}};
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
    run_killed((store_fn *)store_logins_done, &e.all, &e.done[0].rc);
    exec_sql("UPDATE chasqui_job_events SET queued_ms = NULLIF(queued_ms, 0)", "");
    for (unsigned i = 0; i < N; i++) {
        assert_false(e.all.is_apart[i]);
        assert_ended(&e, i);
    }
}

/* ---- reserving ---------------------------------------------------------------------------------------------- */

struct reserving {
    struct store_reserve op[N];
    struct store_group all;
};

/* Four companies, the last one first. */
static void reserving_make(struct reserving *r)
{
    memset(r, 0, sizeof(*r));
    r->all.n = N;
    for (unsigned i = 0; i < N; i++) {
        r->op[i] = reserve_op(i + 1, 1, 3);
        r->op[i].params = "sealed params";
        r->op[i].params_len = 13;
        r->all.op[N - 1 - i] = &r->op[i];
    }
}

static bool is_apart(const struct reserving *r, unsigned i)
{
    return r->all.is_apart[N - 1 - i];
}

static void assert_reserved(const struct store_reserve *op, uint64_t epoch)
{
    assert_int_equal(op->rc, STORE_OK);
    assert_int_equal(op->outcome, RESERVE_OK);
    assert_int_equal(op->epoch, epoch);
    assert_job(op->job_id, "running", "(null)");
    assert_number(
        1,
        "SELECT attempts FROM portal_jobs j JOIN chasqui_robots r ON r.name = j.worker WHERE j.id = ? AND j.job_uid = ? AND "
        "j.company_id = ? AND j.portal = 'acme' AND j.action = 'login_acme' AND j.priority = 5 AND r.id = ? AND j.started_at IS NOT NULL",
        "usuu", op->job_id, op->job_uid, op->company_id, (uint64_t)op->robot_id);
    assert_session(op->session_ref, "opening", "(null)", 0, 1);
    assert_number(
        1,
        "SELECT COUNT(*) FROM chasqui_sessions s JOIN chasqui_places p ON p.session_ref = s.id AND p.robot_id = s.robot_id WHERE "
        "s.id = ? AND s.job_id = ? AND s.current_job_id = s.job_id AND s.generation = 1 AND s.live = 1 AND s.company_id = ? AND "
        "s.epoch = ? AND p.robot_id = ? AND p.slot = ?",
        "uuuuuu", op->session_ref, op->job_id, op->company_id, epoch, (uint64_t)op->robot_id, (uint64_t)op->slot);
    assert_text(
        "sealed params",
        "SELECT params FROM chasqui_jobs WHERE job_id = ? AND job_uid = ? AND kind = 'login' AND remember = 0 AND token_id = 7 "
        "AND request_id = 'req-1' AND company_id = ?",
        "usu", op->job_id, op->job_uid, op->company_id);
    assert_number(
        1,
        "SELECT COUNT(*) FROM chasqui_leases WHERE job_id = ? AND token = ? AND kind = 'login' AND session_ref = ? AND holder = 'd1' "
        "AND boot_id = 'dboot-1' AND limit_at > NOW(6) + INTERVAL 100 SECOND AND expires_at BETWEEN NOW(6) AND NOW(6) + INTERVAL 15 SECOND",
        "ubu", op->job_id, op->lease.token, sizeof(op->lease.token), op->session_ref);
    assert_number(
        1,
        "SELECT COUNT(*) FROM chasqui_job_events e JOIN portal_jobs j ON j.id = e.job_id AND j.worker = e.worker WHERE e.job_id = ? AND "
        "e.event = 'started' AND e.dispatcher = 'd1'",
        "u", op->job_id);
    assert_number((int64_t)epoch, "SELECT epoch FROM chasqui_epochs WHERE company_id = ? AND portal = 'acme'", "u",
                  op->company_id);
}

static void reserving_forget(struct reserving *r)
{
    for (unsigned i = 0; i < N; i++)
        buf_free(&r->op[i].credentials);
}

/* Nothing was written of it. */
static void assert_unwritten(const struct store_reserve *op)
{
    assert_number(0, "SELECT COUNT(*) FROM portal_jobs WHERE job_uid = ?", "s", op->job_uid);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_jobs WHERE job_uid = ?", "s", op->job_uid);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_leases WHERE token = ?", "b", op->lease.token,
                  sizeof(op->lease.token));
}

STORE_TEST(test_reservations_together)
{
    struct reserving r;
    reserving_make(&r);
    credentials_store(3);
    exec_sql("INSERT INTO chasqui_epochs (company_id, portal, epoch) VALUES (2, 'acme', 7), (2, 'other', 9)", "");
    r.op[3].key.is_set = true;
    store_reserves(db, &r.all);
    for (unsigned i = 0; i < N; i++) {
        assert_false(is_apart(&r, i));
        assert_reserved(&r.op[i], i == 1 ? 8 : 1);
        assert_int_equal(r.op[i].credentials.len, i == 2 ? 7 : 0);
    }
    assert_number(9, "SELECT epoch FROM chasqui_epochs WHERE portal = 'other'", "");
    assert_number(2, "SELECT MAX(n) FROM (SELECT COUNT(session_ref) AS n FROM chasqui_places GROUP BY robot_id) p",
                  ""); /* spread over the robots */
    assert_number((int64_t)r.op[3].job_id,
                  "SELECT job_id FROM chasqui_idempotency WHERE scope = ? AND batch_id IS NULL", "b",
                  r.op[3].key.scope, (size_t)DIGEST_BYTES);
    struct store_reserve again = reserve_op(9, 1, 3);
    again.key = r.op[3].key;
    reserve_fine(&again, RESERVE_REPLAY);
    assert_int_equal(again.job_id, r.op[3].job_id);
    reserving_forget(&r);
}

/* Each of them falls out of the group, and the others are not held. */
STORE_TEST(test_reservations_with_some_out_of_the_ordinary)
{
    static const enum reserve_outcome outcome[] = {RESERVE_REUSED, RESERVE_IN_PROGRESS, RESERVE_REUSED,
                                                   RESERVE_DUP_UID, RESERVE_REPLAY};
    capacity_raise();
    for (unsigned kind = 0; kind < 5; kind++) {
        struct reserving r;
        uint64_t company = kind * 10;
        reserving_make(&r);
        for (unsigned i = 0; i < N; i++)
            r.op[i].company_id += company;
        struct store_reserve other = reserve_op(company + (kind < 3 ? 2 : 5), 1, 1);
        other.key.is_set = kind == 4;
        if (kind == 0) {
            session_make(company + 2, 1, "s-1");
        } else if (kind == 2) {
            laravel_make(company + 2, BASE(1), "l-1", 10);
        } else {
            reserve_fine(&other, RESERVE_OK);
        }
        if (kind == 3)
            strcpy(r.op[1].job_uid, other.job_uid);
        if (kind == 4)
            r.op[1].key = other.key;
        store_reserves(db, &r.all);
        for (unsigned i = 0; i < N; i++) {
            assert_int_equal(is_apart(&r, i), i == 1);
            if (i != 1)
                assert_reserved(&r.op[i], 1);
        }
        if (kind != 3)
            assert_unwritten(&r.op[1]);
        reserve_fine(&r.op[1], outcome[kind]);
        reserving_forget(&r);
    }
}

STORE_TEST(test_reservations_of_one_company_or_uid_twice)
{
    struct reserving r;
    reserving_make(&r);
    r.op[1].company_id = 1;
    strcpy(r.op[3].job_uid, r.op[2].job_uid);
    store_reserves(db, &r.all);
    assert_int_equal(is_apart(&r, 0) + is_apart(&r, 1), 1);
    assert_int_equal(is_apart(&r, 2) + is_apart(&r, 3), 1);
    reserve_fine(&r.op[is_apart(&r, 0) ? 0 : 1], RESERVE_IN_PROGRESS);
    reserve_fine(&r.op[is_apart(&r, 2) ? 2 : 3], RESERVE_DUP_UID);
    assert_number(2, "SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1", "");
    reserving_forget(&r);
}

/* The same company at two portals is not the same log-in. */
STORE_TEST(test_reservations_of_a_company_at_two_portals)
{
    struct reserving r;
    reserving_make(&r);
    r.op[1].company_id = 1;
    strcpy(r.op[1].portal, "other");
    store_reserves(db, &r.all);
    for (unsigned i = 0; i < N; i++) {
        assert_false(is_apart(&r, i));
        assert_session(r.op[i].session_ref, "opening", "(null)", 0, 1);
    }
    assert_number(2, "SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1 AND company_id = 1", "");
    reserving_forget(&r);
}

STORE_TEST(test_reservations_do_not_wait_for_one)
{
    struct reserving r;
    reserving_make(&r);
    exec_sql("INSERT INTO chasqui_epochs (company_id, portal, epoch) VALUES (3, 'acme', 4)", "");
    struct db *other = epoch_held(3);
    store_reserves(db, &r.all);
    epoch_let_go(other);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(is_apart(&r, i), i == 2);
        if (i != 2)
            assert_reserved(&r.op[i], 1);
    }
    reserve_fine(&r.op[2], RESERVE_OK);
    assert_reserved(&r.op[2], 5);
    reserving_forget(&r);
}

/* Six places, four of them held. */
STORE_TEST(test_reservations_beyond_the_places)
{
    struct reserving r;
    for (unsigned i = 0; i < 4; i++) {
        struct store_reserve before = reserve_op(10 + i, i / 2 + 1, i / 2 + 1);
        reserve_fine(&before, RESERVE_OK);
    }
    reserving_make(&r);
    store_reserves(db, &r.all);
    unsigned n = 0;
    for (unsigned i = 0; i < N; i++) {
        n += !is_apart(&r, i);
        if (is_apart(&r, i))
            reserve_fine(&r.op[i], RESERVE_NO_PLACE);
        else
            assert_reserved(&r.op[i], 1);
    }
    assert_int_equal(n, 2);
    assert_number(6, "SELECT COUNT(session_ref) FROM chasqui_places", "");
    assert_number(6, "SELECT COUNT(*) FROM chasqui_sessions", "");
    reserving_forget(&r);
}

/* As many as the portal lets through: the limits are those of all dispatchers together. */
STORE_TEST(test_reservations_at_a_portal_with_limits)
{
    char name[] = "acme";
    static const struct breaker_times times = {.sync_us = 60000000};
    const struct portal_conf conf_of[] = {{.name = name, .at_once = 3},
                                          {.name = name, .per_minute = 60}, /* two at once, then one a second */
                                          {.name = name, .breaker = true}};
    static const unsigned let[] = {2, 2, 1};
    static const enum portal_gate why[] = {GATE_AT_ONCE, GATE_PACE, GATE_BREAKER};
    capacity_raise();
    for (unsigned kind = 0, turn = 0; kind < 3; turn++) {
        struct reserving r;
        unsigned n = 0;
        exec_sql("DELETE FROM chasqui_portals", "");
        exec_sql("UPDATE chasqui_sessions SET state = 'closed', live = NULL", "");
        exec_sql("UPDATE chasqui_places SET session_ref = NULL", "");
        struct store_reserve before = reserve_op(1000 + turn, 1, 1); /* is under way */
        reserve_fine(&before, RESERVE_OK);
        if (kind == 2)
            exec_sql("INSERT INTO chasqui_portals (portal, state, why) VALUES ('acme', 'tripped', 'portal_down')",
                     "");
        reserving_make(&r);
        for (unsigned i = 0; i < N; i++) {
            r.op[i].company_id += turn * 10;
            r.op[i].gate = &conf_of[kind];
            r.op[i].breaker = times;
        }
        uint64_t began_ms = clock_ms();
        store_reserves(db, &r.all);
        for (unsigned i = 0; i < N; i++)
            if (is_apart(&r, i)) {
                assert_unwritten(&r.op[i]);
                run_fine(store_reserve, &r.op[i]);
            }
        bool is_late = why[kind] == GATE_PACE && clock_ms() - began_ms >= 1000; /* it lets the next one through */
        for (unsigned i = 0; i < N && !is_late; i++) {
            n += !is_apart(&r, i);
            if (!is_apart(&r, i)) {
                assert_reserved(&r.op[i], 1);
                continue;
            }
            assert_int_equal(r.op[i].outcome, RESERVE_GATED);
            assert_int_equal(r.op[i].gate_why, why[kind]);
        }
        reserving_forget(&r);
        if (is_late && turn < 20)
            continue;
        assert_int_equal(n, let[kind++]);
        assert_number(1, "SELECT version FROM chasqui_portals WHERE portal = 'acme'", "");
    }
    exec_sql("DELETE FROM chasqui_portals", "");
}

STORE_TEST(test_reservations_with_one_that_the_database_refuses)
{
    struct reserving r;
    reserving_make(&r);
    exec_sql("ALTER TABLE portal_jobs ADD CONSTRAINT not_two CHECK (company_id <> 2)", "");
    store_reserves(db, &r.all);
    for (unsigned i = 0; i < N; i++) {
        assert_true(is_apart(&r, i));
        assert_unwritten(&r.op[i]);
    }
    assert_number(0, "SELECT COUNT(*) FROM chasqui_sessions", "");
    assert_number(0, "SELECT COUNT(session_ref) FROM chasqui_places", "");
    for (unsigned i = 0; i < N; i++)
        store_reserve(db, &r.op[i]);
    exec_sql("ALTER TABLE portal_jobs DROP CONSTRAINT not_two", "");
    for (unsigned i = 0; i < N; i++)
        if (i == 1)
            assert_int_equal(r.op[i].rc, STORE_REFUSED);
        else
            assert_reserved(&r.op[i], 1);
    reserving_forget(&r);
}

/* Laravel's table has begun its numbers anew: one by one they get numbers of their own. */
STORE_TEST(test_reservations_with_numbers_that_are_in_use)
{
    struct reserving r;
    reserving_make(&r);
    struct store_reserve probe = reserve_op(50, 1, 1);
    reserve_fine(&probe, RESERVE_OK);
    uint64_t next = probe.job_id + 3;
    exec_sql(
        "INSERT INTO chasqui_sessions (job_id, generation, current_job_id, company_id, portal, state, since, epoch) VALUES (?, 1, ?, "
        "60, 'acme', 'closed', NOW(6), 1)",
        "uu", next, next);
    store_reserves(db, &r.all);
    for (unsigned i = 0; i < N; i++) {
        assert_true(is_apart(&r, i));
        assert_unwritten(&r.op[i]);
        reserve_fine(&r.op[i], RESERVE_OK);
        assert_true(r.op[i].job_id != next);
    }
    reserving_forget(&r);
}

STORE_TEST(test_reservations_killed_at_commit)
{
    struct reserving r;
    reserving_make(&r);
    run_killed((store_fn *)store_reserves, &r.all, &r.op[0].rc);
    for (unsigned i = 0; i < N; i++) {
        assert_false(is_apart(&r, i));
        assert_reserved(&r.op[i], 1);
    }
    assert_number(N, "SELECT COUNT(*) FROM portal_jobs", "");
    assert_number(N, "SELECT COUNT(*) FROM chasqui_leases", "");
    reserving_forget(&r);
}

/* ---- many at once ------------------------------------------------------------------------------------------- */

#define THREADS 4
#define COMPANIES 120
#define GROUP 12

struct racer {
    pthread_t thread;
    unsigned first, ok, none, busy;
    bool failed;
};

/* As a dispatcher: a group, then those that are apart. Every company is also another racer's. */
static void *race(void *arg)
{
    struct racer *r = arg;
    struct db *mine = db_new(&conf);
    for (unsigned at = 0; at < COMPANIES; at += GROUP) {
        struct store_reserve *op = calloc(GROUP, sizeof(*op));
        struct store_group all = {.n = GROUP};
        for (unsigned i = 0; i < GROUP; i++) {
            op[i] = reserve_op(1 + (r->first + at + i) % COMPANIES, 1, 3);
            all.op[i] = &op[i];
        }
        store_reserves(mine, &all);
        for (unsigned i = 0; i < GROUP; i++) {
            if (all.is_apart[i])
                store_reserve(mine, &op[i]);
            r->ok += op[i].outcome == RESERVE_OK;
            r->none += op[i].outcome == RESERVE_NO_PLACE;
            r->busy += op[i].outcome == RESERVE_IN_PROGRESS;
            r->failed |= op[i].rc != STORE_OK;
            buf_free(&op[i].credentials);
        }
        free(op);
    }
    db_destroy(&mine);
    return NULL;
}

static void assert_race(unsigned capacity)
{
    struct racer racer[THREADS];
    unsigned ok = 0, none = 0, busy = 0, most = capacity * 3 < COMPANIES ? capacity * 3 : COMPANIES;
    memset(racer, 0, sizeof(racer));
    for (unsigned i = 1; i < 4; i++) {
        struct store_robot_seen seen = {.robot_id = robot[i], .reported_capacity = capacity, .fenced = -1};
        run_fine(store_robot_seen, &seen);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        racer[i].first = i / 2 * (COMPANIES / 2) + i % 2 * (GROUP / 2);
        assert_int_equal(pthread_create(&racer[i].thread, NULL, race, &racer[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(racer[i].thread, NULL);
        assert_false(racer[i].failed);
        ok += racer[i].ok;
        none += racer[i].none;
        busy += racer[i].busy;
    }
    assert_int_equal(ok, most);
    assert_int_equal(ok + none + busy, THREADS * COMPANIES);
    assert_number(most, "SELECT COUNT(DISTINCT company_id) FROM chasqui_sessions WHERE live = 1", "");
    assert_number(most, "SELECT COUNT(*) FROM chasqui_sessions", "");
    assert_number(most, "SELECT COUNT(*) FROM portal_jobs", "");
    assert_number(most, "SELECT COUNT(*) FROM chasqui_leases", "");
    assert_number(
        most,
        "SELECT COUNT(*) FROM chasqui_places p JOIN chasqui_sessions s ON s.id = p.session_ref AND s.robot_id = p.robot_id",
        "");
    assert_number(
        0,
        "SELECT COUNT(*) FROM chasqui_sessions s JOIN chasqui_epochs e USING (company_id, portal) WHERE s.epoch <> e.epoch",
        "");
    exec_sql("DELETE FROM chasqui_places WHERE slot > 2", "");
}

STORE_TEST(test_reservations_of_many_pass_each_other)
{
    assert_race(COMPANIES);
}

STORE_TEST(test_reservations_of_many_race_for_the_last_places)
{
    assert_race(COMPANIES / 6);
}

/* ---- plans -------------------------------------------------------------------------------------------------- */

STORE_TEST(test_statements_use_indexes)
{
    exec_sql(
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, "
        "updated_at) SELECT CONCAT('J-', seq), seq + 1000, 'acme', 'login', 'done', 'http://r1.test', CONCAT('id-', seq), NOW(), NOW() FROM "
        "seq_1_to_5000",
        "");
    exec_sql(
        "INSERT INTO chasqui_epochs (company_id, portal, epoch) SELECT company_id, portal, 1 FROM portal_jobs",
        "");
    exec_sql(
        "INSERT INTO chasqui_credentials (company_id, portal, sealed, updated_at) SELECT company_id, portal, 'sealed', NOW(6) FROM portal_jobs",
        "");
    exec_sql(
        "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal, token_id, request_id) SELECT id, job_uid, 'login', company_id, "
        "portal, 7, 'r' FROM portal_jobs",
        "");
    exec_sql(
        "INSERT INTO chasqui_sessions (job_id, current_job_id, company_id, portal, live, state, since, robot_id, robot_session_id, "
        "live_session_id, epoch, started_at, last_activity_at) SELECT id, id, company_id, portal, 1, 'active', NOW(6), ?, robot_session_id, "
        "robot_session_id, 1, NOW(6), NOW(6) FROM portal_jobs",
        "u", (uint64_t)robot[3]);
    exec_sql(
        "INSERT INTO chasqui_leases (job_id, token, kind, session_ref, holder, boot_id, taken_at, limit_at, expires_at) SELECT job_id, REPEAT('x', "
        "16), 'close', id, 'd9', 'b', NOW(6), NOW(6), NOW(6) + INTERVAL 1 HOUR FROM chasqui_sessions LIMIT 1000",
        "");
    exec_sql(
        "INSERT INTO chasqui_idempotency (scope, digest, job_id, created_at) SELECT UNHEX(SHA2(id, 256)), UNHEX(SHA2(id, 256)), id, NOW(6) "
        "FROM portal_jobs",
        "");
    for (unsigned i = 1; i < 3; i++) {
        struct store_robot_seen seen = {.robot_id = robot[i], .reported_capacity = 500, .fenced = -1};
        run_fine(store_robot_seen, &seen);
    }
    const char *analyze =
        "ANALYZE TABLE portal_jobs, chasqui_jobs, chasqui_sessions, chasqui_leases, chasqui_epochs, chasqui_places, chasqui_idempotency, chasqui_credentials";
    sql_fine(db_run(look, analyze, strlen(analyze)));
    plan_begin();
    for (unsigned round = 0; round < 2; round++) { /* the second one with statements that are prepared */
        struct store_reserve *op = calloc(40, sizeof(*op));
        struct store_login_done *done = calloc(40, sizeof(*done));
        struct store_group begin = {.n = 40}, end = {.n = 40};
        for (unsigned i = 0; i < 40; i++) {
            op[i] = reserve_op(1 + round * 40 + i, 1, 2);
            op[i].key.is_set = true;
            id_random(op[i].key.scope, sizeof(op[i].key.scope));
            begin.op[i] = &op[i];
            end.op[i] = &done[i];
        }
        store_reserves(db, &begin);
        for (unsigned i = 0; i < 40; i++) {
            char id[20];
            assert_false(begin.is_apart[i]);
            assert_int_equal(op[i].rc, STORE_OK);
            snprintf(id, sizeof(id), "s-%u-%u", round, i);
            done[i] = login_done_op(&op[i], id);
        }
        store_logins_done(db, &end);
        for (unsigned i = 0; i < 40; i++)
            assert_int_equal(done[i].outcome, LOGIN_DONE_OK);
        free(op);
        free(done);
    }
    explained("log-ins together", false);
    statements_log(false);
    exec_sql("DELETE FROM chasqui_places WHERE slot > 2", "");
}

TEST_MAIN(server_start, server_stop)
