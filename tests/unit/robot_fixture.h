/* SPDX-License-Identifier: MIT */
/*
 * robot_fixture.h - a robot's HTTP server in a child process, and calls to it by robot_http.c. A path says how the
 * server behaves.
 */
#ifndef CHASQUI_TESTS_ROBOT_FIXTURE_H
#define CHASQUI_TESTS_ROBOT_FIXTURE_H

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

static inline void say(int fd, const char *text)
{
    for (size_t len = strlen(text); len;) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

static inline void say_many(int fd, const char *piece, size_t bytes)
{
    size_t len = strlen(piece);
    for (size_t sent = 0; sent < bytes; sent += len)
        if (send(fd, piece, len, MSG_NOSIGNAL) <= 0)
            return;
}

static inline void say_json(int fd, const char *body)
{
    char head[700];
    snprintf(head, sizeof head,
             "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nX-Robot-Boot: b00t\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    say(fd, head);
}

static inline void wait_for_close(int fd)
{
    char byte;
    while (recv(fd, &byte, 1, 0) > 0)
        ;
}

#define ANOTHERS                                                                                                  \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"of\":\"another\"}"

/* One request, two answers; `path` says how the first ends and when the second comes. */
static inline bool serve_twice(int fd, const char *path, const char *request)
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
static inline bool serve_one(int fd, const char *path, const char *request)
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
    } else if (strcmp(path, "/closes") == 0) { /* 100 ms after its answer, and does not say so */
        say_json(fd, "{}");
        usleep(100000);
        return false;
    } else if (strcmp(path, "/byte") == 0) { /* one too many, 50 ms later */
        say_json(fd, "{}");
        usleep(50000);
        say(fd, "x");
    } else if (strcmp(path, "/farewell") == 0) { /* as TLS closes: an alert */
        say_json(fd, "{}");
        usleep(20000);
        send(fd, "\x15\x03\x03\x00\x02\x01\x00", 7, MSG_NOSIGNAL);
        return false;
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

/* Answers before it reads the body, which is of x's and a newline. */
static inline void serve_unread(int fd)
{
    char in[65536];
    usleep(50000);
    say_json(fd, "{}");
    usleep(200000);
    for (;;) {
        ssize_t n = recv(fd, in, sizeof in - 1, MSG_PEEK);
        in[n > 0 ? n : 0] = 0;
        size_t body = strspn(in, "x\n");
        if (body == 0 || recv(fd, in, body, 0) <= 0)
            return;
    }
}

/* Answers without reading the body, and takes it for the next request, as Python's http.server does. */
static inline void serve_left(int fd, const char *body)
{
    char rest[8192];
    say_json(fd, "{}");
    if (!strchr(body, '\n') && recv(fd, rest, sizeof rest, 0) <= 0)
        return;
    say(fd, "HTTP/1.1 400 Bad request syntax\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbad");
}

static inline void *serve(void *arg)
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
        if (end && length && strncmp(in, "POST /unread ", 13) == 0) {
            serve_unread(fd);
            len = 0;
            continue;
        }
        if (!end || (length && strlen(end + 4) < strtoul(length + 16, NULL, 10)))
            continue;
        if (strncmp(in, "POST /left ", 11) == 0) {
            serve_left(fd, end + 4);
            break;
        }
        if (sscanf(in, "%*s %99[^? ]", path) != 1 || !serve_one(fd, path, in))
            break;
        len = 0;
    }
    close(fd);
    return NULL;
}

static pid_t server;
static char base[64];

static inline int server_start(void **state)
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

static inline int server_stop(void **state)
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

static inline int set_up(void **state)
{
    (void)state;
    l = loop_new();
    http = robot_http_new(l, &conf);
    connect_ms = PATIENCE_MS;
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    robot_http_destroy(&http);
    loop_destroy(&l);
    memset(&conf, 0, sizeof conf);
    return 0;
}

static inline void done(void *arg, struct call_answer *a)
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

static inline struct call_spec spec_of(struct seen *s, const char *method, const char *path)
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

static inline struct seen get(const char *path)
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

static inline struct seen post(const char *path)
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

static inline void idle_over(void *arg)
{
    (void)arg;
    loop_stop(l);
}

/* Lets curl's kept connections say what they have. */
static inline void idle(unsigned ms)
{
    struct loop_timer later = {.fn = idle_over};
    loop_timer_in(l, &later, ms);
    loop_run(l);
}

static inline struct call_spec login_of(struct seen *s, const char *path)
{
    struct call_spec spec = spec_of(s, "POST", path);
    spec.body = "{}";
    spec.body_len = 2;
    spec.is_login = true;
    return spec;
}

static inline struct seen login(const char *path)
{
    struct seen s = {0};
    struct call_spec spec = login_of(&s, path);
    call_start(http, &spec);
    loop_run(l);
    return s;
}

#endif
