/* SPDX-License-Identifier: MIT */
/*
 * robot_http.c - calls to robots: curl_multi on our loop.
 *
 * Owns: the multi handles, the calls in flight and a pool of used ones, whose easy handles stay set up. Robots are
 * dealt out to the multi handles, because curl looks for a kept connection in a table of 97 lists.
 * robot_sockets.c owns their connections, robot_easy.c the common settings of every handle. Must never decode a
 * body that is passed on. Must never keep more of a body than the call allows. Must never send a POST twice: a
 * POST gets a connection of its own, because curl repeats a request whose kept connection was dead. A log-in may
 * have a kept one, under the conditions of robot_sockets.c. An answer whose X-Request-Id names another request is
 * refused. `done` is called from the loop, once, never inside call_start or call_stop.
 */
#include "dispatcher/robot/robot_http.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/lookup.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/curl_word.h"
#include "common/id.h"
#include "common/log.h"
#include "common/stat.h"
#include "common/resolver.h"
#include "common/curl/robot_easy.h"
#include "dispatcher/robot/outlier.h"
#include "dispatcher/robot/robot_head.h"
#include "dispatcher/robot/robot_sockets.h"
#include "dispatcher/robot/robot_url.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL_MAX 512
#define PARTS 8
#define KEPT_CONNECTIONS 1024   /* in each part */
#define HEADERS_MAX_BYTES 65536 /* per answer, including 1xx and trailers */
#define STREAM_BUFFER_BYTES 131072
#define WATCH_STEP_MS 1000
#define FOREIGN_CACHE_S 60 /* for addresses of hosts other than robots */

struct part { /* a multi handle, and what belongs to it */
    struct robot_http *http;
    CURLM *multi;
    struct loop_timer timer;  /* for curl */
    struct loop_timer reaper; /* frees calls that ended inside call_resume */
    struct robot_sockets *sockets;
    struct robot_call *pool; /* linked by next */
};

struct robot_http {
    struct loop *loop;
    struct part part[PARTS];
    struct networks *networks;
    struct resolver *resolver;
    struct robot_urls *urls;
    const struct conf *conf;
    struct robot_call *first; /* in flight */
    unsigned n_pool, n_running;
    call_watch_fn *watch; /* NULL = no watcher */
    void *watch_arg;
};

struct robot_call {
    struct robot_http *http;
    struct part *part;
    CURL *easy; /* lives as long as this struct; options that never change point into it */
    char error[CURL_ERROR_SIZE];
    struct robot_call *next, **link;
    struct socket_user user;
    /* from here on cleared for each call */
    struct call_spec spec; /* its strings are invalid after call_start */
    struct curl_slist *headers, *resolve;
    struct resolver_wait wait; /* for the robot's address */
    struct robot_url *base;    /* for a call to a robot */
    char *host, *port;         /* for a foreign call; NULL = needs no look-up */
    uint64_t gave;             /* generation of the addresses given to curl with this call; 0 = none */
    bool is_added;             /* to the multi handle: curl has data about this call */
    char *body;
    size_t body_len;
    struct buf in;
    struct call_answer answer;
    struct head head;
    char request_id[129];
    struct loop_timer limit;       /* for the first-byte and idle limits */
    uint64_t started_ms, moved_ms; /* moved: accurate to a WATCH_STEP_MS */
    size_t header_bytes;
    bool is_foreign;   /* not to a robot: call_spec.url */
    bool is_special;   /* the easy handle holds more than a plain GET: reset it before reuse */
    bool has_status;   /* a status line was received */
    bool has_body;     /* a byte of the body was received */
    bool has_moved;    /* data arrived since the last limit_due() */
    bool is_streaming; /* on_data receives the body */
    bool is_paused, is_too_big;
    bool is_foreign_answer;          /* the answer names another request */
    bool is_in_callback, is_stopped; /* call_stop() from on_head or on_data */
};

static void reap(struct part *p);

/* ---- time --------------------------------------------------------------------------------------------------- */

static void timer_due(void *arg)
{
    struct part *p = arg;
    int running;
    curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    reap(p);
}

static int on_timer(CURLM *multi, long in_ms, void *user)
{
    struct part *p = user;
    (void)multi;
    if (in_ms < 0)
        loop_timer_stop(p->http->loop, &p->timer);
    else
        loop_timer_in(p->http->loop, &p->timer, (uint64_t)in_ms);
    return 0;
}

/* ---- an answer comes ---------------------------------------------------------------------------------------- */

/* A robot that refuses a log-in may have left its body unread on the connection, and take it for the next request.
 * Log-ins that each have a new connection must not leave as many kept ones. */
static void login_keep(struct robot_call *c)
{
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 == 2 && !socket_is_hasty(&c->user))
        curl_easy_setopt(c->easy, CURLOPT_FORBID_REUSE, 0L);
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct robot_call *c = arg;
    size_t len = size * n;
    c->has_moved = true;
    c->header_bytes += len;
    if (c->header_bytes > HEADERS_MAX_BYTES)
        return 0;
    if (c->has_body) /* trailers carry nothing of ours */
        return len;
    c->has_status |= head_line(&c->head, &c->answer, line, len);
    if (line[0] != '\r' && line[0] != '\n')
        return len;
    if (c->spec.is_login && c->head.is_final)
        login_keep(c);
    c->is_foreign_answer = c->head.is_final && c->answer.echo == ECHO_OTHER && !c->is_foreign;
    stat_add(robot_other_answers_total, c->is_foreign_answer);
    return c->is_foreign_answer ? 0 : len;
}

static void head_read(struct robot_call *c)
{
    if (c->spec.is_decoded)
        c->answer.content_encoding[0] = 0;
    long status = 0;
    curl_off_t length = -1;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    c->answer.status = (int)status;
    c->answer.length = length;
}

/* At the first byte of a body: decides its receiver. */
static void body_begins(struct robot_call *c)
{
    head_read(c);
    c->has_body = true;
    if (c->spec.on_head && (c->answer.status == 200 || c->spec.is_any_status)) {
        c->is_in_callback = true;
        c->is_streaming = c->spec.on_head(c->spec.arg, &c->answer);
        c->is_in_callback = false;
    }
    if (!c->is_streaming && c->answer.length > 0 && (uint64_t)c->answer.length <= c->spec.max_bytes)
        buf_room(&c->in, (size_t)c->answer.length);
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct robot_call *c = arg;
    size_t len = size * n;
    c->has_moved = true;
    if (!c->has_body)
        body_begins(c);
    if (c->is_streaming) {
        if (c->is_paused)
            return CURL_WRITEFUNC_PAUSE; /* these bytes will come again */
        if (!c->is_stopped) {
            c->is_in_callback = true;
            c->is_paused = !c->spec.on_data(c->spec.arg, data, len);
            c->is_in_callback = false;
        }
        return c->is_stopped ? 0 : len;
    }
    if (c->in.len + len > c->spec.max_bytes ||
        (c->answer.length > 0 && (uint64_t)c->answer.length > c->spec.max_bytes)) {
        c->is_too_big = true;
        return 0;
    }
    buf_add(&c->in, data, len);
    return c->is_stopped ? 0 : len;
}

/* ---- a call ------------------------------------------------------------------------------------------------- */

/* Sets the options of every call, once per easy handle. */
static void handle_prepare(struct robot_call *c)
{
    CURL *e = c->easy;
    easy_prepare(e);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "chasqui");
    sockets_prepare(c->part->sockets, &c->user, e, c);
}

static struct robot_call *call_get(struct part *p)
{
    struct robot_http *h = p->http;
    struct robot_call *c = p->pool;
    if (c) {
        p->pool = c->next;
        h->n_pool--;
    } else {
        c = xcalloc(1, sizeof(*c));
        c->http = h;
        c->part = p;
        c->easy = curl_easy_init();
        CHECK(c->easy, "curl_easy_init");
        handle_prepare(c);
        easy_prepare_tls(c->easy, h->conf);
    }
    size_t kept = offsetof(struct robot_call, spec);
    memset((char *)c + kept, 0, sizeof(*c) - kept);
    c->error[0] = 0;
    c->user.is_once = c->user.is_begun = c->user.is_spent = c->user.is_stale = false;
    return c;
}

static void call_free(struct robot_call *c)
{
    struct robot_http *h = c->http;
    loop_timer_stop(h->loop, &c->limit);
    socket_leave(&c->user);
    resolver_forget(&c->wait);
    if ((*c->link = c->next))
        c->next->link = c->link;
    h->n_running--;
    curl_slist_free_all(c->headers);
    if (c->resolve)
        curl_easy_setopt(c->easy, CURLOPT_RESOLVE, NULL);
    curl_slist_free_all(c->resolve);
    free(c->host);
    free(c->port);
    if (c->body) {
        explicit_bzero(c->body, c->body_len);
        free(c->body);
    }
    buf_free(&c->in);
    buf_free(&c->head.held);
    if (h->n_pool >= POOL_MAX) {
        curl_easy_cleanup(c->easy);
        free(c);
        return;
    }
    if (c->is_special) {
        curl_easy_reset(c->easy);
        handle_prepare(c);
        easy_prepare_tls(c->easy, h->conf);
    }
    c->next = c->part->pool;
    c->part->pool = c;
    h->n_pool++;
}

static void header_add(struct robot_call *c, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    struct buf line = {0};
    buf_addf(&line, "%s: %s", name, value);
    c->headers = curl_slist_append(c->headers, line.data);
    buf_free(&line);
}

static void target_set(struct robot_call *c, const struct call_spec *spec)
{
    if (c->base) {
        robot_url_set(c->base, c->easy, spec->path);
        return;
    }
    c->is_foreign = c->is_special = true;
    curl_easy_reset(c->easy); /* clears the parsed URL and target of the previous call */
    handle_prepare(c);        /* certificates of foreign hosts are left to the system's settings */
    sockets_allow_any(&c->user);
    curl_easy_setopt(c->easy, CURLOPT_URL, spec->url);
    curl_easy_setopt(c->easy, CURLOPT_DNS_CACHE_TIMEOUT, (long)FOREIGN_CACHE_S);
    CURLU *parts = curl_url();
    CHECK(parts, "curl_url");
    curl_url_set(parts, CURLUPART_URL, spec->url, 0); /* malformed: it fails with curl's own message */
    easy_named_host(parts, &c->host, &c->port);
    curl_url_cleanup(parts);
}

static void method_set(struct robot_call *c, const struct call_spec *spec)
{
    CURL *e = c->easy;
    if (spec->is_fresh) {
        c->is_special = true;
        curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    }
    if (strcmp(spec->method, "GET") == 0 && !spec->body)
        return;
    c->is_special = true;
    c->user.is_once = true;
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
    if (!spec->is_login || socket_is_hasty(&c->user))
        curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
    if (strcmp(spec->method, "POST") != 0) {
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, spec->method);
        if (!spec->body)
            return;
    }
    c->body_len = spec->body_len;
    c->body = xmalloc(spec->body_len + 1);
    memcpy(c->body, spec->body ? spec->body : "", spec->body_len);
    /* What a robot left unread of it is then a line, which it refuses at once: its connection is not used again. */
    if (spec->is_login && spec->body)
        c->body[c->body_len++] = '\n';
    curl_easy_setopt(e, CURLOPT_POST, 1L);
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)c->body_len);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, c->body);
    if (spec->body_type && !*spec->body_type)
        c->headers = curl_slist_append(c->headers, "Content-Type:"); /* suppresses curl's own guess */
    else
        header_add(c, "Content-Type", spec->body_type ? spec->body_type : "application/json");
    c->headers = curl_slist_append(c->headers, "Expect:");
}

static void call_end(struct robot_call *c, enum call_result result);
static bool is_sent(const struct robot_call *c);

/* Enforces the limits that curl lacks: until the first byte, and between bytes. A paused call waits for us. */
static void limit_due(void *arg)
{
    struct robot_call *c = arg;
    uint64_t now = clock_ms();
    if (c->is_paused || c->has_moved)
        c->moved_ms = now;
    c->has_moved = false;
    int64_t limit = c->has_body ? c->spec.idle_ms : c->spec.first_byte_ms;
    uint64_t since = c->has_body ? c->moved_ms : c->started_ms;
    if (limit && now >= since + (uint64_t)limit) {
        curl_multi_remove_handle(c->part->multi, c->easy);
        c->answer.why = "timeout";
        call_end(c, is_sent(c) ? CALL_TIMEOUT : CALL_NOT_SENT);
        return;
    }
    uint64_t left = limit ? since + (uint64_t)limit - now : WATCH_STEP_MS;
    loop_timer_in(c->http->loop, &c->limit, left < WATCH_STEP_MS ? left : WATCH_STEP_MS);
}

/* ---- names -------------------------------------------------------------------------------------------------- */

static void call_go(struct robot_call *c)
{
    CURLMcode rc = curl_multi_add_handle(c->part->multi, c->easy);
    CHECK(rc == CURLM_OK, "curl_multi_add_handle=%d", (int)rc);
    c->is_added = true;
}

/* Gives curl the addresses. is_kept: they stay for the life of the process, or until replaced. */
static void addresses_give(struct robot_call *c, const char *host, const char *port, const char *addresses,
                           bool is_kept)
{
    struct buf line = {0};
    buf_addf(&line, "%s%s:%s:%s", is_kept ? "" : "+", host, port, addresses);
    c->resolve = curl_slist_append(c->resolve, line.data);
    curl_easy_setopt(c->easy, CURLOPT_RESOLVE, c->resolve);
    buf_free(&line);
}

static long left_of(int64_t limit_ms, int64_t waited_ms)
{
    return !limit_ms ? 0 : limit_ms > waited_ms ? (long)(limit_ms - waited_ms) : 1;
}

/* Returns NULL when the host is an address. */
static const char *host_of(const struct robot_call *c)
{
    return c->is_foreign ? c->host : c->base->host;
}

static void addresses_take(struct robot_call *c, const struct resolved *known)
{
    if (c->is_foreign)
        addresses_give(c, c->host, c->port, known->addresses, false);
    else if (known->generation != c->base->loaded) {
        addresses_give(c, c->base->host, c->base->port, known->addresses, true);
        c->gave = known->generation;
    }
}

static void name_came(void *arg, const struct resolved *found, const char *why)
{
    struct robot_call *c = arg;
    int64_t waited_ms = (int64_t)(clock_ms() - c->started_ms);
    if (!found) {
        snprintf(c->error, sizeof(c->error), "Could not resolve the name: %s", why);
        call_end(c, CALL_NOT_SENT);
        return;
    }
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, left_of(c->spec.connect_ms, waited_ms));
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, left_of(c->spec.total_ms, waited_ms));
    addresses_take(c, found);
    call_go(c);
}

static void name_then_go(struct robot_call *c)
{
    const char *host = host_of(c);
    const struct resolved *known = host ? resolver_look(c->http->resolver, host) : NULL;
    if (known)
        addresses_take(c, known);
    if (known || !host) {
        call_go(c);
        return;
    }
    c->wait = (struct resolver_wait){.fn = name_came, .arg = c};
    resolver_wait(c->http->resolver, host, (uint64_t)(c->spec.connect_ms ? c->spec.connect_ms : WATCH_STEP_MS),
                  &c->wait);
}

struct robot_call *call_start(struct robot_http *h, const struct call_spec *spec)
{
    struct robot_url *base = spec->url ? NULL : robot_url_of(h->urls, spec->base_url);
    struct robot_call *c = call_get(&h->part[base ? base->index % PARTS : 0]);
    CURL *e = c->easy;
    c->spec = *spec;
    c->base = base;
    c->user.hasty_ms = base ? &base->hasty_ms : NULL;
    c->started_ms = c->moved_ms = clock_ms();
    c->answer.length = -1;
    c->answer.why = "";
    target_set(c, spec);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)spec->connect_ms);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)spec->total_ms);
    if (spec->on_data) {
        c->is_special = true;
        curl_easy_setopt(e, CURLOPT_BUFFERSIZE,
                         (long)(spec->stream_bytes && spec->stream_bytes < STREAM_BUFFER_BYTES
                                    ? spec->stream_bytes
                                    : STREAM_BUFFER_BYTES));
    }
    method_set(c, spec);
    if (spec->is_decoded) { /* no encoding is requested; an encoded answer is decoded all the same */
        c->is_special = true;
        curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "identity");
        c->headers = curl_slist_append(c->headers, "Accept-Encoding:");
    }
    if (spec->request_id && *spec->request_id)
        snprintf(c->request_id, sizeof(c->request_id), "%s", spec->request_id);
    else if (!c->is_foreign)
        id_request(c->request_id);
    c->head.request_id = c->request_id;
    header_add(c, "Idempotency-Key", spec->idempotency_key);
    header_add(c, "X-Request-Id", c->request_id);
    header_add(c, "traceparent", spec->traceparent);
    for (unsigned i = 0; spec->headers && spec->headers[i]; i++)
        c->headers = curl_slist_append(c->headers, spec->headers[i]);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
    c->spec.method = c->spec.base_url = c->spec.path = c->spec.body = NULL;
    c->spec.idempotency_key = c->spec.request_id = c->spec.traceparent = c->spec.url = NULL;
    c->spec.headers = NULL;
    if ((c->next = h->first))
        c->next->link = &c->next;
    c->link = &h->first;
    h->first = c;
    h->n_running++;
    if (spec->first_byte_ms || spec->idle_ms) {
        c->limit.fn = limit_due;
        c->limit.arg = c;
        bool is_short = spec->first_byte_ms && spec->first_byte_ms < WATCH_STEP_MS;
        loop_timer_in(h->loop, &c->limit, is_short ? (uint64_t)spec->first_byte_ms : WATCH_STEP_MS);
    }
    name_then_go(c);
    return c;
}

void call_resume(struct robot_call *c)
{
    if (!c->is_paused)
        return;
    c->is_paused = false;
    c->moved_ms = clock_ms();
    curl_easy_pause(c->easy, CURLPAUSE_CONT);
    /* The call may have ended just now, or hold bytes that its socket will not report. */
    loop_timer_in(c->http->loop, &c->part->reaper, 0);
}

/* How long a call may wait for an answer before its robot counts as late. A list or a file is expected soon. A
 * log-in or an action has all the time of its configuration. A call not yet sent has the time of a connection
 * attempt. */
static int64_t patience_ms_of(const struct robot_call *c)
{
    if (c->answer.result == CALL_NOT_SENT && c->spec.connect_ms)
        return c->spec.connect_ms;
    if (!c->spec.usual_ms && c->spec.total_ms)
        return c->spec.total_ms;
    return c->spec.usual_ms && c->spec.usual_ms < OUTLIER_OVERDUE_MS ? c->spec.usual_ms : OUTLIER_OVERDUE_MS;
}

/* The call was stopped because its caller is gone. Its result so far is still reported to the watcher. */
static void stopped_tell(struct robot_call *c)
{
    if (c->is_foreign || !c->http->watch)
        return;
    head_read(c);
    c->answer.result = CALL_STOPPED;
    c->answer.body = &c->in;
    c->answer.is_work = c->spec.is_work || c->spec.is_login;
    c->answer.patience_ms = patience_ms_of(c);
    c->answer.took_ms = (int64_t)(clock_ms() - c->started_ms);
    c->http->watch(c->http->watch_arg, c->spec.robot_id, c->spec.is_login, &c->answer);
}

void call_stop(struct robot_call *c)
{
    if (c->is_in_callback) { /* curl must not lose a handle inside its callback: the reaper frees it */
        c->is_stopped = true;
        return;
    }
    curl_multi_remove_handle(c->part->multi, c->easy);
    stopped_tell(c);
    call_free(c);
}

void calls_overdue(const struct robot_http *h, void (*fn)(void *arg, uint32_t robot_id), void *arg)
{
    uint64_t now = clock_ms();
    for (const struct robot_call *c = h->first; c; c = c->next)
        if (c->spec.is_work && c->spec.robot_id && !c->has_status &&
            now >= c->started_ms + (uint64_t)patience_ms_of(c))
            fn(arg, c->spec.robot_id);
}

unsigned calls_running(const struct robot_http *h)
{
    return h->n_running;
}

/* ---- the end of a call -------------------------------------------------------------------------------------- */

/* Whether the robot received a byte of the request. */
static bool is_sent(const struct robot_call *c)
{
    curl_off_t body = 0;
    long head = 0;
    if (!c->is_added) /* the handle still has data of the previous call */
        return false;
    curl_easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &head);
    curl_easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &body);
    return head > 0 || body > 0 || c->user.is_spent;
}

static enum call_result result_of(struct robot_call *c, CURLcode code)
{
    if (code == CURLE_OK)
        return CALL_ANSWERED;
    if (c->is_too_big)
        return CALL_TOO_BIG;
    if (!is_sent(c))
        return CALL_NOT_SENT;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return CALL_TIMEOUT;
    if (curl_word_is_tls_refusal(c->answer.why)) /* the robot's program received nothing */
        return CALL_NOT_SENT;
    /* A reset before the first byte is "unreachable". Data that is not a whole answer is "garbage". */
    c->answer.garbage =
        c->has_status || (code != CURLE_GOT_NOTHING && code != CURLE_RECV_ERROR && code != CURLE_SEND_ERROR &&
                          code != CURLE_COULDNT_CONNECT && code != CURLE_COULDNT_RESOLVE_HOST);
    return CALL_BROKEN;
}

static void result_count(enum call_result result)
{
    stat_inc(robot_calls_total);
    switch (result) {
    case CALL_ANSWERED:
    case CALL_STOPPED:
        return;
    case CALL_NOT_SENT:
        stat_inc(robot_calls_unreachable_total);
        break;
    case CALL_TIMEOUT:
        stat_inc(robot_calls_timeout_total);
        break;
    case CALL_BROKEN:
    case CALL_TOO_BIG:
        stat_inc(robot_calls_broken_total);
        break;
    }
    stat_inc(robot_calls_failed_total);
}

/* Learns about the robot's address from the result. */
static void name_learn(struct robot_call *c, enum call_result result)
{
    const char *host = host_of(c);
    if (c->gave)
        c->base->loaded = c->gave;
    if (host && result == CALL_NOT_SENT)
        resolver_doubt(c->http->resolver, host);
}

/* The handle has already left the multi handle. */
static void call_end(struct robot_call *c, enum call_result result)
{
    name_learn(c, result);
    if (!c->is_stopped) {
        if (c->is_added)
            head_read(c);
        c->answer.result = result;
        c->answer.body = &c->in;
        c->answer.is_work = c->spec.is_work || c->spec.is_login;
        c->answer.patience_ms = patience_ms_of(c);
        c->answer.took_ms = (int64_t)(clock_ms() - c->started_ms);
        c->answer.curl_text = c->error;
        if (!c->is_foreign)
            result_count(result);
        if (!c->is_foreign && c->http->watch)
            c->http->watch(c->http->watch_arg, c->spec.robot_id, c->spec.is_login, &c->answer);
        c->spec.done(c->spec.arg, &c->answer);
    }
    call_free(c);
}

/* Nothing was sent: repeats the same call on a connection of its own. */
static void call_again(struct robot_call *c)
{
    c->user.is_stale = false;
    c->is_special = true;
    socket_leave(&c->user);
    c->error[0] = 0;
    curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, 1L);
    CURLMcode rc = curl_multi_add_handle(c->part->multi, c->easy);
    CHECK(rc == CURLM_OK, "curl_multi_add_handle=%d", (int)rc);
}

static void why_note(struct robot_call *c, CURLcode code)
{
    long verify = 0;
    curl_easy_getinfo(c->easy, CURLINFO_SSL_VERIFYRESULT, &verify);
    c->answer.why = c->is_foreign_answer ? "other_request_id"
                    : c->is_too_big      ? "too_big"
                                         : curl_word((int)code, verify, c->error, c->has_status);
    if (c->is_foreign_answer)
        snprintf(c->error, sizeof(c->error), "the answer's X-Request-Id is another request's");
}

static void reap(struct part *p)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(p->multi, &left))) {
        struct socket_user *user = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&user);
        struct robot_call *c = user->owner;
        curl_multi_remove_handle(p->multi, c->easy);
        if (user->is_stale) {
            call_again(c);
            continue;
        }
        if (user->is_spent) { /* curl's own words are about the connection that it was not given */
            code = CURLE_GOT_NOTHING;
            snprintf(c->error, sizeof(c->error), "%s", curl_easy_strerror(code));
        }
        why_note(c, code);
        call_end(c, result_of(c, code));
    }
}

/* ---- start and stop ----------------------------------------------------------------------------------------- */

static void sockets_acted(void *arg)
{
    reap(arg);
}

static void part_begin(struct robot_http *h, struct part *p)
{
    p->http = h;
    p->multi = curl_multi_init();
    CHECK(p->multi, "curl_multi_init");
    p->sockets = sockets_new(h->loop, p->multi, h->networks, sockets_acted, p);
    p->timer.fn = p->reaper.fn = timer_due;
    p->timer.arg = p->reaper.arg = p;
    curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
    curl_multi_setopt(p->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
}

static void part_end(struct part *p)
{
    while (p->pool) {
        struct robot_call *c = p->pool;
        p->pool = c->next;
        curl_easy_cleanup(c->easy);
        free(c);
    }
    curl_multi_cleanup(p->multi); /* closes the kept connections */
    loop_timer_stop(p->http->loop, &p->timer);
    loop_timer_stop(p->http->loop, &p->reaper);
    sockets_destroy(&p->sockets);
}

struct robot_http *robot_http_new(struct loop *l, const struct conf *conf)
{
    struct robot_http *h = xcalloc(1, sizeof(*h));
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK, "curl_global_init");
    h->loop = l;
    h->conf = conf;
    h->networks = networks_new(conf->robot_allow_addresses);
    h->resolver = resolver_new(l);
    h->urls = robot_urls_new();
    for (unsigned i = 0; i < PARTS; i++)
        part_begin(h, &h->part[i]);
    return h;
}

void robot_http_watch(struct robot_http *h, call_watch_fn *fn, void *arg)
{
    h->watch = fn;
    h->watch_arg = arg;
}

void robot_http_destroy(struct robot_http **hp)
{
    struct robot_http *h = *hp;
    if (!h)
        return;
    while (h->first)
        call_stop(h->first);
    for (unsigned i = 0; i < PARTS; i++)
        part_end(&h->part[i]);
    robot_urls_destroy(&h->urls);
    networks_destroy(&h->networks);
    resolver_destroy(&h->resolver);
    curl_global_cleanup();
    free(h);
    *hp = NULL;
}
