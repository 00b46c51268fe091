/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_race.c - the store's threads, races, connections that break, and the plans of the hot statements. */
#include "tests/unit/store_group_fixture.h"
#include "tests/unit/store_plan.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- a race for places -------------------------------------------------------------------------------------- */

#define THREADS 8
#define RESERVATIONS 200
#define COMPANIES 20

struct racer {
    pthread_t thread;
    unsigned number, count[RESERVE_DUP_UID + 1], done;
    bool failed;
};

/* Reserves for companies in turn; what it got becomes a session, fails, or is closed again. */
static void *race(void *arg)
{
    struct racer *r = arg;
    struct db *mine = db_new(&conf);
    for (unsigned i = r->number; i < RESERVATIONS && !r->failed; i += THREADS) {
        struct store_reserve op = reserve_op(1 + (i * 7) % COMPANIES, 1, 3);
        store_reserve(mine, &op);
        r->failed = op.rc != STORE_OK;
        r->count[op.outcome]++;
        buf_free(&op.credentials);
        if (op.outcome != RESERVE_OK)
            continue;
        char id[30];
        snprintf(id, sizeof(id), "s-%u", i);
        if (i % 3 == 0) {
            struct store_login_failed failed = {
                .job_id = op.job_id, .session_ref = op.session_ref, .error = "robot_error"};
            memcpy(failed.token, op.lease.token, sizeof(failed.token));
            store_login_failed(mine, &failed);
            r->failed |= failed.rc != STORE_OK || failed.lost;
            continue;
        }
        struct store_login_done done = login_done_op(&op, id);
        store_login_done(mine, &done);
        r->failed |= done.rc != STORE_OK || done.outcome != LOGIN_DONE_OK;
        if (i % 3 == 1)
            continue;
        struct store_close_begin begin = {.session_ref = op.session_ref, .epoch = op.epoch, .lease = lease_make()};
        store_close_begin(mine, &begin);
        r->failed |= begin.rc != STORE_OK || !begin.ok;
        struct store_close_end end = {
            .job_id = op.job_id, .session_ref = op.session_ref, .to = SESSION_CLOSED, .reason = "client"};
        memcpy(end.token, begin.lease.token, sizeof(end.token));
        store_close_end(mine, &end);
        r->failed |= end.rc != STORE_OK || end.lost;
    }
    db_destroy(&mine);
    __atomic_store_n(&r->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

STORE_TEST(test_race_for_places)
{
    struct racer racer[THREADS];
    unsigned count[RESERVE_DUP_UID + 1] = {0}, sum = 0, running = THREADS;
    memset(racer, 0, sizeof(racer));
    for (unsigned i = 0; i < THREADS; i++) {
        racer[i].number = i;
        assert_int_equal(pthread_create(&racer[i].thread, NULL, race, &racer[i]), 0);
    }
    while (running) { /* what others see at any moment */
        assert_number(
            0,
            "SELECT COUNT(*) FROM (SELECT 1 FROM chasqui_sessions WHERE state IN ('opening', 'active', 'closing') GROUP BY "
            "company_id, portal HAVING COUNT(*) > 1) twice",
            "");
        assert_number(
            0,
            "SELECT COUNT(*) FROM (SELECT robot_id FROM chasqui_places GROUP BY robot_id HAVING COUNT(session_ref) > 2) too_many",
            "");
        assert_number(
            0,
            "SELECT COUNT(*) FROM chasqui_sessions s LEFT JOIN chasqui_places p ON p.session_ref = s.id AND p.robot_id = "
            "s.robot_id WHERE s.live = 1 AND p.slot IS NULL",
            "");
        running = THREADS;
        for (unsigned i = 0; i < THREADS; i++)
            running -= __atomic_load_n(&racer[i].done, __ATOMIC_ACQUIRE);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(racer[i].thread, NULL);
        assert_false(racer[i].failed);
        for (unsigned k = 0; k <= RESERVE_DUP_UID; k++)
            sum += racer[i].count[k], count[k] += racer[i].count[k];
    }
    assert_int_equal(sum, RESERVATIONS);
    assert_int_equal(count[RESERVE_LOST] + count[RESERVE_DUP_UID] + count[RESERVE_MIGRATING], 0);
    assert_true(count[RESERVE_OK] >= 6);
    assert_number(count[RESERVE_OK], "SELECT COUNT(*) FROM portal_jobs", "");
    assert_number(count[RESERVE_OK], "SELECT COUNT(*) FROM chasqui_jobs", "");
    assert_number(count[RESERVE_OK], "SELECT SUM(epoch) FROM chasqui_epochs", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_leases", "");
}

/* Two planners and two claimers at once, over sessions that others close: nothing is lost to a deadlock. */
static void *migrate_race(void *arg)
{
    struct racer *r = arg;
    struct db *mine = db_new(&conf);
    for (unsigned round = 0; round < 6 && !r->failed; round++) {
        struct store_migrate_plan plan = {.robot_id = robot[1], .reason = "robot_down"};
        store_migrate_plan(mine, &plan);
        struct store_migrate_claim *claim = calloc(1, sizeof(*claim));
        claim->lease = lease_make();
        claim->timeout_ms = 300000;
        claim->max = 2;
        claim->n_candidates = 2;
        claim->candidate[0].robot_id = robot[2];
        claim->candidate[1].robot_id = robot[3];
        store_migrate_claim(mine, claim);
        r->failed |= plan.rc != STORE_OK || claim->rc != STORE_OK;
        for (unsigned i = 0; i < claim->n; i++) {
            struct migrate_claimed *got = &claim->got[i];
            char id[30];
            snprintf(id, sizeof(id), "m-%llu", (unsigned long long)got->session_ref);
            struct store_reserve as = {.job_id = got->job_id,
                                       .company_id = got->company_id,
                                       .session_ref = got->session_ref,
                                       .robot_id = got->robot_id,
                                       .lease = claim->lease};
            struct store_login_done done = login_done_op(&as, id);
            store_login_done(mine, &done);
            r->failed |= done.rc != STORE_OK || done.outcome != LOGIN_DONE_OK;
            r->count[0]++;
            buf_free(&got->credentials);
        }
        free(claim);
    }
    db_destroy(&mine);
    return NULL;
}

STORE_TEST(test_race_of_migrations)
{
    struct racer racer[4];
    struct store_robot_seen seen = {.reported_capacity = 20, .fenced = -1};
    memset(racer, 0, sizeof(racer));
    for (unsigned i = 1; i < 4; i++) {
        seen.robot_id = robot[i];
        run_fine(store_robot_seen, &seen);
    }
    for (unsigned i = 0; i < 20; i++) {
        char id[10];
        snprintf(id, sizeof(id), "s-%u", i);
        session_make(i + 1, 1, id);
        credentials_store(i + 1);
    }
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&racer[i].thread, NULL, migrate_race, &racer[i]), 0);
    unsigned moved = 0;
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(racer[i].thread, NULL);
        assert_false(racer[i].failed);
        moved += racer[i].count[0];
    }
    assert_int_equal(moved, 20);
    assert_number(
        20, "SELECT COUNT(*) FROM chasqui_sessions WHERE state = 'active' AND generation = 2 AND live = 1", "");
    assert_number(20, "SELECT COUNT(*) FROM chasqui_sessions WHERE state = 'migrated' AND close_pending = 1", "");
    assert_number(40, "SELECT COUNT(session_ref) FROM chasqui_places", "");
}

/* ---- connections that break --------------------------------------------------------------------------------- */

static uint64_t connection_of(struct db *of)
{
    assert_int_equal(db_query(of, "SELECT CONNECTION_ID()", ""), DB_OK);
    assert_true(db_next(of));
    return db_u64(of, 0);
}

static void kill_connection(uint64_t id)
{
    char sql[50];
    int len = snprintf(sql, sizeof(sql), "KILL %llu", (unsigned long long)id);
    sql_fine(db_run(look, sql, (size_t)len));
}

static unsigned tries, asked;

/* Writes, then loses its connection before COMMIT can be sent; `arg` says whether the work is done nevertheless. */
static enum db_rc write_and_break(struct db *on, void *arg)
{
    const bool *committed = arg;
    enum db_rc rc =
        db_exec(on, "INSERT INTO chasqui_epochs (company_id, portal, epoch) VALUES (77, 'acme', 1)", "");
    if (tries++ == 0 && rc == DB_OK) {
        uint64_t id = connection_of(on);
        if (*committed)
            db_run(on, "COMMIT", 6);
        kill_connection(id);
    }
    return rc;
}

static int was_written(struct db *on, void *arg)
{
    (void)arg;
    asked++;
    if (db_query(on, "SELECT 1 FROM chasqui_epochs WHERE company_id = 77 LOCK IN SHARE MODE WAIT 3", ""))
        return -1;
    return db_next(on);
}

/* What was not done is done again if the first try took less than a second: a busy machine may need more than one turn to be so quick. */
static enum db_done broken_tx(int (*was_done)(struct db *, void *), bool committed)
{
    enum db_done done = TX_UNKNOWN;
    enum db_rc rc;
    for (unsigned turn = 0; turn < 20; turn++) {
        uint64_t began_ms = clock_ms();
        exec_sql("DELETE FROM chasqui_epochs", "");
        tries = asked = 0;
        done = db_tx(db, write_and_break, was_done, &committed, &rc);
        if (clock_ms() - began_ms < 1000)
            break;
    }
    return done;
}

STORE_TEST(test_broken_commit_is_settled)
{
    assert_int_equal(broken_tx(was_written, true), TX_DONE);
    assert_int_equal(tries, 1);
    assert_int_equal(asked, 1);
    assert_int_equal(broken_tx(was_written, false), TX_DONE);
    assert_int_equal(tries, 2); /* it was not: done again */
    assert_int_equal(asked, 1);
    assert_int_equal(broken_tx(NULL, false), TX_UNKNOWN);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_epochs", "");
}

/* A reservation that is killed while the server works on its COMMIT. */
STORE_TEST(test_reservation_killed_at_commit)
{
    struct store_reserve op = reserve_op(1, 1, 3);
    run_killed(store_reserve, &op, &op.rc);
    assert_int_equal(op.rc, STORE_OK);
    assert_int_equal(op.outcome, RESERVE_OK);
    assert_number(1, "SELECT COUNT(*) FROM portal_jobs", "");
    assert_session(op.session_ref, "opening", "(null)", 0, 1);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_leases WHERE job_id = ? AND token = ?", "ub", op.job_id,
                  op.lease.token, sizeof(op.lease.token));
    assert_int_equal(op.epoch, 1);
}

STORE_TEST(test_dead_connection_costs_nothing)
{
    session_make(1, 1, "s-1");
    struct store_lookup *op = calloc(1, sizeof(*op));
    op->n = 1;
    strcpy(op->asked[0], "s-1");
    run_fine(store_lookup, op);
    kill_connection(connection_of(db));
    run_fine(store_lookup, op);
    assert_true(op->found[0]);
    kill_connection(connection_of(db));
    struct store_reserve r = reserve_op(2, 1, 3);
    reserve_fine(&r, RESERVE_OK);
    free(op);
}

/* ---- the threads -------------------------------------------------------------------------------------------- */

struct ping {
    enum store_rc rc;
};

static void ping_send(struct db *on, void *arg)
{
    struct ping *op = arg;
    op->rc = on && db_query(on, "SELECT 1", "") == DB_OK ? STORE_OK : STORE_DOWN;
}

struct pings {
    struct loop *loop;
    struct store *store;
    struct ping ping[20];
    unsigned answered;
};

static void pinged(void *arg, void *op)
{
    struct pings *p = arg;
    (void)op;
    if (++p->answered == 20)
        loop_stop(p->loop);
}

static void ping_all(struct pings *p)
{
    p->answered = 0;
    for (unsigned i = 0; i < 20; i++)
        store_submit(p->store, ping_send, &p->ping[i], pinged, p);
}

struct hooked { /* each second op is submitted by a hook that runs after the store's */
    struct loop *loop;
    struct store *store;
    struct loop_timer next;
    struct ping ping;
    bool is_due;
    uint64_t submitted_ms;
    unsigned answered, late; /* late: of those that the hook submitted */
};

static void hooked_answered(void *arg, void *op)
{
    struct hooked *h = arg;
    (void)op;
    h->late += h->answered % 2 && clock_ms() - h->submitted_ms > 200;
    if (++h->answered == 20)
        loop_stop(h->loop);
    else
        loop_timer_in(h->loop, &h->next, 5);
}

static void hooked_due(void *arg)
{
    struct hooked *h = arg;
    if (h->answered % 2)
        h->is_due = true;
    else
        store_submit(h->store, ping_send, &h->ping, hooked_answered, h);
}

static bool hooked_submit(void *arg)
{
    struct hooked *h = arg;
    if (h->is_due) {
        h->submitted_ms = clock_ms();
        store_submit(h->store, ping_send, &h->ping, hooked_answered, h);
    }
    h->is_due = false;
    return false;
}

/* An answer is not left in its pipe until the next timer, which is here the store's own, each half second: else all ten would be late. */
STORE_TEST(test_what_a_hook_submits_is_answered_at_once)
{
    struct hooked h = {.loop = loop_new(), .next = {.fn = hooked_due, .arg = &h}};
    struct pings p = {.loop = h.loop, .store = h.store = store_new(h.loop, &conf)};
    ping_all(&p); /* each thread has answered once */
    loop_run(h.loop);
    loop_hook(h.loop, hooked_submit, &h);
    loop_timer_in(h.loop, &h.next, 1);
    loop_run(h.loop);
    assert_int_equal(h.answered, 20);
    assert_true(h.late <= 5);
    loop_unhook(h.loop, hooked_submit, &h);
    store_destroy(&h.store);
    loop_destroy(&h.loop);
}

static bool turn_count(void *arg)
{
    ++*(unsigned *)arg;
    return false;
}

static void idle_over(void *arg)
{
    loop_stop(arg);
}

/* Threads that have had no op yet do not keep the loop awake. */
STORE_TEST(test_an_idle_store_sleeps)
{
    struct loop *l = loop_new();
    struct loop_timer over = {.fn = idle_over, .arg = l};
    struct store *s = store_new(l, &conf);
    unsigned turns = 0;
    loop_hook(l, turn_count, &turns);
    loop_timer_in(l, &over, 300);
    loop_run(l);
    assert_true(turns < 50);
    loop_unhook(l, turn_count, &turns);
    store_destroy(&s);
    loop_destroy(&l);
}

static atomic_bool may_go;

/* As an op that waits for a row that another application holds. */
static void ping_held(struct db *on, void *op)
{
    for (uint64_t until = clock_ms() + 20000; !atomic_load(&may_go) && clock_ms() < until;)
        usleep(1000);
    ping_send(on, op);
}

static void prompt_answered(void *arg, void *op)
{
    (void)arg;
    (void)op;
    atomic_store(&may_go, true);
}

/* What is prompt waits for none of those that were there before: each of them ends only after it. */
static void prompt_overtakes(long threads)
{
    static struct pings p;
    struct conf some = conf;
    struct ping prompt = {0};
    some.dispatcher_db_threads = threads;
    p.loop = loop_new();
    p.store = store_new(p.loop, &some);
    p.answered = 0;
    atomic_store(&may_go, false);
    for (unsigned i = 0; i < 20; i++)
        store_submit(p.store, ping_held, &p.ping[i], pinged, &p);
    store_submit_prompt(p.store, "ping_send", ping_send, &prompt, prompt_answered, NULL);
    uint64_t began = clock_ms();
    loop_run(p.loop);
    assert_true(clock_ms() - began < 15000);
    assert_true(atomic_load(&may_go));
    assert_int_equal(prompt.rc, STORE_OK);
    store_destroy(&p.store);
    loop_destroy(&p.loop);
}

STORE_TEST(test_what_is_prompt_has_a_thread_of_its_own)
{
    prompt_overtakes(4);
    prompt_overtakes(1);
}

STORE_TEST(test_threads)
{
    static struct pings p;
    p.loop = loop_new();
    p.store = store_new(p.loop, &conf);
    assert_false(store_is_up(p.store));
    assert_int_equal(store_idle_threads(p.store), 4);
    ping_all(&p);
    assert_int_equal(store_waiting(p.store), 16);
    assert_int_equal(store_idle_threads(p.store), 0);
    loop_run(p.loop);
    for (uint64_t until = clock_ms() + 20000; !store_is_up(p.store) && clock_ms() < until;) {
        ping_all(&p); /* the pulse has a connection of its own */
        loop_run(p.loop);
    }
    assert_true(store_is_up(p.store));
    assert_int_equal(store_waiting(p.store), 0);
    assert_int_equal(store_idle_threads(p.store), 4);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(p.ping[i].rc, STORE_OK);
    ping_all(&p);
    store_destroy(&p.store); /* with work under way and waiting: nobody is called back */
    assert_null(p.store);
    assert_true(p.answered < 20);
    loop_destroy(&p.loop);

    struct conf nowhere = conf; /* no database there */
    char path[] = "/nonexistent/sock";
    nowhere.db_socket = path;
    p.loop = loop_new();
    p.store = store_new(p.loop, &nowhere);
    ping_all(&p);
    loop_run(p.loop);
    assert_false(store_is_up(p.store));
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(p.ping[i].rc, STORE_DOWN);
    store_destroy(&p.store);
    loop_destroy(&p.loop);
}

/* ---- plans -------------------------------------------------------------------------------------------------- */

/* ---- counts of long ago ------------------------------------------------------------------------------------- */

struct optimist {
    pthread_t thread;
    unsigned number, got, none;
    bool failed;
};

/* Its dispatcher counted when the robots had a thousand places each, and held nothing. */
static void candidates_of_long_ago(struct candidate *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        c[i].counted = 1;
        c[i].capacity = 1000;
        c[i].used = 0;
    }
}

static void *reserve_all(void *arg)
{
    struct optimist *o = arg;
    struct db *mine = db_new(&conf);
    for (unsigned i = 0; i < 20; i++) {
        struct store_reserve op = reserve_op(1000 + o->number * 100 + i, 1, 3);
        candidates_of_long_ago(op.candidate, op.n_candidates);
        store_reserve(mine, &op);
        o->failed |= op.rc != STORE_OK || (op.outcome != RESERVE_OK && op.outcome != RESERVE_NO_PLACE);
        o->got += op.outcome == RESERVE_OK;
        o->none += op.outcome == RESERVE_NO_PLACE;
        buf_free(&op.credentials);
    }
    db_destroy(&mine);
    return NULL;
}

/* Of `free_places` each is had by one, and the others are told that there is none. */
static void reserve_race(unsigned free_places)
{
    struct optimist o[THREADS];
    unsigned got = 0, none = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        o[i] = (struct optimist){.number = i};
        assert_int_equal(pthread_create(&o[i].thread, NULL, reserve_all, &o[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(o[i].thread, NULL);
        assert_false(o[i].failed);
        got += o[i].got;
        none += o[i].none;
    }
    assert_int_equal(got, free_places);
    assert_int_equal(none, THREADS * 20 - free_places);
    assert_number(
        0,
        "SELECT COUNT(*) FROM chasqui_sessions s LEFT JOIN chasqui_places p ON p.session_ref = s.id AND p.robot_id = s.robot_id WHERE "
        "s.live = 1 AND p.slot IS NULL",
        "");
}

STORE_TEST(test_an_old_count_gives_no_place_twice)
{
    reserve_race(6);
}

STORE_TEST(test_an_old_count_gives_none_above_the_capacity)
{
    for (uint64_t company = 1; company <= 5; company++) { /* three above it, and then one place below it is free */
        char id[20];
        snprintf(id, sizeof(id), "lar-%d", (int)company);
        struct store_adopt op = {.job_id = laravel_make(company, BASE(1), id, 1), .robot_id = robot[1]};
        strcpy(op.asked, id);
        run_fine(store_adopt, &op);
        assert_true(op.adopted);
    }
    exec_sql(
        "UPDATE chasqui_sessions SET live = NULL, live_session_id = NULL, state = 'closed' WHERE company_id = 1",
        "");
    exec_sql("UPDATE chasqui_places SET session_ref = NULL WHERE robot_id = ? AND slot = 1", "u",
             (uint64_t)robot[1]);
    reserve_race(4);
    assert_int_equal(places_used(robot[1]), 4);
}

#define ADOPTED 300
static uint64_t adopted_job[ADOPTED];

static void *adopt_one_by_one(void *arg)
{
    struct db *mine = db_new(&conf);
    bool *failed = arg;
    for (unsigned i = 0; i < ADOPTED; i++) {
        struct store_adopt op = {.job_id = adopted_job[i], .robot_id = robot[1]};
        store_adopt(mine, &op);
        *failed |= op.rc != STORE_OK || !op.adopted;
    }
    db_destroy(&mine);
    return NULL;
}

/* Laravel's session is found at each moment: as Laravel's, then as ours. */
STORE_TEST(test_a_session_is_found_while_it_is_adopted)
{
    struct store_lookup *op = calloc(1, sizeof(*op));
    pthread_t thread;
    bool failed = false;
    for (unsigned i = 0; i < ADOPTED; i++) {
        char id[20];
        snprintf(id, sizeof(id), "l-%u", i);
        adopted_job[i] = laravel_make(i + 1, BASE(1), id, 1);
    }
    assert_int_equal(pthread_create(&thread, NULL, adopt_one_by_one, &failed), 0);
    for (unsigned i = 0, missed = 0; i < ADOPTED; i++) {
        op->n = 1;
        op->row[0].ref = 0;
        snprintf(op->asked[0], sizeof(op->asked[0]), "l-%u", i);
        for (uint64_t until = clock_ms() + 20000; !op->row[0].ref && clock_ms() < until;) {
            struct store_active active = {.company_id = i + 1, .portal = "acme", .laravel_max_age_ms = -1};
            run_fine(store_lookup, op);
            run_fine(store_active, &active);
            missed += !op->found[0] || !active.found;
        }
        assert_int_equal(missed, 0);
        assert_true(op->row[0].ref);
    }
    pthread_join(thread, NULL);
    assert_false(failed);
    free(op);
}

/* First uses of Laravel's sessions of eight companies, together. */
static void adopt_together(uint64_t company)
{
    struct store_adopt op[8];
    struct store_group all = {.n = 8};
    for (unsigned i = 0; i < 8; i++) {
        op[i] = (struct store_adopt){.company_id = company + i, .portal = "acme", .robot_id = robot[1 + i % 3]};
        op[i].job_id =
            (uint64_t)number_of("SELECT id FROM portal_jobs WHERE company_id = ?", "u", op[i].company_id);
        snprintf(op[i].asked, sizeof(op[i].asked), "id-%u", (unsigned)company + i);
        all.op[i] = &op[i];
    }
    store_adopts(db, &all);
    for (unsigned i = 0; i < 8; i++)
        assert_true(!all.is_apart[i] && op[i].adopted);
}

STORE_TEST(test_hot_statements_use_indexes)
{
    exec_sql(
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, "
        "updated_at) SELECT CONCAT('J-', seq), seq, 'acme', 'login', 'done', 'http://r1.test', CONCAT('id-', seq), NOW(), NOW() FROM "
        "seq_1_to_3000",
        "");
    exec_sql(
        "INSERT INTO chasqui_sessions (job_id, current_job_id, company_id, portal, live, state, since, robot_id, robot_session_id, "
        "live_session_id, epoch, started_at, last_activity_at) SELECT id, id, company_id, portal, IF(company_id <= 1500, 1, NULL), "
        "IF(company_id <= 1500, 'active', 'expired'), NOW(6), 1, robot_session_id, IF(company_id <= 1500, robot_session_id, NULL), 1, "
        "NOW(6), NOW(6) FROM portal_jobs WHERE company_id <= 2000",
        "");
    exec_sql(
        "INSERT INTO chasqui_leases (job_id, token, kind, session_ref, holder, boot_id, taken_at, limit_at, expires_at) SELECT job_id, REPEAT('x', 16), 'close', id, 'd9', 'b', NOW(6), NOW(6), NOW(6) + INTERVAL 1 HOUR "
        "FROM chasqui_sessions LIMIT 1000",
        "");
    sql_fine(db_run(look, "ANALYZE TABLE portal_jobs, chasqui_sessions, chasqui_leases, chasqui_jobs", 73));
    plan_begin();

    struct store_lookup *op = calloc(1, sizeof(*op));
    op->n = 32;
    for (unsigned i = 0; i < 32; i++) /* active, ended, Laravel's, unknown */
        snprintf(op->asked[i], sizeof(op->asked[i]), "id-%u", 100 + i * 100);
    run_fine(store_lookup, op);
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(op->found[i], i < 30);
    assert_true(op->row[0].ref && op->row[19].ref && !op->row[20].ref);
    explained("store_lookup", true);
    free(op);
    struct store_active active = {.company_id = 2500, .portal = "acme", .laravel_max_age_ms = -1};
    run_fine(store_active, &active);
    run_fine(store_active, &active);
    assert_true(active.found);
    explained("store_active", true);
    struct store_rescue rescue = {.lease = lease_make(), .max = 4};
    run_fine(store_rescue, &rescue);
    free(rescue.job);
    explained("store_rescue", true);
    struct store_idle_claim *idle = calloc(1, sizeof(*idle));
    idle->idle_ms = 3600000;
    idle->lease = lease_make();
    run_fine(store_idle_claim, idle);
    free(idle);
    explained("store_idle_claim", true);

    plan_begin(); /* statements are written down with their values when they were prepared before */
    struct store_reserve first = reserve_op(500001, 1, 3), reserve = reserve_op(500000, 1, 3);
    reserve_fine(&first, RESERVE_OK);
    reserve_fine(&reserve, RESERVE_OK);
    explained("store_reserve", true);
    adopt_together(2600);
    adopt_together(2700);
    explained("store_adopts", true);
    struct store_renew renew = {.holder = "d1",
                                .boot_id = "dboot-1",
                                .ttl_ms = 15000,
                                .n = 1,
                                .job_id = &reserve.job_id,
                                .token = &reserve.lease.token,
                                .news = &(enum lease_news){LEASE_LOST}};
    run_fine(store_renew, &renew);
    explained("store_renew", true);
    struct store_login_done done = login_done_op(&reserve, "s-500000");
    run_fine(store_login_done, &done);
    assert_int_equal(done.outcome, LOGIN_DONE_OK);
    explained("store_login_done", true);
    struct store_close_begin begin = {
        .session_ref = reserve.session_ref, .epoch = reserve.epoch, .lease = lease_make()};
    run_fine(store_close_begin, &begin);
    struct store_close_end end = {.job_id = reserve.job_id,
                                  .session_ref = reserve.session_ref,
                                  .to = SESSION_CLOSED,
                                  .reason = "test",
                                  .place = PLACE_FREE};
    memcpy(end.token, begin.lease.token, sizeof(end.token));
    run_fine(store_close_end, &end);
    assert_false(end.lost);
    explained("store_close", true);
    struct store_job job = {.job_id = reserve.job_id};
    run_fine(store_job, &job);
    assert_true(job.found);
    buf_free(&job.json);
    explained("store_job", true);
    statements_log(false);
}

TEST_MAIN(server_start, server_stop)
