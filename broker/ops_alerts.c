/* SPDX-License-Identifier: MIT */
/* ops_alerts.c - alerts, as operators look at them, acknowledge them and let them not be told for a while. */
#include "broker/alerts.h"
#include "broker/exchange.h"
#include "broker/flight.h"
#include "broker/params.h"
#include "broker/reply.h"

#include <string.h>

#define CODE_BYTES_MAX 40
#define WHO_BYTES_MAX 160
#define FOR_S_MAX 31622400
#define KEY_OF_OPERATORS UINT64_MAX /* all of them take one company's turn */

static void listed(struct exchange *x, const struct msg_REPLY *m, struct str payload)
{
    enum jv_bad why;
    struct jv *body = m->error.len ? NULL : jv_parse(payload.p, payload.len, &why);
    if (jv_type(jv_get(body, "alerts")) != JV_ARRAY) {
        jv_free(body);
        reply_take(x, m, payload);
        return;
    }
    alerts_now(x->b, jv_get(body, "alerts"));
    reply_jv(x, 200, body);
}

void ops_alerts(struct exchange *x)
{
    x->take = listed;
    if (exchange_query(x, query_page))
        exchange_ask(x, OP_OPS_ALERTS, KEY_OF_OPERATORS);
}

static void ask_set(struct exchange *x, const char *wish)
{
    x->flight.request.state = str_of(wish);
    alerts_soon(x->b);
    exchange_ask(x, OP_OPS_ALERT_SET, KEY_OF_OPERATORS);
}

void ops_alert_ack(struct exchange *x)
{
    struct jv *errors = NULL;
    params_reason(x->json, &x->flight.request, &errors);
    if (!exchange_fields(x, errors))
        return;
    if (decimal_read(x->arg, 1, &x->flight.request.index))
        ask_set(x, "ack");
    else
        reply_error(x, ERR_NOT_FOUND, "There is no such alert.", NULL);
}

static bool is_absent(const struct jv *v)
{
    return jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL;
}

/* code and who. */
static void which_read(struct exchange *x, struct jv **errors)
{
    const struct jv *code = jv_get(x->json, "code"), *who = jv_get(x->json, "who");
    const char *text = jv_str(code);
    size_t len = jv_str_len(code), who_len = jv_str_len(who);
    if (is_absent(code))
        errors_add(errors, "code", "is needed");
    else if (!text || !len || len > CODE_BYTES_MAX || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") != len)
        errors_add(errors, "code", "must be 1 to 40 of a-z, 0-9 and _");
    else
        x->flight.request.action = (struct str){text, (uint32_t)len};
    if (!is_absent(who) && (!jv_str(who) || !who_len || who_len > WHO_BYTES_MAX || strlen(jv_str(who)) != who_len))
        errors_add(errors, "who", "must be a text of 1 to 160 bytes");
    else if (!is_absent(who))
        x->flight.request.subject = (struct str){jv_str(who), (uint32_t)who_len};
    params_reason(x->json, &x->flight.request, errors);
}

void ops_alert_mute(struct exchange *x)
{
    struct jv *errors = NULL;
    const struct jv *for_s = jv_get(x->json, "for_s");
    int64_t n;
    which_read(x, &errors);
    if (is_absent(for_s))
        errors_add(&errors, "for_s", "is needed");
    else if (!jv_int(for_s, &n) || n < 1 || n > FOR_S_MAX)
        errors_add(&errors, "for_s", "must be an integer of 1 to 31622400");
    else
        x->flight.request.for_ms = (uint64_t)n * 1000;
    if (exchange_fields(x, errors))
        ask_set(x, "mute");
}

void ops_alert_unmute(struct exchange *x)
{
    struct jv *errors = NULL;
    which_read(x, &errors);
    if (exchange_fields(x, errors))
        ask_set(x, "unmute");
}

void ops_alerts_test(struct exchange *x)
{
    struct jv *errors = NULL;
    params_reason(x->json, &x->flight.request, &errors);
    if (exchange_fields(x, errors))
        exchange_ask(x, OP_OPS_ALERTS_TEST, KEY_OF_OPERATORS);
}
