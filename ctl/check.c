/* SPDX-License-Identifier: MIT */
/*
 * check.c - `chasqui check`: the first sentence of what is wrong as one line, and
 * its level as the exit code, as Nagios and cron take them. No broker that
 * answers is critical too: somebody has to look. Asks once.
 */
#include "ctl/broker.h"
#include "ctl/plain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATS_PATH "/api/v1/ops/stats?history=0"
#define ASK_MS 10000 /* what runs it gives up after 10 to 60 s */

enum level { LEVEL_WELL, LEVEL_WARNING, LEVEL_CRITICAL }; /* exit codes */
static const char *const level_name[] = {"OK", "WARNING", "CRITICAL"};

/* A line is cut at a | by those who read it. */
static void line_clean(char *text)
{
    for (; *text; text++)
        if (*text == '|' || *text == '\n' || *text == '\r')
            *text = *text == '|' ? '/' : ' ';
}

static void number_add(struct buf *out, const char *name, const struct jv *v, const char *unit)
{
    double x;
    if (jv_number(jv_type(v) == JV_OBJECT ? jv_get(v, "n") : v, &x) && x >= 0)
        buf_addf(out, "%s%s=%.10g%s", out->len ? " " : "", name, x, unit);
}

/* name=value, as Nagios has it. */
static void numbers_add(struct buf *out, const struct jv *stats)
{
    const struct jv *queue = jv_get(stats, "queue"), *places = jv_get(stats, "places");
    double ready, held;
    if (jv_number(jv_get(jv_get(queue, "depth"), "n"), &ready) && jv_number(jv_get(queue, "held"), &held))
        buf_addf(out, "waiting=%.10g held=%.10g", ready + held, held);
    number_add(out, "oldest", jv_get(queue, "oldest_age_s"), "s");
    number_add(out, "running", jv_get(queue, "running"), "");
    number_add(out, "places_used", jv_get(places, "used"), "");
    number_add(out, "places", jv_get(places, "total"), "");
    number_add(out, "done_per_s", jv_get(queue, "done_per_s"), "");
    number_add(out, "failed_per_s", jv_get(queue, "failed_per_s"), "");
}

static enum ctl_exit say(struct ctl *c, enum level level, const char *text, const char *more,
                         const struct jv *stats)
{
    struct buf line = {0}, numbers = {0};
    numbers_add(&numbers, stats);
    buf_addf(&line, "%s%s", text, more);
    line_clean(line.data);
    if (c->args.json) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", level == LEVEL_WELL);
        jv_set_str(body, "level", level == LEVEL_WELL ? "ok" : level == LEVEL_WARNING ? "warning" : "critical");
        jv_set_str(body, "text", line.data);
        jv_set(body, "words", jv_copy(jv_get(stats, "words")));
        ctl_json(body);
    } else {
        plain_line(stdout, "CHASQUI %s - %s%s%s", level_name[level], line.data, numbers.len ? " | " : "",
                   numbers.len ? numbers.data : "");
    }
    buf_free(&line);
    buf_free(&numbers);
    return (enum ctl_exit)level;
}

/* The first of that level: what somebody acknowledged comes after how the work goes. */
static const char *first_text(const struct jv *words, const char *state)
{
    for (size_t i = 0; i < jv_len(words); i++) {
        const char *level = jv_str(jv_get(jv_at(words, i), "level"));
        if (level && state && strcmp(level, state) == 0)
            return jv_str(jv_get(jv_at(words, i), "text"));
    }
    return jv_str(jv_get(jv_at(words, 0), "text"));
}

/* Behind the first sentence: how many others are as bad, and how many are less. */
static enum ctl_exit say_words(struct ctl *c, const struct jv *stats)
{
    const struct jv *words = jv_get(stats, "words");
    const char *state = jv_str(jv_get(stats, "state")), *text = first_text(words, state);
    char more[60] = "";
    enum level level = !state                       ? LEVEL_CRITICAL
                       : strcmp(state, "ok") == 0   ? LEVEL_WELL
                       : strcmp(state, "warn") == 0 ? LEVEL_WARNING
                                                    : LEVEL_CRITICAL;
    size_t others = 0;
    for (size_t i = 0; i < jv_len(words); i++) {
        const char *one = jv_str(jv_get(jv_at(words, i), "level"));
        others += one && strcmp(one, "ok") != 0;
    }
    if (others > 1)
        snprintf(more, sizeof(more), " (and %zu more: chasqui stats)", others - 1);
    return say(c, level, text ? text : "the broker says nothing of itself", more, stats);
}

enum ctl_exit check_command(struct ctl *c)
{
    struct http_request request = {
        .method = "GET", .base_url = c->conf->ctl_ops_url, .path = STATS_PATH, .total_ms = ASK_MS};
    struct http_answer answer;
    char text[1000];
    enum ctl_exit code;
    http_ask(c, &request, &answer);
    if (broker_is_good(&answer) && jv_type(jv_get(answer.body, "words")) == JV_ARRAY) {
        code = say_words(c, answer.body);
    } else {
        const char *error = jv_str(jv_get(answer.body, "error"));
        if (!answer.status)
            snprintf(text, sizeof(text), "no broker answers at %s: %s", request.base_url, answer.why);
        else if (answer.status == 401 || answer.status == 403)
            snprintf(text, sizeof(text),
                     "the broker at %s does not let ctl.token look (%s): it needs the ability ops:read",
                     request.base_url, error ? error : "-");
        else
            snprintf(text, sizeof(text), "%s answered %d%s%s", request.base_url, answer.status, error ? " " : "",
                     error ? error : "");
        code = say(c, LEVEL_CRITICAL, text, "", NULL);
    }
    jv_free(answer.body);
    return code;
}
