/* SPDX-License-Identifier: MIT */
/*
 * exchange.c - one request from its head to its answer, and the order of checks: gate, path, method, token,
 * ability, rate, length, type, JSON, fields, company. Everything after these is a dispatcher's.
 *
 * Checks that need only the head run before the body is accepted, so that an unknown client never makes us hold a
 * body. A refusal waits until the body was read and discarded, because closing the connection under a sender would
 * lose the answer. It does not wait when the body is huge or the client expects a 100 Continue. Must never answer
 * twice, and must never keep params longer than the exchange.
 *
 * An NDJSON batch is the only body that is not kept: its pieces go to batch.c as they arrive. Its errors are
 * answered once it has been read.
 */
#include "broker/exchange.h"
#include "broker/auth.h"
#include "broker/batch.h"
#include "broker/cors.h"
#include "broker/flight.h"
#include "broker/gate.h"
#include "broker/holders.h"
#include "broker/http.h"
#include "broker/params.h"
#include "broker/pull.h"
#include "broker/ratelimit.h"
#include "broker/reply.h"
#include "broker/route.h"
#include "broker/sse.h"
#include "broker/strict.h"
#include "broker/summary.h"
#include "broker/tally.h"
#include "broker/token_use.h"
#include "broker/web_session.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ON_BEHALF_MAX 70
#define DISCARD_BYTES_MAX (8 * 1024 * 1024) /* beyond the limit */
#define LOG_LINES_MAX 100                   /* per second */
#define LONG_MS 2000                        /* after this a request's token is checked again */
#define NEW_FACTOR 10                       /* for inserting requests: multiple of a token's rate */
#define NEW_WINDOW (1ull << 63)             /* key bit of a token's second window */

/* ---- the head ----------------------------------------------------------------------------------------------- */

struct exchange *exchange_new(struct broker *b, struct client *c, enum listener l, const char *target,
                              const char *peer)
{
    size_t len = strlen(target);
    struct exchange *x = xcalloc(1, sizeof *x + len + 1);
    x->b = b;
    x->client = c;
    x->listener = l;
    x->arrived_ms = loop_now_ms(b->loop);
    x->deadline_at_ms = x->arrived_ms + (uint64_t)b->conf->broker_deadline_ms;
    memcpy(x->target, target, len + 1);
    snprintf(x->peer, sizeof x->peer, "%s", peer);
    stat_inc(http_requests_total);
    return x;
}

/* "cli:ana@desk", as the command line names itself in the audit trail. */
static bool actor_ok(const char *value)
{
    size_t len = strlen(value);
    for (const char *p = value; *p; p++)
        if (*p <= ' ' || *p > '~')
            return false;
    return strncmp(value, "cli:", 4) == 0 && len > 4 && len <= ON_BEHALF_MAX;
}

static void header_take(struct exchange *x, const char *name, const char *value)
{
    uint64_t ms;
    if (strcasecmp(name, "Authorization") == 0) {
        /* A proxy may add the credential it received itself (Basic) to a request that a browser sends with our
         * cookie. */
        if (x->listener != LISTENER_OPS || strncasecmp(value, "Bearer ", 7) == 0)
            x->authorization = value;
    } else if (strcasecmp(name, "Content-Type") == 0) {
        x->content_type = value;
    } else if (strcasecmp(name, "X-Request-Id") == 0) {
        if (!x->request_id[0] && id_request_ok(value, strlen(value)))
            snprintf(x->request_id, sizeof x->request_id, "%s", value);
    } else if (strcasecmp(name, "traceparent") == 0) {
        if (traceparent_ok(value))
            snprintf(x->traceparent, sizeof x->traceparent, "%s", value);
    } else if (strcasecmp(name, "X-Deadline-Ms") == 0) {
        x->deadline = value;
        if (deadline_read(value, &ms))
            x->deadline_at_ms = x->arrived_ms + ms;
    } else if (strcasecmp(name, "Prefer") == 0) {
        prefer_read(&x->prefer, value);
    } else if (strcasecmp(name, "Idempotency-Key") == 0) {
        x->is_key_twice = x->key;
        x->key = value;
    } else if (strcasecmp(name, "Content-Encoding") == 0) {
        if (!x->coding || strcasecmp(x->coding, "identity") == 0)
            x->coding = value;
    } else if (strcasecmp(name, "Accept") == 0) {
        x->accept = value;
    } else if (strcasecmp(name, "Accept-Language") == 0) {
        x->accept_language = value;
    } else if (strcasecmp(name, "X-Chasqui-Actor") == 0) {
        if (x->listener == LISTENER_OPS && actor_ok(value))
            x->on_behalf = value;
    } else if (strcasecmp(name, "Cookie") == 0) {
        x->cookie = value;
    } else if (strcasecmp(name, "Origin") == 0) {
        x->origin = value;
    } else if (strcasecmp(name, "Access-Control-Request-Method") == 0) {
        x->is_preflight = true;
    } else if (strcasecmp(name, "Host") == 0) {
        x->host = value;
    } else if (strcasecmp(name, "If-None-Match") == 0) {
        x->if_none_match = value;
    } else if (strcasecmp(name, "Expect") == 0) {
        x->is_expecting = true;
    }
}

static bool has_body(const struct exchange *x)
{
    return x->framing.is_chunked || x->framing.content_length;
}

enum exchange_next exchange_begin(struct exchange *x, const struct gate_head *head)
{
    const char *why;
    enum gate_verdict verdict = gate_check(head, &x->framing, &why);
    x->method = head->method;
    for (unsigned i = 0; i < head->n; i++)
        header_take(x, head->fields[i].name, head->fields[i].value);
    if (!x->request_id[0])
        id_request(x->request_id);
    if (verdict != GATE_PASS) {
        stat_inc(gate_refused_total);
        reply_error(x, verdict == GATE_TOO_LARGE ? ERR_HEADERS_TOO_LARGE : ERR_BAD_REQUEST, why, NULL);
        x->answer.is_close = true;
        return EXCHANGE_ANSWER;
    }
    x->answer.is_close =
        x->framing.is_chunked; /* the library reads chunked bodies leniently: no further request may follow */
    return has_body(x) ? exchange_step(x) : EXCHANGE_MORE;
}

/* Finds the path and what follows it. The host of a target in absolute form replaces the Host header (RFC 9112
 * 3.2.2). It is moved by one byte to make room for its terminator. */
static char *path_begin(struct exchange *x)
{
    size_t len;
    const char *authority = gate_authority(x->target, &len);
    if (!authority)
        return x->target;
    char *host = x->target + (authority - x->target) - 1;
    memmove(host, host + 1, len);
    host[len] = '\0';
    x->host = host;
    return host + 1 + len;
}

static void path_find(struct exchange *x)
{
    char allow[ROUTE_ALLOW_BYTES];
    struct str arg;
    char *path = path_begin(x), *mark = strchr(path, '?');
    if (mark) {
        *mark = '\0';
        x->query = mark + 1;
    }
    switch (route_find(x->listener, x->method, *path ? path : "/", &x->route, &arg, allow)) {
    case ROUTE_FOUND:
        x->arg = arg;
        break;
    case ROUTE_NO_PATH:
        reply_error(x, ERR_NOT_FOUND, NULL, NULL);
        break;
    case ROUTE_NO_METHOD:
        reply_header(x, "Allow", "%s", allow);
        reply_error(x, ERR_METHOD_NOT_ALLOWED, NULL, NULL);
        break;
    case ROUTE_OPTIONS:
        reply_header(x, "Allow", "%s", allow);
        if (x->is_preflight)
            cors_preflight(x, allow);
        reply_empty(x, 204);
        break;
    }
}

static void verdict_late(void *arg)
{
    struct exchange *x = arg;
    auth_leave(x);
    stat_inc(deadline_exceeded_total);
    exchange_verified(x, ERR_DEADLINE_EXCEEDED, NULL);
}

/* Returns false when x was answered or the verdict is pending. */
static bool token_check(struct exchange *x)
{
    switch (auth_check(x)) {
    case AUTH_KNOWN:
        return true;
    case AUTH_REFUSED:
        reply_error(x, ERR_UNAUTHENTICATED, NULL, NULL);
        return false;
    case AUTH_WAITS:
        break;
    }
    if (!x->answer.status) {
        x->timer.fn = verdict_late;
        x->timer.arg = x;
        loop_timer_at(x->b->loop, &x->timer, x->deadline_at_ms);
    }
    return false;
}

static bool count(struct exchange *x, uint64_t window, uint64_t limit)
{
    uint64_t now = loop_now_ms(x->b->loop);
    if (ratelimit_take(x->b->ratelimit, window, limit, now, &x->rate))
        return true;
    uint64_t wait_s = (x->rate.left_ms + 999) / 1000;
    stat_inc(rate_limited_total);
    token_use_count(x->b->token_use, x->token->id, x->token->name, clock_unix_ms(), true);
    reply_header(x, "Retry-After", "%llu", (unsigned long long)wait_s);
    reply_header(x, "X-RateLimit-Reset", "%lld",
                 (long long)((clock_unix_ms() + (int64_t)x->rate.left_ms + 999) / 1000));
    reply_error(x, ERR_RATE_LIMITED, NULL, NULL);
    return false;
}

bool exchange_count(struct exchange *x)
{
    return count(x, x->token->id, x->token->rate_per_minute);
}

bool exchange_count_new(struct exchange *x)
{
    struct rate shown = x->rate; /* the headers report the token's own window */
    if (!count(x, x->token->id | NEW_WINDOW, x->token->rate_per_minute * NEW_FACTOR))
        return false;
    x->rate = shown;
    return true;
}

/* Long waits and streams are requests too: one owner may hold at most half of the connections. Returns false when
 * answered. */
static bool hold(struct exchange *x)
{
    if (x->is_held)
        return true;
    x->is_held = holders_take(x->b->holders, token_owner(x->token));
    if (x->is_held)
        return true;
    stat_inc(token_held_total);
    token_use_count(x->b->token_use, x->token->id, x->token->name, clock_unix_ms(), true);
    reply_error(x, ERR_QUEUE_FULL, "Half of this broker's connections wait for answers to this company or token.",
                NULL);
    return false;
}

/* The largest body that is kept. */
static uint64_t body_limit(const struct exchange *x)
{
    const struct conf *conf = x->b->conf;
    bool is_batch = x->route && x->route->takes == TAKES_BATCH;
    return (uint64_t)(is_batch ? conf->limit_batch_body_bytes : conf->limit_json_body_bytes);
}

bool exchange_is_steady(const struct exchange *x)
{
    return x->is_checked && x->route->takes == TAKES_BATCH && is_ndjson_type(x->content_type);
}

/* Returns false when x was answered. */
static bool type_check(struct exchange *x)
{
    bool is_batch = x->route->takes == TAKES_BATCH;
    if (x->route->takes == TAKES_NOTHING || (x->route->takes == TAKES_JSON_OR_NOTHING && !has_body(x)))
        return true;
    bool is_any = x->route->takes == TAKES_ANYTHING;
    if (!is_any && !is_json_type(x->content_type) && !(is_batch && is_ndjson_type(x->content_type))) {
        reply_error(x, ERR_UNSUPPORTED_MEDIA_TYPE,
                    is_batch ? "The body must be application/json or application/x-ndjson." : NULL, NULL);
        return false;
    }
    if (x->coding && strcasecmp(x->coding, "identity") != 0) {
        reply_header(x, "Accept-Encoding", "identity");
        reply_error(x, ERR_UNSUPPORTED_MEDIA_TYPE, "The body must not have a Content-Encoding.", NULL);
        return false;
    }
    return true;
}

/* Metrics need no token, unless the configuration says otherwise. */
static unsigned ability_of(const struct exchange *x)
{
    bool is_closed = x->route->handle == ops_metrics && strcmp(x->b->conf->broker_metrics, "token") == 0;
    return is_closed ? ABILITY_OPS_READ : x->route->ability;
}

/* Makes the checks that need no body. Returns false when x was answered or waits. */
static bool head_check(struct exchange *x)
{
    if (!x->route) {
        path_find(x);
        if (!x->route)
            return false;
    }
    if (x->listener == LISTENER_OPS && !web_host_ok(x)) {
        web_refuse_host(x);
        return false;
    }
    unsigned ability = ability_of(x);
    bool is_by_cookie = x->listener == LISTENER_OPS && !x->authorization && ability != ABILITY_NONE;
    if (is_by_cookie && strcmp(x->route->method, "GET") != 0 && x->cookie && !web_is_same_origin(x)) {
        web_refuse_origin(x);
        return false;
    }
    if (ability != ABILITY_NONE) {
        if (!token_check(x))
            return false;
        x->rate =
            ratelimit_look(x->b->ratelimit, x->token->id, x->token->rate_per_minute, loop_now_ms(x->b->loop));
        if (!(x->token->abilities & ability) || (x->listener == LISTENER_OPS && !x->token->all_companies)) {
            reply_error(x, ERR_FORBIDDEN, NULL, NULL);
            return false;
        }
        if (!hold(x) || (x->route->counts == COUNT_YES && !exchange_count(x)))
            return false;
    }
    bool is_endless = x->route->takes == TAKES_BATCH && is_ndjson_type(x->content_type);
    if (!is_endless && x->framing.content_length > body_limit(x)) {
        reply_error(x, ERR_PAYLOAD_TOO_LARGE, NULL, NULL);
        return false;
    }
    if (!type_check(x))
        return false;
    if (x->token)
        token_use_count(x->b->token_use, x->token->id, x->token->name, clock_unix_ms(), false);
    x->is_checked = true;
    return true;
}

/* ---- the body ----------------------------------------------------------------------------------------------- */

/* Returns false when the body exceeds its limit. */
static bool body_keep(struct exchange *x, const char *data, size_t len)
{
    uint64_t limit = body_limit(x);
    x->body_bytes += len;
    if (x->body_bytes > limit + DISCARD_BYTES_MAX)
        return false;
    if (x->is_discarding)
        return true;
    if (x->body_bytes > limit) {
        buf_wipe(&x->body);
        reply_error(x, ERR_PAYLOAD_TOO_LARGE, NULL, NULL);
        x->is_discarding = true;
    } else if (x->route->takes != TAKES_NOTHING) {
        if (!x->body.data) /* allocated in full: growing would leave a copy in freed memory */
            buf_room(&x->body, x->framing.is_chunked ? (size_t)limit : (size_t)x->framing.content_length);
        buf_add(&x->body, data, len);
    }
    return true;
}

enum exchange_next exchange_body(struct exchange *x, const char *data, size_t *len)
{
    if (x->upload)
        *len -= upload_take(x->upload, data, *len);
    else if (exchange_is_steady(x) || body_keep(x, data, *len))
        *len = 0; /* a steady body without an upload was answered already */
    else
        return EXCHANGE_CUT;
    if (!x->upload)
        *len = 0; /* that piece ended it */
    return x->upload && upload_is_full(x->upload) ? EXCHANGE_PARK : EXCHANGE_MORE;
}

static const char *json_wrong(enum jv_bad why)
{
    switch (why) {
    case JV_UTF8:
        return "The body is not UTF-8.";
    case JV_DUPLICATE:
        return "The body gives a key twice.";
    case JV_DEEP:
        return "The body is nested deeper than 32.";
    case JV_FINE:
        return "The body is not a JSON object.";
    case JV_SYNTAX:
    case JV_NUL:
        break;
    }
    return "The body is not JSON.";
}

void exchange_refuse_json(struct exchange *x, enum jv_bad why)
{
    if (why == JV_NUL) {
        struct jv *errors = NULL;
        errors_add(&errors, "body", "a text holds \\u0000");
        exchange_fields(x, errors);
    } else {
        reply_error(x, ERR_BAD_REQUEST, json_wrong(why), NULL);
    }
}

/* Returns false when x was answered. */
static bool body_read(struct exchange *x)
{
    enum jv_bad why;
    bool is_wanted = x->route->takes == TAKES_JSON || (x->route->takes == TAKES_JSON_OR_NOTHING && x->body.len);
    if (!is_wanted || x->json)
        return true;
    if (x->key)
        id_sha256(x->body.data ? x->body.data : "", x->body.len, x->body_digest);
    size_t mark = utf8_mark(x->body.data, x->body.len);
    x->json = jv_parse(x->body.data ? x->body.data + mark : "", x->body.len - mark, &why);
    buf_wipe(&x->body);
    if (jv_type(x->json) == JV_OBJECT)
        return true;
    exchange_refuse_json(x, why);
    return false;
}

bool exchange_query(struct exchange *x, params_fn *params)
{
    struct query q;
    struct jv *errors = NULL;
    query_parse(&q, x->query, &errors);
    if (params)
        params(&q, &x->flight.request, &errors);
    return exchange_fields(x, errors);
}

bool exchange_fields(struct exchange *x, struct jv *errors)
{
    uint64_t ms;
    if (x->deadline && !deadline_read(x->deadline, &ms))
        errors_add(&errors, "X-Deadline-Ms", "must be an integer of 100 to 150000");
    if (!errors)
        return true;
    struct jv *extra = jv_new_object();
    jv_set(extra, "errors", errors);
    reply_error(x, ERR_VALIDATION_FAILED, NULL, extra);
    return false;
}

struct str exchange_key(const struct exchange *x, struct jv **errors)
{
    struct str key = str_of(x->key);
    while (key.len && (key.p[key.len - 1] == ' ' || key.p[key.len - 1] == '\t')) /* trailing blanks of the field */
        key.len--;
    if (x->is_key_twice)
        errors_add(errors, "Idempotency-Key", "is given twice");
    else if (x->key && !idempotency_key_ok(key))
        errors_add(errors, "Idempotency-Key", "must be 1 to 255 printable ASCII characters");
    return key;
}

bool exchange_company(struct exchange *x, uint64_t company_id)
{
    if (token_may_see(x->token, company_id))
        return true;
    reply_error(x, ERR_COMPANY_FORBIDDEN, NULL, NULL);
    return false;
}

/* ---- asking a dispatcher ------------------------------------------------------------------------------------ */

void exchange_answered(struct exchange *x)
{
    if (x->is_parked)
        http_resume(x);
}

static void asked_replied(void *arg, const struct msg_REPLY *m, struct str payload)
{
    struct exchange *x = arg;
    enum op op = x->flight.op;
    if (op == OP_OPS_QUEUE_PAUSE || op == OP_OPS_QUEUE_RESUME || op == OP_BATCH_CANCEL)
        summary_hurry(x->b);
    if (x->take)
        x->take(x, m, payload);
    else
        reply_take(x, m, payload);
    exchange_answered(x);
}

static void asked_head(void *arg, const struct msg_REPLY_HEAD *m)
{
    reply_stream(arg, m);
    exchange_answered(arg);
}

struct jv *exchange_job(const struct exchange *x)
{
    if (!x->flight.job_id)
        return NULL;
    struct jv *job = jv_new_object();
    jv_set_int(job, "job_id", (int64_t)x->flight.job_id);
    jv_set_str(job, "job_uid", x->flight.job_uid[0] ? x->flight.job_uid : x->job_uid);
    return job;
}

/* The error names a committed job or batch, so that its outcome can be asked for. */
static void asked_failed(void *arg, enum err e)
{
    struct exchange *x = arg;
    if (x->fail)
        x->fail(x, e);
    else
        reply_error(x, e, NULL, exchange_job(x));
    exchange_answered(x);
}

static const struct flight_user asker = {.reply = asked_replied, .head = asked_head, .failed = asked_failed};

void caller_take(struct caller *c, const struct exchange *x)
{
    c->token = x->token;
    c->token->refs++;
    snprintf(c->request_id, sizeof c->request_id, "%s", x->request_id);
    snprintf(c->traceparent, sizeof c->traceparent, "%s", x->traceparent);
    snprintf(c->peer, sizeof c->peer, "%s", x->peer);
}

void caller_copy(struct caller *c, const struct caller *from)
{
    *c = *from;
    c->token->refs++;
}

void caller_drop(struct caller *c)
{
    token_drop(&c->token);
}

static void request_from(struct msg_REQUEST *r, const struct token *t, const char *request_id,
                         const char *traceparent, const char *peer)
{
    r->request_id = str_of(request_id);
    r->traceparent = str_of(traceparent);
    r->token_id = t->id;
    r->token_name = str_of(t->name);
    r->user_id = t->user_id;
    r->peer = str_of(peer);
    r->all_companies = t->all_companies;
    if (!r->all_companies)
        r->companies = (struct u64s){t->companies, t->n_companies};
}

void caller_request(const struct caller *c, struct msg_REQUEST *r)
{
    request_from(r, c->token, c->request_id, c->traceparent, c->peer);
}

void exchange_ask(struct exchange *x, enum op op, uint64_t fair_key)
{
    request_from(&x->flight.request, x->token, x->request_id, x->traceparent, x->peer);
    if (x->on_behalf) {
        int room = (int)(sizeof x->named - 2 - strlen(x->on_behalf));
        snprintf(x->named, sizeof x->named, "%.*s %s", room, x->token->name, x->on_behalf);
        x->flight.request.token_name = str_of(x->named);
    }
    x->flight.user = &asker;
    x->flight.arg = x;
    x->flight.op = op;
    x->flight.fair_key = fair_key;
    x->flight.deadline_at_ms = x->deadline_at_ms;
    flight_start(x->b, &x->flight);
}

void exchange_verified(struct exchange *x, enum err e, const char *cause)
{
    loop_timer_stop(x->b->loop, &x->timer);
    if (x->phase == PHASE_ASKED)
        x->phase = PHASE_BODY; /* its handler asked, and will be called again */
    if (e)
        reply_error(x, e, cause, NULL);
    exchange_answered(x);
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

/* Logs each failed or slow answer, up to a limit per second. The rest of ms besides queue_ms and dispatcher_ms was
 * spent on the token and the body. The dispatcher's line of the same request has more. */
static void answer_log(struct exchange *x, uint64_t ms)
{
    struct broker *b = x->b;
    uint64_t queue_ms = flight_waited_ms(&x->flight);
    unsigned status = x->answer.status;
    bool is_api = x->route && x->route->ability != ABILITY_NONE;
    bool is_failed = is_api && status >= 500;
    bool is_long = x->flight.op == OP_EXECUTE_LOGIN || x->flight.op == OP_EXECUTE_QUEUED ||
                   (x->route && x->route->takes == TAKES_BATCH);
    bool is_slow = is_api && (is_long ? queue_ms : ms) >= (uint64_t)b->conf->log_slow_ms;
    enum log_level level = is_failed ? LOG_WARN : is_slow ? LOG_INFO : LOG_DEBUG;
    if (level != LOG_DEBUG && loop_now_ms(b->loop) >= b->log_until_ms) {
        if (b->log_lines > LOG_LINES_MAX)
            log_line(LOG_WARN, "not_logged", "answers", log_i((long long)(b->log_lines - LOG_LINES_MAX)), NULL);
        b->log_lines = 0;
        b->log_until_ms = loop_now_ms(b->loop) + 1000;
    }
    if (level != LOG_DEBUG && b->log_lines++ >= LOG_LINES_MAX)
        return;
    if (log_is_on(level))
        log_line(level, is_slow ? "slow" : "answered", "request", x->request_id, "route",
                 x->route ? x->route->path : "-", "status", log_i(status), "ms", log_i((long long)ms), "queue_ms",
                 log_i((long long)queue_ms), "dispatcher_ms", log_i((long long)flight_worked_ms(&x->flight)),
                 "job", log_i((long long)x->flight.job_id), NULL);
}

static void answer_count(struct exchange *x)
{
    unsigned status = x->answer.status;
    if (status >= 500)
        stat_inc(http_5xx_total);
    else if (status >= 400)
        stat_inc(http_4xx_total);
    else if (status >= 300)
        stat_inc(http_3xx_total);
    else
        stat_inc(http_2xx_total);
    if (x->b->is_stopping)
        x->answer.is_close = true;
    uint64_t took_ms = loop_now_ms(x->b->loop) - x->arrived_ms;
    tally_answer(x->b->tally, x->route, status, took_ms);
    answer_log(x, took_ms);
}

/* Returns false when x was answered. */
static bool is_known(struct exchange *x)
{
    struct jv *errors = NULL;
    if (x->listener == LISTENER_OPS && x->route->ability != ABILITY_NONE)
        strict_look(x, &errors);
    return !errors || exchange_fields(x, errors);
}

static bool may_discard(const struct exchange *x)
{
    return !x->is_expecting && x->framing.content_length <= body_limit(x) + DISCARD_BYTES_MAX;
}

bool exchange_is_whole(const struct exchange *x)
{
    return x->phase != PHASE_HEAD || !has_body(x);
}

static enum exchange_next step(struct exchange *x)
{
    bool is_whole = exchange_is_whole(x);
    if (x->is_gone)
        return EXCHANGE_CUT;
    if (!x->answer.status && !x->is_checked && !head_check(x) && !x->answer.status)
        return EXCHANGE_PARK;
    if (!x->answer.status && x->phase == PHASE_HEAD && exchange_is_steady(x))
        upload_begin(x);
    if (!is_whole) {
        x->is_discarding = x->answer.status != 0;
        x->phase = PHASE_BODY;
        if (!x->is_discarding || may_discard(x))
            return EXCHANGE_MORE;
        x->answer.is_close = true;
    } else if (!x->answer.status && x->phase != PHASE_ASKED) {
        x->phase = PHASE_ASKED;
        if (body_read(x) && is_known(x))
            x->route->handle(x);
    }
    return x->answer.status ? EXCHANGE_ANSWER : EXCHANGE_PARK;
}

enum exchange_next exchange_step(struct exchange *x)
{
    enum exchange_next next = step(x);
    if (next == EXCHANGE_ANSWER)
        answer_count(x);
    return next;
}

/* Ensures that nothing calls back into x any more. */
static void let_go(struct exchange *x)
{
    upload_leave(x);
    sse_leave(x);
    auth_leave(x);
    loop_timer_stop(x->b->loop, &x->timer);
    flight_end(&x->flight);
}

void exchange_gone(struct exchange *x)
{
    stat_inc(http_gone_total);
    x->is_gone = true;
    let_go(x);
}

bool exchange_is_revoked(struct exchange *x)
{
    bool looks_itself = x->sse || x->upload;
    bool is_long = loop_now_ms(x->b->loop) >= x->arrived_ms + LONG_MS;
    if (!x->token || looks_itself || !is_long || x->route->ability == ABILITY_NONE || !auth_refused(x))
        return false;
    if (x->answer.status)
        return true;
    let_go(x);
    reply_error(x, ERR_UNAUTHENTICATED, NULL, NULL);
    exchange_answered(x);
    return false;
}

void exchange_end(struct exchange *x)
{
    /* First, because it knows whether the whole answer arrived; in that case nothing is cancelled. */
    pull_destroy(&x->answer.pull);
    let_go(x);
    answer_clear(&x->answer);
    if (x->is_held)
        holders_give(x->b->holders, token_owner(x->token));
    token_drop(&x->token);
    buf_wipe(&x->body);
    jv_wipe(x->json);
    if (x->params)
        explicit_bzero(x->params, strlen(x->params));
    free(x->params);
    free(x);
}
