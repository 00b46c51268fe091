/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_robots.c - leases, robots and their places, migrations, and the lists of the control lane, in a real database. */
#include "dispatcher/robot/robots.h"
#include "dispatcher/store/store_verify.h"
#include "dispatcher/store/store_down.h"
#include "tests/unit/store_fixture.h"

/* ---- leases ------------------------------------------------------------------------------------------------- */

static void leases_expire(void)
{
    exec_sql("UPDATE chasqui_leases SET expires_at = NOW(6) - INTERVAL 1 SECOND", "");
}

STORE_TEST(test_renew)
{
    struct store_reserve r[3];
    for (unsigned i = 0; i < 3; i++) {
        r[i] = reserve_op(i + 1, 1, 3);
        reserve_fine(&r[i], RESERVE_OK);
    }
    leases_expire();
    enum { N = 300 };
    uint64_t job_id[N];
    uint8_t token[N][ID_TOKEN_BYTES];
    enum lease_news news[N];
    struct store_renew op = {.holder = "d1", .boot_id = "dboot-1", .ttl_ms = 15000, .n = 0};
    run_fine(store_renew, &op);
    op.n = N;
    op.job_id = job_id;
    op.token = token;
    op.news = news;
    for (unsigned i = 0; i < N; i++) {
        job_id[i] = i < 2 ? r[i].job_id : 1000000 + i;
        memcpy(token[i], r[0].lease.token, ID_TOKEN_BYTES); /* right for the first one only */
    }
    run_fine(store_renew, &op);
    assert_int_equal(news[0], LEASE_HELD);
    assert_true(news[1] == LEASE_LOST && news[2] == LEASE_LOST && news[N - 1] == LEASE_LOST);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_leases WHERE job_id = ? AND expires_at > NOW(6)", "u",
                  r[0].job_id);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_leases WHERE job_id = ? AND expires_at > NOW(6)", "u",
                  r[2].job_id); /* nobody's */
    exec_sql("UPDATE chasqui_leases SET cancel = 1 WHERE job_id = ?", "u", r[0].job_id);
    run_fine(store_renew, &op);
    assert_int_equal(news[0], LEASE_CANCELLED);
    snprintf(op.boot_id, sizeof(op.boot_id), "dboot-2");
    run_fine(store_renew, &op);
    assert_int_equal(news[0], LEASE_LOST);
}

STORE_TEST(test_rescue)
{
    struct store_reserve login = reserve_op(1, 1, 1);
    login.params = "sealed";
    login.params_len = 6;
    login.remember = true;
    reserve_fine(&login, RESERVE_OK);
    struct session_row closing = session_make(2, 2, "s-2");
    struct store_close_begin begin = {.session_ref = closing.ref, .epoch = closing.epoch, .lease = lease_make()};
    run_fine(store_close_begin, &begin);
    struct store_action_start action = {.company_id = 2,
                                        .portal = "acme",
                                        .action = "consulta",
                                        .session_id = "s-2",
                                        .worker = "r2",
                                        .lease = lease_make()};
    id_job_uid(action.job_uid);
    run_fine(store_action_start, &action);

    struct store_rescue op = {.lease = lease_make(), .max = CLAIM_MAX};
    run_fine(store_rescue, &op);
    assert_int_equal(op.n, 0);
    free(op.job);
    leases_expire();
    exec_sql(
        "UPDATE chasqui_leases SET expires_at = NOW(6) - INTERVAL 2 SECOND, limit_at = NOW(6) - INTERVAL 3 SECOND WHERE job_id = ?",
        "u", login.job_id);
    op.max = 1;
    strcpy(op.lease.holder, "d2");
    run_fine(store_rescue, &op);
    assert_int_equal(op.n, 1);
    assert_int_equal(op.job[0].job_id, login.job_id);
    assert_int_equal(op.job[0].kind, LEASE_LOGIN);
    assert_true(op.job[0].limit_left_ms < -2000 && op.job[0].limit_left_ms > -20000);
    assert_true(op.job[0].remember);
    assert_string_equal(op.job[0].job_uid, login.job_uid);
    assert_memory_equal(op.job[0].params.data, "sealed", 6);
    assert_int_equal(op.job[0].row.ref, login.session_ref);
    assert_int_equal(op.job[0].row.state, SESSION_OPENING);
    assert_text("d2", "SELECT holder FROM chasqui_leases WHERE job_id = ? AND token = ?", "ub", login.job_id,
                op.lease.token, sizeof(op.lease.token));
    buf_free(&op.job[0].params);
    free(op.job);

    struct store_login_done done = login_done_op(&login, "s-1"); /* the old holder comes too late */
    run_fine(store_login_done, &done);
    assert_int_equal(done.outcome, LOGIN_DONE_LOST);

    op.max = CLAIM_MAX;
    run_fine(store_rescue, &op);
    assert_int_equal(op.n, 2);
    for (unsigned i = 0; i < 2; i++) {
        bool is_close = op.job[i].kind == LEASE_CLOSE;
        assert_int_equal(op.job[i].job_id, is_close ? closing.job_id : action.job_id);
        assert_int_equal(op.job[i].row.ref, is_close ? closing.ref : 0);
        assert_true(op.job[i].limit_left_ms > 100000);
        buf_free(&op.job[i].params);
    }
    free(op.job);
}

STORE_TEST(test_orphans)
{
    struct store_reserve mine = reserve_op(1, 1, 1), other = reserve_op(2, 2, 2);
    strcpy(other.lease.holder, "d2");
    reserve_fine(&mine, RESERVE_OK);
    reserve_fine(&other, RESERVE_OK);
    struct store_leases_expire op = {.holder = "d1", .boot_id = "dboot-1"};
    run_fine(store_leases_expire, &op);
    assert_int_equal(op.n, 0);
    strcpy(op.boot_id, "dboot-2");
    run_fine(store_leases_expire, &op);
    assert_int_equal(op.n, 1);
    assert_number((int64_t)mine.job_id, "SELECT job_id FROM chasqui_leases WHERE expires_at < NOW(6)", "");
    struct store_leases_expire own = {.holder = "d2", .boot_id = "dboot-2", .is_own = true};
    run_fine(store_leases_expire, &own);
    assert_int_equal(own.n, 0);
    strcpy(own.boot_id, "dboot-1");
    run_fine(store_leases_expire, &own);
    assert_int_equal(own.n, 1);
}

/* ---- robots ------------------------------------------------------------------------------------------------- */

STORE_TEST(test_robots)
{
    struct store_robots op = {.known = 0};
    run_fine(store_robots, &op);
    assert_true(op.changed);
    assert_int_equal(op.n, 3);
    assert_string_equal(op.robot[1].name, "r2");
    assert_string_equal(op.robot[1].base_url, BASE(2));
    assert_string_equal(op.robot[1].boot_id, "boot-1");
    assert_int_equal(op.robot[1].capacity, -1);
    assert_int_equal(op.robot[1].reported_capacity, 2);
    assert_int_equal(op.robot[1].fenced, 1);
    free(op.robot);
    op.known = op.revision;
    run_fine(store_robots, &op);
    assert_false(op.changed);
    assert_null(op.robot);

    struct store_robot_want want = {
        .name = "r2", .wanted = WANTED_DRAINING, .by.name = "token:1:ops", .detail = "because"};
    run_fine(store_robot_want, &want);
    assert_true(want.found);
    run_fine(store_robots, &op);
    assert_true(op.changed);
    assert_int_equal(op.robot[1].wanted, WANTED_DRAINING);
    free(op.robot);
    assert_text("active -> draining: because",
                "SELECT detail FROM chasqui_audit WHERE subject = 'r2' AND actor = 'token:1:ops'", "");
    strcpy(want.name, "nobody");
    run_fine(store_robot_want, &want);
    assert_false(want.found);
}

STORE_TEST(test_robot_seen)
{
    static const enum place_fate fate[] = {PLACE_KEEP_PENDING, PLACE_FADE};
    struct store_robot_seen op = {.robot_id = robot[1], .reported_capacity = 5, .fenced = 0};
    run_fine(store_robot_seen, &op);
    assert_number(5, "SELECT COUNT(*) FROM chasqui_places WHERE robot_id = ?", "u", (uint64_t)robot[1]);
    assert_text("boot-1", "SELECT boot_id FROM chasqui_robots WHERE id = ? AND fenced = 0", "u",
                (uint64_t)robot[1]);
    op.reported_capacity = 1;
    run_fine(store_robot_seen, &op);
    assert_number(5, "SELECT COUNT(*) FROM chasqui_places WHERE robot_id = ?", "u", (uint64_t)robot[1]);
    op.reported_capacity = 7;
    run_fine(store_robot_seen, &op);
    assert_number(7, "SELECT MAX(slot) FROM chasqui_places WHERE robot_id = ?", "u", (uint64_t)robot[1]);

    struct session_row row[2] = {session_make(1, 1, "s-1"), session_make(2, 1, "s-2")};
    for (unsigned i = 0; i < 2; i++) {
        struct store_session_end end = {.session_ref = row[i].ref,
                                        .epoch = row[i].epoch,
                                        .to = SESSION_LOST,
                                        .reason = "robot_down",
                                        .place = fate[i]};
        run_fine(store_session_end, &end);
        assert_session(row[i].ref, "lost", "robot_down", i ? 2 : 1, 1);
    }
    strcpy(op.boot_id, "boot-1");
    run_fine(store_robot_seen, &op);
    assert_int_equal(op.freed, 0);
    strcpy(op.boot_id, "boot-2");
    run_fine(store_robot_seen, &op);
    assert_int_equal(op.freed, 2); /* proved gone */
    for (unsigned i = 0; i < 2; i++)
        assert_session(row[i].ref, "lost", "robot_down", 0, 0);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_audit", "");

    session_make(3, 1, "s-3");
    session_make(4, 1, "s-4");
    op.reported_capacity = 2; /* as many as it holds */
    run_fine(store_robot_seen, &op);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_audit", "");
    op.reported_capacity = 1;
    run_fine(store_robot_seen, &op);
    run_fine(store_robot_seen, &op);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_audit", "");
    assert_text(
        "2 -> 1",
        "SELECT detail FROM chasqui_audit WHERE actor = 'robot:r1' AND action = 'worker_capacity' AND subject = 'r1'",
        "");
    op.robot_id = 99999999;
    run_fine(store_robot_seen, &op);
}

STORE_TEST(test_robot_sessions)
{
    struct session_row lost[2], live = session_make(1, 1, "s-1");
    struct store_robot_seen seen = {.robot_id = robot[1], .reported_capacity = 5, .fenced = -1};
    run_fine(store_robot_seen, &seen);
    for (unsigned i = 0; i < 2; i++) {
        lost[i] = session_make(i + 2, 1, i ? "s-3" : "s-2");
        struct store_session_end end = {.session_ref = lost[i].ref,
                                        .epoch = lost[i].epoch,
                                        .to = SESSION_LOST,
                                        .reason = "robot_down",
                                        .place = PLACE_FADE};
        run_fine(store_session_end, &end);
    }
    exec_sql("UPDATE chasqui_sessions SET close_pending = 1 WHERE id = ?", "u", lost[0].ref);
    exec_sql("UPDATE chasqui_sessions SET since = since - INTERVAL 100 SECOND WHERE id = ?", "u", lost[0].ref);
    session_make(9, 2, "elsewhere");
    struct store_robot_sessions op = {.robot_id = robot[1]};
    run_fine(store_robot_sessions, &op);
    assert_int_equal(op.n, 3);
    unsigned pending = 0;
    for (unsigned i = 0; i < 3; i++) {
        int64_t least = op.row[i].ref == lost[0].ref ? 100000 : 0;
        assert_true(op.row[i].age_ms >= least && op.row[i].age_ms < least + 60000);
        pending |= 1u << op.row[i].remains;
    }
    assert_int_equal(pending, 7);
    free(op.row);

    struct store_pending_done done = {.session_ref = live.ref};
    run_fine(store_pending_done, &done);
    assert_false(done.ok);
    done.session_ref = lost[0].ref;
    run_fine(store_pending_done, &done);
    assert_true(done.ok);
    assert_session(lost[0].ref, "lost", "robot_down", 0, 0);
    run_fine(store_pending_done, &done);
    assert_false(done.ok);

    struct store_fade fade = {.robot_id = robot[1], .robot_count = -1, .idle_ms = 3600000};
    run_fine(store_fade, &fade);
    assert_int_equal(fade.freed, 0);
    fade.robot_count = 2;
    run_fine(store_fade, &fade);
    assert_int_equal(fade.freed, 0);
    fade.robot_count = 1; /* the robot has room again */
    run_fine(store_fade, &fade);
    assert_int_equal(fade.freed, 1);
    assert_session(lost[1].ref, "lost", "robot_down", 0, 0);
    exec_sql("UPDATE chasqui_sessions SET close_pending = 2, since = NOW(6) - INTERVAL 2 HOUR WHERE id = ?", "u",
             lost[1].ref);
    fade.robot_count = -1;
    run_fine(store_fade, &fade);
    assert_int_equal(fade.freed, 1);
}

/* ---- migrations --------------------------------------------------------------------------------------------- */

static struct store_migrate_claim *claim_op(unsigned first, unsigned last)
{
    struct store_migrate_claim *op = calloc(1, sizeof(*op));
    op->lease = lease_make();
    op->timeout_ms = 300000;
    op->max = 16;
    for (unsigned i = first; i <= last; i++)
        op->candidate[op->n_candidates++] = (struct candidate){.robot_id = robot[i]};
    return op;
}

static void claim_free(struct store_migrate_claim *op)
{
    for (unsigned i = 0; i < op->n; i++)
        buf_free(&op->got[i].credentials);
    free(op);
}

STORE_TEST(test_migrate_plan)
{
    struct session_row with = session_make(1, 1, "s-1"), without = session_make(2, 1, "s-2"),
                       other = session_make(3, 2, "s-3");
    credentials_store(1);
    credentials_store(3);
    struct store_migrate_plan op = {.robot_id = robot[1], .boot_now = "boot-1", .reason = "robot_restarted"};
    run_fine(store_migrate_plan, &op);
    assert_int_equal(op.planned + op.lost, 0); /* the same boot */
    op = (struct store_migrate_plan){.robot_id = robot[1], .reason = "robot_down"};
    run_fine(store_migrate_plan, &op);
    assert_int_equal(op.planned, 1);
    assert_int_equal(op.lost, 1);
    assert_false(op.more);
    assert_session(with.ref, "active", "(null)", 0, 1);
    assert_session(without.ref, "lost", "robot_down", 1, 1);
    assert_job(without.job_id, "failed", "session_lost");
    run_fine(store_migrate_plan, &op);
    assert_int_equal(op.planned + op.lost, 0);

    struct store_migrate_unplan unplan = {.robot_id = robot[1]};
    run_fine(store_migrate_unplan, &unplan);
    assert_int_equal(unplan.n, 1);
    strcpy(op.boot_now, "boot-2");
    strcpy(op.reason, "robot_restarted");
    run_fine(store_migrate_plan, &op);
    assert_int_equal(op.planned, 1);
    run_fine(store_migrate_unplan, &unplan);
    assert_int_equal(unplan.n, 0); /* a restart is not taken back */

    struct store_migrate_plan wish = {.session_ref = without.ref, .reason = "operator", .by.name = "cli:op@host"};
    run_fine(store_migrate_plan, &wish);
    assert_int_equal(wish.planned, 0);
    wish.session_ref = other.ref;
    run_fine(store_migrate_plan, &wish);
    assert_int_equal(wish.planned, 1);
    assert_number(1, "SELECT COUNT(*) FROM chasqui_audit WHERE action = 'session_migrate'", "");
    struct session_row poor = session_make(4, 2, "s-4");
    wish.session_ref = poor.ref;
    run_fine(store_migrate_plan, &wish);
    assert_int_equal(wish.planned + wish.lost, 0); /* an operator's wish never costs a session */
    assert_session(poor.ref, "active", "(null)", 0, 1);
}

STORE_TEST(test_migrate_restarted_without_credentials)
{
    struct session_row row = session_make(2, 1, "s-2");
    struct store_migrate_plan op = {.robot_id = robot[1], .boot_now = "boot-2", .reason = "robot_restarted"};
    run_fine(store_migrate_plan, &op);
    assert_int_equal(op.lost, 1);
    assert_session(row.ref, "lost", "robot_restarted", 0, 0); /* gone with its robot: the place is free */
}

/* The word that it answers again came before the plan, or was lost: the claim finds out by itself. */
STORE_TEST(test_migrate_not_from_a_robot_that_is_back)
{
    struct session_row row = session_make(1, 1, "s-1");
    credentials_store(1);
    struct store_down down = {.robot_id = robot[1], .down = DOWN_SILENT};
    run_fine(store_down, &down);
    struct store_migrate_plan plan = {.robot_id = robot[1], .reason = "robot_silent", .is_only_stored = true};
    run_fine(store_migrate_plan, &plan);
    assert_int_equal(plan.planned, 1);
    down.down = DOWN_NOT;
    run_fine(store_down, &down);
    struct store_migrate_claim *op = claim_op(1, 3);
    op->candidate[op->n_candidates++] = (struct candidate){.robot_id = robot[1]};
    run_fine(store_migrate_claim, op);
    assert_int_equal(op->n, 0);
    claim_free(op);
    assert_session(row.ref, "active", "(null)", 0, 1);
    run_fine(store_migrate_plan, &plan);
    assert_int_equal(plan.planned, 1); /* nothing of it was left */
}

STORE_TEST(test_migrate_claim)
{
    struct session_row row = session_make(1, 1, "s-1"), next = session_make(2, 1, "s-2");
    credentials_store(1);
    credentials_store(2);
    struct store_migrate_plan plan = {.robot_id = robot[1], .reason = "robot_down"};
    run_fine(store_migrate_plan, &plan);
    exec_sql("UPDATE chasqui_session_migrations SET available_at = NOW(6) + INTERVAL 1 MINUTE WHERE job_id = ?",
             "u", next.job_id);
    struct store_down down = {.robot_id = robot[1], .down = DOWN_DEAD};
    run_fine(store_down, &down);
    struct store_migrate_claim *op = claim_op(1, 1);
    run_fine(store_migrate_claim, op);
    assert_int_equal(op->n, 0); /* not to the robot it is on */
    assert_session(row.ref, "active", "(null)", 0, 1);
    claim_free(op);
    op = claim_op(1, 3);
    run_fine(store_migrate_claim, op);
    assert_int_equal(op->n, 1);
    struct migrate_claimed *got = &op->got[0];
    assert_int_equal(got->job_id, row.job_id);
    assert_int_equal(got->robot_id, robot[2]);
    assert_int_equal(got->epoch, 2);
    assert_int_equal(got->old.ref, row.ref);
    assert_string_equal(got->old.session_id, "s-1");
    assert_string_equal(got->action, "login_acme");
    assert_memory_equal(got->credentials.data, "sealed!", 7);
    assert_session(row.ref, "migrated", "robot_down", 1, 1);
    assert_session(got->session_ref, "opening", "(null)", 0, 1);
    assert_text("migrate", "SELECT kind FROM chasqui_leases WHERE job_id = ?", "u", row.job_id);
    struct store_migrate_claim *second = claim_op(1, 3);
    run_fine(store_migrate_claim, second);
    assert_int_equal(second->n, 0);
    claim_free(second);

    struct store_migrate_urgent urgent = {.job_id = next.job_id};
    run_fine(store_migrate_urgent, &urgent);
    assert_number(
        1,
        "SELECT urgent AND available_at < NOW(6) + INTERVAL 1 SECOND FROM chasqui_session_migrations WHERE job_id = ?",
        "u", next.job_id);

    struct store_reserve as = {.job_id = row.job_id,
                               .company_id = row.company_id,
                               .session_ref = got->session_ref,
                               .robot_id = robot[2],
                               .lease = op->lease};
    struct store_login_done done = login_done_op(&as, "s-1b");
    run_fine(store_login_done, &done);
    assert_int_equal(done.outcome, LOGIN_DONE_OK);
    assert_false(done.row.migrating);
    assert_text("http://r2.test",
                "SELECT robot_worker_base_url FROM portal_jobs WHERE id = ? AND robot_session_id = 's-1b'", "u",
                row.job_id);
    assert_number(0, "SELECT COUNT(*) FROM chasqui_session_migrations WHERE job_id = ?", "u", row.job_id);
    claim_free(op);
}

static struct store_login_failed migration_failed(const struct migrate_claimed *got, const struct lease *l,
                                                  enum place_fate place, int64_t retry_ms)
{
    struct store_login_failed op = {.job_id = got->job_id,
                                    .session_ref = got->session_ref,
                                    .error = "robot_error",
                                    .message = "no",
                                    .place = place,
                                    .retry_ms = retry_ms};
    memcpy(op.token, l->token, sizeof(op.token));
    run_fine(store_login_failed, &op);
    assert_false(op.lost);
    return op;
}

/* What could not be ended on the robot it left is told to each further turn, until it is ended. */
STORE_TEST(test_migrate_not_ended)
{
    struct session_row row = session_make(1, 1, "s-1");
    credentials_store(1);
    struct store_migrate_plan plan = {.session_ref = row.ref, .robot_id = robot[1], .reason = "operator"};
    run_fine(store_migrate_plan, &plan);
    for (int turn = 0; turn < 3; turn++) {
        struct store_migrate_claim *op = claim_op(2, 3);
        run_fine(store_migrate_claim, op);
        assert_int_equal(op->n, 1);
        assert_int_equal(op->got[0].old.ref, turn < 2 ? row.ref : 0);
        if (turn < 2)
            assert_string_equal(op->got[0].old.session_id, "s-1");
        migration_failed(&op->got[0], &op->lease, PLACE_FREE, 0);
        claim_free(op);
        struct store_pending_done done = {.session_ref = row.ref};
        if (turn == 1)
            run_fine(store_pending_done, &done);
    }
}

STORE_TEST(test_migrate_failed)
{
    struct session_row row = session_make(1, 1, "s-1");
    credentials_store(1);
    struct store_migrate_plan plan = {.robot_id = robot[1], .boot_now = "boot-2", .reason = "robot_restarted"};
    run_fine(store_migrate_plan, &plan);
    struct store_migrate_claim *op = claim_op(2, 3);
    run_fine(store_migrate_claim, op);
    assert_session(row.ref, "migrated", "robot_restarted", 0, 0);
    migration_failed(&op->got[0], &op->lease, PLACE_FREE, 0);
    assert_session(op->got[0].session_ref, "opening", "(null)", 0, 0);
    assert_job(row.job_id, "done", "(null)");
    claim_free(op);

    op = claim_op(2, 3); /* the same generation, tried again */
    run_fine(store_migrate_claim, op);
    assert_int_equal(op->n, 1);
    assert_int_equal(op->got[0].attempts, 1);
    assert_int_equal(op->got[0].epoch, 3);
    assert_int_equal(op->got[0].old.ref, 0);
    uint64_t second = op->got[0].session_ref;
    migration_failed(&op->got[0], &op->lease, PLACE_KEEP_PENDING, 0);
    assert_session(second, "lost", "abandoned", 1, 1);
    claim_free(op);

    struct store_login_failed last;
    op = claim_op(2, 3);
    run_fine(store_migrate_claim, op);
    assert_int_equal(op->n, 1);
    assert_int_not_equal(op->got[0].session_ref, second);
    assert_int_equal(op->got[0].robot_id, robot[3]); /* the other one holds an abandoned session */
    assert_number(3, "SELECT generation FROM chasqui_sessions WHERE id = ? AND current_job_id = ?", "uu",
                  op->got[0].session_ref, row.job_id);
    last = migration_failed(&op->got[0], &op->lease, PLACE_FREE, -1);
    assert_session(last.session_ref, "lost", "migration_failed", 0, 0);
    assert_job(row.job_id, "failed", "session_lost");
    assert_number(0, "SELECT COUNT(*) FROM chasqui_session_migrations", "");
    claim_free(op);
}

STORE_TEST(test_migrate_limits)
{
    struct store_robot_seen seen = {.reported_capacity = 10, .fenced = -1};
    for (unsigned i = 1; i < 4; i++) {
        seen.robot_id = robot[i];
        run_fine(store_robot_seen, &seen);
    }
    struct session_row rows[7];
    for (unsigned i = 0; i < 7; i++) {
        char id[10];
        snprintf(id, sizeof(id), "s-%u", i);
        rows[i] = session_make(i + 1, 1, id);
        credentials_store(i + 1);
    }
    struct store_migrate_plan plan = {.robot_id = robot[1], .reason = "robot_down"};
    run_fine(store_migrate_plan, &plan);
    assert_int_equal(plan.planned, 7);
    struct store_migrate_urgent urgent = {.job_id = rows[6].job_id};
    run_fine(store_migrate_urgent, &urgent);
    struct store_migrate_claim *op = claim_op(2, 2);
    run_fine(store_migrate_claim, op);
    assert_int_equal(op->n, 4);
    assert_int_equal(op->got[0].job_id, rows[6].job_id); /* somebody waits for it */
    /* The fifth goes nowhere either by way of another robot's log-in that moves on. */
    struct store_migrate_claim *other = claim_op(3, 3);
    other->max = 1;
    run_fine(store_migrate_claim, other);
    assert_int_equal(other->n, 1);
    struct store_reserve_again again = {.job_id = other->got[0].job_id,
                                        .session_ref = other->got[0].session_ref,
                                        .lease = other->lease,
                                        .n_candidates = 1,
                                        .candidate = {{robot[2], 0}}};
    run_fine(store_reserve_again, &again);
    assert_int_equal(again.outcome, RESERVE_NO_PLACE);
    claim_free(other);
    claim_free(op);

    exec_sql("UPDATE chasqui_session_migrations SET created_at = NOW(6) - INTERVAL 10 MINUTE", "");
    op = claim_op(2, 3);
    run_fine(store_migrate_claim, op);
    assert_int_equal(op->n, 0);
    assert_int_equal(op->timed_out, 2); /* those nobody works on */
    assert_number(
        2,
        "SELECT COUNT(*) FROM chasqui_sessions WHERE state = 'lost' AND reason = 'migrate_timeout' AND close_pending = 1",
        "");
    claim_free(op);
}

/* Forty that can go nowhere stand before one that can. */
STORE_TEST(test_migrate_passes_what_cannot_go)
{
    struct store_robot_seen seen = {.robot_id = robot[2], .reported_capacity = 100, .fenced = -1};
    run_fine(store_robot_seen, &seen);
    exec_sql("UPDATE chasqui_robots SET capacity = 100 WHERE id = ?", "u", (uint64_t)robot[2]);
    for (unsigned i = 0; i < 41; i++) {
        char id[10];
        snprintf(id, sizeof(id), "p-%u", i);
        struct session_row row = session_make(i + 1, i < 40 ? 2 : 1, id);
        credentials_store(i + 1);
        exec_sql(
            "INSERT INTO chasqui_session_migrations (job_id, reason, created_at, available_at) VALUES (?, 'operator', NOW(6), NOW(6) - INTERVAL ? SECOND)",
            "uu", row.job_id, (uint64_t)(100 - i));
    }
    struct store_migrate_claim *op = claim_op(2, 2); /* where the forty are already */
    for (unsigned turns = 1; turns <= 3 && !op->n; turns++)
        run_fine(store_migrate_claim, op);
    assert_int_equal(op->n, 1);
    assert_int_equal(op->got[0].company_id, 41);
    claim_free(op);
}

/* ---- control ------------------------------------------------------------------------------------------------ */

static struct jv *json_of(struct buf *b)
{
    enum jv_bad why;
    struct jv *v = jv_parse(b->data, b->len, &why);
    assert_non_null(v);
    assert_null(strstr(b->data, "r1.test")); /* no base URL of a robot */
    buf_free(b);
    return v;
}

static int64_t int_at(const struct jv *v, const char *key)
{
    int64_t n = -999;
    jv_int(jv_get(v, key), &n);
    return n;
}

STORE_TEST(test_token)
{
    uint8_t secret[32] = {1, 2, 3};
    exec_sql(
        "INSERT INTO chasqui_tokens (name, secret_sha256, abilities, rate_per_minute, created_at) VALUES ('app', ?, 'app,ops:read', 60, "
        "NOW(6))",
        "b", (const void *)secret, sizeof(secret));
    static const struct conf no_view;
    struct store_verify op = {.own = {.token_id = db_insert_id(look)}, .conf = &no_view};
    exec_sql("INSERT INTO chasqui_token_companies VALUES (?, 5), (?, 3)", "uu", op.own.token_id, op.own.token_id);
    run_fine(store_verify, &op);
    assert_int_equal(op.outcome, VERIFIED_UNKNOWN);
    memcpy(op.own.secret_sha256, secret, 32);
    run_fine(store_verify, &op);
    assert_int_equal(op.outcome, VERIFIED_GOOD);
    struct jv *v = json_of(&op.json);
    assert_string_equal(jv_str(jv_get(v, "name")), "app");
    assert_int_equal(jv_len(jv_get(v, "abilities")), 2);
    assert_int_equal(jv_len(jv_get(v, "companies")), 2);
    assert_int_equal(int_at(v, "rate_per_minute"), 60);
    jv_free(v);
    exec_sql("UPDATE chasqui_tokens SET expires_at = NOW(6) - INTERVAL 1 SECOND", "");
    run_fine(store_verify, &op);
    assert_int_equal(op.outcome, VERIFIED_REFUSED);
    exec_sql("UPDATE chasqui_tokens SET expires_at = NULL, revoked_at = NOW(6)", "");
    run_fine(store_verify, &op);
    assert_int_equal(op.outcome, VERIFIED_REFUSED);
    op.own.token_id++;
    memset(op.own.secret_sha256, 0, 32);
    run_fine(store_verify, &op);
    assert_int_equal(op.outcome, VERIFIED_UNKNOWN);
}

STORE_TEST(test_job)
{
    struct session_row row = session_make(1, 1, "s-1");
    struct store_job op = {.job_id = row.job_id};
    run_fine(store_job, &op);
    assert_true(op.found && op.terminal);
    assert_int_equal(op.company_id, 1);
    assert_int_equal(op.session_ref, row.ref);
    assert_string_equal(op.kind, "login");
    struct jv *body = json_of(&op.json), *job = jv_get(body, "job");
    assert_int_equal(jv_len(jv_get(job, "timeline")), 2);
    assert_string_equal(jv_str(jv_get(jv_at(jv_get(job, "timeline"), 0), "event")), "started");
    assert_string_equal(jv_str(jv_get(jv_at(jv_get(job, "timeline"), 1), "event")), "done");
    assert_string_equal(jv_str(jv_get(job, "session_id")), "s-1");
    assert_string_equal(jv_str(jv_get(job, "worker")), "r1");
    assert_string_equal(jv_str(jv_get(job, "status")), "done");
    jv_free(body);

    struct store_job by_uid = {.job_uid = "NOBODY-1"};
    run_fine(store_job, &by_uid);
    assert_false(by_uid.found);
    strcpy(by_uid.job_uid, row.job_uid);
    run_fine(store_job, &by_uid);
    assert_int_equal(by_uid.job_id, row.job_id);
    buf_free(&by_uid.json);
    struct store_job laravel = {.job_id = laravel_make(7, BASE(1), "lar-7", 1)};
    run_fine(store_job, &laravel);
    assert_true(laravel.found && laravel.terminal);
    assert_int_equal(laravel.session_ref, 0);
    assert_int_equal(laravel.company_id, 7);
    buf_free(&laravel.json);
}

STORE_TEST(test_lists)
{
    struct session_row one = session_make(1, 1, "s-1"), two = session_make(2, 2, "s-2"),
                       three = session_make(3, 1, "s-3");
    struct store_session_end end = {.session_ref = two.ref,
                                    .epoch = two.epoch,
                                    .to = SESSION_LOST,
                                    .reason = "robot_down",
                                    .place = PLACE_KEEP_PENDING};
    run_fine(store_session_end, &end);
    static const struct {
        const char *state, *worker;
        uint64_t company;
        unsigned n;
    } want[] = {{"", "", 0, 3},   {"live", "", 0, 2}, {"lost", "", 0, 1},
                {"", "r1", 0, 2}, {"", "", 3, 1},     {"", "nobody", 0, 0}};
    for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        struct store_sessions op = {.company_id = want[i].company};
        strcpy(op.state, want[i].state);
        strcpy(op.worker, want[i].worker);
        run_fine(store_sessions, &op);
        struct jv *v = json_of(&op.json);
        assert_int_equal(jv_len(jv_get(v, "sessions")), want[i].n);
        assert_int_equal(jv_type(jv_get(v, "next_cursor")), JV_NULL);
        jv_free(v);
    }
    struct store_sessions op = {.limit = 2};
    run_fine(store_sessions, &op);
    struct jv *v = json_of(&op.json), *first = jv_at(jv_get(v, "sessions"), 0);
    assert_int_equal(jv_len(jv_get(v, "sessions")), 2);
    assert_string_equal(jv_str(jv_get(first, "session_id")), "s-3");
    assert_string_equal(jv_str(jv_get(first, "viewer_url")), "http://view.test/viewer/s-3");
    assert_int_equal(int_at(first, "job_id"), (int64_t)three.job_id);
    op.cursor = (uint64_t)int_at(v, "next_cursor");
    jv_free(v);
    run_fine(store_sessions, &op);
    v = json_of(&op.json);
    assert_int_equal(jv_len(jv_get(v, "sessions")), 1);
    assert_int_equal(int_at(jv_at(jv_get(v, "sessions"), 0), "job_id"), (int64_t)one.job_id);
    jv_free(v);

    struct store_workers workers = {.rc = STORE_DOWN};
    run_fine(store_workers, &workers);
    v = json_of(&workers.json);
    assert_int_equal(jv_len(v), 3);
    assert_int_equal(int_at(jv_at(v, 0), "places_used"), 2);
    assert_int_equal(int_at(jv_at(v, 0), "capacity"), 2);
    assert_int_equal(int_at(jv_at(v, 0), "sessions"), 2);
    assert_int_equal(int_at(jv_at(v, 1), "abandoned"), 1);
    assert_int_equal(int_at(jv_at(v, 1), "sessions"), 0);
    jv_free(v);
}

TEST_MAIN(server_start, server_stop)
