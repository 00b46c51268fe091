/* SPDX-License-Identifier: MIT */
/* portal.c - `chasqui portal`: portals and what waits for them; through a broker. */
#include "ctl/broker.h"

#include <stdio.h>
#include <string.h>

/* What it is paused for: all of it, an action, a batch. */
static const char *pauses_text(const struct jv *pauses, char out[40])
{
    snprintf(out, 40, "%zu", jv_len(pauses));
    return jv_len(pauses) ? out : NULL;
}

/* Why it gets no log-ins, or fewer: its state's reason, else the pauses'. */
static void why_cell(struct table *table, const struct jv *one)
{
    const struct jv *pauses = jv_get(one, "pauses"), *first = jv_at(pauses, 0);
    const char *why = jv_str(jv_get(one, "why")), *reason = jv_str(jv_get(first, "reason")),
               *by = jv_str(jv_get(first, "by"));
    if (why || !first)
        table_add(table, why);
    else if (jv_len(pauses) > 1)
        table_addf(table, "paused: %s, and %zu more", reason ? reason : "no reason given", jv_len(pauses) - 1);
    else
        table_addf(table, "paused: %s%s%s", reason ? reason : "no reason given", by ? ", by " : "", by ? by : "");
}

/* When the last of its pauses ends; one that ends only by hand has no end. */
static void until_cell(struct table *table, const struct jv *pauses)
{
    const char *last = NULL;
    for (size_t i = 0; i < jv_len(pauses); i++) {
        const char *until = jv_str(jv_get(jv_at(pauses, i), "until"));
        if (!until) {
            table_add(table, "until resumed");
            return;
        }
        last = !last || strcmp(until, last) > 0 ? until : last;
    }
    if (last)
        table_addf(table, "%.10s %.5s", last, last + 11);
    else
        table_add(table, NULL);
}

/* What may begin, and what a pause or the portal holds back. */
static void waits_cell(struct table *table, const struct jv *one)
{
    int64_t ready = 0, held = 0;
    jv_int(jv_get(one, "ready"), &ready);
    jv_int(jv_get(one, "held"), &held);
    if (held > 0 && ready > 0)
        table_addf(table, "%lld (%lld held)", (long long)(ready + held), (long long)held);
    else
        table_addf(table, "%lld", (long long)(ready + held));
}

enum ctl_exit portal_list(struct ctl *c)
{
    static const char *const heads[] = {
        "PORTAL",   "STATE",    "4SINCE (UTC)", "~~WHY",      "5PAUSED UNTIL (UTC)",
        ">RUNNING", ">WAIT",    "3>PAUSES",     "1>A MINUTE", "2>AT ONCE",
        ">DONE",    ">REFUSED", ">PORTAL",      ">ROBOT",     NULL};
    static const char *const hour[] = {"done", "refused", "portal", "robot"};
    struct jv *body = broker_get(c, DOOR_OPS, "/api/v1/ops/portals");
    if (!body)
        return CTL_FAILED;
    if (c->args.json)
        return ctl_json(body);
    const struct jv *list = jv_get(body, "portals");
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i), *limits = jv_get(one, "limits");
        const char *since = jv_str(jv_get(one, "since"));
        char pauses[40];
        int64_t n;
        broker_cell(table, one, "name");
        broker_cell(table, one, "state");
        if (since)
            table_addf(table, "%.10s %.5s", since, since + 11);
        else
            table_add(table, NULL);
        why_cell(table, one);
        until_cell(table, jv_get(one, "pauses"));
        broker_cell(table, one, "running");
        waits_cell(table, one);
        table_add(table, pauses_text(jv_get(one, "pauses"), pauses));
        for (unsigned k = 0; k < 2; k++) {
            const char *key = k ? "logins_at_once" : "logins_per_minute";
            if (jv_int(jv_get(limits, key), &n) && n)
                broker_cell(table, limits, key);
            else
                table_add(table, NULL);
        }
        for (unsigned k = 0; k < 4; k++)
            broker_cell(table, jv_get(one, "last_hour"), hour[k]);
    }
    table_print(&table, "no portal is known");
    jv_free(body);
    return CTL_DONE;
}
