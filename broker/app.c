/* SPDX-License-Identifier: MIT */
/*
 * app.c - the app API: the fields that each route takes, and its op for a dispatcher. When these functions are
 * called the token is verified and the body read. Each either asks a dispatcher or answers.
 */
#include "broker/auth.h"
#include "broker/exchange.h"
#include "broker/flight.h"
#include "broker/params.h"
#include "broker/params_token.h"
#include "broker/progress.h"
#include "broker/reply.h"
#include "broker/route.h"

#include "common/clock.h"
#include <inttypes.h>
#include <string.h>

#define LOGIN_GRACE_MS 1000 /* beyond the action's limit: the dispatcher's own outcome comes first */
#define DEADLINE_MAX_MS 600000

/* Only dispatchers know a session's company, so requests about sessions take turns by token. */
uint64_t key_of_token(const struct exchange *x)
{
    return x->token->id | 1ull << 63;
}

void app_list(struct exchange *x)
{
    if (exchange_query(x, params_list))
        exchange_ask(x, OP_BUZON_LIST, key_of_token(x));
}

void app_download(struct exchange *x)
{
    if (exchange_query(x, params_download))
        exchange_ask(x, OP_BUZON_DOWNLOAD, key_of_token(x));
}

void app_session_active(struct exchange *x)
{
    if (exchange_query(x, params_active) && exchange_company(x, x->flight.request.company_id))
        exchange_ask(x, OP_SESSION_ACTIVE, x->flight.request.company_id);
}

/* Reads the path's variable part, decoded in place. */
static struct str path_part(struct exchange *x)
{
    char *at = x->target + (x->arg.p - x->target);
    return (struct str){at, (uint32_t)escapes_decode(at, x->arg.len, false)};
}

static void ask_session(struct exchange *x, enum op op)
{
    struct str id = path_part(x);
    if (!exchange_query(x, NULL))
        return;
    x->flight.request.session_id = id;
    if (session_id_ok(id))
        exchange_ask(x, op, key_of_token(x));
    else
        reply_error(x, ERR_SESSION_NOT_FOUND, NULL, NULL);
}

void app_session_get(struct exchange *x)
{
    ask_session(x, OP_SESSION_GET);
}

void app_session_close(struct exchange *x)
{
    ask_session(x, OP_SESSION_CLOSE);
}

void app_session_touch(struct exchange *x)
{
    ask_session(x, OP_SESSION_TOUCH);
}

/* ---- stored credentials ------------------------------------------------------------------------------------- */

#define CREDENTIALS_BYTES_MAX 16384

void app_credentials_set(struct exchange *x)
{
    struct msg_REQUEST *r = &x->flight.request;
    struct jv *errors = NULL;
    struct query q;
    size_t len = 0;
    if (!exchange_count_new(x))
        return;
    query_parse(&q, x->query, &errors);
    params_whose(x->json, NULL, r, &errors);
    params_credentials(x->json, &errors);
    if (!errors) {
        x->params = jv_dump(jv_get(x->json, "credentials"), &len);
        x->flight.payload = (struct str){x->params, (uint32_t)len};
    }
    if (len > CREDENTIALS_BYTES_MAX)
        errors_add(&errors, "credentials", "is longer than 16 KiB");
    if (exchange_fields(x, errors) && exchange_company(x, r->company_id))
        exchange_ask(x, OP_CREDENTIALS_SET, r->company_id);
}

void app_credentials_remove(struct exchange *x)
{
    struct msg_REQUEST *r = &x->flight.request;
    struct jv *errors = NULL;
    struct query q;
    query_parse(&q, x->query, &errors);
    params_whose(x->json, &q, r, &errors);
    if (exchange_fields(x, errors) && exchange_company(x, r->company_id))
        exchange_ask(x, OP_CREDENTIALS_REMOVE, r->company_id);
}

/* ---- jobs --------------------------------------------------------------------------------------------------- */

static void ask_job(struct exchange *x, enum op op)
{
    struct str id = path_part(x);
    if (!exchange_query(x, NULL))
        return;
    if (id.len < sizeof x->job_uid && id_job_uid_ok(id.p, id.len)) {
        x->flight.request.job_uid = id;
    } else if (!decimal_read(id, 1, &x->flight.request.job_id)) {
        reply_error(x, ERR_JOB_NOT_FOUND, NULL, NULL);
        return;
    }
    exchange_ask(x, op, key_of_token(x));
}

void app_job_get(struct exchange *x)
{
    ask_job(x, OP_JOB_GET);
}

void app_job_cancel(struct exchange *x)
{
    ask_job(x, OP_JOB_CANCEL);
}

void app_jobs(struct exchange *x)
{
    if (!exchange_query(x, params_jobs))
        return;
    if (!x->flight.request.company_id || exchange_company(x, x->flight.request.company_id))
        exchange_ask(x, OP_JOBS, key_of_token(x));
}

/* Uses the action's own limit when the caller sets none. */
static void deadline_of_action(struct exchange *x, const struct action *action)
{
    uint64_t limit_ms = (uint64_t)action->timeout_ms + LOGIN_GRACE_MS;
    if (!x->deadline)
        x->deadline_at_ms = x->arrived_ms + (limit_ms < DEADLINE_MAX_MS ? limit_ms : DEADLINE_MAX_MS);
}

/* Sets the headers of a 202: the job, and which preferences of Prefer were applied. */
static void queued_headers(struct exchange *x, int64_t job_id)
{
    const struct prefer *p = &x->prefer;
    if (job_id > 0)
        reply_header(x, "Location", "/api/v1/app/jobs/%" PRId64, job_id);
    if (p->has_wait)
        reply_header(x, "Preference-Applied", "%swait=%" PRIu64, p->is_async ? "respond-async, " : "", p->wait_s);
    else
        reply_header(x, "Preference-Applied", "respond-async");
}

static void queued_replied(struct exchange *x, const struct msg_REPLY *m, struct str payload)
{
    enum jv_bad why;
    int64_t job_id = 0;
    reply_take(x, m, payload);
    if (x->answer.status == 202) {
        struct jv *v = jv_parse(payload.p, payload.len, &why);
        jv_int(jv_get(v, "job_id"), &job_id);
        jv_free(v);
        queued_headers(x, job_id);
    } else if (x->answer.status == 200 && x->prefer.has_wait) {
        reply_header(x, "Preference-Applied", "wait=%" PRIu64, x->prefer.wait_s);
    }
}

/* An accepted job runs to its end, whether or not its client waits. */
static void queued_failed(struct exchange *x, enum err e)
{
    struct jv *body = exchange_job(x);
    if (!body) {
        reply_error(x, e, NULL, NULL);
        return;
    }
    jv_set_bool(body, "ok", true);
    jv_set_str(body, "status", "queued");
    reply_jv(x, 202, body);
    queued_headers(x, (int64_t)x->flight.job_id);
}

/* The job is kept whether or not the client waits. The client waits for the job's outcome, for as long as it
 * prefers. */
static void ask_queued(struct exchange *x)
{
    struct msg_REQUEST *r = &x->flight.request;
    uint64_t until_ms = x->arrived_ms + x->prefer.wait_s * 1000;
    r->wait_ms = x->prefer.wait_s * 1000;
    if (r->wait_ms && (!x->deadline || until_ms < x->deadline_at_ms))
        x->deadline_at_ms = until_ms;
    x->take = queued_replied;
    x->fail = queued_failed;
    exchange_ask(x, OP_EXECUTE_QUEUED, r->company_id);
}

/* Reads Prefer, Idempotency-Key and available_at. */
static bool execute_ways(struct exchange *x, bool is_login, bool is_queued, struct jv *errors)
{
    struct msg_REQUEST *r = &x->flight.request;
    enum jv_type at = jv_type(jv_get(x->json, "available_at"));
    if (is_login && x->prefer.is_bad)
        errors_add(&errors, "Prefer", "wait must be an integer of 0 to 120");
    params_available(x->json, clock_unix_ms(), r, &errors);
    if (at != JV_ABSENT && at != JV_NULL && !is_queued)
        errors_add(&errors, "available_at", "goes only with a log-in and Prefer: respond-async or wait");
    r->idempotency_key = exchange_key(x, &errors);
    if (x->key)
        r->body_digest = (struct str){(const char *)x->body_digest, sizeof x->body_digest};
    return exchange_fields(x, errors);
}

void app_execute(struct exchange *x)
{
    struct msg_REQUEST *r = &x->flight.request;
    const struct action *action;
    struct jv *errors = NULL;
    struct query q;
    enum jv_type session = jv_type(jv_get(x->json, "session_id"));
    if (!exchange_count_new(x) || (session != JV_ABSENT && session != JV_NULL && !exchange_count(x)))
        return;
    query_parse(&q, x->query, &errors);
    params_execute(x->json, &x->b->conf->actions, r, &action, &errors);
    bool is_login = action && action->session == ACTION_CREATE;
    bool is_queued = is_login && (x->prefer.is_async || x->prefer.has_wait);
    if (!execute_ways(x, is_login, is_queued, errors) || !exchange_company(x, r->company_id))
        return;
    const struct jv *params = jv_get(x->json, "params");
    if (jv_type(params) == JV_OBJECT) {
        size_t len;
        x->params = jv_dump(params, &len);
        x->flight.payload = (struct str){x->params, (uint32_t)len};
        if (len > REQUEST_PAYLOAD_MAX) {
            reply_error(x, ERR_PAYLOAD_TOO_LARGE, "params is larger than allowed.", NULL);
            return;
        }
    }
    id_job_uid(x->job_uid);
    r->job_uid = str_of(x->job_uid);
    if (is_queued) {
        ask_queued(x);
        return;
    }
    deadline_of_action(x, action);
    exchange_ask(x, is_login ? OP_EXECUTE_LOGIN : OP_EXECUTE_ACTION, r->company_id);
}

/* ---- batches ------------------------------------------------------------------------------------------------ */

/* Returns false when x has been answered. */
static bool batch_id(struct exchange *x, params_fn *params)
{
    struct str id = path_part(x);
    if (!exchange_query(x, params))
        return false;
    if (decimal_read(id, 1, &x->flight.request.batch_id))
        return true;
    reply_error(x, ERR_BATCH_NOT_FOUND, NULL, NULL);
    return false;
}

void app_batch_get(struct exchange *x)
{
    if (batch_id(x, NULL))
        exchange_ask(x, OP_BATCH_GET, key_of_token(x));
}

void app_batch_cancel(struct exchange *x)
{
    if (batch_id(x, NULL))
        exchange_ask(x, OP_BATCH_CANCEL, key_of_token(x));
}

void app_batch_items(struct exchange *x)
{
    if (batch_id(x, params_items))
        exchange_ask(x, OP_BATCH_ITEMS, key_of_token(x));
}

void app_batch_results(struct exchange *x)
{
    if (batch_id(x, params_results))
        exchange_ask(x, OP_BATCH_RESULTS, key_of_token(x));
}

/* batches/{}/items/{}/results */
void app_item_results(struct exchange *x)
{
    static const char between[] = "/items/";
    struct msg_REQUEST *r = &x->flight.request;
    char *at = x->target + (x->arg.p - x->target), *index = strstr(at, between);
    uint32_t len = x->arg.len;
    x->arg.len = (uint32_t)(index - at);
    index += sizeof between - 1;
    struct str number = {index, (uint32_t)(at + len - index)};
    if (!batch_id(x, NULL))
        return;
    r->one = true;
    if (decimal_read(number, 0, &r->index))
        exchange_ask(x, OP_BATCH_RESULTS, key_of_token(x));
    else
        reply_error(x, ERR_NOT_FOUND, "The batch has no such item.", NULL);
}

/* The first answer admits the client, and is the first state it sees. */
void app_batch_events(struct exchange *x)
{
    x->take = progress_follow;
    if (batch_id(x, NULL))
        exchange_ask(x, OP_BATCH_GET, key_of_token(x));
}
