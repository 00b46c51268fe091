/* SPDX-License-Identifier: MIT */
/* queue.c - `chasqui queue`: what waits, and holding it back for a while; through a broker. */
#include "ctl/broker.h"

#include "common/clock.h"
#include "ctl/plain.h"
#include "ctl/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_PATH "/api/v1/ops/queue"
#define SETTLE_US 200000
#define SETTLE_LOOKS 20 /* of SETTLE_US */
#define STILL_LOOKS 4   /* in which nothing is set aside or put back */
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

static const char *const scope_keys[] = {"portal", "action", "batch_id"}, *const scope_names[] = {
                                                                              "portal", "action", "batch"};

/* Appends what a pause is of: `before` each name, as " portal sunat action x". */
static void scope_add(struct buf *out, const struct jv *pause, const char *before)
{
    char room[TEXT_ROOM];
    for (unsigned k = 0; k < 3; k++) {
        const char *text = broker_text(pause, scope_keys[k], room);
        if (text)
            buf_addf(out, " %s%s %s", before, scope_names[k], text);
    }
}

/* Pauses of a part of the queue, a line each. */
static void parts_print(const struct jv *list)
{
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i);
        const char *reason = jv_str(jv_get(one, "reason")), *until = jv_str(jv_get(one, "until")),
                   *by = jv_str(jv_get(one, "by"));
        struct buf what = {0};
        scope_add(&what, one, "");
        plain_line(stdout, "%-10s%s%s%s%s%s by %s", "paused", what.len ? what.data : "", reason ? ": " : "",
                   reason ? reason : "", until ? ", until " : "", until ? until : "", by ? by : "-");
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
        printf("%-10s %s (a pause, a portal that is down, or its limits: chasqui portal list)\n", "held",
               count_text(jv_get(queue, "held"), text));
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
    if (clock_read(until, strlen(until), &at_ms) && at_ms > now_ms &&
        at_ms <= now_ms + AHEAD_DAYS_MAX * 86400000LL)
        return true;
    ctl_usage(
        c, "--until must be a time like \"2026-01-31 06:00\", or in UTC 2026-01-31T06:00:00Z, in the next %d days",
        AHEAD_DAYS_MAX);
    return false;
}

/* --portal, --action, --batch into the body; false after saying what they must be. */
static bool scope_set(struct ctl *c, struct jv *body)
{
    const char *portal = args_value(&c->args, OPT_PORTAL), *action = args_value(&c->args, OPT_ACTION),
               *batch = args_value(&c->args, OPT_BATCH);
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

/* What an operator's route tells, for a remark beside what was asked for: NULL when it cannot be told, and nothing is said of it. */
static struct jv *aside_get(struct ctl *c, const char *path)
{
    struct http_answer answer;
    http_ask(c, &(struct http_request){.method = "GET", .base_url = c->conf->ctl_ops_url, .path = path}, &answer);
    if (broker_is_good(&answer))
        return answer.body;
    jv_free(answer.body);
    return NULL;
}

/* A pause holds the log-ins back that look whether a portal is up again. */
static void probes_warn(struct ctl *c, const char *portal)
{
    struct jv *body = portal ? aside_get(c, "/api/v1/ops/portals") : NULL;
    const struct jv *list = jv_get(body, "portals");
    for (size_t i = 0; i < jv_len(list); i++) {
        const char *name = jv_str(jv_get(jv_at(list, i), "name")),
                   *state = jv_str(jv_get(jv_at(list, i), "state"));
        if (name && state && strcmp(name, portal) == 0 && strcmp(state, "tripped") == 0)
            fprintf(stderr, "%s is down; while it is paused nothing probes it\n", portal);
    }
    jv_free(body);
}

static bool has_scope(const struct jv *scope)
{
    return jv_get(scope, "portal") || jv_get(scope, "action") || jv_get(scope, "batch_id");
}

static int64_t held_of(const struct jv *body)
{
    int64_t n = 0;
    jv_int(jv_get(jv_get(jv_get(body, "queue"), "held"), "n"), &n);
    return n;
}

/* Dispatchers set aside what a pause holds, and put it back, in some steps: the counts are those of after them. Takes `after`. */
static struct jv *settled(struct ctl *c, struct jv *after)
{
    unsigned still = 0;
    for (unsigned i = 0; after && still < STILL_LOOKS && i < SETTLE_LOOKS; i++) {
        usleep(SETTLE_US);
        struct jv *now = aside_get(c, QUEUE_PATH);
        if (!now)
            break;
        still = held_of(now) == held_of(after) ? still + 1 : 0;
        jv_free(after);
        after = now;
    }
    return after;
}

enum ctl_exit queue_pause(struct ctl *c)
{
    const char *how_long = args_value(&c->args, OPT_FOR), *until = args_value(&c->args, OPT_UNTIL);
    uint64_t seconds;
    if (how_long && until)
        return ctl_usage(c, "give --for or --until, not both");
    if ((how_long && !args_duration(c, "--for", how_long, AHEAD_DAYS_MAX, &seconds)) ||
        (until && !until_ok(c, until)))
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
    const char *action = args_value(&c->args, OPT_ACTION), *batch = args_value(&c->args, OPT_BATCH);
    probes_warn(c, action || batch ? NULL : args_value(&c->args, OPT_PORTAL));
    bool is_part = has_scope(body);
    struct jv *after = broker_post(c, DOOR_OPS, QUEUE_PATH "/pause", body);
    return show(c, is_part ? settled(c, after) : after);
}

static bool is_same_scope(const struct jv *a, const struct jv *b)
{
    char room_a[TEXT_ROOM], room_b[TEXT_ROOM];
    for (unsigned k = 0; k < 3; k++) {
        const char *x = broker_text(a, scope_keys[k], room_a), *y = broker_text(b, scope_keys[k], room_b);
        if (strcmp(x ? x : "", y ? y : "") != 0)
            return false;
    }
    return true;
}

/* Is there the pause that `scope` names? */
static bool is_paused(const struct jv *queue, const struct jv *scope)
{
    const struct jv *list = jv_get(queue, "pauses");
    if (!has_scope(scope))
        return jv_type(jv_get(queue, "paused")) == JV_OBJECT;
    for (size_t i = 0; i < jv_len(list); i++)
        if (is_same_scope(jv_at(list, i), scope))
            return true;
    return false;
}

/* "; paused is: portal sunat (chasqui queue resume --portal sunat)": what each pause is ended with. */
static void others_add(struct buf *out, const struct jv *queue)
{
    const struct jv *list = jv_get(queue, "pauses");
    size_t begun = out->len;
    if (jv_type(jv_get(queue, "paused")) == JV_OBJECT)
        buf_adds(out, "; paused is: the queue as a whole (chasqui queue resume)");
    for (size_t i = 0; i < jv_len(list); i++) {
        buf_adds(out, out->len == begun ? "; paused is:" : ",");
        scope_add(out, jv_at(list, i), "");
        buf_adds(out, " (chasqui queue resume");
        scope_add(out, jv_at(list, i), "--");
        buf_adds(out, ")");
    }
}

/* `before` is the queue as it was, NULL when that is not known. */
static void nothing_resumed_tell(const struct jv *before, const struct jv *scope)
{
    struct buf text = {0};
    if (!before || is_paused(before, scope))
        return;
    buf_adds(&text, "nothing was resumed:");
    if (has_scope(scope))
        scope_add(&text, scope, "");
    else
        buf_adds(&text, " the queue as a whole");
    buf_adds(&text, " is not paused");
    others_add(&text, before);
    plain_line(stderr, "%s", text.data);
    buf_free(&text);
}

enum ctl_exit queue_resume(struct ctl *c)
{
    struct jv *body = broker_reason(c);
    if (!body || !scope_set(c, body)) {
        jv_free(body);
        return CTL_USAGE;
    }
    struct jv *scope = jv_copy(body), *before = aside_get(c, QUEUE_PATH),
              *after = broker_post(c, DOOR_OPS, QUEUE_PATH "/resume", body);
    if (after)
        nothing_resumed_tell(jv_get(before, "queue"), scope);
    if (is_paused(jv_get(before, "queue"), scope) && has_scope(scope))
        after = settled(c, after);
    jv_free(before);
    jv_free(scope);
    return show(c, after);
}
