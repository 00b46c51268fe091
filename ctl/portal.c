/* SPDX-License-Identifier: MIT */
/* portal.c - `chasqui portal`: portals and what waits for them; through a broker. */
#include "ctl/broker.h"

#include <stdio.h>

/* What it is paused for: all of it, an action, a batch. */
static const char *pauses_text(const struct jv *pauses, char out[40])
{
    snprintf(out, 40, "%zu", jv_len(pauses));
    return jv_len(pauses) ? out : NULL;
}

enum ctl_exit portal_list(struct ctl *c)
{
    static const char *const heads[] = {"PORTAL",   "STATE",    "4SINCE (UTC)", "~~WHY",     ">RUNNING",
                                        ">WAIT",    "3>PAUSES", "1>A MINUTE",   "2>AT ONCE", ">DONE",
                                        ">REFUSED", ">PORTAL",  ">ROBOT",       NULL};
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
        broker_cell(table, one, "why");
        broker_cell(table, one, "running");
        broker_cell(table, one, "held");
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
