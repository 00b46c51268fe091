/* SPDX-License-Identifier: MIT */
/*
 * store_fixture.h - a private MariaDB for tests of the store: one server in
 * one directory under /tmp, reached by socket only, with migrations/ applied.
 * Tests run from the root of the checkout. `db` is the connection under test,
 * `look` another one that arranges and looks.
 */
#ifndef CHASQUI_TESTS_STORE_FIXTURE_H
#define CHASQUI_TESTS_STORE_FIXTURE_H

#include "common/clock.h"
#include "common/log.h"
#include "dispatcher/store/store_sql.h"
#include "tests/unit/test.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static struct conf conf;
static struct db *db, *look;
static char server_dir[40];
static pid_t server_pid;

/* ---- the server --------------------------------------------------------------------------------------------- */

static inline int spawn_wait(char *const argv[])
{
    pid_t pid;
    int status;
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&quiet);
    return failed || waitpid(pid, &status, 0) != pid ? -1 : status;
}

static inline void server_exec(char *const argv[])
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it goes when the test does */
    char log[60];
    snprintf(log, sizeof(log), "%s/log", server_dir);
    int fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execvp(argv[0], argv);
    execv("/usr/sbin/mariadbd", argv);
    _exit(127);
}

/* Each statement ends a line with a semicolon. */
static inline int sql_file_run(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t room = 0;
    if (!file || getdelim(&text, &room, '\0', file) < 0)
        return -1;
    fclose(file);
    int rc = 0;
    for (char *at = text, *end; !rc && (end = strstr(at, ";\n")); at = end + 2)
        if (db_run(look, at, (size_t)(end - at))) {
            fprintf(stderr, "%s: %s\n", path, db_error(look));
            rc = -1;
        }
    free(text);
    return rc;
}

static inline int server_start(void **state)
{
    (void)state;
    char data[60], user[] = "--user=root", sock[60], datadir[80], pid_file[80], socket[80], tmpdir[80];
    bool root = geteuid() == 0;
    log_open("test", LOG_ERROR);
    strcpy(server_dir, "/tmp/test_store.XXXXXX");
    if (!mkdtemp(server_dir))
        return -1;
    snprintf(data, sizeof(data), "%s/data", server_dir);
    snprintf(sock, sizeof(sock), "%s/sock", server_dir);
    snprintf(datadir, sizeof(datadir), "--datadir=%s", data);
    snprintf(socket, sizeof(socket), "--socket=%s", sock);
    snprintf(pid_file, sizeof(pid_file), "--pid-file=%s/pid", server_dir);
    snprintf(tmpdir, sizeof(tmpdir), "--tmpdir=%s",
             server_dir); /* a server that starts removes all temporary tables there, another server's too */
    char *install[] = {"mariadb-install-db",
                       "--no-defaults",
                       "--auth-root-authentication-method=normal",
                       "--skip-test-db",
                       datadir,
                       root ? user : NULL,
                       NULL};
    setenv("TMPDIR", server_dir, 1); /* two that install at once must not meet in /tmp */
    if (spawn_wait(install))
        return -1;
    char *serve[] = {"mariadbd",
                     "--no-defaults",
                     datadir,
                     socket,
                     pid_file,
                     tmpdir,
                     "--skip-networking",
                     "--innodb-flush-log-at-trx-commit=0",
                     "--innodb-buffer-pool-size=48M",
                     "--max-connections=100",
                     "--performance-schema=OFF",
                     root ? user : NULL,
                     NULL};
    if ((server_pid = fork()) == 0)
        server_exec(serve);
    conf.db_host = strdup("127.0.0.1");
    conf.db_socket = strdup(sock);
    char *name = strdup("chasqui");
    conf.db_user = strdup(root ? "root" : getenv("USER"));
    conf.dispatcher_db_threads = 4;
    conf.db_stall_ms = 20000; /* a server that a busy machine holds up does not hang */
    db = db_new(&conf);
    look = db_new(&conf);
    for (uint64_t until = clock_ms() + 60000; db_ready(look);) { /* without a database yet */
        if (clock_ms() > until || waitpid(server_pid, NULL, WNOHANG))
            return -1;
        usleep(20000);
    }
    if (db_run(look, "CREATE DATABASE chasqui CHARACTER SET utf8mb4", 45))
        return -1;
    conf.db_name = name;
    db_destroy(&look);
    look = db_new(&conf);
    glob_t files;
    int failed = glob("migrations/*.sql", 0, NULL, &files); /* in the order of their names */
    for (size_t i = 0; !failed && i < files.gl_pathc; i++)
        failed = sql_file_run(files.gl_pathv[i]);
    globfree(&files);
    return failed;
}

static inline int path_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline int server_stop(void **state)
{
    (void)state;
    db_destroy(&db);
    db_destroy(&look);
    kill(server_pid, SIGKILL);
    waitpid(server_pid, NULL, 0);
    free(conf.db_host);
    free(conf.db_socket);
    free(conf.db_user);
    free(conf.db_name);
    return nftw(server_dir, path_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- looking and arranging ---------------------------------------------------------------------------------- */

static inline void sql_fine(enum db_rc rc)
{
    if (rc)
        fail_msg("%d: %s", rc, db_error(look));
}
/* exec_sql("UPDATE ... WHERE id = ?", "u", id) on the other connection. */
#define exec_sql(...) sql_fine(db_exec(look, __VA_ARGS__))
static inline int64_t first_number(enum db_rc rc)
{
    sql_fine(rc);
    return db_next(look) ? db_i64(look, 0) : -1; /* no row */
}
#define number_of(...) first_number(db_query(look, __VA_ARGS__))
static inline void first_text(enum db_rc rc, const char *want)
{
    char got[300] = "(no row)";
    sql_fine(rc);
    if (db_next(look))
        snprintf(got, sizeof(got), "%s", db_is_null(look, 0) ? "(null)" : db_str(look, 0, NULL));
    assert_string_equal(got, want);
}
#define assert_text(want, ...) first_text(db_query(look, __VA_ARGS__), want)
#define assert_number(want, ...) assert_int_equal(number_of(__VA_ARGS__), want)
#define run_fine(op_fn, op)                                                                                       \
    do {                                                                                                          \
        op_fn(db, op);                                                                                            \
        assert_int_equal((op)->rc, STORE_OK);                                                                     \
    } while (0)

static uint32_t robot[4];
#define BASE(i) ((const char *const[]){"", "http://r1.test", "http://r2.test", "http://r3.test"}[i])

static inline uint32_t robot_add(const char *name, const char *base_url, int64_t capacity)
{
    exec_sql(
        "INSERT INTO chasqui_robots (name, base_url, viewer_url, created_at) VALUES (?, ?, 'http://view.test/', NOW(6))",
        "ss", name, base_url);
    struct store_robot_seen seen = {
        .robot_id = (uint32_t)db_insert_id(look), .reported_capacity = capacity, .boot_id = "boot-1", .fenced = 1};
    run_fine(store_robot_seen, &seen);
    return seen.robot_id;
}

/* Every table empty, three robots of two places: r1, r2, r3. `look` is a new connection: an earlier test that failed may have left it in
 * a transaction, or with a stage of a backup. */
static inline int reset(void **state)
{
    (void)state;
    db_destroy(&look);
    look = db_new(&conf);
    static const char *const tables[] = {"portal_jobs",
                                         "chasqui_jobs",
                                         "chasqui_sessions",
                                         "chasqui_epochs",
                                         "chasqui_robots",
                                         "chasqui_places",
                                         "chasqui_leases",
                                         "chasqui_session_migrations",
                                         "chasqui_job_events",
                                         "chasqui_tokens",
                                         "chasqui_token_companies",
                                         "chasqui_credentials",
                                         "chasqui_audit",
                                         "chasqui_batches",
                                         "chasqui_items",
                                         "chasqui_idempotency",
                                         "chasqui_pause",
                                         "chasqui_schedules",
                                         "chasqui_schedule_items",
                                         "chasqui_schedule_runs",
                                         "chasqui_webhooks",
                                         "chasqui_refusals",
                                         "chasqui_results",
                                         "chasqui_portals",
                                         "chasqui_portal_minutes",
                                         "chasqui_history"};
    for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        char sql[80];
        snprintf(sql, sizeof(sql), "DELETE FROM %s", tables[i]);
        sql_fine(db_run(look, sql, strlen(sql)));
    }
    robot[1] = robot_add("r1", BASE(1), 2);
    robot[2] = robot_add("r2", BASE(2), 2);
    robot[3] = robot_add("r3", BASE(3), 2);
    return 0;
}

#define STORE_TEST(name) TEST_WITH(name, reset, NULL)

static inline struct lease lease_make(void)
{
    struct lease l = {.holder = "d1", .boot_id = "dboot-1", .ttl_ms = 15000, .limit_ms = 120000};
    id_random(l.token, sizeof(l.token));
    return l;
}

/* A reservation of company with the candidates r<first>..r<last>. */
static inline struct store_reserve reserve_op(uint64_t company, unsigned first, unsigned last)
{
    struct store_reserve op = {.company_id = company,
                               .portal = "acme",
                               .action = "login_acme",
                               .priority = 5,
                               .token_id = 7,
                               .request_id = "req-1",
                               .lease = lease_make(),
                               .laravel_max_age_ms = 3600000};
    id_job_uid(op.job_uid);
    for (unsigned i = first; first && i <= last; i++)
        op.candidate[op.n_candidates++] = (struct candidate){.robot_id = robot[i]};
    return op;
}

static inline void reserve_fine(struct store_reserve *op, enum reserve_outcome want)
{
    run_fine(store_reserve, op);
    assert_int_equal(op->outcome, want);
}

static inline struct store_login_done login_done_op(const struct store_reserve *r, const char *session_id)
{
    struct store_login_done op = {.job_id = r->job_id,
                                  .session_ref = r->session_ref,
                                  .company_id = r->company_id,
                                  .portal = "acme",
                                  .boot_id = "boot-1",
                                  .title = "Acme S.A.",
                                  .robot_viewer_url = "http://view.test/"};
    memcpy(op.token, r->lease.token, sizeof(op.token));
    snprintf(op.session_id, sizeof(op.session_id), "%s", session_id);
    for (unsigned i = 1; i < 4; i++)
        if (robot[i] == r->robot_id) {
            snprintf(op.worker, sizeof(op.worker), "r%u", i);
            snprintf(op.robot_base_url, sizeof(op.robot_base_url), "%s", BASE(i));
        }
    return op;
}

/* An active session of company on r<on>; the same lease token was used. */
static inline struct session_row session_make(uint64_t company, unsigned on, const char *session_id)
{
    struct store_reserve r = reserve_op(company, on, on);
    reserve_fine(&r, RESERVE_OK);
    struct store_login_done done = login_done_op(&r, session_id);
    run_fine(store_login_done, &done);
    assert_int_equal(done.outcome, LOGIN_DONE_OK);
    buf_free(&r.credentials);
    return done.row;
}

/* A row as Laravel writes it, done `age_s` ago. */
static inline uint64_t laravel_make(uint64_t company, const char *base_url, const char *session_id, int64_t age_s)
{
    exec_sql(
        "INSERT INTO portal_jobs (job_uid, company_id, portal, action, status, robot_worker_base_url, robot_worker_viewer_url, "
        "robot_session_id, created_at, updated_at) VALUES ('LARAVEL-1', ?, 'acme', 'login', 'done', ?, NULL, ?, NOW() - INTERVAL ? "
        "SECOND, NOW() - INTERVAL ? SECOND)",
        "ussii", company, base_url, session_id, age_s, age_s);
    return db_insert_id(look);
}

static inline void credentials_store(uint64_t company)
{
    exec_sql(
        "REPLACE INTO chasqui_credentials (company_id, portal, sealed, updated_at) VALUES (?, 'acme', 'sealed!', NOW(6))",
        "u", company);
}

static inline int64_t places_used(uint32_t robot_id)
{
    return number_of("SELECT COUNT(session_ref) FROM chasqui_places WHERE robot_id = ?", "u", (uint64_t)robot_id);
}

static inline void assert_session(uint64_t ref, const char *state, const char *reason, int pending, int64_t places)
{
    assert_text(state, "SELECT state FROM chasqui_sessions WHERE id = ?", "u", ref);
    assert_text(reason, "SELECT reason FROM chasqui_sessions WHERE id = ?", "u", ref);
    assert_number(pending, "SELECT close_pending FROM chasqui_sessions WHERE id = ?", "u", ref);
    assert_number(places, "SELECT COUNT(*) FROM chasqui_places WHERE session_ref = ?", "u", ref);
    assert_number(
        0,
        "SELECT COUNT(*) FROM chasqui_sessions WHERE (live IS NULL) <> (state NOT IN ('opening', 'active', 'closing')) OR "
        "NOT (live_session_id <=> IF(live = 1, robot_session_id, NULL))",
        "");
}

static inline void assert_job(uint64_t job_id, const char *status, const char *error)
{
    assert_text(status, "SELECT status FROM portal_jobs WHERE id = ?", "u", job_id);
    assert_text(error, "SELECT error FROM portal_jobs WHERE id = ?", "u", job_id);
}

#endif
