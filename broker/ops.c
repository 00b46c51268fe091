/* SPDX-License-Identifier: MIT */
/*
 * ops.c - the operators' listener: the broker's own data, and the operators' ops for a dispatcher. healthz, readyz
 * and metrics need no token, because the listener is not public.
 */
#include "broker/auth.h"
#include "broker/exchange.h"
#include "broker/feed.h"
#include "broker/flight.h"
#include "broker/http.h"
#include "broker/params.h"
#include "broker/params_token.h"
#include "broker/peer.h"
#include "broker/reply.h"
#include "broker/stats.h"
#include "broker/summary.h"
#include "broker/token_use.h"
#include "broker/trend.h"

#include "common/clock.h"
#include <string.h>

#define KEY_OF_OPERATORS UINT64_MAX /* all operators share the turn of one company */

void ops_healthz(struct exchange *x)
{
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    reply_jv(x, 200, body);
}

void ops_readyz(struct exchange *x)
{
    struct jv *body = jv_new_object();
    const char *why = NULL, *reason = NULL;
    char words[300];
    if (x->b->is_stopping) {
        reason = why = "stopping";
    } else if (!http_is_open(x->b->http)) {
        reason = why = "starting";
    } else if (!peers_ready(x->b)) {
        bool is_there = peers_hopeful(x->b),
             is_read_only = strcmp(peers_database_why(x->b, words, sizeof words), "read_only") == 0;
        why = !is_there ? "no_dispatcher" : is_read_only ? "database_read_only" : "database_unavailable";
        reason = !is_there ? "no dispatcher is connected" : *words ? words : "no dispatcher has a database";
    }
    jv_set_bool(body, "ok", !why);
    if (why) {
        jv_set_str(body, "why", why);
        jv_set_str(body, "reason", reason); /* for people */
    }
    reply_jv(x, why ? 503 : 200, body);
}

void ops_metrics(struct exchange *x)
{
    struct buf text = {0};
    stats_metrics(x->b, &text);
    reply_text(x, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
}

/* Reads a query of one flag, 0 or 1. Returns false when x was answered. */
static bool flag_take(struct exchange *x, const char *name, bool *flag)
{
    struct query q;
    struct jv *errors = NULL;
    query_parse(&q, x->query, &errors);
    const struct str *value = query_get(&q, name);
    if (value && !str_is(*value, "0") && !str_is(*value, "1"))
        errors_add(&errors, name, "must be 0 or 1");
    else if (value)
        *flag = str_is(*value, "1");
    return exchange_fields(x, errors);
}

void ops_stats(struct exchange *x)
{
    bool with_history = true;
    if (!flag_take(x, "history", &with_history))
        return;
    struct jv *body = stats_jv(x->b, with_history ? TREND_POINTS : 0);
    struct buf text = {0};
    summary_watched(x->b);
    text.data = jv_dump_measured(body, &text.len);
    jv_free(body);
    reply_text(x, 200, "application/json", &text);
}

void ops_dispatchers(struct exchange *x)
{
    if (!exchange_fields(x, NULL))
        return;
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    jv_set(body, "dispatchers", peers_jv(x->b));
    reply_jv(x, 200, body);
}

void ops_token_use(struct exchange *x)
{
    if (!exchange_fields(x, NULL))
        return;
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    jv_set(body, "tokens", token_use_jv(x->b->token_use));
    reply_jv(x, 200, body);
}

static void ask_plain(struct exchange *x, enum op op)
{
    if (exchange_fields(x, NULL))
        exchange_ask(x, op, KEY_OF_OPERATORS);
}

void ops_workers(struct exchange *x)
{
    ask_plain(x, OP_OPS_WORKERS);
}

void ops_doctor(struct exchange *x)
{
    ask_plain(x, OP_OPS_DOCTOR);
}

void ops_portals(struct exchange *x)
{
    ask_plain(x, OP_OPS_PORTALS);
}

void ops_queue(struct exchange *x)
{
    ask_plain(x, OP_OPS_QUEUE);
}

void ops_events(struct exchange *x)
{
    bool is_counting = true;
    if (flag_take(x, "stats", &is_counting))
        feed_follow(x, is_counting);
}

static void ask_list(struct exchange *x, params_fn *params, enum op op)
{
    if (exchange_query(x, params))
        exchange_ask(x, op, KEY_OF_OPERATORS);
}

void ops_sessions(struct exchange *x)
{
    ask_list(x, params_ops_sessions, OP_OPS_SESSIONS);
}

void ops_jobs(struct exchange *x)
{
    ask_list(x, params_ops_jobs, OP_OPS_JOBS);
}

void ops_batches(struct exchange *x)
{
    ask_list(x, params_batches, OP_OPS_BATCHES);
}

void ops_audit(struct exchange *x)
{
    ask_list(x, params_audit, OP_OPS_AUDIT);
}

void ops_history(struct exchange *x)
{
    ask_list(x, params_history, OP_OPS_HISTORY);
}

void ops_errors(struct exchange *x)
{
    ask_list(x, params_errors, OP_OPS_ERRORS);
}

/* Returns false when x was answered. *part = the path's variable part, decoded in place. */
static bool part_and_reason(struct exchange *x, struct str *part)
{
    char *at = x->target + (x->arg.p - x->target);
    struct jv *errors = NULL;
    *part = (struct str){at, (uint32_t)escapes_decode(at, x->arg.len, false)};
    params_reason(x->json, &x->flight.request, &errors);
    return exchange_fields(x, errors);
}

static void ask_worker(struct exchange *x, const char *state)
{
    struct str name;
    struct jv *errors = NULL;
    params_drain(x->json, &x->flight.request, &errors);
    if (!exchange_fields(x, errors) || !part_and_reason(x, &name))
        return;
    x->flight.request.worker = name;
    x->flight.request.state = str_of(state);
    if (worker_name_ok(name))
        exchange_ask(x, OP_OPS_WORKER_WANT, KEY_OF_OPERATORS);
    else
        reply_error(x, ERR_NOT_FOUND, "There is no such worker.", NULL);
}

void ops_worker_drain(struct exchange *x)
{
    ask_worker(x, "draining");
}

void ops_worker_resume(struct exchange *x)
{
    ask_worker(x, "active");
}

static void ask_session(struct exchange *x, enum op op)
{
    struct str id;
    if (!part_and_reason(x, &id))
        return;
    x->flight.request.session_id = id;
    if (session_id_ok(id))
        exchange_ask(x, op, KEY_OF_OPERATORS);
    else
        reply_error(x, ERR_SESSION_NOT_FOUND, NULL, NULL);
}

void ops_session_close(struct exchange *x)
{
    ask_session(x, OP_OPS_SESSION_CLOSE);
}

void ops_session_migrate(struct exchange *x)
{
    ask_session(x, OP_OPS_SESSION_MIGRATE);
}

static void ask_job(struct exchange *x, enum op op)
{
    struct str id;
    if (!part_and_reason(x, &id))
        return;
    if (id.len < sizeof x->job_uid && id_job_uid_ok(id.p, id.len)) {
        x->flight.request.job_uid = id;
    } else if (!decimal_read(id, 1, &x->flight.request.job_id)) {
        reply_error(x, ERR_JOB_NOT_FOUND, NULL, NULL);
        return;
    }
    exchange_ask(x, op, KEY_OF_OPERATORS);
}

void ops_job_get(struct exchange *x)
{
    ask_job(x, OP_OPS_JOB_GET);
}

void ops_job_why(struct exchange *x)
{
    ask_job(x, OP_OPS_JOB_WHY);
}

void ops_job_retry(struct exchange *x)
{
    ask_job(x, OP_OPS_JOB_RETRY);
}

void ops_job_cancel(struct exchange *x)
{
    ask_job(x, OP_OPS_JOB_CANCEL);
}

void ops_batch_priority(struct exchange *x)
{
    struct str id;
    struct jv *errors = NULL;
    params_priority(x->json, &x->flight.request, &errors);
    if (!exchange_fields(x, errors) || !part_and_reason(x, &id))
        return;
    if (decimal_read(id, 1, &x->flight.request.batch_id))
        exchange_ask(x, OP_OPS_BATCH_PRIORITY, KEY_OF_OPERATORS);
    else
        reply_error(x, ERR_BATCH_NOT_FOUND, NULL, NULL);
}

void ops_company(struct exchange *x)
{
    struct str id;
    if (!part_and_reason(x, &id))
        return;
    if (decimal_read(id, 1, &x->flight.request.company_id))
        exchange_ask(x, OP_OPS_COMPANY, KEY_OF_OPERATORS);
    else
        reply_error(x, ERR_NOT_FOUND, "A company is a number from 1 on.", NULL);
}

void ops_jobs_bulk(struct exchange *x)
{
    struct jv *errors = NULL;
    bool is_preview;
    params_bulk(x->json, &x->flight.request, &is_preview, &errors);
    if (exchange_fields(x, errors))
        exchange_ask(x, is_preview ? OP_OPS_JOBS_COUNT : OP_OPS_JOBS_BULK, KEY_OF_OPERATORS);
}

void ops_batch_cancel(struct exchange *x)
{
    struct str id;
    if (!part_and_reason(x, &id))
        return;
    if (decimal_read(id, 1, &x->flight.request.batch_id))
        exchange_ask(x, OP_BATCH_CANCEL, KEY_OF_OPERATORS);
    else
        reply_error(x, ERR_BATCH_NOT_FOUND, NULL, NULL);
}

void ops_queue_pause(struct exchange *x)
{
    struct jv *errors = NULL;
    params_pause(x->json, clock_unix_ms(), &x->flight.request, &errors);
    params_scope(x->json, &x->flight.request, &errors);
    if (exchange_fields(x, errors))
        exchange_ask(x, OP_OPS_QUEUE_PAUSE, KEY_OF_OPERATORS);
}

void ops_queue_resume(struct exchange *x)
{
    struct jv *errors = NULL;
    params_reason(x->json, &x->flight.request, &errors);
    params_scope(x->json, &x->flight.request, &errors);
    if (exchange_fields(x, errors))
        exchange_ask(x, OP_OPS_QUEUE_RESUME, KEY_OF_OPERATORS);
}

/* ---- tokens ------------------------------------------------------------------------------------------------- */

void ops_tokens(struct exchange *x)
{
    ask_list(x, query_page, OP_OPS_TOKENS);
}

void ops_token_create(struct exchange *x)
{
    struct jv *errors = NULL, *token = params_token(x->json, clock_unix_ms(), &errors);
    size_t len;
    params_reason(x->json, &x->flight.request, &errors);
    x->params = jv_dump(token, &len);
    x->flight.payload = (struct str){x->params, (uint32_t)len};
    jv_free(token);
    if (exchange_fields(x, errors))
        exchange_ask(x, OP_OPS_TOKEN_CREATE, KEY_OF_OPERATORS);
}

void ops_token_revoke(struct exchange *x)
{
    struct str id;
    if (!part_and_reason(x, &id))
        return;
    if (decimal_read(id, 1, &x->flight.request.index))
        exchange_ask(x, OP_OPS_TOKEN_REVOKE, KEY_OF_OPERATORS);
    else
        reply_error(x, ERR_NOT_FOUND, "There is no such token.", NULL);
}

/* ---- batches, and the schedules that make them -------------------------------------------------------------- */

static void ask_batch(struct exchange *x, enum op op)
{
    if (decimal_read(x->arg, 1, &x->flight.request.batch_id))
        exchange_ask(x, op, KEY_OF_OPERATORS);
    else
        reply_error(x, ERR_BATCH_NOT_FOUND, NULL, NULL);
}

void ops_batch_get(struct exchange *x)
{
    if (flag_take(x, "course", &x->flight.request.course))
        ask_batch(x, OP_BATCH_GET);
}

void ops_batch_items(struct exchange *x)
{
    if (exchange_query(x, params_items))
        ask_batch(x, OP_BATCH_ITEMS);
}

void ops_schedules(struct exchange *x)
{
    ask_plain(x, OP_OPS_SCHEDULES);
}

static void ask_schedule(struct exchange *x, const char *state)
{
    struct str name;
    if (!part_and_reason(x, &name))
        return;
    x->flight.request.name = name;
    x->flight.request.state = str_of(state);
    if (worker_name_ok(name))
        exchange_ask(x, OP_OPS_SCHEDULE_SET, KEY_OF_OPERATORS);
    else
        reply_error(x, ERR_NOT_FOUND, "There is no such schedule.", NULL);
}

void ops_schedule_run(struct exchange *x)
{
    ask_schedule(x, "run");
}

void ops_schedule_enable(struct exchange *x)
{
    ask_schedule(x, "enabled");
}

void ops_schedule_disable(struct exchange *x)
{
    ask_schedule(x, "disabled");
}

/* ---- credentials that were refused -------------------------------------------------------------------------- */

void ops_refused(struct exchange *x)
{
    ask_list(x, params_refused, OP_OPS_REFUSED);
}

void ops_refused_lift(struct exchange *x)
{
    struct jv *errors = NULL;
    params_whose(x->json, NULL, &x->flight.request, &errors);
    params_reason(x->json, &x->flight.request, &errors);
    if (exchange_fields(x, errors))
        exchange_ask(x, OP_OPS_REFUSED_LIFT, KEY_OF_OPERATORS);
}
