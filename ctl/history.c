/* SPDX-License-Identifier: MIT */
/* history.c - `chasqui history`: what attempts came to, beside the same time before; the slowest robots, and since when; through a broker. */
#include "ctl/broker.h"

#include "ctl/csv_out.h"
#include "ctl/progress.h"

#include "common/clock.h"

#include <stdio.h>
#include <string.h>

#define PATH "/api/v1/ops/history"

/* Waits are counted in classes, each WAIT_TIMES as far as the one before; beyond the last there is one more. */
#define WAIT_FIRST_S 0.25
#define WAIT_TIMES 4
#define WAIT_LAST_S 16384

static const struct range {
    const char *name, *seconds, *now, *before;
} range_table[] = {
    {"15m", "900", ">LAST 15 MINUTES", ">A DAY BEFORE"},
    {"1h", "3600", ">LAST HOUR", ">A DAY BEFORE"},
    {"24h", "86400", ">LAST 24 HOURS", ">A DAY BEFORE"},
    {"7d", "604800", ">LAST 7 DAYS", ">A WEEK BEFORE"},
};

static const struct total {
    const char *key, *name;
    enum { COUNT, WAIT, TIME } kind;
} total_table[] = {
    {"attempts", "attempts", COUNT},
    {"done", "done", COUNT},
    {"refused", "refused by the robot", COUNT},
    {"portal", "portal's errors", COUNT},
    {"robot", "robot's errors", COUNT},
    {"cancelled", "cancelled", COUNT},
    {"unknown", "outcome unknown", COUNT},
    {"database", "refused by the database", COUNT},
    {"not_called", "no robot called", COUNT},
    {"wait_p50_ms", "wait, median", WAIT},
    {"wait_p95_ms", "wait, 95 of 100", WAIT},
    {"login_p50_ms", "log-in, median", TIME},
    {"login_p95_ms", "log-in, 95 of 100", TIME},
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

static const struct range *range_of(struct ctl *c)
{
    const char *name = args_value(&c->args, OPT_RANGE);
    for (unsigned i = 0; i < N(range_table); i++)
        if (strcmp(range_table[i].name, name ? name : "24h") == 0)
            return &range_table[i];
    ctl_usage(c, "--range must be 15m, 1h, 24h or 7d");
    return NULL;
}

/* false: there is none. */
static bool value(const struct jv *totals, const char *key, int64_t *out)
{
    return jv_int(jv_get(totals, key), out);
}

static void time_cell(struct table *table, const struct jv *totals, const char *key)
{
    int64_t ms;
    if (!value(totals, key, &ms))
        table_add(table, NULL);
    else if (ms < 120000)
        table_addf(table, "%.1f s", (double)ms / 1000);
    else
        table_addf(table, "%.0f min", (double)ms / 60000);
}

/* The class that it is in: they are wide, and where in one it is, is not known. */
static void wait_cell(struct table *table, const struct jv *totals, const char *key)
{
    int64_t ms;
    double from = 0, upto = WAIT_FIRST_S;
    if (!value(totals, key, &ms)) {
        table_add(table, NULL);
        return;
    }
    for (; (double)ms > upto * 1000 && from < WAIT_LAST_S; upto *= WAIT_TIMES)
        from = upto;
    if (from < WAIT_LAST_S)
        table_addf(table, "%g-%g s", from, upto);
    else
        table_addf(table, "over %g s", from);
}

static void count_cell(struct table *table, const struct jv *totals, const char *key)
{
    char room[TEXT_NUMBER];
    int64_t n;
    table_add(table, value(totals, key, &n) ? number_text((uint64_t)n, room) : NULL);
}

static void change_cell(struct table *table, const struct jv *now, const struct jv *before, const char *key)
{
    int64_t n, then;
    if (!value(now, key, &n) || !value(before, key, &then) || !then)
        table_add(table, NULL);
    else
        table_addf(table, "%+.0f %%", 100.0 * (double)(n - then) / (double)then);
}

/* An outcome that neither time had is not worth a line. */
static bool is_silent(const struct total *t, const struct jv *now, const struct jv *before)
{
    int64_t n = 0, then = 0;
    return t->kind == COUNT && t > &total_table[1] && (!value(now, t->key, &n) || !n) &&
           (!value(before, t->key, &then) || !then);
}

static void totals_print(const struct jv *body, const struct range *range)
{
    const char *heads[] = {"", range->now, range->before, ">CHANGE", NULL};
    const struct jv *totals = jv_get(body, "totals"), *now = jv_get(totals, "now"),
                    *before = jv_get(totals, "before");
    struct table *table = table_new(heads);
    for (unsigned i = 0; i < N(total_table); i++) {
        const struct total *t = &total_table[i];
        if (is_silent(t, now, before))
            continue;
        table_add(table, t->name);
        for (unsigned k = 0; k < 2; k++)
            (t->kind == WAIT   ? wait_cell
             : t->kind == TIME ? time_cell
                               : count_cell)(table, k ? before : now, t->key);
        if (t->kind == WAIT)
            table_add(table, NULL);
        else
            change_cell(table, now, before, t->key);
    }
    table_print(&table, "");
}

static void robots_print(const struct jv *body)
{
    static const char *const heads[] = {"ROBOT",          ">LOG-INS",         ">MEDIAN", ">P95",
                                        ">MEDIAN BEFORE", "SLOW SINCE (UTC)", NULL};
    const struct jv *list = jv_get(body, "robots");
    char room[TEXT_ROOM];
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i), *now = jv_get(one, "now");
        broker_cell(table, one, "worker");
        count_cell(table, now, "logins");
        time_cell(table, now, "login_p50_ms");
        time_cell(table, now, "login_p95_ms");
        time_cell(table, jv_get(one, "before"), "login_p50_ms");
        const char *since = broker_text(one, "slow_since", room);
        if (since)
            table_addf(table, "%.10s %.5s", since, since + 11);
        else
            table_add(table, NULL);
    }
    puts("");
    table_print(&table, "no robot was called");
}

static void portals_print(const struct jv *body)
{
    static const char *const heads[] = {"PORTAL",       ">ATTEMPTS",      ">DONE", ">BEFORE",
                                        ">DONE BEFORE", ">LOG-IN MEDIAN", NULL};
    const struct jv *list = jv_get(body, "portals");
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i), *now = jv_get(one, "now"), *before = jv_get(one, "before");
        broker_cell(table, one, "portal");
        count_cell(table, now, "attempts");
        count_cell(table, now, "done");
        count_cell(table, before, "attempts");
        count_cell(table, before, "done");
        time_cell(table, now, "login_p50_ms");
    }
    puts("");
    table_print(&table, "nothing ended");
}

/* A line for each step, of both times; at: when the step begins, UTC. */
static void csv_all(const struct jv *body)
{
    static const char *const keys[] = {"at",         "step",        "when",         "done",         "refused",
                                       "portal",     "robot",       "cancelled",    "unknown",      "database",
                                       "not_called", "wait_p95_ms", "login_p50_ms", "login_p95_ms", NULL};
    static const char *const whens[] = {"now", "before"};
    const char *from = jv_str(jv_get(body, "from"));
    int64_t n = 0, from_ms = 0, step_s = 0, before_s = 0;
    struct jv *list = jv_new_array();
    jv_int(jv_get(body, "n"), &n);
    jv_int(jv_get(body, "step_s"), &step_s);
    jv_int(jv_get(body, "before_s"), &before_s);
    if (from)
        clock_read(from, strlen(from), &from_ms);
    for (unsigned w = 0; w < 2; w++)
        for (int64_t i = 0; i < n; i++) {
            struct jv *row = jv_new_object();
            jv_set_time(row, "at", from_ms + 1000 * (i * step_s - (w ? before_s : 0)));
            jv_set_int(row, "step", i);
            jv_set_str(row, "when", whens[w]);
            for (unsigned k = 3; keys[k]; k++)
                jv_set(row, keys[k],
                       jv_copy(jv_at(jv_get(jv_get(jv_get(body, "series"), whens[w]), keys[k]), (size_t)i)));
            jv_push(list, row);
        }
    csv_print(stdout, list, keys);
    jv_free(list);
}

enum ctl_exit history_command(struct ctl *c)
{
    const struct range *range = range_of(c);
    const char *portal = args_value(&c->args, OPT_PORTAL);
    struct buf query = {0};
    if (!range || (portal && !args_portal_ok(c, portal)))
        return CTL_USAGE;
    buf_addf(&query, PATH "?range=%s", range->seconds);
    broker_query_add(c, &query, OPT_PORTAL, "portal");
    broker_query_add(c, &query, OPT_WORKER, "worker");
    struct jv *body = broker_get(c, DOOR_OPS, query.data);
    buf_free(&query);
    if (!body)
        return CTL_FAILED;
    if (c->args.json)
        return ctl_json(body);
    if (c->args.n[OPT_CSV]) {
        csv_all(body);
    } else {
        totals_print(body, range);
        robots_print(body);
        portals_print(body);
        const char *to = jv_str(jv_get(body, "summed_to"));
        if (to && strlen(to) >= 16)
            printf("\nsummed up by minute, to %.10s %.5s UTC\n", to, to + 11);
    }
    jv_free(body);
    return CTL_DONE;
}
