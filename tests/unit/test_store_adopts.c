/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_adopts.c - first uses of Laravel's sessions that are written together, in a real database. */
#include "tests/unit/store_group_fixture.h"

#define N 4

struct uses {
    struct store_adopt op[N];
    struct store_group all;
};

static struct store_adopt use_op(uint64_t company, unsigned on, const char *session_id)
{
    struct store_adopt op = {
        .job_id = laravel_make(company, BASE(on), session_id, 100), .company_id = company, .robot_id = robot[on]};
    strcpy(op.portal, "acme");
    snprintf(op.asked, sizeof(op.asked), "%s", session_id);
    op.row.job_id = op.job_id;
    return op;
}

/* Sessions of four companies, the last one first: two on r1, one on r2 and one on r3. */
static void uses_make(struct uses *u, uint64_t company)
{
    static const unsigned on[N] = {1, 2, 1, 3};
    memset(u, 0, sizeof(*u));
    u->all.n = N;
    for (unsigned i = 0; i < N; i++) {
        char id[30];
        snprintf(id, sizeof(id), "l-%u", (unsigned)company + i);
        u->op[i] = use_op(company + i, on[i], id);
        u->all.op[N - 1 - i] = &u->op[i];
    }
}

static bool is_apart(const struct uses *u, unsigned i)
{
    return u->all.is_apart[N - 1 - i];
}

static void assert_adopted(const struct store_adopt *op, uint64_t epoch)
{
    assert_int_equal(op->rc, STORE_OK);
    assert_true(op->adopted);
    assert_session(op->row.ref, "active", "adopted", 0, 1);
    assert_int_equal(op->row.state, SESSION_ACTIVE);
    assert_int_equal(op->row.job_id, op->job_id);
    assert_int_equal(op->row.company_id, op->company_id);
    assert_int_equal(op->row.robot_id, op->robot_id);
    assert_int_equal(op->row.epoch, epoch);
    assert_string_equal(op->row.session_id, op->asked);
    assert_true(op->row.base_url[0]);
    assert_true(op->row.started_ms > 0 && op->row.activity_ms > op->row.started_ms);
    assert_number(
        1,
        "SELECT COUNT(*) FROM chasqui_sessions s JOIN chasqui_places p ON p.session_ref = s.id AND p.robot_id = s.robot_id JOIN portal_jobs j "
        "ON j.id = s.job_id WHERE s.id = ? AND s.job_id = ? AND s.current_job_id = s.job_id AND s.generation = 1 AND s.live = 1 AND s.adopted = 1 "
        "AND s.company_id = ? AND s.portal = 'acme' AND s.robot_id = ? AND s.robot_session_id = j.robot_session_id AND s.epoch = ? AND "
        "s.boot_id IS NULL",
        "uuuuu", op->row.ref, op->job_id, op->company_id, (uint64_t)op->robot_id, epoch);
    assert_number((int64_t)epoch, "SELECT epoch FROM chasqui_epochs WHERE company_id = ? AND portal = 'acme'", "u",
                  op->company_id);
    assert_number(
        1,
        "SELECT COUNT(*) FROM chasqui_job_events WHERE job_id = ? AND event = 'adopted' AND worker IS NULL AND dispatcher IS NULL AND detail IS NULL",
        "u", op->job_id);
    assert_job(op->job_id, "done", "(null)");
}

static void assert_unwritten(const struct store_adopt *op)
{
    assert_number(0, "SELECT COUNT(*) FROM chasqui_sessions WHERE job_id = ? AND adopted = 1", "u", op->job_id);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_job_events WHERE job_id = ? AND event = 'adopted'", "u",
                  op->job_id);
}

STORE_TEST(test_first_uses_together)
{
    struct uses u;
    uses_make(&u, 1);
    exec_sql("INSERT INTO chasqui_epochs (company_id, portal, epoch) VALUES (2, 'acme', 7), (2, 'other', 9)", "");
    store_adopts(db, &u.all);
    for (unsigned i = 0; i < N; i++) {
        assert_false(is_apart(&u, i));
        assert_adopted(&u.op[i], i == 1 ? 7 : 0);
    }
    assert_number(9, "SELECT epoch FROM chasqui_epochs WHERE portal = 'other'", "");
    assert_int_equal(places_used(robot[1]), 2);
    assert_number(2, "SELECT MAX(slot) FROM chasqui_places WHERE robot_id = ?", "u", (uint64_t)robot[1]);
}

/* What is written of one of many is what is written of one. */
STORE_TEST(test_first_uses_together_are_as_one_alone)
{
    struct uses u;
    uses_make(&u, 1);
    exec_sql("UPDATE portal_jobs SET created_at = NOW() - INTERVAL 3 HOUR", "");
    exec_sql("UPDATE portal_jobs SET created_at = NULL WHERE company_id IN (3, 4)", "");
    for (unsigned i = 0; i < N; i += 2) { /* two by themselves */
        struct store_group one = {.n = 1, .op = {&u.op[i]}};
        store_adopts(db, &one);
        assert_false(one.is_apart[0]);
        assert_true(u.op[i].adopted);
    }
    struct store_group two = {.n = 2, .op = {&u.op[1], &u.op[3]}};
    store_adopts(db, &two);
    assert_true(u.op[1].adopted && u.op[3].adopted);
    for (unsigned i = 0; i < 2; i++) /* with the time at which Laravel made it, and without */
        assert_number(
            1,
            "SELECT COUNT(*) FROM chasqui_sessions a JOIN chasqui_sessions b ON ABS(TIMESTAMPDIFF(SECOND, a.started_at, b.started_at)) < 5 AND "
            "ABS(TIMESTAMPDIFF(SECOND, a.last_activity_at, b.last_activity_at)) < 5 AND a.reason = b.reason AND a.adopted = b.adopted AND "
            "(a.live, a.state, a.epoch, a.close_pending) = (b.live, b.state, b.epoch, b.close_pending) AND a.boot_id <=> b.boot_id AND "
            "a.title <=> b.title WHERE a.company_id = ? AND b.company_id = ?",
            "uu", (uint64_t)i * 2 + 1, (uint64_t)i * 2 + 2);
}

/* The first free ones, in gaps too; then one more each than the robot has. */
STORE_TEST(test_first_uses_together_beyond_the_places)
{
    struct uses u[2];
    exec_sql(
        "INSERT INTO chasqui_places (robot_id, slot, session_ref) VALUES (?, 3, 900), (?, 4, NULL), (?, 5, 901)",
        "uuu", (uint64_t)robot[1], (uint64_t)robot[1], (uint64_t)robot[1]);
    exec_sql("UPDATE chasqui_places SET session_ref = 902 WHERE robot_id = ? AND slot = 1", "u",
             (uint64_t)robot[1]);
    for (unsigned k = 0; k < 2; k++) {
        uses_make(&u[k], 1 + 10 * k);
        for (unsigned i = 0; i < N; i++)
            u[k].op[i].robot_id = robot[1];
        store_adopts(db, &u[k].all);
        for (unsigned i = 0; i < N; i++) {
            assert_false(is_apart(&u[k], i));
            assert_adopted(&u[k].op[i], 0);
        }
    }
    assert_text(
        "2,4,6,7",
        "SELECT GROUP_CONCAT(p.slot ORDER BY p.slot) FROM chasqui_places p JOIN chasqui_sessions s ON s.id = "
        "p.session_ref WHERE s.company_id < 10",
        "");
    assert_text(
        "8,9,10,11",
        "SELECT GROUP_CONCAT(p.slot ORDER BY p.slot) FROM chasqui_places p JOIN chasqui_sessions s ON s.id = "
        "p.session_ref WHERE s.company_id > 10",
        "");
}

/* ---- one that does not fit ---------------------------------------------------------------------------------- */

enum odd {
    ODD_LIVE,      /* its company has a session */
    ODD_ELSEWHERE, /* its id is another company's */
    ODD_OLD,       /* it was adopted before, and has ended */
    ODD_FAILED,    /* Laravel has ended it */
    ODD_EMPTY,     /* Laravel has taken its id away */
    ODD_DELETED,
    ODD_MOVED,    /* it is another company's by now */
    ODD_OTHER_ID, /* Laravel has logged in anew */
    ODDS
};

static void odd_make(enum odd odd, struct store_adopt *op)
{
    switch (odd) {
    case ODD_LIVE: /* the log-in found none that is young enough */
        exec_sql("UPDATE portal_jobs SET created_at = NOW() - INTERVAL 1 DAY, updated_at = created_at", "");
        session_make(op->company_id, 2, "s-live");
        break;
    case ODD_ELSEWHERE:
        session_make(99, 2, op->asked);
        break;
    case ODD_OLD:
        run_fine(store_adopt, op);
        assert_true(op->adopted);
        exec_sql("UPDATE chasqui_sessions SET live = NULL, live_session_id = NULL, state = 'closed', adopted = 0",
                 "");
        exec_sql("DELETE FROM chasqui_job_events", "");
        exec_sql("UPDATE chasqui_places SET session_ref = NULL", "");
        break;
    case ODD_FAILED:
        exec_sql("UPDATE portal_jobs SET status = 'failed' WHERE id = ?", "u", op->job_id);
        break;
    case ODD_EMPTY:
        exec_sql("UPDATE portal_jobs SET robot_session_id = NULL WHERE id = ?", "u", op->job_id);
        break;
    case ODD_DELETED:
        exec_sql("DELETE FROM portal_jobs WHERE id = ?", "u", op->job_id);
        break;
    case ODD_MOVED:
        exec_sql("UPDATE portal_jobs SET company_id = 98 WHERE id = ?", "u", op->job_id);
        break;
    case ODD_OTHER_ID:
        exec_sql("UPDATE portal_jobs SET robot_session_id = 'l-new' WHERE id = ?", "u", op->job_id);
        break;
    case ODDS:
        break;
    }
}

STORE_TEST(test_first_uses_with_one_out_of_the_ordinary)
{
    for (unsigned odd = 0; odd < ODDS; odd++) {
        struct uses u;
        assert_int_equal(reset(NULL), 0);
        uses_make(&u, 1);
        odd_make(odd, &u.op[2]);
        store_adopts(db, &u.all);
        for (unsigned i = 0; i < N; i++) {
            assert_int_equal(is_apart(&u, i), i == 2);
            if (i != 2)
                assert_adopted(&u.op[i], 0);
        }
        assert_unwritten(&u.op[2]);
        run_fine(store_adopt, &u.op[2]);
        assert_int_equal(u.op[2].adopted, odd == ODD_MOVED || odd == ODD_OTHER_ID);
    }
}

STORE_TEST(test_first_uses_of_one_session_or_company_twice)
{
    struct uses u;
    uses_make(&u, 1);
    u.op[1] = u.op[0];
    u.op[3].company_id = 3;
    exec_sql("UPDATE portal_jobs SET company_id = 3 WHERE company_id = 4", "");
    store_adopts(db, &u.all);
    assert_int_equal(is_apart(&u, 0) + is_apart(&u, 1), 1);
    assert_int_equal(is_apart(&u, 2) + is_apart(&u, 3), 1);
    for (unsigned i = 0; i < N; i++) {
        if (is_apart(&u, i))
            run_fine(store_adopt, &u.op[i]);
        assert_int_equal(u.op[i].adopted, !is_apart(&u, i));
    }
    assert_number(2, "SELECT COUNT(*) FROM chasqui_sessions", "");
}

/* Another transaction has the company of one of them, and Laravel the row of another one. */
STORE_TEST(test_first_uses_do_not_wait_for_one)
{
    struct uses u;
    uses_make(&u, 1);
    exec_sql("INSERT INTO chasqui_epochs (company_id, portal, epoch) VALUES (3, 'acme', 4)", "");
    struct db *other = epoch_held(3);
    assert_int_equal(db_query(other, "SELECT 1 FROM portal_jobs WHERE id = ? FOR UPDATE", "u", u.op[1].job_id),
                     DB_OK);
    store_adopts(db, &u.all);
    epoch_let_go(other);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(is_apart(&u, i), i == 1 || i == 2);
        if (is_apart(&u, i)) {
            assert_unwritten(&u.op[i]);
            run_fine(store_adopt, &u.op[i]);
        }
        assert_adopted(&u.op[i], i == 2 ? 4 : 0);
    }
}

STORE_TEST(test_first_uses_with_one_that_the_database_refuses)
{
    struct uses u;
    uses_make(&u, 1);
    exec_sql("ALTER TABLE chasqui_sessions ADD CONSTRAINT not_two CHECK (company_id <> 2)", "");
    store_adopts(db, &u.all);
    for (unsigned i = 0; i < N; i++) {
        assert_true(is_apart(&u, i));
        assert_unwritten(&u.op[i]);
        store_adopt(db, &u.op[i]);
    }
    exec_sql("ALTER TABLE chasqui_sessions DROP CONSTRAINT not_two", "");
    assert_int_equal(u.op[1].rc, STORE_REFUSED);
    assert_unwritten(&u.op[1]);
    for (unsigned i = 0; i < N; i++)
        if (i != 1)
            assert_adopted(&u.op[i], 0);
}

/* Laravel's columns may be NULL. */
STORE_TEST(test_first_uses_with_rows_without_a_company_or_portal)
{
    struct uses u;
    uses_make(&u, 1);
    exec_sql("ALTER TABLE portal_jobs MODIFY company_id BIGINT UNSIGNED NULL, MODIFY portal VARCHAR(64) NULL", "");
    exec_sql("UPDATE portal_jobs SET company_id = NULL WHERE id = ?", "u", u.op[1].job_id);
    exec_sql("UPDATE portal_jobs SET portal = NULL WHERE id = ?", "u", u.op[2].job_id);
    u.op[1].company_id = 0; /* as they are looked up */
    u.op[2].portal[0] = 0;
    store_adopts(db, &u.all);
    for (unsigned i = 0; i < N; i++) {
        bool is_odd = i == 1 || i == 2;
        assert_int_equal(is_apart(&u, i), is_odd);
        if (is_odd)
            store_adopt(db, &u.op[i]);
        else
            assert_adopted(&u.op[i], 0);
    }
    exec_sql("DELETE FROM portal_jobs", "");
    exec_sql(
        "ALTER TABLE portal_jobs MODIFY company_id BIGINT UNSIGNED NOT NULL, MODIFY portal VARCHAR(64) NOT NULL",
        "");
    assert_int_equal(u.op[1].rc, STORE_REFUSED);
    assert_int_equal(u.op[2].rc, STORE_REFUSED);
    assert_unwritten(&u.op[1]);
    assert_unwritten(&u.op[2]);
}

STORE_TEST(test_first_uses_killed_at_commit)
{
    struct uses u;
    uses_make(&u, 1);
    run_killed((store_fn *)store_adopts, &u.all, &u.op[0].rc);
    for (unsigned i = 0; i < N; i++) {
        assert_false(is_apart(&u, i));
        assert_adopted(&u.op[i], 0);
    }
}

STORE_TEST(test_first_uses_without_a_database)
{
    struct uses u;
    uses_make(&u, 1);
    store_adopts(NULL, &u.all);
    for (unsigned i = 0; i < N; i++) {
        assert_false(is_apart(&u, i));
        assert_int_equal(u.op[i].rc, STORE_DOWN);
        assert_unwritten(&u.op[i]);
    }
}

/* ---- races -------------------------------------------------------------------------------------------------- */

#define SESSIONS ADOPTS_MAX

struct racer {
    pthread_t thread;
    struct store_adopt op[SESSIONS];
    struct store_group all;
    unsigned n_adopted, n_reused;
    bool failed, logs_in;
};

static void racer_make(struct racer *r, unsigned number, const struct store_adopt *of)
{
    memset(r, 0, sizeof(*r));
    r->all.n = SESSIONS;
    for (unsigned i = 0; i < SESSIONS; i++) {
        r->op[i] = of[i];
        r->all.op[number % 2 ? SESSIONS - 1 - i : i] = &r->op[i];
    }
}

/* As the dispatcher does: what does not fit with the others is done by itself. */
static void *use_all(void *arg)
{
    struct racer *r = arg;
    struct db *mine = db_new(&conf);
    store_adopts(mine, &r->all);
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct store_adopt *op = r->all.op[i];
        if (r->all.is_apart[i])
            store_adopt(mine, op);
        r->failed |= op->rc != STORE_OK || (op->adopted && strcmp(op->row.session_id, op->asked) != 0);
        r->n_adopted += op->adopted;
    }
    db_destroy(&mine);
    return NULL;
}

static void *log_in_all(void *arg)
{
    struct racer *r = arg;
    struct db *mine = db_new(&conf);
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct store_reserve op = reserve_op(r->op[i].company_id, 1, 3);
        store_reserve(mine, &op);
        r->failed |=
            op.rc != STORE_OK || op.outcome != RESERVE_REUSED || strcmp(op.row.session_id, r->op[i].asked) != 0;
        buf_free(&op.credentials);
    }
    db_destroy(&mine);
    return NULL;
}

/* Three dispatchers, and a client that logs in, over the same companies: all of them find the same sessions. */
STORE_TEST(test_first_uses_of_the_same_sessions_at_once)
{
    for (unsigned turn = 0; turn < 10; turn++) {
        static struct racer r[4];
        static struct store_adopt of[SESSIONS];
        unsigned n = 0;
        assert_int_equal(reset(NULL), 0);
        for (unsigned i = 0; i < SESSIONS; i++) {
            char id[30];
            snprintf(id, sizeof(id), "l-%u", i);
            of[i] = use_op(i + 1, i % 3 + 1, id);
        }
        for (unsigned i = 0; i < 4; i++) {
            racer_make(&r[i], i, of);
            assert_int_equal(pthread_create(&r[i].thread, NULL, i < 3 ? use_all : log_in_all, &r[i]), 0);
        }
        for (unsigned i = 0; i < 4; i++) {
            pthread_join(r[i].thread, NULL);
            assert_false(r[i].failed);
            n += r[i].n_adopted;
        }
        assert_true(n <= SESSIONS); /* the log-ins took in the others */
        assert_number(SESSIONS, "SELECT COUNT(*) FROM chasqui_sessions WHERE live = 1 AND adopted = 1", "");
        assert_number(SESSIONS, "SELECT COUNT(*) FROM chasqui_sessions", "");
        assert_number(SESSIONS, "SELECT COUNT(*) FROM chasqui_job_events WHERE event = 'adopted'", "");
        assert_number(
            SESSIONS,
            "SELECT COUNT(*) FROM chasqui_places p JOIN chasqui_sessions s ON s.id = p.session_ref AND s.robot_id = p.robot_id",
            "");
        assert_number(SESSIONS, "SELECT COUNT(*) FROM chasqui_places", ""); /* no gap, and none that is free */
    }
}

TEST_MAIN(server_start, server_stop)
