/*
 * exchange.c - one request from its head to its answer, and the order of checks:
 * gate, path, method, token, ability, rate, length, type, JSON, fields, company;
 * what comes after is a dispatcher's.
 *
 * What the head alone tells is checked before the body is taken, so that an
 * unknown client never makes us hold one. A refusal waits until the body was
 * read (and thrown away) unless the body is huge or the client waits for our
 * word: a connection that is closed under a sender loses the answer. Must never
 * answer twice, nor keep params longer than the exchange.
 */
#include "broker/broker.h"

#include "broker/params.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DISCARD_BYTES_MAX (8 * 1024 * 1024) /* beyond the limit */
#define SLOW_MS 2000
#define LOG_LINES_MAX 100 /* a second */

/* ---- the head --------------------------------------------------------------------------------------------------
 */

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
    x->target_len = len;
    memcpy(x->target, target, len + 1);
    snprintf(x->peer, sizeof x->peer, "%s", peer);
    stat_inc(http_requests_total);
    return x;
}

static void header_take(struct exchange *x, const char *name, const char *value)
{
    uint64_t ms;
    if (strcasecmp(name, "Authorization") == 0) {
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
        x->is_preferring |= prefers(value, "respond-async") || prefers(value, "wait");
    } else if (strcasecmp(name, "Idempotency-Key") == 0) {
        x->is_keyed = true;
    } else if (strcasecmp(name, "Cookie") == 0) {
        x->cookie = value;
    } else if (strcasecmp(name, "Origin") == 0) {
        x->origin = value;
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
        x->framing.is_chunked; /* the library reads chunked bodies leniently: nothing may follow one */
    return has_body(x) ? exchange_step(x) : EXCHANGE_MORE;
}

static void path_find(struct exchange *x)
{
    char allow[ROUTE_ALLOW_BYTES];
    struct str arg;
    char *mark = strchr(x->target, '?');
    if (mark) {
        *mark = '\0';
        x->query = mark + 1;
    }
    switch (route_find(x->listener, x->method, x->target, &x->route, &arg, allow)) {
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
    }
}

static void verdict_late(void *arg)
{
    struct exchange *x = arg;
    auth_leave(x);
    stat_inc(deadline_exceeded_total);
    exchange_verified(x, ERR_DEADLINE_EXCEEDED);
}

/* false: answered, or the verdict is awaited. */
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

bool exchange_count(struct exchange *x)
{
    uint64_t now = loop_now_ms(x->b->loop);
    if (ratelimit_take(x->b->ratelimit, x->token->id, x->token->rate_per_minute, now, &x->rate))
        return true;
    uint64_t wait_s = (x->rate.left_ms + 999) / 1000;
    stat_inc(rate_limited_total);
    reply_header(x, "Retry-After", "%llu", (unsigned long long)wait_s);
    reply_header(x, "X-RateLimit-Reset", "%lld",
                 (long long)((clock_unix_ms() + (int64_t)x->rate.left_ms + 999) / 1000));
    reply_error(x, ERR_RATE_LIMITED, NULL, NULL);
    return false;
}

/* What is known without the body; false: answered, or waiting. */
static bool head_check(struct exchange *x)
{
    const struct conf *conf = x->b->conf;
    if (!x->route) {
        path_find(x);
        if (!x->route)
            return false;
    }
    if (x->b->is_draining && x->route->ability != ABILITY_NONE) {
        reply_error(x, ERR_NO_DISPATCHER, "This broker is stopping.", NULL);
        return false;
    }
    bool is_by_cookie = x->listener == LISTENER_OPS && !x->authorization && x->route->ability != ABILITY_NONE;
    if (is_by_cookie && strcmp(x->route->method, "GET") != 0 && x->cookie && !web_is_same_origin(x)) {
        reply_error(x, ERR_FORBIDDEN, "This request does not come from the dashboard's own page.", NULL);
        return false;
    }
    if (x->route->ability != ABILITY_NONE) {
        if (!token_check(x))
            return false;
        x->rate =
            ratelimit_look(x->b->ratelimit, x->token->id, x->token->rate_per_minute, loop_now_ms(x->b->loop));
        if (!(x->token->abilities & x->route->ability) ||
            (x->listener == LISTENER_OPS && !x->token->all_companies)) {
            reply_error(x, ERR_FORBIDDEN, NULL, NULL);
            return false;
        }
        if (x->route->counts == COUNT_YES && !exchange_count(x))
            return false;
    }
    if (x->framing.content_length > (uint64_t)conf->limit_json_body_bytes) {
        reply_error(x, ERR_PAYLOAD_TOO_LARGE, NULL, NULL);
        return false;
    }
    bool is_typed = x->route->takes == TAKES_JSON || (x->route->takes == TAKES_JSON_OR_NOTHING && has_body(x));
    if (is_typed && !is_json_type(x->content_type)) {
        reply_error(x, ERR_UNSUPPORTED_MEDIA_TYPE, NULL, NULL);
        return false;
    }
    x->is_checked = true;
    return true;
}

/* ---- the body --------------------------------------------------------------------------------------------------
 */

enum exchange_next exchange_body(struct exchange *x, const char *data, size_t len)
{
    uint64_t limit = (uint64_t)x->b->conf->limit_json_body_bytes;
    x->body_bytes += len;
    if (x->body_bytes > limit + DISCARD_BYTES_MAX)
        return EXCHANGE_CUT;
    if (x->is_discarding)
        return EXCHANGE_MORE;
    if (x->body_bytes > limit) {
        buf_wipe(&x->body);
        reply_error(x, ERR_PAYLOAD_TOO_LARGE, NULL, NULL);
        x->is_discarding = true;
    } else if (x->route->takes != TAKES_NOTHING) {
        if (!x->body.data) /* at once, so that no copy of it stays behind in freed memory */
            buf_room(&x->body, x->framing.is_chunked ? (size_t)limit : (size_t)x->framing.content_length);
        buf_add(&x->body, data, len);
    }
    return EXCHANGE_MORE;
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
    case JV_RANGE:
        break;
    }
    return "The body is not JSON.";
}

/* false: answered. */
static bool body_read(struct exchange *x)
{
    enum jv_bad why;
    bool is_wanted = x->route->takes == TAKES_JSON || (x->route->takes == TAKES_JSON_OR_NOTHING && x->body.len);
    if (!is_wanted || x->json)
        return true;
    x->json = jv_parse(x->body.data ? x->body.data : "", x->body.len, &why);
    buf_wipe(&x->body);
    if (jv_type(x->json) == JV_OBJECT)
        return true;
    if (why == JV_NUL || why == JV_RANGE) {
        struct jv *errors = NULL;
        errors_add(&errors, "body", why == JV_NUL ? "a text holds \\u0000" : "a number is out of range");
        exchange_fields(x, errors);
    } else {
        reply_error(x, ERR_BAD_REQUEST, json_wrong(why), NULL);
    }
    return false;
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

bool exchange_company(struct exchange *x, uint64_t company_id)
{
    if (token_may_see(x->token, company_id))
        return true;
    reply_error(x, ERR_COMPANY_FORBIDDEN, NULL, NULL);
    return false;
}

/* ---- asking a dispatcher ---------------------------------------------------------------------------------------
 */

/* Goes on by itself when it is not in the middle of a step. */
static void answered(struct exchange *x)
{
    if (x->is_parked)
        http_resume(x);
}

static void asked_replied(void *arg, const struct msg_REPLY *m, struct str payload)
{
    reply_take(arg, m, payload);
    answered(arg);
}

static void asked_head(void *arg, const struct msg_REPLY_HEAD *m)
{
    reply_stream(arg, m);
    answered(arg);
}

/* What was committed is named, so that its outcome can be asked for. */
static void asked_failed(void *arg, enum err e)
{
    struct exchange *x = arg;
    struct jv *extra = NULL;
    if (x->flight.job_id) {
        extra = jv_new_object();
        jv_set_int(extra, "job_id", (int64_t)x->flight.job_id);
        jv_set_str(extra, "job_uid", x->job_uid);
    }
    reply_error(x, e, NULL, extra);
    answered(x);
}

static const struct flight_user asker = {.reply = asked_replied, .head = asked_head, .failed = asked_failed};

void exchange_ask(struct exchange *x, enum op op, uint64_t fair_key)
{
    struct msg_REQUEST *r = &x->flight.request;
    r->request_id = str_of(x->request_id);
    r->traceparent = str_of(x->traceparent);
    r->token_id = x->token->id;
    r->token_name = str_of(x->token->name);
    r->peer = str_of(x->peer);
    r->all_companies = x->token->all_companies;
    if (!r->all_companies)
        r->companies = (struct u64s){x->token->companies, x->token->n_companies};
    x->flight.user = &asker;
    x->flight.arg = x;
    x->flight.op = op;
    x->flight.fair_key = fair_key;
    x->flight.deadline_at_ms = x->deadline_at_ms;
    flight_start(x->b, &x->flight);
}

void exchange_verified(struct exchange *x, enum err e)
{
    loop_timer_stop(x->b->loop, &x->timer);
    if (x->phase == PHASE_ASKED)
        x->phase = PHASE_BODY; /* its handler asked, and is called again */
    if (e)
        reply_error(x, e, NULL, NULL);
    answered(x);
}

/* ---- the whole -------------------------------------------------------------------------------------------------
 */

/* A line for each that failed or was slow, but no flood of them. */
static void answer_log(struct exchange *x, uint64_t ms)
{
    struct broker *b = x->b;
    unsigned status = x->answer.status;
    bool is_api = x->route && x->route->ability != ABILITY_NONE;
    bool is_failed = is_api && status >= 500 && status != 501;
    bool is_slow = is_api && ms >= SLOW_MS && x->flight.op != OP_EXECUTE_LOGIN;
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
        log_line(level, "answered", "request", x->request_id, "route", x->route ? x->route->path : "-", "status",
                 log_i(status), "ms", log_i((long long)ms), "job", log_i((long long)x->flight.job_id), NULL);
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
    if (x->b->is_draining)
        x->answer.is_close = true;
    answer_log(x, loop_now_ms(x->b->loop) - x->arrived_ms);
}

static bool may_discard(const struct exchange *x)
{
    return !x->is_expecting &&
           x->framing.content_length <= (uint64_t)x->b->conf->limit_json_body_bytes + DISCARD_BYTES_MAX;
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
    if (!is_whole) {
        x->is_discarding = x->answer.status != 0;
        x->phase = PHASE_BODY;
        if (!x->is_discarding || may_discard(x))
            return EXCHANGE_MORE;
        x->answer.is_close = true;
    } else if (!x->answer.status && x->phase != PHASE_ASKED) {
        x->phase = PHASE_ASKED;
        if (body_read(x))
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

/* Nothing of it may call back any more. */
static void let_go(struct exchange *x)
{
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

void exchange_end(struct exchange *x)
{
    stream_destroy(&x->answer.stream); /* first: it knows whether all of it came, and then nothing is cancelled */
    let_go(x);
    answer_clear(&x->answer);
    token_drop(&x->token);
    buf_wipe(&x->body);
    jv_wipe(x->json);
    if (x->params)
        explicit_bzero(x->params, strlen(x->params));
    free(x->params);
    free(x);
}
