/* SPDX-License-Identifier: MIT */
/* alerts.c - `chasqui alerts`: what people were told, who knows of it, what is not told for a while; through a broker. */
#include "ctl/broker.h"

#include "ctl/plain.h"

#include <stdio.h>
#include <string.h>

#define ALERTS_PATH "/api/v1/ops/alerts"
#define MUTE_DAYS_MAX 366

static void time_add(struct table *table, const char *at)
{
    if (at && strlen(at) >= 16)
        table_addf(table, "%.10s %.5s", at, at + 11);
    else
        table_add(table, NULL);
}

/* "acknowledged by ana", "muted until …", else how it is told. */
static void known_add(struct table *table, const struct jv *one)
{
    const char *by = jv_str(jv_get(one, "acked_by")), *muted = jv_str(jv_get(one, "muted_until"));
    const struct jv *told = jv_get(one, "told");
    bool is_told = jv_str(jv_get(told, "webhook")) || jv_str(jv_get(told, "mail"));
    if (by)
        table_addf(table, "known to %s", by);
    else if (muted && strlen(muted) >= 16)
        table_addf(table, "muted until %.10s %.5s", muted, muted + 11);
    else
        table_add(table, is_told ? "told" : NULL);
}

static void mutes_print(const struct jv *list)
{
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i);
        const char *who = jv_str(jv_get(one, "who")), *reason = jv_str(jv_get(one, "reason"));
        plain_line(stdout, "muted: %s%s%s until %s by %s%s%s", jv_str(jv_get(one, "code")), who ? " " : "",
                   who ? who : "", jv_str(jv_get(one, "until")), jv_str(jv_get(one, "by")), reason ? ": " : "",
                   reason ? reason : "");
    }
}

static void channels_print(const struct jv *list)
{
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i);
        const char *channel = jv_str(jv_get(one, "channel")), *since = jv_str(jv_get(one, "failed_since")),
                   *why = jv_str(jv_get(one, "last_error")), *told = jv_str(jv_get(one, "told_at"));
        if (since)
            plain_line(stdout, "%s: nothing was taken since %s: %s", channel, since, why ? why : "-");
        else if (told)
            plain_line(stdout, "%s: the last message was taken at %s", channel, told);
    }
}

enum ctl_exit alerts_list(struct ctl *c)
{
    static const char *const heads[] = {">ID",          "LEVEL",  "STATE",  "2CODE",
                                        "1SINCE (UTC)", "3KNOWN", "~~WHAT", NULL};
    struct jv *body = broker_get(c, DOOR_OPS, ALERTS_PATH "?limit=50");
    if (!body)
        return CTL_FAILED;
    if (c->args.json)
        return ctl_json(body);
    const struct jv *list = jv_get(body, "alerts");
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i);
        broker_cell(table, one, "id");
        broker_cell(table, one, "level");
        int64_t ago_s;
        if (strcmp(jv_str(jv_get(one, "state")), "open") == 0 && jv_int(jv_get(one, "said_s_ago"), &ago_s) &&
            ago_s)
            table_add(table, "ending"); /* the headline has left it */
        else
            broker_cell(table, one, "state");
        broker_cell(table, one, "code");
        time_add(table, jv_str(jv_get(one, "first_at")));
        known_add(table, one);
        broker_cell(table, one, "text");
    }
    table_print(&table, "there is no alert");
    mutes_print(jv_get(body, "mutes"));
    channels_print(jv_get(body, "channels"));
    jv_free(body);
    return CTL_DONE;
}

/* Says in a line what was done; takes `body`. */
static enum ctl_exit done_tell(struct ctl *c, struct jv *body, const char *what)
{
    if (!body)
        return CTL_FAILED;
    if (c->args.json)
        return ctl_json(body);
    const char *who = jv_str(jv_get(body, "who")), *until = jv_str(jv_get(body, "muted_until"));
    plain_line(stdout, "%s%s%s %s%s%s", jv_str(jv_get(body, "code")), who ? " " : "", who ? who : "", what,
               until ? " until " : "", until ? until : "");
    jv_free(body);
    return CTL_DONE;
}

enum ctl_exit alerts_ack(struct ctl *c)
{
    uint64_t id;
    char path[80];
    if (!args_number(c, "an alert's ID", c->args.word[0], 1, INT64_MAX, &id))
        return CTL_USAGE;
    struct jv *body = broker_reason(c);
    if (!body)
        return CTL_USAGE;
    snprintf(path, sizeof(path), ALERTS_PATH "/%llu/ack", (unsigned long long)id);
    return done_tell(c, broker_post(c, DOOR_OPS, path, body), "is known; it is not told again");
}

/* {code,who?,reason?} of the words; NULL after saying what is wrong. */
static struct jv *which(struct ctl *c)
{
    if (c->args.n_words > 2)
        return ctl_usage(c,
                         "there is a word too many: a code and whom it is about, in quotes when that has spaces"),
               NULL;
    struct jv *body = broker_reason(c);
    if (!body)
        return NULL;
    jv_set_str(body, "code", c->args.word[0]);
    if (c->args.n_words == 2)
        jv_set_str(body, "who", c->args.word[1]);
    return body;
}

enum ctl_exit alerts_mute(struct ctl *c)
{
    const char *how_long = args_value(&c->args, OPT_FOR);
    uint64_t seconds;
    if (!how_long)
        return ctl_usage(c, "--for is needed: how long it is not told, such as 2h");
    if (!args_duration(c, "--for", how_long, MUTE_DAYS_MAX, &seconds))
        return CTL_USAGE;
    struct jv *body = which(c);
    if (!body)
        return CTL_USAGE;
    jv_set_int(body, "for_s", (int64_t)seconds);
    return done_tell(c, broker_post(c, DOOR_OPS, ALERTS_PATH "/mute", body), "is muted");
}

enum ctl_exit alerts_unmute(struct ctl *c)
{
    struct jv *body = which(c);
    return body ? done_tell(c, broker_post(c, DOOR_OPS, ALERTS_PATH "/unmute", body), "is told again") : CTL_USAGE;
}

enum ctl_exit alerts_try(struct ctl *c)
{
    struct jv *body = broker_reason(c);
    if (!body)
        return CTL_USAGE;
    if (!(body = broker_post(c, DOOR_OPS, ALERTS_PATH "/test", body)))
        return CTL_FAILED;
    const struct jv *list = jv_get(body, "channels");
    bool is_good = jv_len(list) > 0;
    for (size_t i = 0; i < jv_len(list); i++) {
        bool ok = false;
        const char *why = jv_str(jv_get(jv_at(list, i), "why"));
        is_good &= jv_bool(jv_get(jv_at(list, i), "ok"), &ok) && ok;
        if (!c->args.json)
            plain_line(stdout, "%s: %s", jv_str(jv_get(jv_at(list, i), "channel")),
                       ok    ? "taken"
                       : why ? why
                             : "-");
    }
    if (c->args.json)
        ctl_json(body);
    else
        jv_free(body);
    if (!is_good && !c->args.json)
        fprintf(stderr, "see alerts.* in the dispatchers' configuration\n");
    return is_good ? CTL_DONE : CTL_FAILED;
}
