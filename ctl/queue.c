/* SPDX-License-Identifier: MIT */
/* queue.c - `chasqui queue`: what waits, and holding it back for a while; through a broker. */
#include "ctl/broker.h"

#include "common/clock.h"
#include "ctl/plain.h"
#include "ctl/progress.h"

#include <stdio.h>
#include <string.h>

#define QUEUE_PATH "/api/v1/ops/queue"
#define REASON_DEFAULT "paused from the command line"

/* {"n":N,"capped":bool}: a count that stops at a bound shows as "100,000+". */
static const char *count_text(const struct jv *count, char out[TEXT_NUMBER + 1])
{
    int64_t n = 0;
    bool capped = false;
    jv_int(jv_get(count, "n"), &n);
    jv_bool(jv_get(count, "capped"), &capped);
    number_text((uint64_t)n, out);
    return capped ? strcat(out, "+") : out;
}

static void waiting_print(const struct jv *queue)
{
    const struct jv *list = jv_get(queue, "by_priority");
    char text[TEXT_NUMBER + 1];
    int64_t priority;
    printf("%-10s %s", "waiting", count_text(jv_get(queue, "ready"), text));
    for (size_t i = 0; i < jv_len(list); i++)
        if (jv_int(jv_get(jv_at(list, i), "priority"), &priority))
            printf("%s%s with priority %lld%s", i ? ", " : " (", count_text(jv_at(list, i), text),
                   (long long)priority, i + 1 == jv_len(list) ? ")" : "");
    putchar('\n');
}

/* The whole queue; "no" would contradict a line of a part. */
static void paused_print(const struct jv *paused, bool has_parts)
{
    static const char *const keys[] = {"by", "reason", "since", "until"};
    if (jv_type(paused) != JV_OBJECT && has_parts)
        return;
    printf("%-10s %s\n", "paused", jv_type(paused) == JV_OBJECT ? "yes" : "no");
    for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        if (jv_str(jv_get(paused, keys[i])))
            plain_line(stdout, "  %-8s %s", keys[i], jv_str(jv_get(paused, keys[i])));
}

/* Pauses of a part of the queue, a line each. */
static void parts_print(const struct jv *list)
{
    for (size_t i = 0; i < jv_len(list); i++) {
        static const char *const keys[] = {"portal", "action", "batch_id"}, *const names[] = {"portal", "action", "batch"};
        const struct jv *one = jv_at(list, i);
        const char *reason = jv_str(jv_get(one, "reason")), *until = jv_str(jv_get(one, "until")), *by = jv_str(jv_get(one, "by"));
        char room[TEXT_ROOM];
        struct buf what = {0};
        for (unsigned k = 0; k < 3; k++) {
            const char *text = broker_text(one, keys[k], room);
            if (text)
                buf_addf(&what, " %s %s", names[k], text);
        }
        plain_line(stdout, "%-10s%s%s%s%s%s by %s", "paused", what.len ? what.data : "", reason ? ": " : "", reason ? reason : "", until ? ", until " : "",
                   until ? until : "", by ? by : "-");
        buf_free(&what);
    }
}

static void queue_print(const struct jv *queue)
{
    char text[TEXT_NUMBER + 1];
    int64_t n;
    waiting_print(queue);
    if (jv_int(jv_get(queue, "oldest_s"), &n))
        printf("%-10s for %s\n", "oldest", duration_text(n > 0 ? (uint64_t)n : 0, text));
    printf("%-10s %s (to be tried again, or sent for a later time)\n", "later",
           count_text(jv_get(queue, "scheduled"), text));
    if (jv_int(jv_get(queue, "running"), &n))
        printf("%-10s %s\n", "running", number_text(n > 0 ? (uint64_t)n : 0, text));
    if (jv_int(jv_get(jv_get(queue, "held"), "n"), &n) && n > 0)
        printf("%-10s %s (a pause, a portal that is down, or its limits: chasqui portal list)\n", "held", count_text(jv_get(queue, "held"), text));
    paused_print(jv_get(queue, "paused"), jv_len(jv_get(queue, "pauses")) > 0);
    parts_print(jv_get(queue, "pauses"));
}

static enum ctl_exit show(struct ctl *c, struct jv *body)
{
    if (!body)
        return CTL_FAILED;
    if (c->args.json)
        return ctl_json(body);
    queue_print(jv_get(body, "queue"));
    jv_free(body);
    return CTL_DONE;
}

enum ctl_exit queue_status(struct ctl *c)
{
    return show(c, broker_get(c, DOOR_OPS, QUEUE_PATH));
}

static bool until_ok(struct ctl *c, const char *until)
{
    int64_t at_ms, now_ms = clock_unix_ms();
    if (clock_read(until, strlen(until), &at_ms) && at_ms > now_ms && at_ms <= now_ms + AHEAD_DAYS_MAX * 86400000LL)
        return true;
    ctl_usage(c, "--until must be a time in UTC like 2026-01-31T06:00:00Z, in the next %d days", AHEAD_DAYS_MAX);
    return false;
}

/* --portal, --action, --batch into the body; false after saying what they must be. */
static bool scope_set(struct ctl *c, struct jv *body)
{
    const char *portal = args_value(&c->args, OPT_PORTAL), *action = args_value(&c->args, OPT_ACTION), *batch = args_value(&c->args, OPT_BATCH);
    uint64_t id;
    if ((portal && !args_portal_ok(c, portal)) || (action && !args_name(c, "an action", action)) ||
        (batch && !args_number(c, "--batch", batch, 1, INT64_MAX, &id)))
        return false;
    if (portal)
        jv_set_str(body, "portal", portal);
    if (action)
        jv_set_str(body, "action", action);
    if (batch)
        jv_set_int(body, "batch_id", (int64_t)id);
    return true;
}

enum ctl_exit queue_pause(struct ctl *c)
{
    const char *how_long = args_value(&c->args, OPT_FOR), *until = args_value(&c->args, OPT_UNTIL);
    uint64_t seconds;
    if (how_long && until)
        return ctl_usage(c, "give --for or --until, not both");
    if ((how_long && !args_duration(c, "--for", how_long, AHEAD_DAYS_MAX, &seconds)) || (until && !until_ok(c, until)))
        return CTL_USAGE;
    struct jv *body = broker_reason(c);
    if (!body || !scope_set(c, body)) {
        jv_free(body);
        return CTL_USAGE;
    }
    if (!args_value(&c->args, OPT_REASON))
        jv_set_str(body, "reason", REASON_DEFAULT);
    if (how_long)
        jv_set_int(body, "for_s", (int64_t)seconds);
    if (until)
        jv_set_str(body, "until", until);
    return show(c, broker_post(c, DOOR_OPS, QUEUE_PATH "/pause", body));
}

enum ctl_exit queue_resume(struct ctl *c)
{
    struct jv *body = broker_reason(c);
    if (body && scope_set(c, body))
        return show(c, broker_post(c, DOOR_OPS, QUEUE_PATH "/resume", body));
    jv_free(body);
    return CTL_USAGE;
}
