/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* Calls to a server in a child process; a path says how the server behaves. */
#include "dispatcher/robot/robots.h"
#include "dispatcher/wire/request.h"
#include "dispatcher/robot/robot_http.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/stat.h"
#include "tests/unit/test.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the server ---------------------------------------------------------------------------------------------- */

static int n_connections, n_once; /* of the child */
static _Atomic unsigned *n_twice; /* of both: how often all of two answers was said */

static void say(int fd, const char *text)
{
    for (size_t len = strlen(text); len;) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

static void say_many(int fd, const char *piece, size_t bytes)
{
    size_t len = strlen(piece);
    for (size_t sent = 0; sent < bytes; sent += len)
        if (send(fd, piece, len, MSG_NOSIGNAL) <= 0)
            return;
}

static void say_json(int fd, const char *body)
{
    char head[700];
    snprintf(head, sizeof head,
             "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nX-Robot-Boot: b00t\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    say(fd, head);
}

static void wait_for_close(int fd)
{
    char byte;
    while (recv(fd, &byte, 1, 0) > 0)
        ;
}

#define ANOTHERS                                                                                                  \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"of\":\"another\"}"

/* One request, two answers; `path` says how the first ends and when the second comes. */
static bool serve_twice(int fd, const char *path, const char *request)
{
    static const struct {
        const char *path, *first;
    } firsts[] = {
        {"length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"},
        {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n"},
        {"empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
        {"204", "HTTP/1.1 204 No Content\r\n\r\n"},
        {"304", "HTTP/1.1 304 Not Modified\r\n\r\n"},
        {"100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"},
        {"404", "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"},
    };
    char text[1000] = "";
    for (unsigned i = 0; i < sizeof firsts / sizeof *firsts; i++)
        if (strstr(path, firsts[i].path))
            strcpy(text, firsts[i].first);
    if (strstr(path, "-at-once")) {
        strcat(text, ANOTHERS);
        say(fd, text);
    } else if (strstr(path, "-split")) { /* the body in a segment of its own, with the second answer */
        char *body = strstr(text, "\r\n\r\n") + 4, rest[1000];
        strcpy(rest, body);
        *body = 0;
        say(fd, text);
        usleep(20000);
        strcat(rest, ANOTHERS);
        say(fd, rest);
    } else if (strstr(path, "-part")) { /* the rest of the second one comes later */
        strcat(text, "HTTP/1.1 200 OK\r\n");
        say(fd, text);
        usleep(20000);
        say(fd, strchr(ANOTHERS, '\n') + 1);
    } else if (strstr(path, "-later")) {
        say(fd, text);
        usleep(20000);
        say(fd, ANOTHERS);
    } else if (strstr(path, "-next")) { /* when the next request comes; each answer says whose it is */
        char id[64] = "", head[300], next[2000];
        const char *at = strstr(request, "X-Request-Id: ");
        sscanf(at ? at : "", "X-Request-Id: %63[^\r]", id);
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nX-Request-Id: %s\r\nContent-Length: 2\r\n\r\n[]", id);
        say(fd, head);
        if (recv(fd, next, sizeof next, 0) > 0)
            say(fd, head);
        return false;
    }
    ++*n_twice;
    return true;
}

/* Answers one request; false closes the connection. */
static bool serve_one(int fd, const char *path, const char *request)
{
    char body[400];
    if (strcmp(path, "/ok") == 0) {
        say_json(fd, "{\"ok\":true}");
    } else if (strncmp(path, "/under", 6) == 0 || strncmp(path, "/and", 4) == 0) {
        say_json(fd, path);
    } else if (strcmp(path, "/connections") == 0) {
        snprintf(body, sizeof body, "%d %d", n_connections, n_once);
        say_json(fd, body);
    } else if (strcmp(path, "/head") == 0) {
        const char *key = strstr(request, "Idempotency-Key: k1");
        snprintf(
            body, sizeof body, "%s%s%s%s", key ? "key " : "", strstr(request, "X-Request-Id: q1") ? "id " : "",
            strstr(request, "traceparent: 00-1") ? "trace " : "",
            strstr(request, "Expect") || strstr(request, "Accept-Encoding") || strstr(request, "Cookie") ? "more "
                                                                                                         : "");
        say_json(fd, body);
    } else if (strcmp(path, "/missing") == 0) {
        say(fd, "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\ngone");
    } else if (strcmp(path, "/redirect") == 0) {
        say(fd, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n");
    } else if (strcmp(path, "/continue") == 0) {
        say(fd, "HTTP/1.1 100 Continue\r\nContent-Type: text/wrong\r\nX-Robot-Boot: wrong\r\n\r\n"
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]");
    } else if (strcmp(path, "/file") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\nContent-Length: 3\r\n"
                "Content-Disposition: attachment; filename=\"x.pdf\"; filename*=UTF-8''%C3%B1.pdf\r\n\r\nabc");
    } else if (strcmp(path, "/stream") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 16777216\r\n\r\n");
        say_many(fd, "0123456789abcdef", 16777216);
    } else if (strncmp(path, "/twice", 6) == 0) {
        return serve_twice(fd, path, request);
    } else if (strcmp(path, "/other-id") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\nX-Request-Id: somebody-else\r\nContent-Length: 2\r\n\r\n[]");
    } else if (strcmp(path, "/once") == 0) {
        n_once++;
        return false;
    } else {
        if (strcmp(path, "/garbage") == 0)
            say(fd, "\x16\x03\x01 this is not HTTP\r\n\r\n");
        else if (strcmp(path, "/cut") == 0)
            say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ok\":tr");
        else if (strcmp(path, "/cut500") == 0)
            say(fd, "HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{\"ok\":fa");
        else if (strcmp(path, "/bad-chunk") == 0)
            say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyzzy\r\n\r\n");
        else if (strcmp(path, "/cut-chunk") == 0)
            say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        else if (strcmp(path, "/announces-much") == 0)
            say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{");
        else if (strcmp(path, "/endless") == 0)
            say(fd, "HTTP/1.1 200 OK\r\n\r\n"), say_many(fd, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1u << 30);
        else if (strcmp(path, "/endless-headers") == 0)
            say(fd, "HTTP/1.1 200 OK\r\n"), say_many(fd, "X-Pad: aaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 1u << 30);
        else if (strcmp(path, "/endless-continues") == 0)
            say_many(fd, "HTTP/1.1 100 Continue\r\n\r\n", 1u << 30);
        else if (strcmp(path, "/begins") == 0)
            say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        if (strcmp(path, "/hang") == 0 || strcmp(path, "/begins") == 0)
            wait_for_close(fd);
        if (strcmp(path, "/reset") == 0)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        return false;
    }
    return true;
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char in[8192], path[100];
    size_t len = 0;
    for (;;) {
        ssize_t n = recv(fd, in + len, sizeof in - 1 - len, 0);
        if (n <= 0)
            break;
        len += (size_t)n;
        in[len] = 0;
        char *end = strstr(in, "\r\n\r\n"), *length = strstr(in, "Content-Length: ");
        if (!end || (length && strlen(end + 4) < strtoul(length + 16, NULL, 10)))
            continue;
        if (sscanf(in, "%*s %99[^? ]", path) != 1 || !serve_one(fd, path, in))
            break;
        len = 0;
    }
    close(fd);
    return NULL;
}

static pid_t server;
static char base[64];

static int server_start(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    n_twice = mmap(NULL, sizeof *n_twice, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (n_twice == MAP_FAILED || bind(listening, (struct sockaddr *)&at, len) || listen(listening, 64) ||
        getsockname(listening, (struct sockaddr *)&at, &len))
        return -1;
    snprintf(base, sizeof base, "http://127.0.0.1:%d", ntohs(at.sin_port));
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            pthread_t thread;
            int fd = accept(listening, NULL, NULL);
            if (fd < 0)
                continue;
            n_connections++;
            pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
            pthread_detach(thread);
        }
    }
    close(listening);
    return server > 0 ? 0 : -1;
}

static int server_stop(void **state)
{
    (void)state;
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return 0;
}

/* --- one call ------------------------------------------------------------------------------------------------ */

#define PATIENCE_MS 60000 /* for what is not about time */

static struct loop *l;
static struct robot_http *http;
static struct conf conf;
static unsigned connect_ms;

struct seen {
    struct call_answer a;
    char body[256], curl[256];
    size_t body_len;
    unsigned done, heads;
    size_t streamed;
    bool pause, refuse_head, stop;
    struct robot_call *call;
    struct loop_timer later;
};

static int set_up(void **state)
{
    (void)state;
    l = loop_new();
    http = robot_http_new(l, &conf);
    connect_ms = PATIENCE_MS;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    robot_http_destroy(&http);
    loop_destroy(&l);
    memset(&conf, 0, sizeof conf);
    return 0;
}

static void done(void *arg, struct call_answer *a)
{
    struct seen *s = arg;
    s->done++;
    s->a = *a;
    s->body_len = a->body->len;
    snprintf(s->body, sizeof s->body, "%.*s", (int)(a->body->len < 200 ? a->body->len : 200),
             a->body->len ? a->body->data : "");
    snprintf(s->curl, sizeof s->curl, "%s", a->curl_text);
    loop_stop(l);
}

static struct call_spec spec_of(struct seen *s, const char *method, const char *path)
{
    return (struct call_spec){.method = method,
                              .base_url = base,
                              .path = path,
                              .connect_ms = connect_ms,
                              .total_ms = PATIENCE_MS,
                              .max_bytes = 1000,
                              .done = done,
                              .arg = s};
}

static struct seen get(const char *path)
{
    struct seen s = {0};
    struct call_spec spec = spec_of(&s, "GET", path);
    call_start(http, &spec);
    assert_int_equal(s.done, 0);
    loop_run(l);
    assert_int_equal(s.done, 1);
    assert_int_equal(calls_running(http), 0);
    return s;
}

static struct seen post(const char *path)
{
    struct seen s = {0};
    struct call_spec spec = spec_of(&s, "POST", path);
    spec.body = "{\"a\":1}";
    spec.body_len = 7;
    spec.idempotency_key = "k1";
    spec.request_id = "q1";
    spec.traceparent = "00-1";
    call_start(http, &spec);
    loop_run(l);
    return s;
}

TEST_WITH(an_answer_is_told_whole, set_up, tear_down)
{
    struct seen s = get("/ok?x=1");
    assert_int_equal(s.a.result, CALL_ANSWERED);
    assert_int_equal(s.a.status, 200);
    assert_string_equal(s.body, "{\"ok\":true}");
    assert_string_equal(s.a.content_type, "application/json; charset=utf-8");
    assert_string_equal(s.a.boot_id, "b00t");
    assert_int_equal(s.a.length, 11);
    assert_int_equal(get("/missing").a.status, 404);
    assert_int_equal(get("/redirect").a.status, 302); /* not followed */
    s = get("/continue");
    assert_string_equal(s.body, "[]");
    assert_string_equal(s.a.content_type, "");
    assert_string_equal(s.a.boot_id, "");
    assert_string_equal(get("/file").a.disposition_name, "ñ.pdf");
}

TEST_WITH(a_base_url_may_have_a_path, set_up, tear_down)
{
    size_t len = strlen(base);
    strcat(base, "/under/here");
    assert_string_equal(get("/a%2fb").body, "/under/here/a%2fb");
    strcpy(base + len, "/and");
    assert_string_equal(get("/here?x=1").body, "/and/here");
    base[len] = 0;
    assert_int_equal(get("/ok").a.status, 200);
}

TEST_WITH(connections_are_kept, set_up, tear_down)
{
    int before = atoi(get("/connections").body);
    for (int i = 0; i < 20; i++)
        assert_int_equal(get("/ok").a.result, CALL_ANSWERED);
    assert_int_equal(atoi(get("/connections").body), before);
}

TEST_WITH(headers_travel, set_up, tear_down)
{
    assert_string_equal(post("/head").body, "key id trace ");
    assert_string_equal(get("/head").body, ""); /* the used handle remembers nothing */
}

/* curl repeats a request whose kept connection turned out to be dead: never a POST. */
TEST_WITH(a_post_is_sent_once, set_up, tear_down)
{
    int connections = 0, before = 0, after = 0;
    sscanf(get("/connections").body, "%d %d", &connections, &before);
    struct seen s = post("/once");
    assert_int_equal(s.a.result, CALL_BROKEN);
    assert_false(s.a.garbage);
    sscanf(get("/connections").body, "%d %d", &connections, &after);
    assert_int_equal(after, before + 1);
}

static void idle_over(void *arg)
{
    (void)arg;
    loop_stop(l);
}

/* Lets curl's kept connections say what they have. */
static void idle(unsigned ms)
{
    struct loop_timer later = {.fn = idle_over};
    loop_timer_in(l, &later, ms);
    loop_run(l);
}

static struct seen login(const char *path)
{
    struct seen s = {0};
    struct call_spec spec = spec_of(&s, "POST", path);
    spec.body = "{}";
    spec.body_len = 2;
    spec.is_login = true;
    call_start(http, &spec);
    loop_run(l);
    return s;
}

/* Nor a log-in, which may go on a kept connection. */
TEST_WITH(a_login_is_sent_once, set_up, tear_down)
{
    int connections = 0, before = 0, now = 0, after = 0;
    sscanf(get("/connections").body, "%d %d", &connections, &before);
    idle(50);
    struct seen s = login("/once");
    assert_int_equal(s.a.result, CALL_BROKEN);
    assert_false(s.a.garbage);
    assert_string_equal(s.a.why, "reset");
    sscanf(get("/connections").body, "%d %d", &now, &after);
    assert_int_equal(after, before + 1);
    assert_int_equal(now, connections + 1); /* that of the last call: the log-in had the kept one */
}

/* What the robot may have left unread of a refused one is not before the next request. */
TEST_WITH(a_refused_logins_connection_is_not_used_again, set_up, tear_down)
{
    int before = atoi(get("/connections").body);
    idle(50);
    assert_int_equal(login("/missing").a.status, 404);
    assert_int_equal(atoi(get("/connections").body), before + 1);
    idle(50);
    assert_int_equal(login("/ok").a.status, 200);
    assert_int_equal(atoi(get("/connections").body), before + 1);
}

/* A robot that closes what is idle leaves no log-in in doubt. */
TEST_WITH(a_login_takes_no_connection_that_may_be_closing, set_up, tear_down)
{
    static const struct {
        unsigned idle_ms;
        bool is_kept;
    } cases[] = {{0, false}, {100, true}, {1100, false}, {100, true}};
    int before = atoi(get("/connections").body);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].idle_ms)
            idle(cases[i].idle_ms);
        struct seen s = login("/connections");
        assert_int_equal(s.a.result, CALL_ANSWERED);
        assert_int_equal(atoi(s.body), before + !cases[i].is_kept);
        before = atoi(s.body);
    }
}

/* However the first answer ends and whenever the second comes, nobody gets it who did not ask. */
TEST_WITH(a_second_answer_is_nobodys, set_up, tear_down)
{
    static const char *const ends[] = {"length", "chunked", "empty", "204", "304", "100", "404"}, *const when[] = {
                                                                                                      "at-once",
                                                                                                      "split",
                                                                                                      "part",
                                                                                                      "later"};
    unsigned n = 0;
    for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++)
        for (unsigned k = 0; k < sizeof when / sizeof *when; k++)
            for (unsigned looks = 0; looks < 2; looks++) {
                char path[40];
                snprintf(path, sizeof path, "/twice-%s-%s", ends[i], when[k]);
                if (strcmp(when[k], "split") == 0 && strcmp(ends[i], "length") != 0 && strcmp(ends[i], "404") != 0)
                    continue;
                unsigned before = *n_twice;
                struct seen s = get(path);
                assert_null(strstr(s.body, "another"));
                while (*n_twice == before) /* until all of it is sent, however busy the machine */
                    usleep(1000);
                if (looks)
                    idle(30); /* the loop sees the bytes come */
                else
                    usleep(30000); /* they are there when the next request is about to go out */
                s = n++ % 2 ? get("/ok") : login("/ok");
                if (s.a.result != CALL_ANSWERED || strcmp(s.body, "{\"ok\":true}") != 0)
                    fail_msg("after %s (%u): %d %s", path, looks, (int)s.a.result, s.body);
            }
    assert_true(stat_get(robot_stray_answers_total) > 10);
}

/* What cannot be told by time alone is told by the id, where the robot echoes it. */
TEST_WITH(another_requests_answer_is_refused, set_up, tear_down)
{
    assert_string_equal(get("/twice-next").body, "[]");
    struct seen s = get("/ok"); /* is answered with the answer to the one before */
    assert_int_equal(s.a.result, CALL_BROKEN);
    assert_true(s.a.garbage);
    assert_int_equal(s.a.echo, ECHO_OTHER);
    assert_string_equal(get("/ok").body, "{\"ok\":true}");
    s = get("/other-id");
    assert_int_equal(s.a.result, CALL_BROKEN);
    assert_int_equal(s.body_len, 0);
    int before = atoi(get("/connections").body);
    get("/other-id");
    assert_int_equal(atoi(get("/connections").body), before + 1); /* closed */
}

/* What timed out, was cut or stopped leaves no connection behind. */
TEST_WITH(a_broken_calls_connection_is_not_used_again, set_up, tear_down)
{
    static const char *const paths[] = {"/hang", "/begins", "/cut", "/endless"};
    for (unsigned i = 0; i < 4; i++) {
        int before = atoi(get("/connections").body);
        struct seen s = {0};
        struct call_spec spec = spec_of(&s, "GET", paths[i]);
        spec.total_ms = 150;
        call_start(http, &spec);
        loop_run(l);
        assert_int_not_equal(s.a.result, CALL_ANSWERED);
        assert_int_equal(atoi(get("/connections").body), before + 1);
    }
}

TEST_WITH(what_was_never_sent_is_known, set_up, tear_down)
{
    char good[sizeof base];
    strcpy(good, base);
    uint64_t before = stat_get(robot_calls_unreachable_total);
    strcpy(base, "http://127.0.0.1:1");
    assert_int_equal(get("/ok").a.result, CALL_NOT_SENT);
    strcpy(base, "http://robot.invalid");
    connect_ms = 2000; /* a name server may be silent */
    assert_int_equal(get("/ok").a.result, CALL_NOT_SENT);
    strcpy(base, "ftp://127.0.0.1");
    assert_int_equal(get("/ok").a.result, CALL_NOT_SENT);
    strcpy(base, good);
    connect_ms = PATIENCE_MS;
    assert_int_equal(stat_get(robot_calls_unreachable_total), before + 3);
    assert_int_equal(get("/ok").a.result, CALL_ANSWERED);
}

TEST_WITH(what_was_sent_and_broke_is_known, set_up, tear_down)
{
    static const struct {
        const char *path;
        bool garbage;
        int status;
    } all[] = {{"/garbage", true, 0},
               {"/reset", false, 0},
               {"/close", false, 0},
               {"/cut", true, 200},
               {"/cut500", true, 500},
               {"/bad-chunk", true, 200},
               {"/cut-chunk", true, 200},
               {"/endless-headers", true, 200},
               {"/endless-continues", true, 100}};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct seen s = get(all[i].path);
        if (s.a.result != CALL_BROKEN || s.a.garbage != all[i].garbage || s.a.status != all[i].status)
            fail_msg("%s: result=%d garbage=%d status=%d %s", all[i].path, s.a.result, s.a.garbage, s.a.status,
                     s.curl);
    }
    assert_int_equal(get("/ok").a.result, CALL_ANSWERED);
}

TEST_WITH(bodies_are_capped, set_up, tear_down)
{
    assert_int_equal(get("/endless").a.result, CALL_TOO_BIG);
    struct seen s = get("/announces-much");
    assert_int_equal(s.a.result, CALL_TOO_BIG);
    assert_int_equal(s.a.status, 200);
}

/* Of several calls one ends within `most_ms`, however busy the machine; none ends before `least_ms`. */
static struct seen silenced(const char *path, struct call_spec bounds, int64_t least_ms, int64_t most_ms)
{
    struct seen s = {0};
    for (unsigned turn = 0; turn < 10 && (!turn || s.a.took_ms > most_ms); turn++) {
        s = (struct seen){0};
        struct call_spec spec = spec_of(&s, "GET", path);
        spec.total_ms = bounds.total_ms;
        spec.first_byte_ms = bounds.first_byte_ms;
        spec.idle_ms = bounds.idle_ms;
        call_start(http, &spec);
        loop_run(l);
        assert_int_equal(s.a.result, CALL_TIMEOUT);
        assert_true(s.a.took_ms >= least_ms);
    }
    assert_true(s.a.took_ms <= most_ms);
    return s;
}

TEST_WITH(silence_ends, set_up, tear_down)
{
    silenced("/hang", (struct call_spec){.total_ms = 150}, 140, 1000);
    silenced("/hang", (struct call_spec){.first_byte_ms = 120}, 110, 1000);
    struct seen s =
        silenced("/begins", (struct call_spec){.first_byte_ms = PATIENCE_MS, .idle_ms = 100}, 90, 2000);
    assert_int_equal(s.a.status, 200);
}

TEST_WITH(addresses_are_checked, set_up, tear_down)
{
    robot_http_destroy(&http);
    conf.robot_allow_addresses = (char *)(uintptr_t) "10.0.0.0/8, 192.168.1.0/24";
    http = robot_http_new(l, &conf);
    assert_int_equal(get("/ok").a.result, CALL_NOT_SENT);
    robot_http_destroy(&http);
    conf.robot_allow_addresses = (char *)(uintptr_t) "10.0.0.0/8,127.0.0.0/8";
    http = robot_http_new(l, &conf);
    assert_int_equal(get("/ok").a.result, CALL_ANSWERED);
}

/* Whoever let the URL through has judged where it goes; a redirect is an answer like others. */
TEST_WITH(others_are_called_by_their_url, set_up, tear_down)
{
    static const char *const lines[] = {"X-Request-Id: q1", "traceparent: 00-1", NULL};
    char url[100];
    struct seen s = {0};
    assert_int_equal(get("/ok").a.result, CALL_ANSWERED); /* its handle is used again */
    robot_http_destroy(&http);
    conf.robot_allow_addresses = (char *)(uintptr_t) "10.0.0.0/8";
    http = robot_http_new(l, &conf);
    assert_int_equal(get("/ok").a.result, CALL_NOT_SENT);
    uint64_t counted = stat_get(robot_calls_total);
    struct call_spec spec = spec_of(&s, "POST", NULL);
    snprintf(url, sizeof url, "%s/head", base);
    spec.base_url = NULL;
    spec.url = url;
    spec.headers = lines;
    spec.body = "{}";
    spec.body_len = 2;
    call_start(http, &spec);
    loop_run(l);
    assert_int_equal(s.a.result, CALL_ANSWERED);
    assert_string_equal(s.body, "id trace ");
    snprintf(url, sizeof url, "%s/redirect", base);
    call_start(http, &spec);
    loop_run(l);
    assert_int_equal(s.a.status, 302);
    assert_int_equal(stat_get(robot_calls_total), counted);
    assert_int_equal(get("/ok").a.result, CALL_NOT_SENT); /* a robot's again, with the same handle */
}

/* --- streams ------------------------------------------------------------------------------------------------- */

static bool on_head(void *arg, const struct call_answer *head)
{
    struct seen *s = arg;
    assert_int_equal(head->status, 200);
    s->heads++;
    return !s->refuse_head;
}

static void resume(void *arg)
{
    struct seen *s = arg;
    s->pause = false;
    call_resume(s->call);
}

static bool on_data(void *arg, const char *data, size_t len)
{
    struct seen *s = arg;
    assert_false(s->pause);
    assert_int_equal(memcmp(data, "0123456789abcdef" + s->streamed % 16, len < 8 ? len : 1), 0);
    s->streamed += len;
    if (s->stop && s->streamed > 100000) {
        call_stop(s->call);
        loop_timer_in(l, &s->later, 20);
        return true;
    }
    if (s->later.fn && !s->stop && s->streamed % 7 == 0) {
        s->pause = true;
        loop_timer_in(l, &s->later, 3);
    }
    return !s->pause;
}

static struct call_spec stream_of(struct seen *s, const char *path)
{
    struct call_spec spec = spec_of(s, "GET", path);
    spec.total_ms = 0;
    spec.first_byte_ms = spec.idle_ms = PATIENCE_MS;
    spec.on_head = on_head;
    spec.on_data = on_data;
    return spec;
}

TEST_WITH(a_stream_flows_whatever_its_length, set_up, tear_down)
{
    struct seen s = {0};
    struct call_spec spec = stream_of(&s, "/stream");
    call_start(http, &spec);
    loop_run(l);
    assert_int_equal(s.a.result, CALL_ANSWERED);
    assert_int_equal(s.streamed, 16777216);
    assert_int_equal(s.heads, 1);
    assert_int_equal(s.body_len, 0);
}

TEST_WITH(a_full_reader_pauses_it, set_up, tear_down)
{
    struct seen s = {0};
    s.later.fn = resume;
    s.later.arg = &s;
    struct call_spec spec = stream_of(&s, "/stream");
    s.call = call_start(http, &spec);
    loop_run(l);
    assert_int_equal(s.a.result, CALL_ANSWERED);
    assert_int_equal(s.streamed, 16777216);
}

static bool take_and_pause(void *arg, const char *data, size_t len)
{
    struct seen *s = arg;
    (void)data;
    s->streamed += len;
    s->pause = true;
    loop_timer_in(l, &s->later, 1500);
    return false;
}

static void end(void *arg)
{
    (void)arg;
    loop_stop(l);
}

/* A paused call is not the robot's fault, and what comes after the pause ends it even if the socket is quiet. */
TEST_WITH(a_pause_is_not_the_robots_time, set_up, tear_down)
{
    struct seen s = {0};
    struct call_spec spec = stream_of(&s, "/file");
    spec.idle_ms = 60;
    spec.on_data = take_and_pause;
    s.call = call_start(http, &spec);
    s.later.fn = end;
    loop_run(l);
    loop_timer_stop(l, &s.later);
    assert_int_equal(s.streamed, 3);
    if (!s.done) { /* curl may have seen the end in the same read */
        call_resume(s.call);
        loop_run(l);
    }
    assert_int_equal(s.done, 1);
    assert_int_equal(s.a.result, CALL_ANSWERED);
}

TEST_WITH(a_head_can_be_refused, set_up, tear_down)
{
    struct seen s = {.refuse_head = true};
    struct call_spec spec = stream_of(&s, "/ok");
    call_start(http, &spec);
    loop_run(l);
    assert_string_equal(s.body, "{\"ok\":true}");
    s = (struct seen){0};
    spec = stream_of(&s, "/missing"); /* and one that is not 200 is buffered */
    call_start(http, &spec);
    loop_run(l);
    assert_int_equal(s.heads, 0);
    assert_string_equal(s.body, "gone");
}

TEST_WITH(a_stopped_call_says_nothing_more, set_up, tear_down)
{
    struct seen s = {0};
    struct call_spec spec = spec_of(&s, "GET", "/hang");
    call_stop(call_start(http, &spec));
    assert_int_equal(calls_running(http), 0);
    s.stop = true; /* from inside its own callback */
    s.later.fn = end;
    spec = stream_of(&s, "/stream");
    s.call = call_start(http, &spec);
    loop_run(l);
    assert_int_equal(s.done, 0);
    assert_int_equal(calls_running(http), 0);
    assert_in_range(s.streamed, 100000, 16777215);
}

TEST_WITH(running_calls_end_with_it, set_up, tear_down)
{
    struct seen s = {0};
    struct call_spec spec = spec_of(&s, "GET", "/hang");
    for (int i = 0; i < 10; i++)
        call_start(http, &spec);
    s.later.fn = end;
    loop_timer_in(l, &s.later, 30);
    loop_run(l);
    robot_http_destroy(&http);
    assert_int_equal(s.done, 0);
}

TEST_MAIN(server_start, server_stop)
