/* SPDX-License-Identifier: MIT */
/* bulk.c - many jobs at once, through a broker: what a filter finds is counted, retried or cancelled. */
#include "ctl/bulk.h"

#include "ctl/broker.h"
#include "ctl/nearest.h"
#include "ctl/plain.h"
#include "ctl/progress.h"

#include <stdio.h>
#include <string.h>

#define BULK_PATH "/api/v1/ops/jobs/bulk"
#define SAID_SHOWN 10

static const struct {
    enum option_id option;
    const char *name;
    bool is_number;
} filters[] = {
    {OPT_STATUS, "status", false}, {OPT_PORTAL, "portal", false},           {OPT_WORKER, "worker", false},
    {OPT_ERROR, "error", false},   {OPT_ROBOT_ERROR, "robot_error", false}, {OPT_COMPANY, "company_id", true},
    {OPT_BATCH, "batch_id", true}};
#define N_FILTERS (sizeof(filters) / sizeof(*filters))

bool bulk_options_ok(struct ctl *c)
{
    const char *portal = args_value(&c->args, OPT_PORTAL), *worker = args_value(&c->args, OPT_WORKER),
               *batch = args_value(&c->args, OPT_BATCH);
    uint64_t n;
    return args_status(c) && args_errors(c) && (!c->args.n[OPT_COMPANY] || args_company(c, &n)) &&
           (!portal || args_portal_ok(c, portal)) && (!worker || args_worker_name(c, worker)) &&
           (!batch || args_number(c, "--batch", batch, 1, INT64_MAX, &n));
}

bool bulk_is_asked(const struct ctl *c)
{
    for (unsigned i = 0; i < N_FILTERS; i++)
        if (c->args.n[filters[i].option])
            return true;
    return false;
}

static struct jv *filter_jv(struct ctl *c, uint64_t batch_id)
{
    struct jv *filter = jv_new_object();
    for (unsigned i = 0; i < N_FILTERS; i++) {
        const char *value = args_value(&c->args, filters[i].option);
        uint64_t n;
        if (value && !filters[i].is_number)
            jv_set_str(filter, filters[i].name, value);
        else if (value && args_number(c, "a filter", value, 1, INT64_MAX, &n))
            jv_set_int(filter, filters[i].name, (int64_t)n);
    }
    if (batch_id)
        jv_set_int(filter, "batch_id", (int64_t)batch_id);
    return filter;
}

static bool is_said_before(const struct jv *list, size_t at, const char *said)
{
    for (size_t i = 0; i < at; i++) {
        const char *other = jv_str(jv_get(jv_at(list, i), "robot_error"));
        if (other && strcmp(other, said) == 0)
            return true;
    }
    return false;
}

/* Nothing failed with the --robot-error that was given: what the robots said in that batch instead. Nothing when a broker does not tell. */
static void robot_errors_tell(struct ctl *c, uint64_t batch_id)
{
    struct nearest near = {.typed = args_value(&c->args, OPT_ROBOT_ERROR)};
    struct http_answer answer;
    struct buf text = {0};
    char path[80];
    unsigned n = 0;
    snprintf(path, sizeof(path), "/api/v1/ops/errors?batch_id=%llu", (unsigned long long)batch_id);
    http_ask(c, &(struct http_request){.method = "GET", .base_url = c->conf->ctl_ops_url, .path = path}, &answer);
    const struct jv *list = broker_is_good(&answer) ? jv_get(answer.body, "errors") : NULL;
    buf_adds(&text, "");
    for (size_t i = 0; i < jv_len(list); i++) {
        const char *said = jv_str(jv_get(jv_at(list, i), "robot_error"));
        if (!said || is_said_before(list, i, said))
            continue;
        nearest_offer(&near, said);
        if (n++ < SAID_SHOWN)
            buf_addf(&text, "%s%s", n > 1 ? ", " : "", said);
    }
    if (list && (!near.best || strcmp(near.best, near.typed) != 0))
        plain_line(stderr, "no robot said %s in batch %llu%s%s%s; %s%s%s", near.typed,
                   (unsigned long long)batch_id, near.best ? " (did you mean " : "", near.best ? near.best : "",
                   near.best ? "?)" : "", n ? "they said: " : "they said nothing that failed", text.data,
                   n > SAID_SHOWN ? ", ..." : "");
    jv_free(answer.body);
    buf_free(&text);
}

/* Those that fail again at once, without a call. Empty when there are none. */
static void still_write(const struct jv *answer, int64_t n, char *out, size_t room)
{
    char number[TEXT_NUMBER];
    int64_t still = 0;
    if (!jv_int(jv_get(answer, "credentials_refused"), &still) || still <= 0)
        return;
    snprintf(
        out, room,
        "; %s of them fail%s again at once, since the stored credentials are still refused (chasqui credentials list --refused)",
        still == n ? "all" : number_text((uint64_t)still, number), still == 1 && still != n ? "s" : "");
}

enum ctl_exit bulk_change(struct ctl *c, const char *action, uint64_t batch_id)
{
    char still[200] = "";
    bool is_preview = c->args.n[OPT_PREVIEW] != 0, is_retry = strcmp(action, "retry") == 0, is_capped = false;
    char number[TEXT_NUMBER];
    int64_t n = 0;
    if (!bulk_options_ok(c))
        return CTL_USAGE;
    const char *batch = args_value(&c->args, OPT_BATCH);
    if (!batch_id && batch && !args_number(c, "--batch", batch, 1, INT64_MAX, &batch_id))
        return CTL_USAGE;
    struct jv *body = broker_reason(c);
    if (!body)
        return CTL_USAGE;
    jv_set_str(body, "action", action);
    jv_set(body, "filter", filter_jv(c, batch_id));
    jv_set_bool(body, "preview", is_preview);
    struct jv *answer = broker_post(c, DOOR_OPS, BULK_PATH, body);
    if (!answer)
        return CTL_FAILED;
    jv_int(jv_get(answer, "n"), &n);
    if (batch_id && !n && !broker_has_batch(c, batch_id)) {
        jv_free(answer);
        return CTL_FAILED;
    }
    if (batch_id && !n && args_value(&c->args, OPT_ROBOT_ERROR))
        robot_errors_tell(c, batch_id);
    if (c->args.json)
        return ctl_json(answer);
    jv_bool(jv_get(answer, "capped"), &is_capped);
    still_write(answer, n, still, sizeof(still));
    jv_free(answer);
    number_text((uint64_t)n, number);
    const char *jobs = n == 1 ? "job" : "jobs",
               *more = is_capped ? "; there may be more: once again finds them" : "";
    if (is_preview)
        return ctl_say(c, "%s %s would be %s%s%s", number, jobs, is_retry ? "tried again" : "cancelled",
                       is_capped ? ", and maybe more" : "", still);
    return ctl_say(c, "%s %s %s%s%s", number, jobs,
                   is_retry ? (n == 1 ? "is queued again" : "are queued again")
                   : n == 1 ? "is cancelled, or was asked to stop"
                            : "are cancelled, or were asked to stop",
                   still, more);
}
