/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_rows.c - what a log-in costs the database: rows read, inserted, changed and deleted, and bytes of redo, which do not depend
 * on the machine. That they do not grow with the places that are held. */
#include "tests/unit/store_queue_fixture.h"

#include <pthread.h>

enum { READ, INSERTED, CHANGED, DELETED, REDO, COUNTERS };
static const char *const counter_name[] = {"read", "inserted", "changed", "deleted", "bytes of redo"};

struct cost {
    double of[COUNTERS];
};

#define COUNTERS_SQL                                                                                              \
    "SELECT CAST(SUM(IF(VARIABLE_NAME LIKE 'HANDLER_READ%', VARIABLE_VALUE, 0)) AS INT), "                        \
    "CAST(SUM(IF(VARIABLE_NAME = 'HANDLER_WRITE', VARIABLE_VALUE, 0)) AS INT), "                                  \
    "CAST(SUM(IF(VARIABLE_NAME = 'HANDLER_UPDATE', VARIABLE_VALUE, 0)) AS INT), "                                 \
    "CAST(SUM(IF(VARIABLE_NAME = 'HANDLER_DELETE', VARIABLE_VALUE, 0)) AS INT), "                                 \
    "CAST(SUM(IF(VARIABLE_NAME = 'INNODB_LSN_CURRENT', VARIABLE_VALUE, 0)) AS INT) FROM "                         \
    "information_schema.SESSION_STATUS WHERE VARIABLE_NAME LIKE 'HANDLER%' OR VARIABLE_NAME = 'INNODB_LSN_CURRENT'"

/* What the connection under test has done so far. */
static struct cost counters(void)
{
    struct cost c = {{0}};
    assert_int_equal(db_query(db, COUNTERS_SQL, ""), DB_OK);
    assert_true(db_next(db));
    for (unsigned i = 0; i < COUNTERS; i++)
        c.of[i] = (double)db_i64(db, i);
    return c;
}

/* Since `before`, for each of n log-ins, without what looking costs. */
static struct cost cost_since(struct cost before, unsigned n)
{
    struct cost now = counters(), again = counters();
    for (unsigned i = 0; i < COUNTERS; i++)
        now.of[i] = (now.of[i] - before.of[i] - (i == REDO ? 0 : again.of[i] - now.of[i])) / n;
    return now;
}

static unsigned had_before; /* sessions of each company; 0 = none */

static void cost_say(const char *what, bool is_adoption, unsigned held, struct cost c)
{
    char company[50] = "";
    if (had_before)
        snprintf(company, sizeof(company), ", of a company that had %u before", had_before);
    print_message("%s%s, %u %s:", what, company, held, is_adoption ? "before it" : "places held");
    for (unsigned i = 0; i < COUNTERS; i++)
        print_message(" %s %.1f%s", counter_name[i], c.of[i], i + 1 < COUNTERS ? "," : "\n");
}

/* Rows only: pages that are touched for the first time make redo of their own. */
static void assert_cost_is_not_above(struct cost c, struct cost as)
{
    for (unsigned i = 0; i < REDO; i++)
        if (c.of[i] > as.of[i] * 1.1)
            fail_msg("%.1f rows %s, %.1f before", c.of[i], counter_name[i], as.of[i]);
}

/* ---- a farm ------------------------------------------------------------------------------------------------- */

#define ROBOTS 20
static uint32_t farm[ROBOTS];

/* As a dispatcher has counted them, which it does when more than a few are held. */
static struct store_held *farm_held;
static unsigned farm_counted;

static void farm_count(void)
{
    if (!farm_held)
        farm_held = calloc(1, sizeof(*farm_held));
    run_fine(store_held, farm_held);
    farm_counted++;
}

/* Laravel's table is never small for long: of a small one the server reads all rather than by an index. */
static void jobs_of_before(void)
{
    exec_sql(
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, created_at, updated_at) SELECT CONCAT('old-', seq), 2000000 + seq, "
        "'acme', 'login', 'failed', NOW(), NOW() FROM seq_1_to_20000",
        "");
    sql_fine(db_query(look, "ANALYZE TABLE portal_jobs", ""));
}

/* Robots of `capacity` places, `held` of which are taken, spread over all. */
static void farm_make(unsigned capacity, unsigned held)
{
    for (unsigned i = 0; i < ROBOTS; i++) {
        char name[20], url[40];
        snprintf(name, sizeof(name), "f%u", i);
        snprintf(url, sizeof(url), "http://f%u.test", i);
        farm[i] = robot_add(name, url, capacity);
    }
    exec_sql(
        "INSERT INTO chasqui_sessions (id, job_id, current_job_id, company_id, portal, live, state, since, robot_id, robot_session_id, "
        "live_session_id, epoch, started_at, last_activity_at) SELECT 1000000 + seq, 1000000 + seq, 1000000 + seq, 1000000 + seq, 'acme', 1, "
        "'active', NOW(6), ? + seq % ?, CONCAT('h-', seq), CONCAT('h-', seq), 1, NOW(6), NOW(6) FROM seq_1_to_100000 WHERE seq <= ?",
        "uuu", (uint64_t)farm[0], (uint64_t)ROBOTS, (uint64_t)held);
    exec_sql(
        "UPDATE chasqui_places p JOIN (SELECT id, robot_id, ROW_NUMBER() OVER (PARTITION BY robot_id ORDER BY id) AS slot FROM chasqui_sessions) s ON "
        "p.robot_id = s.robot_id AND p.slot = s.slot SET p.session_ref = s.id",
        "");
    assert_number(held, "SELECT COUNT(session_ref) FROM chasqui_places", "");
    jobs_of_before();
    farm_count();
}

static void farm_candidates(struct candidate *c, unsigned *n)
{
    *n = 0;
    for (unsigned i = 0; i < ROBOTS; i++)
        c[(*n)++] = (struct candidate){.robot_id = farm[i]};
    for (unsigned i = 0; i < ROBOTS && farm_held->all > 64; i++)
        for (unsigned k = 0; k < farm_held->n; k++)
            if (farm_held->row[k].robot_id == farm[i]) {
                c[i].counted = farm_counted;
                c[i].capacity = farm_held->row[k].capacity;
                c[i].used = farm_held->row[k].used;
            }
}

static void farm_forget(void)
{
    had_before = 0;
    free(farm_held);
    farm_held = NULL;
    assert_int_equal(reset(NULL), 0);
    exec_sql("ALTER TABLE portal_jobs AUTO_INCREMENT = 1", "");
}

/* What the server has still to clean up would write log while others are measured. */
static void purge_wait(void)
{
    for (uint64_t until = clock_ms() + 20000; clock_ms() < until; usleep(20000))
        if (number_of(
                "SELECT VARIABLE_VALUE + 0 < 20 FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'INNODB_HISTORY_LIST_LENGTH'",
                "") == 1)
            return;
}

/* A connection looks at the shape of Laravel's table when it is made, and then each five seconds, which reads rows too: this one has just done
 * so. */
static struct cost cost_begin(void)
{
    purge_wait();
    db_disconnect(db);
    return counters();
}

/* Each company of 101 to 300 has had `ended` sessions before: their jobs are in Laravel's table. */
static void old_companies_make(unsigned ended)
{
    had_before = ended;
    exec_sql(
        "INSERT INTO portal_jobs (id, job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, updated_at) "
        "SELECT 500000 + s.seq, CONCAT('o-', s.seq), 101 + s.seq % 200, 'acme', 'acme.login', 'done', 'http://f1.test', CONCAT('o-', s.seq), NOW() - "
        "INTERVAL 5 DAY, NOW() - INTERVAL 5 DAY FROM seq_1_to_100000 s WHERE s.seq <= ? * 200",
        "u", (uint64_t)ended);
    exec_sql(
        "INSERT INTO chasqui_sessions (job_id, company_id, portal, state, since, robot_session_id, epoch) SELECT 500000 + s.seq, 101 + s.seq % 200, "
        "'acme', 'closed', NOW(6), CONCAT('o-', s.seq), 1 FROM seq_1_to_100000 s WHERE s.seq <= ? * 200",
        "u", (uint64_t)ended);
    exec_sql(
        "INSERT INTO chasqui_jobs (job_id, job_uid, kind, company_id, portal) SELECT id, job_uid, 'login', company_id, portal FROM portal_jobs",
        "");
    sql_fine(db_query(look, "ANALYZE TABLE chasqui_sessions, chasqui_jobs", ""));
}

/* ---- log-ins ------------------------------------------------------------------------------------------------ */

static void log_in(uint64_t company)
{
    struct store_reserve op = reserve_op(company, 0, 0); /* by the farm's robots */
    char id[30];
    farm_candidates(op.candidate, &op.n_candidates);
    reserve_fine(&op, RESERVE_OK);
    snprintf(id, sizeof(id), "e-%llu", (unsigned long long)company);
    struct store_login_done done = login_done_op(&op, id);
    strcpy(done.robot_base_url, "http://f.test");
    strcpy(done.worker, "f");
    run_fine(store_login_done, &done);
    assert_int_equal(done.outcome, LOGIN_DONE_OK);
    buf_free(&op.credentials);
}

static struct cost executes(unsigned held, unsigned n)
{
    farm_make(5000, held);
    for (uint64_t company = 1; company <= 20; company++)
        log_in(company);
    struct cost before = cost_begin();
    for (uint64_t company = 101; company <= 100 + n; company++)
        log_in(company);
    struct cost c = cost_since(before, n);
    cost_say("a log-in by execute", false, held, c);
    farm_forget();
    return c;
}

#define TOGETHER 16

/* A group of companies, and the group of their outcomes. */
static void log_in_together(uint64_t first)
{
    struct store_reserve *op = calloc(TOGETHER, sizeof(*op));
    struct store_login_done *done = calloc(TOGETHER, sizeof(*done));
    struct store_group begin = {.n = TOGETHER}, end = {.n = TOGETHER};
    for (unsigned i = 0; i < TOGETHER; i++) {
        op[i] = reserve_op(first + i, 0, 0); /* by the farm's robots */
        farm_candidates(op[i].candidate, &op[i].n_candidates);
        begin.op[i] = &op[i];
        end.op[i] = &done[i];
    }
    store_reserves(db, &begin);
    for (unsigned i = 0; i < TOGETHER; i++) {
        char id[30];
        assert_false(begin.is_apart[i]);
        assert_int_equal(op[i].rc, STORE_OK);
        snprintf(id, sizeof(id), "e-%llu", (unsigned long long)op[i].company_id);
        done[i] = login_done_op(&op[i], id);
        strcpy(done[i].robot_base_url, "http://f.test");
        strcpy(done[i].worker, "f");
    }
    store_logins_done(db, &end);
    for (unsigned i = 0; i < TOGETHER; i++) {
        assert_false(end.is_apart[i]);
        assert_int_equal(done[i].outcome, LOGIN_DONE_OK);
        buf_free(&op[i].credentials);
    }
    free(op);
    free(done);
}

static struct cost executes_together(unsigned held, unsigned groups)
{
    farm_make(5000, held);
    log_in_together(1);
    struct cost before = cost_begin();
    for (unsigned i = 0; i < groups; i++)
        log_in_together(101 + i * TOGETHER);
    struct cost c = cost_since(before, groups * TOGETHER);
    cost_say("a log-in by execute, of 16 together", false, held, c);
    farm_forget();
    return c;
}

static void claims(unsigned n)
{
    while (n) {
        struct store_claim op = claim_op(40);
        farm_candidates(op.candidate, &op.n_candidates);
        op.logins_per_robot = 64;
        op.kept_back_percent = 10;
        run_fine(store_claim, &op);
        assert_true(op.n);
        struct store_login_done done[40];
        struct store_group all = {.n = op.n};
        for (unsigned i = 0; i < op.n; i++) {
            char id[40];
            snprintf(id, sizeof(id), "b-%llu", (unsigned long long)op.got[i].company_id);
            done[i] = claimed_done_op(&op.got[i], &op.lease, id);
            strcpy(done[i].robot_base_url, "http://f.test");
            strcpy(done[i].worker, "f");
            all.op[i] = &done[i];
        }
        logins_done(db, &all);
        for (unsigned i = 0; i < op.n; i++)
            assert_int_equal(done[i].outcome, LOGIN_DONE_OK);
        n -= op.n;
        claim_forget(&op);
    }
}

static struct cost batches(unsigned held, unsigned n)
{
    farm_make(5000, held);
    batch_make(40, 1);
    claims(40);
    batch_make(n, 101);
    struct cost before = cost_begin();
    claims(n);
    struct cost c = cost_since(before, n);
    cost_say("a log-in of a batch", false, held, c);
    farm_forget();
    return c;
}

/* ---- Laravel's sessions ------------------------------------------------------------------------------------- */

static void laravel_fill(unsigned n)
{
    exec_sql(
        "INSERT INTO portal_jobs (id, job_uid, company_id, portal, action, status, robot_worker_base_url, robot_session_id, created_at, updated_at) "
        "SELECT seq, CONCAT('L-', seq), seq, 'acme', 'login', 'done', ?, CONCAT('l-', seq), NOW(), NOW() FROM seq_1_to_100000 WHERE seq <= ?",
        "su", BASE(1), (uint64_t)n);
}

static bool adopted(struct db *on, uint64_t job_id)
{
    struct store_adopt op = {.job_id = job_id, .robot_id = robot[1]};
    snprintf(op.asked, sizeof(op.asked), "l-%llu", (unsigned long long)job_id);
    store_adopt(on, &op);
    return op.rc == STORE_OK && op.adopted;
}

static struct cost adoptions(unsigned from, unsigned n)
{
    struct cost before = cost_begin();
    for (unsigned i = 0; i < n; i++)
        assert_true(adopted(db, from + i));
    struct cost c = cost_since(before, n);
    cost_say("a first use of Laravel's session", true, from - 1, c);
    return c;
}

/* Groups of sessions on 16 robots. */
static void adopt_together(unsigned from, unsigned groups)
{
    struct store_adopt *op = calloc(TOGETHER, sizeof(*op));
    for (; groups; groups--, from += TOGETHER) {
        struct store_group all = {.n = TOGETHER};
        for (unsigned i = 0; i < TOGETHER; i++) {
            op[i] = (struct store_adopt){
                .job_id = from + i, .company_id = from + i, .portal = "acme", .robot_id = farm[i]};
            snprintf(op[i].asked, sizeof(op[i].asked), "l-%u", from + i);
            all.op[i] = &op[i];
        }
        store_adopts(db, &all);
        for (unsigned i = 0; i < TOGETHER; i++)
            assert_true(!all.is_apart[i] && op[i].adopted);
    }
    free(op);
}

static struct cost adoptions_together(const char *what, unsigned from)
{
    struct cost before = cost_begin();
    adopt_together(from, 10);
    struct cost c = cost_since(before, 10 * TOGETHER);
    cost_say(what, true, from - 1, c);
    return c;
}

/* All but the first two are above the robot's capacity. */
STORE_TEST(test_adoption_costs_the_same_however_many_are_there)
{
    laravel_fill(3000);
    assert_true(adopted(db, 1));
    struct cost few = adoptions(2, 100);
    for (unsigned i = 102; i <= 2900; i++)
        assert_true(adopted(db, i));
    assert_cost_is_not_above(adoptions(2901, 100), few);
    assert_int_equal(places_used(robot[1]), 3000);
}

/* On robots that have free places, and on robots that are full. */
STORE_TEST(test_adoption_together_costs_the_same_however_many_are_there)
{
    static const char *const what[] = {"a first use of Laravel's session, of 16 together",
                                       "a first use of Laravel's session, of 16 together, on full robots"};
    for (unsigned is_full = 0; is_full < 2; is_full++) {
        farm_make(is_full ? 1 : 400, 0);
        exec_sql("DELETE FROM portal_jobs", "");
        laravel_fill(3200);
        jobs_of_before();
        adopt_together(1, 10);
        struct cost few = adoptions_together(what[is_full], 161);
        adopt_together(321, 170);
        assert_cost_is_not_above(adoptions_together(what[is_full], 3041), few);
        assert_true(few.of[READ] <= 11 && few.of[INSERTED] <= 4 && few.of[CHANGED] <= 1);
        farm_forget();
    }
}

#define ADOPTERS 4
struct adopter {
    pthread_t thread;
    unsigned first, n;
};

static void *adopt_each_fourth(void *arg)
{
    struct adopter *a = arg;
    struct db *mine = db_new(&conf);
    for (unsigned i = a->first; i <= 400; i += ADOPTERS)
        a->n += adopted(mine, i);
    db_destroy(&mine);
    return NULL;
}

STORE_TEST(test_adoptions_at_once_have_a_place_each)
{
    struct adopter a[ADOPTERS];
    unsigned n = 0;
    laravel_fill(400);
    for (unsigned i = 0; i < ADOPTERS; i++) {
        a[i] = (struct adopter){.first = i + 1};
        assert_int_equal(pthread_create(&a[i].thread, NULL, adopt_each_fourth, &a[i]), 0);
    }
    for (unsigned i = 0; i < ADOPTERS; i++) {
        pthread_join(a[i].thread, NULL);
        n += a[i].n;
    }
    assert_int_equal(n, 400);
    assert_number(
        400,
        "SELECT COUNT(*) FROM chasqui_places p JOIN chasqui_sessions s ON s.id = p.session_ref AND s.robot_id = p.robot_id AND "
        "s.state = 'active'",
        "");
    assert_number(400, "SELECT MAX(slot) FROM chasqui_places WHERE robot_id = ?", "u", (uint64_t)robot[1]);
}

#define HELD (getenv("ROWS_HELD") ? (unsigned)atoi(getenv("ROWS_HELD")) : 5000)

STORE_TEST(test_a_log_in_by_execute_costs_the_same_however_many_places_are_held)
{
    struct cost few = executes(100, 200), many = executes(HELD, 200);
    assert_cost_is_not_above(many, few);
    assert_true(many.of[READ] <= 25 && many.of[INSERTED] <= 7 && many.of[CHANGED] <= 4 && many.of[DELETED] <= 1);
}

STORE_TEST(test_log_ins_by_execute_together_cost_the_same_however_many_places_are_held)
{
    struct cost few = executes_together(100, 12), many = executes_together(HELD, 12);
    assert_cost_is_not_above(many, few);
    assert_true(many.of[READ] <= 30 && many.of[INSERTED] <= 7 && many.of[CHANGED] <= 4 && many.of[DELETED] <= 1);
}

STORE_TEST(test_a_log_in_of_a_batch_costs_the_same_however_many_places_are_held)
{
    struct cost few = batches(100, 200), many = batches(HELD, 200);
    assert_cost_is_not_above(many, few);
    assert_true(many.of[READ] <= 21 && many.of[INSERTED] <= 7 && many.of[CHANGED] <= 5 && many.of[DELETED] <= 1);
}

STORE_TEST(test_a_log_in_of_a_batch_costs_the_same_however_many_sessions_the_company_had)
{
    old_companies_make(1);
    struct cost few = batches(100, 200);
    old_companies_make(50);
    few.of[READ] += 49; /* each job of Laravel's table, which has no index for what makes it young */
    assert_cost_is_not_above(batches(100, 200), few);
}

STORE_TEST(test_a_log_in_by_execute_costs_the_same_however_many_sessions_the_company_had)
{
    old_companies_make(1);
    struct cost few = executes(100, 200);
    old_companies_make(50);
    few.of[READ] += 49;
    assert_cost_is_not_above(executes(100, 200), few);
    old_companies_make(1);
    few = executes_together(100, 12);
    old_companies_make(50);
    few.of[READ] += 49;
    assert_cost_is_not_above(executes_together(100, 12), few);
}

TEST_MAIN(server_start, server_stop)
