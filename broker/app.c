/*
 * app.c - the app API: what each route takes, and which op it is for a
 * dispatcher. The token is good and the body read when these are called; each
 * asks or answers.
 */
#include "broker/broker.h"

#include "broker/params.h"
#include <stdlib.h>
#include <string.h>

#define LOGIN_GRACE_MS 1000 /* beyond the action's limit: the dispatcher's own verdict comes first */
#define DEADLINE_MAX_MS 600000

/* Sessions belong to companies that only dispatchers know: their requests take turns by token. */
static uint64_t key_of_token(const struct exchange *x)
{
    return x->token->id | 1ull << 63;
}

void route_later(struct exchange *x)
{
    reply_error(x, ERR_NOT_IMPLEMENTED, NULL, NULL);
}

void app_list(struct exchange *x)
{
    struct query q;
    struct jv *errors = NULL;
    query_parse(&q, x->query, &errors);
    params_list(&q, &x->flight.request, &errors);
    if (exchange_fields(x, errors))
        exchange_ask(x, OP_BUZON_LIST, key_of_token(x));
}

void app_download(struct exchange *x)
{
    struct query q;
    struct jv *errors = NULL;
    query_parse(&q, x->query, &errors);
    params_download(&q, &x->flight.request, &errors);
    if (exchange_fields(x, errors))
        exchange_ask(x, OP_BUZON_DOWNLOAD, key_of_token(x));
}

void app_session_active(struct exchange *x)
{
    struct query q;
    struct jv *errors = NULL;
    query_parse(&q, x->query, &errors);
    params_active(&q, &x->flight.request, &errors);
    if (exchange_fields(x, errors) && exchange_company(x, x->flight.request.company_id))
        exchange_ask(x, OP_SESSION_ACTIVE, x->flight.request.company_id);
}

/* The path's variable part, decoded in place. */
static struct str path_part(struct exchange *x)
{
    char *at = x->target + (x->arg.p - x->target);
    return (struct str){at, (uint32_t)escapes_decode(at, x->arg.len, false)};
}

static void ask_session(struct exchange *x, enum op op)
{
    struct str id = path_part(x);
    struct query q;
    struct jv *errors = NULL;
    query_parse(&q, x->query, &errors);
    if (!exchange_fields(x, errors))
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

void app_job_get(struct exchange *x)
{
    struct str id = path_part(x);
    struct query q;
    struct jv *errors = NULL;
    query_parse(&q, x->query, &errors);
    if (!exchange_fields(x, errors))
        return;
    if (id.len < sizeof x->job_uid && id_job_uid_ok(id.p, id.len)) {
        x->flight.request.job_uid = id;
    } else if (!decimal_read(id, 1, &x->flight.request.job_id)) {
        reply_error(x, ERR_JOB_NOT_FOUND, NULL, NULL);
        return;
    }
    exchange_ask(x, OP_JOB_GET, key_of_token(x));
}

/* The action's own limit, when the caller sets none. */
static void deadline_of_action(struct exchange *x, const struct action *action)
{
    uint64_t limit_ms = (uint64_t)action->timeout_ms + LOGIN_GRACE_MS;
    if (!x->deadline)
        x->deadline_at_ms = x->arrived_ms + (limit_ms < DEADLINE_MAX_MS ? limit_ms : DEADLINE_MAX_MS);
}

void app_execute(struct exchange *x)
{
    struct msg_REQUEST *r = &x->flight.request;
    const struct action *action;
    struct jv *errors = NULL;
    struct query q;
    enum jv_type session = jv_type(jv_get(x->json, "session_id"));
    if (session != JV_ABSENT && session != JV_NULL && !exchange_count(x))
        return;
    query_parse(&q, x->query, &errors);
    params_execute(x->json, &x->b->conf->actions, r, &action, &errors);
    if (!exchange_fields(x, errors) || !exchange_company(x, r->company_id))
        return;
    if (x->is_preferring || x->is_keyed) {
        reply_error(x, ERR_NOT_IMPLEMENTED, "Prefer and Idempotency-Key are not built yet.", NULL);
        return;
    }
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
    deadline_of_action(x, action);
    exchange_ask(x, action->session == ACTION_CREATE ? OP_EXECUTE_LOGIN : OP_EXECUTE_ACTION, r->company_id);
}
