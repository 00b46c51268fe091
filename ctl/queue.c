/* queue.c - `chasqui queue`: what waits, and holding it back for a while; through a broker. */
#include "ctl/broker.h"

#include "ctl/progress.h"

#include <stdio.h>
#include <string.h>

#define QUEUE_PATH "/api/v1/ops/queue"
#define REASON_DEFAULT "paused from the command line"
#define REASON_BYTES_MAX 200

/* A member that is a number of milliseconds, seconds, or a count; `name` tells it. */
static void number_print(const char *name, int64_t n)
{
    char text[TEXT_NUMBER];
    size_t len = strlen(name);
    bool is_ms = len > 3 && strcmp(name + len - 3, "_ms") == 0, is_s = len > 2 && strcmp(name + len - 2, "_s") == 0;
    uint64_t amount = n > 0 ? (uint64_t)n : 0;
    printf("%-18.*s %s\n", (int)(is_ms ? len - 3 : is_s ? len - 2 : len), name,
           is_ms ? duration_text(amount / 1000, text) : is_s ? duration_text(amount, text) : number_text(amount, text));
}

static void member_print(void *arg, const char *key, struct jv *v)
{
    const char *inside = arg;
    char name[80];
    int64_t n;
    bool b;
    snprintf(name, sizeof(name), "%s%s%s", inside ? inside : "", inside ? " " : "", key);
    if (jv_int(v, &n))
        number_print(name, n);
    else if (jv_bool(v, &b))
        printf("%-18s %s\n", name, b ? "yes" : "no");
    else if (jv_str(v))
        printf("%-18s %s\n", name, jv_str(v));
    else if (jv_type(v) == JV_OBJECT && !inside)
        jv_each(v, member_print, (void *)(uintptr_t)key);
}

static enum ctl_exit show(struct ctl *c, struct jv *body)
{
    if (!body)
        return CTL_FAILED;
    if (c->args.json)
        return ctl_json(body);
    jv_each(jv_get(body, "queue"), member_print, NULL);
    jv_free(body);
    return CTL_DONE;
}

enum ctl_exit queue_status(struct ctl *c)
{
    return show(c, broker_get(c, DOOR_OPS, QUEUE_PATH));
}

static struct jv *reason_make(struct ctl *c, const char *otherwise)
{
    const char *reason = args_value(&c->args, OPT_REASON);
    struct jv *body = jv_new_object();
    if (reason || otherwise)
        jv_set_str(body, "reason", reason ? reason : otherwise);
    return body;
}

static bool reason_ok(struct ctl *c)
{
    const char *reason = args_value(&c->args, OPT_REASON);
    if (!reason || (*reason && strlen(reason) <= REASON_BYTES_MAX))
        return true;
    ctl_usage(c, "--reason must be 1 to %d bytes", REASON_BYTES_MAX);
    return false;
}

enum ctl_exit queue_pause(struct ctl *c)
{
    const char *how_long = args_value(&c->args, OPT_FOR), *until = args_value(&c->args, OPT_UNTIL);
    uint64_t seconds;
    if (!reason_ok(c))
        return CTL_USAGE;
    if (how_long && until)
        return ctl_usage(c, "give --for or --until, not both");
    if (how_long && !args_duration(c, "--for", how_long, &seconds))
        return CTL_USAGE;
    struct jv *body = reason_make(c, REASON_DEFAULT);
    if (how_long)
        jv_set_int(body, "expires_s", (int64_t)seconds);
    if (until)
        jv_set_str(body, "until", until);
    return show(c, broker_post(c, DOOR_OPS, QUEUE_PATH "/pause", body));
}

enum ctl_exit queue_resume(struct ctl *c)
{
    if (!reason_ok(c))
        return CTL_USAGE;
    return show(c, broker_post(c, DOOR_OPS, QUEUE_PATH "/resume", reason_make(c, NULL)));
}
