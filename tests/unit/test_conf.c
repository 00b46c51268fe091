/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/conf.h"

#include "common/log.h"
#include "tests/unit/test.h"
#include <unistd.h>

static struct buf why;

static struct conf *parse(enum conf_owner role, const char *text)
{
    buf_clear(&why);
    buf_adds(&why, "");
    return conf_parse(role, "x.conf", text, strlen(text), &why);
}

/* The text is refused with exactly this message. */
static void assert_refused(enum conf_owner role, const char *text, const char *message)
{
    struct conf *c = parse(role, text);
    if (c || strcmp(why.data, message) != 0)
        print_message("of <<%s>>: %s", text, why.data);
    assert_null(c);
    assert_string_equal(why.data, message);
}

static void assert_taken(enum conf_owner role, const char *text)
{
    struct conf *c = parse(role, text);
    if (!c)
        print_message("of <<%s>>: %s", text, why.data);
    assert_non_null(c);
    assert_int_equal(why.len, 0);
    conf_destroy(&c);
    assert_null(c);
}

static int clean_environment(void **state)
{
    (void)state;
    extern char **environ;
    for (char **e = environ; *e;) {
        if (strncmp(*e, "CHASQUI_", 8) == 0) {
            char *name = strndup(*e, strcspn(*e, "="));
            unsetenv(name);
            free(name);
            e = environ;
        } else {
            e++;
        }
    }
    log_open("test_conf", LOG_ERROR);
    return 0;
}

static int free_why(void **state)
{
    (void)state;
    buf_free(&why);
    return 0;
}

TEST_WITH(test_defaults_of_each_role, clean_environment, NULL)
{
    struct conf *c = parse(CONF_BROKER, "");
    assert_non_null(c);
    assert_string_equal(c->broker_http, "127.0.0.1:8080");
    assert_int_equal(c->broker_deadline_ms, 28000);
    assert_int_equal(c->queue_max_depth, 10000);
    assert_null(c->db_host);
    assert_null(c->curve_dir);
    conf_destroy(&c);
    c = parse(CONF_DISPATCHER, "");
    assert_string_equal(c->db_host, "127.0.0.1");
    assert_int_equal(c->db_port, 3306);
    assert_null(c->broker_http);
    assert_int_equal(c->broker_deadline_ms, 0);
    assert_true(strlen(c->dispatcher_name) > 2); /* host name and slot */
    conf_destroy(&c);
    assert_taken(CONF_HEALTHD, "");
    assert_taken(CONF_CTL, "");
}

TEST_WITH(test_file_sets_keys, clean_environment, NULL)
{
    struct conf *c = parse(CONF_BROKER, "# all of it\n"
                                        "broker\n"
                                        "    http = 10.0.0.1:80   # beyond loopback: HTTP may\n"
                                        "\n"
                                        "    deadline_ms = 100\r\n"
                                        "log\n"
                                        "    level = \"debug\"\n"
                                        "curve\n"
                                        "    dir = '/etc/a # b'\n");
    assert_non_null(c);
    assert_string_equal(c->broker_http, "10.0.0.1:80");
    assert_int_equal(c->broker_deadline_ms, 100);
    assert_string_equal(c->log_level, "debug");
    assert_string_equal(c->curve_dir, "/etc/a # b");
    assert_string_equal(c->file, "x.conf");
    conf_destroy(&c);
}

TEST_WITH(test_other_roles_keys_are_skipped_unread, clean_environment, NULL)
{
    const char *text = "broker\n    deadline_ms = nonsense\ndispatcher\n    concurrency = 7\n"
                       "healthd\n    bind = whatever\nctl\n    token = t\n";
    struct conf *c = parse(CONF_DISPATCHER, text);
    assert_non_null(c);
    assert_int_equal(c->dispatcher_concurrency, 7);
    conf_destroy(&c);
    assert_taken(CONF_CTL, text);
    assert_refused(CONF_BROKER, text,
                   "x.conf:2: broker.deadline_ms: must be a decimal integer of 100 to 150000\n");
}

TEST_WITH(test_unknown_names_stop, clean_environment, NULL)
{
    assert_refused(CONF_BROKER, "broker\n    htp = x\n", "x.conf:2: broker.htp: unknown key\n");
    assert_refused(CONF_BROKER, "dispatcher\n    x = 1\n", "x.conf:2: dispatcher.x: unknown key\n");
    assert_refused(CONF_BROKER, "\n\nbrokers\n    http = x\n", "x.conf:3: brokers: unknown section\n");
    assert_refused(CONF_BROKER, "broker.http = 1\n", "x.conf:1: broker.http: unknown section\n");
    assert_refused(CONF_BROKER, "broker\n    http = a:1\n    http = b:1\n",
                   "x.conf:3: broker.http: given twice\n");
    assert_refused(CONF_BROKER, "broker\nlog\nbroker\n", "x.conf:3: broker: section given twice\n");
    assert_refused(CONF_BROKER, "broker = 1\n", "x.conf:1: broker: a section takes no value\n");
    assert_refused(CONF_BROKER, "broker\n    http\n",
                   "x.conf:2: broker.http: a value is expected (key = value)\n");
    assert_refused(CONF_BROKER, "broker\n    http = x:1\n        y = 1\n",
                   "x.conf:2: broker.http: a value is expected (key = value)\n");
}

TEST_WITH(test_integers_are_strict, clean_environment, NULL)
{
    static const char *const bad[] = {"0",   "99",    "150001", "-100",  "+100", "0100",   "100 ms",
                                      "1e3", "0x100", "100.",   "1,000", "''",   "'100 '", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[128];
        snprintf(text, sizeof text, "broker\n    deadline_ms = %s\n", bad[i]);
        assert_refused(CONF_BROKER, text,
                       "x.conf:2: broker.deadline_ms: must be a decimal integer of 100 to 150000\n");
    }
    assert_taken(CONF_BROKER, "broker\n    deadline_ms = 100\n");
    assert_taken(CONF_BROKER, "broker\n    deadline_ms = '150000'\n");
    assert_taken(CONF_CTL, "ratelimit\n    per_minute = 0\n");
}

TEST_WITH(test_strings_are_checked, clean_environment, NULL)
{
    assert_refused(CONF_BROKER, "broker\n    http = ''\n", "x.conf:2: broker.http: must not be empty\n");
    assert_refused(CONF_BROKER, "log\n    level = loud\n",
                   "x.conf:2: log.level: must be debug, info, warn or error\n");
    assert_refused(CONF_DISPATCHER, "dispatcher\n    name = 'a b'\n",
                   "x.conf:2: dispatcher.name: must be 1-64 of letters, digits, '.', '_' and '-'\n");
    assert_taken(CONF_DISPATCHER, "dispatcher\n    name = d-1.x_y\ndb\n    socket = ''\n");
    assert_refused(CONF_BROKER, "broker\n    bind = 127.0.0.1:5570\n",
                   "x.conf:2: broker.bind: must be ZeroMQ endpoints like tcp://127.0.0.1:5570\n");
    assert_refused(CONF_DISPATCHER, "dispatcher\n    brokers = ','\n",
                   "x.conf:2: dispatcher.brokers: must be ZeroMQ endpoints like tcp://127.0.0.1:5570\n");
}

TEST_WITH(test_syntax, clean_environment, NULL)
{
    assert_refused(CONF_BROKER, "broker\n  http = x\n",
                   "x.conf:2: the indentation is not a multiple of four spaces\n");
    assert_refused(CONF_BROKER, "broker\n\thttp = x\n", "x.conf:2: a tab; indent by four spaces a level\n");
    assert_refused(CONF_BROKER, "    http = x\n", "x.conf:1: indented too deep: it has no section above it\n");
    assert_refused(CONF_BROKER, "broker\n        http = x\n",
                   "x.conf:2: indented too deep: it has no section above it\n");
    assert_refused(CONF_BROKER, "broker\n    http x\n", "x.conf:2: '=' is expected after the name\n");
    assert_refused(CONF_BROKER, "broker\n    = x\n", "x.conf:2: a name is expected here\n");
    assert_refused(CONF_BROKER, "broker\n    http = 'x\n", "x.conf:2: the closing quote is missing\n");
    assert_refused(CONF_BROKER, "broker\n    http = 'x' y\n", "x.conf:2: something follows the closing quote\n");
    assert_refused(CONF_BROKER, "broker\n    http = # x\n", "x.conf:2: a value is expected before the comment\n");
    assert_refused(CONF_BROKER, "broker\n    http = a#b\n",
                   "x.conf:2: a value that holds '#' must stand in quotes\n");
    assert_refused(CONF_BROKER, "a\x01\n", "x.conf:1: a control character\n");
    assert_refused(CONF_BROKER, "broker\n  x\n\n   y\n",
                   "x.conf:2: the indentation is not a multiple of four spaces\n"
                   "x.conf:4: the indentation is not a multiple of four spaces\n");
    assert_null(conf_parse(CONF_BROKER, "x.conf", "a\0b", 3, &why));
    char *huge = calloc(300000, 1);
    memset(huge, '\n', 299999);
    assert_refused(CONF_BROKER, huge, "x.conf: larger than 262144 bytes\n");
    free(huge);
}

TEST_WITH(test_every_mistake_is_told, clean_environment, NULL)
{
    assert_refused(CONF_DISPATCHER, "db\n    port = 0\n    hots = x\nsession\n    sweep_ms = fast\n",
                   "x.conf:2: db.port: must be a decimal integer of 1 to 65535\n"
                   "x.conf:3: db.hots: unknown key\n"
                   "x.conf:5: session.sweep_ms: must be a decimal integer of 50 to 600000\n");
}

TEST_WITH(test_environment_wins, clean_environment, NULL)
{
    setenv("CHASQUI_BROKER_HTTP", "0.0.0.0:9", 1);
    setenv("CHASQUI_TIMEOUT_LOGIN_MS", "5000", 1);
    struct conf *c = parse(CONF_BROKER, "broker\n    http = 1.1.1.1:1\n");
    assert_string_equal(c->broker_http, "0.0.0.0:9");
    assert_int_equal(action_find(&c->actions, "sunat.menu_sol_login")->timeout_ms, 5000);
    conf_destroy(&c);
    setenv("CHASQUI_TIMEOUT_LOGIN_MS", "soon", 1);
    assert_refused(CONF_BROKER, "",
                   "environment: CHASQUI_TIMEOUT_LOGIN_MS: must be a decimal integer of 100 to 600000\n");
    assert_taken(CONF_HEALTHD, ""); /* not its key */
}

static void write_file(char path[32], const char *text)
{
    strcpy(path, "/tmp/test_conf.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

TEST_WITH(test_password_file, clean_environment, NULL)
{
    char path[32], text[256];
    write_file(path, "s3cret # all of it\r\nsecond line\n");
    snprintf(text, sizeof text, "db\n    password_file = %s\n", path);
    struct conf *c = parse(CONF_DISPATCHER, text);
    assert_non_null(c);
    assert_string_equal(c->db_password, "s3cret # all of it");
    conf_destroy(&c);
    setenv("CHASQUI_DB_PASSWORD", "later wins", 1);
    c = parse(CONF_DISPATCHER, text);
    assert_string_equal(c->db_password, "later wins");
    conf_destroy(&c);
    unsetenv("CHASQUI_DB_PASSWORD");
    setenv("CHASQUI_DB_PASSWORD_FILE", path, 1);
    c = parse(CONF_DISPATCHER, "db\n    password = earlier\n");
    assert_string_equal(c->db_password, "s3cret # all of it");
    conf_destroy(&c);
    unsetenv("CHASQUI_DB_PASSWORD_FILE");
    snprintf(text, sizeof text, "db\n    password = x\n    password_file = %s\n", path);
    assert_refused(CONF_DISPATCHER, text,
                   "x.conf:3: db.password_file: db.password is set too; keep one of them\n");
    unlink(path);
    snprintf(text, sizeof text, "db\n    password_file = /nowhere/pw\n");
    assert_refused(CONF_DISPATCHER, text,
                   "x.conf:2: db.password_file: cannot read /nowhere/pw: No such file or directory\n");
    write_file(path, "\n");
    snprintf(text, sizeof text, "db\n    password_file = %s\n", path);
    assert_refused(CONF_DISPATCHER, text, "x.conf:2: db.password_file: the file's first line is empty\n");
    unlink(path);
}

/* What the broker is not to hold it does not keep, wherever it came from; and it says so. */
TEST_WITH(test_broker_drops_the_database_password, clean_environment, NULL)
{
    int saved = dup(STDERR_FILENO), ends[2];
    char said[4096];
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_open("test_conf", LOG_WARN);
    setenv("CHASQUI_DB_PASSWORD", "canary-env", 1);
    const char *environment = getenv("CHASQUI_DB_PASSWORD");
    struct conf *c = parse(CONF_BROKER, "db\n    password = canary-file\n    password_file = /some/file\n");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], said, sizeof said - 1);
    close(ends[0]);
    said[n > 0 ? n : 0] = '\0';
    assert_non_null(c);
    assert_null(c->db_password);
    assert_null(c->db_password_file);
    assert_null(getenv("CHASQUI_DB_PASSWORD"));
    assert_string_equal(environment, "");
    assert_non_null(strstr(said, "event=db_password_dropped key=password from=x.conf"));
    assert_null(strstr(said, "key=password_file")); /* which it cannot read */
    assert_non_null(strstr(said, "event=db_password_dropped key=password from=environment"));
    assert_non_null(strstr(said, "event=curve_off"));
    assert_null(strstr(said, "canary"));
    conf_destroy(&c);
}

TEST_WITH(test_curve_is_needed_beyond_loopback, clean_environment, NULL)
{
    const char *message =
        " an endpoint beyond loopback needs CURVE keys (curve.dir; chasqui keys init makes them)\n";
    char wanted[256];
    snprintf(wanted, sizeof wanted, "x.conf:2: broker.bind:%s", message);
    assert_refused(CONF_BROKER, "broker\n    bind = tcp://*:5570\n", wanted);
    snprintf(wanted, sizeof wanted, "x.conf:2: dispatcher.brokers:%s", message);
    assert_refused(CONF_DISPATCHER, "dispatcher\n    brokers = 'tcp://127.0.0.1:1, tcp://10.0.0.1:1'\n", wanted);
    snprintf(wanted, sizeof wanted, "x.conf:2: health.endpoints:%s", message);
    assert_refused(CONF_BROKER, "health\n    endpoints = tcp://healthd.example:5571\n", wanted);
    assert_taken(CONF_BROKER, "curve\n    dir = /keys\nbroker\n    bind = tcp://*:5570\n");
    assert_taken(CONF_HEALTHD, "broker\n    bind = tcp://*:5570\n"); /* not its endpoint */
}

TEST_WITH(test_loopback, clean_environment, NULL)
{
    static const char *const loopback[] = {"tcp://127.0.0.1:5570",      "tcp://127.9.9.9:*", "tcp://localhost:1",
                                           "tcp://[::1]:5570",          "ipc:///run/x",      "inproc://x",
                                           "tcp://127.0.0.1:1, ipc://x"};
    static const char *const other[] = {"tcp://*:5570",
                                        "tcp://0.0.0.0:1",
                                        "tcp://127.0.0.1.example.com:1",
                                        "tcp://10.0.0.1:1",
                                        "tcp://eth0:1",
                                        "tcp://[::]:1",
                                        "tcp://localhost.x:1",
                                        "udp://127.0.0.1:1",
                                        "tcp://127.0.0.1:1,tcp://*:2",
                                        "tcp://10.0.0.1:0;127.0.0.1:1"};
    for (size_t i = 0; i < sizeof loopback / sizeof *loopback; i++)
        assert_true(conf_is_loopback(loopback[i]));
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        assert_false(conf_is_loopback(other[i]));
}

TEST_WITH(test_list, clean_environment, NULL)
{
    unsigned n;
    char **list = conf_list(" a, b,,c ,", &n);
    assert_int_equal(n, 3);
    assert_string_equal(list[0], "a");
    assert_string_equal(list[1], "b");
    assert_string_equal(list[2], "c");
    assert_null(list[3]);
    free(list);
    list = conf_list("", &n);
    assert_int_equal(n, 0);
    assert_null(list[0]);
    free(list);
}

TEST_WITH(test_help_names_every_key_of_the_role, clean_environment, NULL)
{
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    conf_help(CONF_BROKER, out);
    fclose(out);
    assert_non_null(strstr(text, "  broker.http = 127.0.0.1:8080"));
    assert_non_null(strstr(text, "  broker.deadline_ms = 28000 ms (100 to 150000)\n"));
    assert_non_null(strstr(text, "  curve.dir = (none)"));
    assert_null(strstr(text, "db.password"));
    free(text);
}

/* laravel.status.queued: three ways to write it; what could not be read back is refused. */
TEST_WITH(test_words_of_laravels_statuses, clean_environment, NULL)
{
    static const char *const ways[] = {"laravel\n    status.queued = pending\n",
                                       "laravel\n    status\n        queued = pending\n",
                                       "laravel\n    status_queued = pending\n"};
    for (unsigned i = 0; i < 3; i++) {
        struct conf *c = parse(CONF_DISPATCHER, ways[i]);
        assert_non_null(c);
        assert_string_equal(c->laravel_status_queued, "pending");
        assert_null(c->laravel_status_done);
        conf_destroy(&c);
    }
    assert_taken(CONF_DISPATCHER, "laravel\n    status.queued = pending\n    status.retrying = pending\n");
    assert_taken(CONF_CTL, "laravel\n    status\n        done = failed\n        failed = error\n");
    assert_refused(CONF_DISPATCHER, "laravel\n    status\n        open = x\n",
                   "x.conf:3: laravel.status.open: unknown key\n");
    assert_refused(
        CONF_DISPATCHER, "laravel\n    status.done = error\n    status.failed = Error\n",
        "x.conf:3: laravel.status_failed: is the word for done too: only queued and retrying may share one\n");
    assert_refused(
        CONF_DISPATCHER, "laravel\n    status.done = queued\n",
        "x.conf:2: laravel.status_done: is the word for queued too: only queued and retrying may share one\n");
    assert_refused(CONF_DISPATCHER, "laravel\n    status.done = \"it's\"\n",
                   "x.conf:2: laravel.status_done: must be 1-20 of letters, digits, '_', '-' and '.'\n");
}

TEST_MAIN(NULL, free_why)
