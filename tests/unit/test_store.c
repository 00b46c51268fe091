/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store.c - log-ins, look-ups, actions and ends of sessions, in a real database. */
#include "tests/unit/store_fixture.h"

/* ---- reserve ------------------------------------------------------------------------------------------------ */

STORE_TEST(test_reserve_writes_all)
{
    struct store_reserve op = reserve_op(1, 1, 3);
    credentials_store(1);
    op.params = "sealed params";
    op.params_len = 13;
    op.remember = true;
    reserve_fine(&op, RESERVE_OK);
    assert_int_equal(op.epoch, 1);
    assert_int_equal(op.slot, 1);
    assert_int_equal(op.robot_id, robot[1]);
    assert_int_equal(op.credentials.len, 7);
    assert_memory_equal(op.credentials.data, "sealed!", 7);
    assert_job(op.job_id, "running", "(null)");
    assert_number(1, "SELECT attempts FROM portal_jobs WHERE id = ? AND worker = 'r1' AND job_uid = ?", "us",
                  op.job_id, op.job_uid);
    assert_session(op.session_ref, "opening", "(null)", 0, 1);
    assert_text("sealed params",
                "SELECT params FROM chasqui_jobs WHERE job_id = ? AND remember = 1 AND kind = 'login'", "u",
                op.job_id);
    assert_text(
        "login",
        "SELECT kind FROM chasqui_leases WHERE job_id = ? AND token = ? AND session_ref = ? AND expires_at > NOW(6)",
        "ubu", op.job_id, op.lease.token, sizeof(op.lease.token), op.session_ref);
    assert_text("started",
                "SELECT event FROM chasqui_job_events WHERE job_id = ? AND worker = 'r1' AND dispatcher = 'd1'",
                "u", op.job_id);
    assert_number(1, "SELECT epoch FROM chasqui_epochs WHERE company_id = 1 AND portal = 'acme'", "");
    buf_free(&op.credentials);
}

STORE_TEST(test_reserve_finds_what_is_there)
{
    struct store_reserve first = reserve_op(1, 1, 1), op = reserve_op(1, 1, 3);
    reserve_fine(&first, RESERVE_OK);
    reserve_fine(&op, RESERVE_IN_PROGRESS);
    assert_int_equal(op.row.job_id, first.job_id);

    struct store_login_done done = login_done_op(&first, "s-1");
    run_fine(store_login_done, &done);
    exec_sql("UPDATE chasqui_sessions SET last_activity_at = NOW(6) - INTERVAL 1 HOUR", "");
    reserve_fine(&op, RESERVE_REUSED);
    assert_string_equal(op.row.session_id, "s-1");
    assert_string_equal(op.row.base_url, BASE(1));
    assert_number(1, "SELECT last_activity_at > NOW(6) - INTERVAL 1 MINUTE FROM chasqui_sessions", "");

    credentials_store(1);
    struct store_migrate_plan plan = {.session_ref = first.session_ref, .reason = "operator"};
    run_fine(store_migrate_plan, &plan);
    assert_int_equal(plan.planned, 1);
    reserve_fine(&op, RESERVE_MIGRATING);

    struct store_close_begin begin = {.session_ref = first.session_ref, .epoch = 1, .lease = lease_make()};
    run_fine(store_close_begin, &begin);
    assert_true(begin.ok);
    reserve_fine(&op, RESERVE_CLOSING);
    assert_int_equal(op.row.ref, first.session_ref);

    struct store_reserve again = reserve_op(2, 1, 3);
    memcpy(again.job_uid, first.job_uid, sizeof(again.job_uid));
    reserve_fine(&again, RESERVE_DUP_UID);
    assert_int_equal(again.row.job_id, first.job_id);
    assert_number(1, "SELECT COUNT(*) FROM portal_jobs", "");
}

STORE_TEST(test_reserve_without_a_place_writes_nothing)
{
    struct store_reserve op = reserve_op(1, 0, 0);
    reserve_fine(&op, RESERVE_NO_PLACE); /* no candidate at all */
    for (uint64_t company = 10; company < 12; company++) {
        struct store_reserve one = reserve_op(company, 1, 1);
        reserve_fine(&one, RESERVE_OK);
    }
    op = reserve_op(1, 1, 1);
    reserve_fine(&op, RESERVE_NO_PLACE);
    exec_sql("UPDATE chasqui_robots SET wanted = 'draining' WHERE id = ?", "u", (uint64_t)robot[2]);
    exec_sql("UPDATE chasqui_sessions SET close_pending = 1, robot_id = ? LIMIT 1", "u", (uint64_t)robot[3]);
    op = reserve_op(1, 1, 3);
    reserve_fine(&op, RESERVE_NO_PLACE); /* full, draining, an unfenced session */
    assert_number(2, "SELECT COUNT(*) FROM portal_jobs", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_epochs WHERE company_id = 1", "");
    assert_number(2, "SELECT COUNT(*) FROM chasqui_sessions", "");
}

STORE_TEST(test_reserve_chooses_fewest_for_capacity)
{
    struct store_robot_seen seen = {.robot_id = robot[3], .reported_capacity = 4, .fenced = -1};
    run_fine(store_robot_seen, &seen);
    static const unsigned want[] = {1, 2, 3, 3, 1, 2, 3, 3};
    for (unsigned i = 0; i < 8; i++) {
        struct store_reserve op = reserve_op(100 + i, 1, 3);
        reserve_fine(&op, RESERVE_OK);
        assert_int_equal(op.robot_id, robot[want[i]]);
    }
    struct store_reserve op = reserve_op(200, 1, 3);
    reserve_fine(&op, RESERVE_NO_PLACE);

    exec_sql("UPDATE chasqui_places SET session_ref = NULL", "");
    op = reserve_op(201, 1, 3);
    op.candidate[0].rank = op.candidate[1].rank = 1;
    reserve_fine(&op, RESERVE_OK);
    assert_int_equal(op.robot_id, robot[3]); /* rank goes first */
    exec_sql("UPDATE chasqui_robots SET capacity = 1 WHERE id = ?", "u", (uint64_t)robot[3]);
    op = reserve_op(202, 3, 3);
    reserve_fine(&op, RESERVE_NO_PLACE); /* the lower of both capacities */
}

STORE_TEST(test_reserve_adopts_laravels_session)
{
    laravel_make(1, BASE(1), "old-1", 7200);
    uint64_t job_id = laravel_make(1, "http://r2.test/", "lar-1", 60);
    struct store_reserve op = reserve_op(1, 1, 1);
    reserve_fine(&op, RESERVE_REUSED);
    assert_int_equal(op.row.job_id, job_id);
    assert_int_equal(op.row.robot_id, robot[2]);
    assert_string_equal(op.row.session_id, "lar-1");
    assert_string_equal(op.row.base_url, "http://r2.test/");
    assert_session(op.row.ref, "active", "adopted", 0, 1);
    assert_number(1, "SELECT COUNT(*) FROM portal_jobs WHERE id = ? AND status = 'done'", "u", job_id);
    reserve_fine(&op, RESERVE_REUSED);

    laravel_make(2, BASE(2), "lar-2", 7200); /* too old */
    op = reserve_op(2, 1, 1);
    reserve_fine(&op, RESERVE_OK);
    laravel_make(3, BASE(2), "lar-3", 7200);
    op = reserve_op(3, 1, 1);
    op.laravel_max_age_ms = -1;
    reserve_fine(&op, RESERVE_REUSED);
    laravel_make(4, "http://unknown.test", "lar-4", 6);
    op = reserve_op(4, 1, 1);
    reserve_fine(&op, RESERVE_OK);
    laravel_make(5, BASE(2), "lar-1", 6); /* its id is live elsewhere */
    op = reserve_op(5, 3, 3);
    reserve_fine(&op, RESERVE_OK);
}

STORE_TEST(test_reserve_again)
{
    struct store_reserve first = reserve_op(1, 1, 1);
    reserve_fine(&first, RESERVE_OK);
    struct store_reserve_again op = {
        .job_id = first.job_id, .session_ref = first.session_ref, .lease = first.lease};
    run_fine(store_reserve_again, &op);
    assert_int_equal(op.outcome, RESERVE_NO_PLACE);
    assert_int_equal(places_used(robot[1]), 1); /* the old place is kept */

    op.n_candidates = 1;
    op.candidate[0] = (struct candidate){.robot_id = robot[2]};
    run_fine(store_reserve_again, &op);
    assert_int_equal(op.outcome, RESERVE_OK);
    assert_int_equal(op.robot_id, robot[2]);
    assert_int_equal(op.epoch, 2);
    assert_int_equal(places_used(robot[1]), 0);
    assert_int_equal(places_used(robot[2]), 1);
    assert_text("r2", "SELECT worker FROM portal_jobs WHERE id = ?", "u", first.job_id);
    assert_number(2, "SELECT epoch FROM chasqui_sessions WHERE id = ? AND robot_id = ?", "uu", first.session_ref,
                  (uint64_t)robot[2]);

    op.same_robot_ok = true;
    op.above = 40;
    run_fine(store_reserve_again, &op);
    assert_int_equal(op.outcome, RESERVE_OK);
    assert_int_equal(op.epoch, 41);
    assert_int_equal(op.robot_id, robot[2]);
    assert_number(41, "SELECT epoch FROM chasqui_epochs WHERE company_id = 1", "");

    op.lease = lease_make();
    run_fine(store_reserve_again, &op);
    assert_int_equal(op.outcome, RESERVE_LOST);
    assert_number(41, "SELECT epoch FROM chasqui_epochs WHERE company_id = 1", "");
}

/* ---- the outcome of a log-in -------------------------------------------------------------------------------- */

STORE_TEST(test_login_done)
{
    struct store_reserve r = reserve_op(1, 1, 1), other = reserve_op(2, 1, 1);
    r.params = "p";
    r.params_len = 1;
    reserve_fine(&r, RESERVE_OK);
    reserve_fine(&other, RESERVE_OK);
    struct store_login_done op = login_done_op(&r, "s-1");
    op.token[0] ^= 1;
    run_fine(store_login_done, &op);
    assert_int_equal(op.outcome, LOGIN_DONE_LOST);
    assert_session(r.session_ref, "opening", "(null)", 0, 1);

    op = login_done_op(&r, "s-1");
    op.credentials = "remember me";
    op.credentials_len = 11;
    run_fine(store_login_done, &op);
    assert_int_equal(op.outcome, LOGIN_DONE_OK);
    assert_int_equal(op.row.state, SESSION_ACTIVE);
    assert_int_equal(op.row.robot_id, robot[1]);
    assert_string_equal(op.row.session_id, "s-1");
    assert_string_equal(op.row.title, "Acme S.A.");
    assert_string_equal(op.row.boot_id, "boot-1");
    assert_string_equal(op.row.job_uid, r.job_uid);
    assert_true(op.row.started_ms > 1600000000000);
    assert_session(r.session_ref, "active", "(null)", 0, 1);
    assert_job(r.job_id, "done", "(null)");
    assert_text("http://r1.test",
                "SELECT robot_worker_base_url FROM portal_jobs WHERE id = ? AND robot_session_id = 's-1' AND "
                "robot_worker_viewer_url = 'http://view.test/'",
                "u", r.job_id);
    assert_text("(null)", "SELECT params FROM chasqui_jobs WHERE job_id = ?", "u", r.job_id);
    assert_text("remember me", "SELECT sealed FROM chasqui_credentials WHERE company_id = 1 AND portal = 'acme'",
                "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_leases WHERE job_id = ?", "u", r.job_id);
    run_fine(store_login_done, &op);
    assert_int_equal(op.outcome, LOGIN_DONE_LOST);

    struct store_login_done dup = login_done_op(&other, "s-1");
    run_fine(store_login_done, &dup);
    assert_int_equal(dup.outcome, LOGIN_DONE_DUP_SESSION);
    assert_session(other.session_ref, "opening", "(null)", 0, 1);
    assert_job(other.job_id, "running", "(null)");
    dup = login_done_op(&other, "S-1"); /* another id: case counts */
    run_fine(store_login_done, &dup);
    assert_int_equal(dup.outcome, LOGIN_DONE_OK);
}

static struct store_login_failed failed_op(const struct store_reserve *r, enum place_fate place)
{
    struct store_login_failed op = {.job_id = r->job_id,
                                    .session_ref = r->session_ref,
                                    .error = "robot_error",
                                    .message = "it said no",
                                    .place = place,
                                    .retry_ms = -1};
    memcpy(op.token, r->lease.token, sizeof(op.token));
    return op;
}

STORE_TEST(test_login_failed)
{
    static const struct {
        enum place_fate place;
        const char *state, *reason;
        int pending, places;
    } want[] = {{PLACE_FREE, "closed", "login_failed", 0, 0},
                {PLACE_KEEP_PENDING, "lost", "abandoned", 1, 1},
                {PLACE_FADE, "closed", "login_failed", 2, 1}};
    for (unsigned i = 0; i < 3; i++) {
        struct store_reserve r = reserve_op(1 + i, 1 + i, 1 + i);
        reserve_fine(&r, RESERVE_OK);
        struct store_login_failed op = failed_op(&r, want[i].place);
        op.token[3] ^= 1;
        run_fine(store_login_failed, &op);
        assert_true(op.lost);
        op.token[3] ^= 1;
        run_fine(store_login_failed, &op);
        assert_false(op.lost);
        assert_session(r.session_ref, want[i].state, want[i].reason, want[i].pending, want[i].places);
        assert_job(r.job_id, "failed", "robot_error");
        assert_number(0, "SELECT COUNT(*) FROM chasqui_leases", "");
        assert_text("failed", "SELECT event FROM chasqui_job_events WHERE job_id = ? ORDER BY id DESC LIMIT 1",
                    "u", r.job_id);
    }
    struct store_reserve blocked = reserve_op(9, 2, 2), faded = reserve_op(9, 3, 3);
    reserve_fine(&blocked, RESERVE_NO_PLACE); /* r2 holds an abandoned session */
    reserve_fine(&faded, RESERVE_OK);
    assert_int_equal(faded.slot, 2);
}

/* ---- actions ------------------------------------------------------------------------------------------------ */

STORE_TEST(test_actions)
{
    session_make(1, 1, "s-1");
    struct store_action_start op = {.company_id = 1,
                                    .portal = "acme",
                                    .action = "consulta",
                                    .session_id = "s-1",
                                    .worker = "r1",
                                    .priority = 5,
                                    .lease = lease_make()};
    id_job_uid(op.job_uid);
    run_fine(store_action_start, &op);
    assert_false(op.dup_uid);
    assert_job(op.job_id, "running", "(null)");
    assert_text("action", "SELECT kind FROM chasqui_leases WHERE job_id = ? AND session_ref IS NULL", "u",
                op.job_id);
    struct store_action_start twice = op;
    run_fine(store_action_start, &twice);
    assert_true(twice.dup_uid);
    assert_number(2, "SELECT COUNT(*) FROM portal_jobs", "");

    struct store_action_end end = {.job_id = op.job_id};
    run_fine(store_action_end, &end);
    assert_true(end.lost);
    memcpy(end.token, op.lease.token, sizeof(end.token));
    run_fine(store_action_end, &end);
    assert_false(end.lost);
    assert_job(op.job_id, "done", "(null)");

    id_job_uid(op.job_uid);
    run_fine(store_action_start, &op);
    end = (struct store_action_end){.job_id = op.job_id, .error = "outcome_unknown", .message = "nobody knows"};
    memcpy(end.token, op.lease.token, sizeof(end.token));
    run_fine(store_action_end, &end);
    assert_job(op.job_id, "failed", "outcome_unknown");
    assert_text("nobody knows", "SELECT message FROM portal_jobs WHERE id = ?", "u", op.job_id);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_leases", "");
}

/* ---- look-ups ----------------------------------------------------------------------------------------------- */

static struct store_lookup *lookup(struct store_lookup *op, unsigned n, const char *const *ids)
{
    memset(op, 0, sizeof(*op));
    op->n = n;
    for (unsigned i = 0; i < n; i++)
        snprintf(op->asked[i], sizeof(op->asked[i]), "%s", ids[i]);
    run_fine(store_lookup, op);
    return op;
}
#define LOOKUP(op, ...)                                                                                           \
    lookup(op, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), (const char *const[]){__VA_ARGS__})

/* Moves the session of a job to r<to> under a new id, as the dispatcher would. */
static struct session_row migrate(const struct session_row *row, unsigned to, const char *session_id)
{
    credentials_store(row->company_id);
    struct store_migrate_plan plan = {.session_ref = row->ref, .reason = "operator"};
    run_fine(store_migrate_plan, &plan);
    struct store_migrate_claim *claim = calloc(1, sizeof(*claim));
    claim->lease = lease_make();
    claim->timeout_ms = 300000;
    claim->max = 1;
    claim->n_candidates = 1;
    claim->candidate[0].robot_id = robot[to];
    run_fine(store_migrate_claim, claim);
    assert_int_equal(claim->n, 1);
    struct store_reserve as = {.job_id = row->job_id,
                               .company_id = row->company_id,
                               .session_ref = claim->got[0].session_ref,
                               .robot_id = robot[to],
                               .lease = claim->lease};
    struct store_login_done done = login_done_op(&as, session_id);
    run_fine(store_login_done, &done);
    assert_int_equal(done.outcome, LOGIN_DONE_OK);
    buf_free(&claim->got[0].credentials);
    free(claim);
    return done.row;
}

STORE_TEST(test_lookup)
{
    struct store_lookup *op = calloc(1, sizeof(*op));
    struct session_row one = session_make(1, 1, "s-1"), two = session_make(2, 2, "S-1");
    laravel_make(3, BASE(2), "lar-1", 999);
    uint64_t newest = laravel_make(4, BASE(3), "lar-1", 99999);
    LOOKUP(op, "s-1", "S-1", "nothing", "s-1 ", "lar-1", "LAR-1", "s-1");
    assert_true(op->found[0] && op->found[1] && op->found[4] && op->found[6]);
    assert_false(op->found[2] || op->found[3] || op->found[5]);
    assert_int_equal(op->row[0].ref, one.ref);
    assert_int_equal(op->row[6].ref, one.ref);
    assert_int_equal(op->row[1].ref, two.ref);
    assert_int_equal(op->row[1].company_id, 2);
    assert_int_equal(op->row[4].ref, 0);
    assert_int_equal(op->row[4].job_id, newest);
    assert_string_equal(op->row[4].base_url, BASE(3));
    assert_string_equal(op->row[0].base_url, BASE(1));
    assert_string_equal(op->row[0].portal, "acme");
    assert_int_equal(op->row[0].epoch, 1);
    assert_int_equal(op->row[0].state, SESSION_ACTIVE);
    free(op);
}

STORE_TEST(test_lookup_of_moved_and_ended)
{
    struct store_lookup *op = calloc(1, sizeof(*op));
    struct session_row one = session_make(1, 1, "gen-1");
    LOOKUP(op, "gen-1");
    assert_false(op->row[0].migrating);
    struct session_row moved = migrate(&one, 2, "gen-2");
    LOOKUP(op, "gen-1", "gen-2");
    for (unsigned i = 0; i < 2; i++) {
        assert_true(op->found[i]);
        assert_int_equal(op->row[i].ref, moved.ref);
        assert_int_equal(op->row[i].generation, 2);
        assert_string_equal(op->row[i].session_id, "gen-2");
        assert_string_equal(op->row[i].base_url, BASE(2));
    }
    struct store_session_end end = {
        .session_ref = moved.ref, .epoch = moved.epoch, .to = SESSION_EXPIRED, .reason = "robot_404"};
    run_fine(store_session_end, &end);
    assert_true(end.ok);
    LOOKUP(op, "gen-1");
    assert_int_equal(op->row[0].state, SESSION_EXPIRED);
    assert_string_equal(op->row[0].reason, "robot_404");
    assert_string_equal(op->row[0].successor, "");
    struct session_row next = session_make(1, 3, "next");
    LOOKUP(op, "gen-1", "next");
    assert_string_equal(op->row[0].successor, "next");
    assert_string_equal(op->row[1].successor, "");

    struct session_row reuse = session_make(5, 2, "gen-2"); /* another robot uses the id again */
    LOOKUP(op, "gen-2", "gen-1");
    assert_int_equal(op->row[0].ref, reuse.ref);
    assert_int_equal(op->row[1].ref, moved.ref);
    assert_int_not_equal(next.ref, reuse.ref);
    free(op);
}

STORE_TEST(test_active)
{
    struct store_active op = {.company_id = 1, .portal = "acme", .laravel_max_age_ms = 1000000};
    run_fine(store_active, &op);
    assert_false(op.found);
    uint64_t job_id = laravel_make(1, BASE(1), "lar-1", 9999);
    run_fine(store_active, &op);
    assert_false(op.found);
    op.laravel_max_age_ms = -1;
    run_fine(store_active, &op);
    assert_true(op.found);
    assert_int_equal(op.row.job_id, job_id);
    struct store_reserve r = reserve_op(1, 1, 1);
    reserve_fine(&r, RESERVE_OK);
    run_fine(store_active, &op);
    assert_int_equal(op.row.ref, r.session_ref);
    assert_int_equal(op.row.state, SESSION_OPENING);
}

STORE_TEST(test_adopt)
{
    struct store_adopt op = {
        .job_id = laravel_make(1, BASE(1), "lar-1", 9999), .asked = "lar-1", .robot_id = robot[1]};
    run_fine(store_adopt, &op);
    assert_true(op.adopted);
    assert_string_equal(op.row.session_id, "lar-1");
    assert_session(op.row.ref, "active", "adopted", 0, 1);
    run_fine(store_adopt, &op);
    assert_false(op.adopted);
    op.job_id = laravel_make(1, BASE(1), "lar-1b", 1);
    run_fine(store_adopt, &op);
    assert_false(op.adopted); /* the company has a live one */
    op.job_id = laravel_make(2, BASE(1), "lar-1", 1);
    run_fine(store_adopt, &op);
    assert_false(op.adopted); /* the id is live elsewhere */
    for (uint64_t company = 3; company < 6; company++) {
        char id[20];
        snprintf(id, sizeof(id), "lar-%d", (int)company);
        op.job_id = laravel_make(company, BASE(1), id, 1);
        run_fine(store_adopt, &op);
        assert_true(op.adopted);
    }
    assert_int_equal(places_used(robot[1]), 4); /* two places, above capacity by two */
    assert_number(4, "SELECT MAX(slot) FROM chasqui_places WHERE robot_id = ?", "u", (uint64_t)robot[1]);
    struct store_reserve r = reserve_op(8, 1, 1);
    reserve_fine(&r, RESERVE_NO_PLACE);
    exec_sql("UPDATE chasqui_places SET session_ref = NULL WHERE robot_id = ? AND slot <= 2", "u",
             (uint64_t)robot[1]);
    reserve_fine(&r, RESERVE_NO_PLACE); /* the two above it count */
    exec_sql("UPDATE chasqui_places SET session_ref = NULL WHERE robot_id = ? AND slot = 4", "u",
             (uint64_t)robot[1]);
    reserve_fine(&r, RESERVE_OK);
    r = reserve_op(9, 1, 1);
    reserve_fine(&r, RESERVE_NO_PLACE);
    op.job_id = 999999;
    run_fine(store_adopt, &op);
    assert_false(op.adopted);
}

/* ---- ends --------------------------------------------------------------------------------------------------- */

STORE_TEST(test_close)
{
    struct session_row row = session_make(1, 1, "s-1");
    struct store_close_begin begin = {.session_ref = row.ref, .epoch = row.epoch + 1, .lease = lease_make()};
    run_fine(store_close_begin, &begin);
    assert_true(begin.found && !begin.ok);
    begin.epoch = row.epoch;
    run_fine(store_close_begin, &begin);
    assert_true(begin.ok);
    assert_int_equal(begin.row.state, SESSION_CLOSING);
    assert_session(row.ref, "closing", "(null)", 0, 1);
    struct store_close_begin second = begin;
    run_fine(store_close_begin, &second);
    assert_true(second.found && !second.ok);
    assert_int_equal(second.row.state, SESSION_CLOSING);

    struct store_close_end end = {.job_id = row.job_id, .session_ref = row.ref, .to = SESSION_ACTIVE};
    run_fine(store_close_end, &end);
    assert_true(end.lost);
    memcpy(end.token, begin.lease.token, sizeof(end.token));
    run_fine(store_close_end, &end);
    assert_false(end.lost);
    assert_session(row.ref, "active", "(null)", 0, 1);

    static const struct {
        enum session_state to;
        enum place_fate place;
        const char *job, *error;
        int pending, places;
    } want[] = {{SESSION_CLOSED, PLACE_FREE, "done", "(null)", 0, 0},
                {SESSION_EXPIRED, PLACE_FADE, "failed", "session_expired", 2, 1},
                {SESSION_LOST, PLACE_KEEP_PENDING, "failed", "session_lost", 1, 1}};
    for (unsigned i = 0; i < 3; i++) {
        if (i)
            row = session_make(i + 1, i + 1, "s-x");
        begin = (struct store_close_begin){.session_ref = row.ref, .epoch = row.epoch, .lease = lease_make()};
        run_fine(store_close_begin, &begin);
        end = (struct store_close_end){.job_id = row.job_id,
                                       .session_ref = row.ref,
                                       .to = want[i].to,
                                       .reason = "client",
                                       .place = want[i].place,
                                       .by.name = "token:1:app"};
        memcpy(end.token, begin.lease.token, sizeof(end.token));
        run_fine(store_close_end, &end);
        assert_false(end.lost);
        assert_session(row.ref, session_state_name[want[i].to], "client", want[i].pending, want[i].places);
        assert_job(row.job_id, want[i].job, want[i].error);
    }
    assert_number(3, "SELECT COUNT(*) FROM chasqui_audit WHERE action = 'session_close'", "");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_leases", "");
}

STORE_TEST(test_laravels_row_is_done_when_its_session_is_closed)
{
    struct store_adopt op = {
        .job_id = laravel_make(1, BASE(1), "lar-1", 1), .asked = "lar-1", .robot_id = robot[1]};
    exec_sql("UPDATE portal_jobs SET status = 'running' WHERE id = ?", "u", op.job_id);
    run_fine(store_adopt, &op);
    assert_true(op.adopted);
    assert_job(op.job_id, "running", "(null)");
    struct store_close_begin begin = {.session_ref = op.row.ref, .epoch = op.row.epoch, .lease = lease_make()};
    run_fine(store_close_begin, &begin);
    struct store_close_end end = {
        .job_id = op.job_id, .session_ref = op.row.ref, .to = SESSION_CLOSED, .reason = "client"};
    memcpy(end.token, begin.lease.token, sizeof(end.token));
    run_fine(store_close_end, &end);
    assert_session(op.row.ref, "closed", "client", 0, 0);
    assert_job(op.job_id, "done", "(null)");
    assert_number(1, "SELECT COUNT(*) FROM portal_jobs WHERE finished_at IS NOT NULL", "");
}

STORE_TEST(test_session_end_compares)
{
    struct session_row row = session_make(1, 1, "s-1");
    struct store_session_end op = {
        .session_ref = row.ref, .epoch = row.epoch + 1, .to = SESSION_LOST, .reason = "robot_restarted"};
    run_fine(store_session_end, &op);
    assert_true(op.found && !op.ok);
    op.epoch = row.epoch;
    run_fine(store_session_end, &op);
    assert_true(op.ok);
    assert_int_equal(op.row.state, SESSION_LOST);
    assert_session(row.ref, "lost", "robot_restarted", 0, 0);
    assert_job(row.job_id, "failed", "session_lost");
    run_fine(store_session_end, &op);
    assert_false(op.ok);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_job_events WHERE event = 'session_lost'", "");
    op.session_ref = 99999999;
    run_fine(store_session_end, &op);
    assert_false(op.found);
}

STORE_TEST(test_activity_and_idling)
{
    struct session_row rows[3] = {session_make(1, 1, "s-1"), session_make(2, 2, "s-2"), session_make(3, 3, "s-3")};
    credentials_store(3);
    struct store_migrate_plan plan = {.session_ref = rows[2].ref, .reason = "operator"};
    run_fine(store_migrate_plan, &plan);
    exec_sql("UPDATE chasqui_sessions SET last_activity_at = NOW(6) - INTERVAL 1 HOUR", "");
    struct store_activity activity = {.n = 0};
    run_fine(store_activity, &activity);
    activity.n = 3;
    activity.ref[0] = rows[1].ref;
    activity.ref[1] = 99999999;
    activity.ref[2] = rows[1].ref;
    run_fine(store_activity, &activity);

    struct store_idle_claim *op = calloc(1, sizeof(*op));
    op->idle_ms = 1800000;
    op->lease = lease_make();
    run_fine(store_idle_claim, op);
    assert_int_equal(op->n, 1); /* s-2 was used, s-3 is to migrate */
    assert_int_equal(op->row[0].ref, rows[0].ref);
    assert_int_equal(op->row[0].state, SESSION_CLOSING);
    assert_text("close", "SELECT kind FROM chasqui_leases WHERE job_id = ? AND token = ?", "ub", rows[0].job_id,
                op->lease.token, sizeof(op->lease.token));
    run_fine(store_idle_claim, op);
    assert_int_equal(op->n, 0);
    free(op);
}

TEST_MAIN(server_start, server_stop)
