/*
 * ops.c - the operators' listener: what the broker knows by itself, and the
 * operators' ops for a dispatcher. healthz, readyz and metrics need no token:
 * the listener is not for the public.
 */
#include "broker/broker.h"

#include "broker/params.h"
#include <stdlib.h>
#include <string.h>

#define KEY_OF_OPERATORS UINT64_MAX /* all of them take one company's turn */

void ops_healthz(struct exchange *x)
{
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    reply_jv(x, 200, body);
}

void ops_readyz(struct exchange *x)
{
    struct jv *body = jv_new_object();
    const char *reason = NULL;
    if (x->b->is_draining)
        reason = "stopping";
    else if (!peers_ready(x->b))
        reason = peers_hopeful(x->b) ? "no dispatcher has a database" : "no dispatcher is connected";
    jv_set_bool(body, "ok", !reason);
    if (reason)
        jv_set_str(body, "reason", reason);
    reply_jv(x, reason ? 503 : 200, body);
}

void ops_metrics(struct exchange *x)
{
    struct buf text = {0};
    stats_metrics(x->b, &text);
    reply_text(x, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
}

void ops_dashboard(struct exchange *x)
{
    struct buf text = {0};
    buf_adds(&text, "Chasqui: the dashboard is not built yet; see /metrics and /api/v1/ops/stats.\n");
    reply_text(x, 501, "text/plain; charset=utf-8", &text);
}

void ops_stats(struct exchange *x)
{
    struct query q;
    struct jv *errors = NULL;
    query_parse(&q, x->query, &errors);
    const struct str *history = query_get(&q, "history");
    if (history && !str_is(*history, "0") && !str_is(*history, "1"))
        errors_add(&errors, "history", "must be 0 or 1");
    if (!exchange_fields(x, errors))
        return;
    struct jv *body = stats_jv(x->b, history && str_is(*history, "0") ? 0 : TREND_POINTS);
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

void ops_sessions(struct exchange *x)
{
    struct query q;
    struct jv *errors = NULL;
    query_parse(&q, x->query, &errors);
    params_ops_sessions(&q, &x->flight.request, &errors);
    if (exchange_fields(x, errors))
        exchange_ask(x, OP_OPS_SESSIONS, KEY_OF_OPERATORS);
}

/* false: answered. *part = the path's variable part, decoded in place. */
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
    if (!part_and_reason(x, &name))
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
