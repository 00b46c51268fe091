/*
 * ops.c - the operators' listener: what the broker knows by itself, and the
 * operators' ops for a dispatcher. healthz, readyz and metrics need no token:
 * the listener is not for the public.
 */
#include "broker/broker.h"

#include "broker/params.h"
#include "common/check.h"
#include <stdlib.h>
#include <string.h>

#define SOURCES_MAX 200
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
    struct stat_source *sources = xcalloc(SOURCES_MAX, sizeof *sources);
    struct buf text = {0};
    unsigned n = 0;
    flights_stats(x->b);
    http_stats(x->b->http);
    sources[n++] = (struct stat_source){STAT_BROKER, "broker", x->b->name, stat_value};
    n += peers_sources(x->b, sources + n, SOURCES_MAX - n);
    n += health_sources(x->b, sources + n, SOURCES_MAX - n);
    stat_prometheus(&text, sources, n);
    health_metrics(x->b, &text);
    free(sources);
    reply_text(x, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
}

void ops_stats(struct exchange *x)
{
    if (!exchange_fields(x, NULL))
        return;
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    jv_set_str(body, "broker", x->b->name);
    jv_set_int(body, "uptime_s", (int64_t)((loop_now_ms(x->b->loop) - x->b->started_ms) / 1000));
    jv_set_bool(body, "ready", peers_ready(x->b));
    jv_set_int(body, "flights", (int64_t)flights_open(x->b));
    jv_set(body, "lanes", flights_jv(x->b));
    jv_set(body, "dispatchers", peers_jv(x->b));
    reply_jv(x, 200, body);
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
