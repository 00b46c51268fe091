/* SPDX-License-Identifier: MIT */
/*
 * ops_worker.c - robots, as operators make and change them: adding one, changing
 * what was said of it, taking it out of use and back. A base URL passes through
 * here in a request's body; it is never kept, and no answer tells one.
 */
#include "broker/exchange.h"
#include "broker/flight.h"
#include "broker/params.h"
#include "broker/reply.h"

#include "common/url.h"

#include <string.h>

#define CAPACITY_MAX 100000
#define URL_ROOM 256
#define KEY_OF_OPERATORS UINT64_MAX /* all of them take one company's turn */

static bool is_told(const struct jv *v)
{
    return jv_type(v) != JV_ABSENT;
}

static void url_look(const struct jv *body, const char *name, bool may_be_none, struct jv **errors)
{
    const struct jv *v = jv_get(body, name);
    char normal[URL_ROOM];
    if (!is_told(v) || (may_be_none && (jv_type(v) == JV_NULL || (jv_type(v) == JV_STRING && !*jv_str(v)))))
        return;
    if (jv_type(v) != JV_STRING || strlen(jv_str(v)) != jv_str_len(v) ||
        !url_normalise(jv_str(v), normal, sizeof normal, NULL))
        errors_add(errors, name,
                   "must be an http or https URL of at most 255 characters, without user, query or fragment");
}

static void capacity_look(const struct jv *body, struct jv **errors)
{
    const struct jv *v = jv_get(body, "capacity");
    int64_t n;
    if (is_told(v) && jv_type(v) != JV_NULL && (!jv_int(v, &n) || n < 1 || n > CAPACITY_MAX))
        errors_add(errors, "capacity", "must be an integer of 1 to 100000, or null for what the robot reports");
}

/* What is told of a robot goes to the dispatcher as it is, without what is not about it. */
static void ask_change(struct exchange *x, enum op op, struct str name, struct jv *errors)
{
    static const char *const members[] = {"base_url", "viewer_url", "capacity"};
    size_t len;
    url_look(x->json, "base_url", false, &errors);
    url_look(x->json, "viewer_url", true, &errors);
    capacity_look(x->json, &errors);
    params_reason(x->json, &x->flight.request, &errors);
    if (!exchange_fields(x, errors))
        return;
    struct jv *body = jv_new_object();
    for (unsigned i = 0; i < 3; i++)
        if (is_told(jv_get(x->json, members[i])))
            jv_set(body, members[i], jv_copy(jv_get(x->json, members[i])));
    x->params = jv_dump(body, &len);
    jv_free(body);
    x->flight.payload = (struct str){x->params, (uint32_t)len};
    x->flight.request.worker = name;
    exchange_ask(x, op, KEY_OF_OPERATORS);
}

static struct str name_of(const struct jv *v)
{
    return jv_type(v) == JV_STRING ? (struct str){jv_str(v), (uint32_t)jv_str_len(v)} : (struct str){"", 0};
}

void ops_worker_add(struct exchange *x)
{
    struct jv *errors = NULL;
    struct str name = name_of(jv_get(x->json, "name"));
    if (!worker_name_ok(name))
        errors_add(&errors, "name", "must be 1 to 64 letters, digits, '.', '_' or '-'");
    if (!is_told(jv_get(x->json, "base_url")))
        errors_add(&errors, "base_url", "is needed");
    ask_change(x, OP_OPS_WORKER_ADD, name, errors);
}

/* The path's variable part; false: answered. */
static bool worker_of(struct exchange *x, struct str *name)
{
    char *at = x->target + (x->arg.p - x->target);
    *name = (struct str){at, (uint32_t)escapes_decode(at, x->arg.len, false)};
    if (worker_name_ok(*name))
        return true;
    reply_error(x, ERR_NOT_FOUND, "There is no such worker.", NULL);
    return false;
}

void ops_worker_set(struct exchange *x)
{
    struct jv *errors = NULL;
    struct str name;
    if (!is_told(jv_get(x->json, "base_url")) && !is_told(jv_get(x->json, "viewer_url")) &&
        !is_told(jv_get(x->json, "capacity")))
        errors_add(&errors, "capacity", "or base_url or viewer_url is needed");
    if (exchange_fields(x, errors) && worker_of(x, &name))
        ask_change(x, OP_OPS_WORKER_SET, name, NULL);
}

static void ask_wanted(struct exchange *x, const char *state)
{
    struct jv *errors = NULL;
    const struct jv *force = jv_get(x->json, "force");
    struct str name;
    params_reason(x->json, &x->flight.request, &errors);
    if (is_told(force) && jv_type(force) != JV_NULL && !jv_bool(force, &x->flight.request.force_new))
        errors_add(&errors, "force", "must be true or false");
    if (!exchange_fields(x, errors) || !worker_of(x, &name))
        return;
    x->flight.request.worker = name;
    x->flight.request.state = str_of(state);
    exchange_ask(x, OP_OPS_WORKER_WANT, KEY_OF_OPERATORS);
}

void ops_worker_disable(struct exchange *x)
{
    ask_wanted(x, "disabled");
}

void ops_worker_enable(struct exchange *x)
{
    ask_wanted(x, "active");
}
