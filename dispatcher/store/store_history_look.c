/* SPDX-License-Identifier: MIT */
/*
 * store_history_look.c - what the last hour, day or week came to, beside what
 * the same time before came to: sums of chasqui_history in steps, and what
 * robots and portals had of it. Reads only.
 */
#include "dispatcher/store/store_history.h"
#include "dispatcher/store/history_classes.h"
#include "dispatcher/store/history_slow.h"

#include "common/check.h"
#include "common/jv.h"
#include "dispatcher/store/attempt.h"
#include "dispatcher/store/store_sql.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_S 86400

static const struct history_range range_table[] = {
    {900, 60, DAY_S},
    {3600, 60, DAY_S},
    {DAY_S, 600, DAY_S},
    {7 * DAY_S, 3600, 7 * DAY_S},
};

const struct history_range *history_range(int64_t range_s)
{
    for (unsigned i = 0; i < sizeof(range_table) / sizeof(*range_table); i++)
        if (range_table[i].range_s == range_s)
            return &range_table[i];
    return NULL;
}

/* What ended in a step, or in all of them. */
struct sums {
    uint64_t outcome[OUTCOME_COUNT], attempts;
    struct classes wait, login; /* login: of log-ins that were done */
};

struct robot {
    char name[NAME_ROOM];
    struct sums now, before;
    int64_t slow_since_ms; /* 0 = it is not slow */
};

struct portal {
    char name[PORTAL_ROOM];
    struct sums now, before;
};

struct look {
    const struct history_range *range;
    int64_t from_s; /* of the time that is asked for; unix, a whole step */
    unsigned n;     /* steps */
    struct sums now[HISTORY_STEPS_MAX], before[HISTORY_STEPS_MAX], all_now, all_before;
    struct robot *robot[HISTORY_ROBOTS_MAX];
    struct portal *portal[HISTORY_PORTALS_MAX];
    unsigned n_robots, n_portals;
    int64_t summed_to_s;
};

static void sums_add(struct sums *to, const struct sums *more)
{
    to->attempts += more->attempts;
    for (unsigned i = 0; i < OUTCOME_COUNT; i++)
        to->outcome[i] += more->outcome[i];
    classes_add(&to->wait, &more->wait);
    classes_add(&to->login, &more->login);
}

/* ---- rows --------------------------------------------------------------------------------------------------- */

#define SUMS                                                                                                                                     \
    "SUM(n), SUM(wait_0), SUM(wait_1), SUM(wait_2), SUM(wait_3), SUM(wait_4), SUM(wait_5), SUM(wait_6), SUM(wait_7), SUM(wait_8), SUM(wait_9), " \
    "SUM(robot_0), SUM(robot_1), SUM(robot_2), SUM(robot_3), SUM(robot_4), SUM(robot_5), SUM(robot_6), SUM(robot_7), SUM(robot_8), SUM(robot_9)"
#define ROWS                                                                                                      \
    "SELECT worker, portal, kind, outcome, (UNIX_TIMESTAMP(minute) - ?) DIV ? AS step, " SUMS                     \
    " FROM chasqui_history WHERE minute >= FROM_UNIXTIME(?) AND "                                                 \
    "minute < FROM_UNIXTIME(?) AND (? = '' OR portal = ?) AND (? = '' OR worker = ?) GROUP BY worker, portal, kind, outcome, step"

static unsigned outcome_of(const char *name)
{
    for (unsigned i = 1; i < OUTCOME_COUNT; i++)
        if (strcmp(outcome_name[i], name) == 0)
            return i;
    return OUTCOME_UNKNOWN; /* of a newer dispatcher */
}

static struct robot *robot_of(struct look *l, const char *name)
{
    for (unsigned i = 0; i < l->n_robots; i++)
        if (strcmp(l->robot[i]->name, name) == 0)
            return l->robot[i];
    if (!*name || l->n_robots == HISTORY_ROBOTS_MAX)
        return NULL;
    struct robot *robot = l->robot[l->n_robots++] = xcalloc(1, sizeof(*robot));
    snprintf(robot->name, sizeof(robot->name), "%s", name);
    return robot;
}

static struct portal *portal_of(struct look *l, const char *name)
{
    for (unsigned i = 0; i < l->n_portals; i++)
        if (strcmp(l->portal[i]->name, name) == 0)
            return l->portal[i];
    if (l->n_portals == HISTORY_PORTALS_MAX)
        return NULL;
    struct portal *portal = l->portal[l->n_portals++] = xcalloc(1, sizeof(*portal));
    snprintf(portal->name, sizeof(portal->name), "%s", name);
    return portal;
}

static struct sums row_read(struct db *db)
{
    struct sums s = {0};
    bool is_login = strcmp(db_str(db, 2, NULL), "login") == 0;
    unsigned outcome = outcome_of(db_str(db, 3, NULL));
    s.attempts = s.outcome[outcome] = db_u64(db, 5);
    for (unsigned i = 0; i < HISTORY_CLASSES; i++) {
        s.wait.n[i] = db_u64(db, 6 + i);
        s.login.n[i] = is_login && outcome == OUTCOME_DONE ? db_u64(db, 6 + HISTORY_CLASSES + i) : 0;
    }
    return s;
}

static void row_take(struct db *db, struct look *l, bool is_now)
{
    struct sums s = row_read(db);
    int64_t step = db_i64(db, 4);
    if (step < 0 || step >= (int64_t)l->n)
        return;
    struct robot *robot = robot_of(l, db_str(db, 0, NULL));
    struct portal *portal = portal_of(l, db_str(db, 1, NULL));
    sums_add(is_now ? &l->now[step] : &l->before[step], &s);
    sums_add(is_now ? &l->all_now : &l->all_before, &s);
    if (portal)
        sums_add(is_now ? &portal->now : &portal->before, &s);
    if (robot)
        sums_add(is_now ? &robot->now : &robot->before, &s);
}

static enum db_rc rows_read(struct db *db, const struct store_history *op, struct look *l, bool is_now)
{
    int64_t back = is_now ? 0 : l->range->before_s, from = l->from_s - back,
            to = l->summed_to_s - back; /* as much of both */
    TRY(db_query(db, ROWS, "iiiissss", from, l->range->step_s, from, to, op->portal, op->portal, op->worker,
                 op->worker));
    while (db_next(db))
        row_take(db, l, is_now);
    return DB_OK;
}

/* The last step is the one that grows. */
static enum db_rc look_begin(struct db *db, struct look *l)
{
    TRY(db_query(
        db,
        "SELECT UNIX_TIMESTAMP(), COALESCE((SELECT UNIX_TIMESTAMP(minute) FROM chasqui_history_at WHERE one = 1), 0)",
        ""));
    if (!db_next(db))
        return DB_FAIL;
    int64_t step = l->range->step_s;
    l->n = (unsigned)(l->range->range_s / step);
    l->from_s = (db_i64(db, 0) / step + 1 - l->n) * step;
    l->summed_to_s = db_i64(db, 1);
    return DB_OK;
}

/* ---- the answer --------------------------------------------------------------------------------------------- */

static void quantile_set(struct jv *out, const char *name, const struct classes *c, unsigned times,
                         unsigned percent)
{
    int64_t ms = classes_quantile(c, times, percent);
    if (ms < 0)
        jv_set(out, name, NULL);
    else
        jv_set_int(out, name, ms);
}

static struct jv *totals_jv(const struct sums *s)
{
    struct jv *out = jv_new_object();
    jv_set_int(out, "attempts", (int64_t)s->attempts);
    for (unsigned i = 1; i < OUTCOME_COUNT; i++)
        jv_set_int(out, outcome_name[i], (int64_t)s->outcome[i]);
    quantile_set(out, "wait_p50_ms", &s->wait, WAIT_TIMES, 50);
    quantile_set(out, "wait_p95_ms", &s->wait, WAIT_TIMES, 95);
    jv_set_int(out, "logins", (int64_t)classes_count(&s->login));
    quantile_set(out, "login_p50_ms", &s->login, ROBOT_TIMES, 50);
    quantile_set(out, "login_p95_ms", &s->login, ROBOT_TIMES, 95);
    return out;
}

static void quantiles_set(struct jv *out, const char *name, const struct sums *steps, unsigned n, size_t of,
                          unsigned times, unsigned percent)
{
    struct jv *list = jv_new_array();
    for (unsigned i = 0; i < n; i++) {
        int64_t ms = classes_quantile((const struct classes *)((const char *)&steps[i] + of), times, percent);
        if (ms < 0)
            jv_push(list, NULL);
        else
            jv_push_int(list, ms);
    }
    jv_set(out, name, list);
}

static struct jv *series_jv(const struct sums *steps, unsigned n)
{
    struct jv *out = jv_new_object();
    for (unsigned outcome = 1; outcome < OUTCOME_COUNT; outcome++) {
        struct jv *list = jv_new_array();
        for (unsigned i = 0; i < n; i++)
            jv_push_int(list, (int64_t)steps[i].outcome[outcome]);
        jv_set(out, outcome_name[outcome], list);
    }
    quantiles_set(out, "wait_p95_ms", steps, n, offsetof(struct sums, wait), WAIT_TIMES, 95);
    quantiles_set(out, "login_p50_ms", steps, n, offsetof(struct sums, login), ROBOT_TIMES, 50);
    quantiles_set(out, "login_p95_ms", steps, n, offsetof(struct sums, login), ROBOT_TIMES, 95);
    return out;
}

static struct jv *thing_jv(const char *key, const char *name, const struct sums *now, const struct sums *before)
{
    struct jv *one = jv_new_object();
    jv_set_str(one, key, name);
    jv_set(one, "now", totals_jv(now));
    jv_set(one, "before", totals_jv(before));
    return one;
}

/* The slowest first; those without a log-in last. */
static int by_median(const void *a, const void *b)
{
    const struct robot *const *x = a, *const *y = b;
    int64_t one = classes_quantile(&(*x)->now.login, ROBOT_TIMES, 50),
            other = classes_quantile(&(*y)->now.login, ROBOT_TIMES, 50);
    return one == other ? strcmp((*x)->name, (*y)->name) : one < other ? 1 : -1;
}

static int by_attempts(const void *a, const void *b)
{
    const struct portal *const *x = a, *const *y = b;
    return (*x)->now.attempts == (*y)->now.attempts  ? strcmp((*x)->name, (*y)->name)
           : (*x)->now.attempts < (*y)->now.attempts ? 1
                                                     : -1;
}

static struct jv *robots_jv(struct look *l)
{
    struct jv *list = jv_new_array();
    qsort(l->robot, l->n_robots, sizeof(*l->robot), by_median);
    for (unsigned i = 0; i < l->n_robots; i++) {
        struct jv *one = thing_jv("worker", l->robot[i]->name, &l->robot[i]->now, &l->robot[i]->before);
        jv_set_time(one, "slow_since", l->robot[i]->slow_since_ms);
        jv_push(list, one);
    }
    return list;
}

static struct jv *portals_jv(struct look *l)
{
    struct jv *list = jv_new_array();
    qsort(l->portal, l->n_portals, sizeof(*l->portal), by_attempts);
    for (unsigned i = 0; i < l->n_portals; i++)
        jv_push(list, thing_jv("portal", l->portal[i]->name, &l->portal[i]->now, &l->portal[i]->before));
    return list;
}

static void answer_fill(struct look *l, struct jv *body)
{
    jv_set_bool(body, "ok", true);
    jv_set_int(body, "range_s", l->range->range_s);
    jv_set_int(body, "step_s", l->range->step_s);
    jv_set_int(body, "before_s", l->range->before_s);
    jv_set_int(body, "n", l->n);
    jv_set_time(body, "from", l->from_s * 1000);
    jv_set_time(body, "summed_to", l->summed_to_s * 1000);
    struct jv *totals = jv_new_object(), *series = jv_new_object();
    jv_set(totals, "now", totals_jv(&l->all_now));
    jv_set(totals, "before", totals_jv(&l->all_before));
    jv_set(series, "now", series_jv(l->now, l->n));
    jv_set(series, "before", series_jv(l->before, l->n));
    jv_set(body, "totals", totals);
    jv_set(body, "series", series);
    jv_set(body, "robots", robots_jv(l));
    jv_set(body, "portals", portals_jv(l));
}

static void look_free(struct look *l)
{
    for (unsigned i = 0; i < l->n_robots; i++)
        free(l->robot[i]);
    for (unsigned i = 0; i < l->n_portals; i++)
        free(l->portal[i]);
    free(l);
}

/* By one rule, however long back the answer looks. */
static enum db_rc slow_set(struct db *db, const struct store_history *op, struct look *l)
{
    struct slow_robot slow[HISTORY_ROBOTS_MAX];
    unsigned n = 0;
    TRY(slow_robots(db, op->portal, slow, &n));
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < l->n_robots; k++)
            if (strcmp(l->robot[k]->name, slow[i].name) == 0)
                l->robot[k]->slow_since_ms = slow[i].since_ms;
    return DB_OK;
}

static enum db_rc history_read(struct db *db, struct store_history *op, struct jv *body)
{
    struct look *l = xcalloc(1, sizeof(*l));
    l->range = history_range(op->range_s);
    enum db_rc rc = look_begin(db, l);
    if (rc == DB_OK)
        rc = rows_read(db, op, l, true);
    if (rc == DB_OK)
        rc = rows_read(db, op, l, false);
    if (rc == DB_OK)
        rc = slow_set(db, op, l);
    if (rc == DB_OK)
        answer_fill(l, body);
    look_free(l);
    return rc;
}

void store_history(struct db *db, void *arg)
{
    struct store_history *op = arg;
    struct jv *body = jv_new_object();
    CHECK(history_range(op->range_s), "a range of %lld s", (long long)op->range_s);
    op->rc = store_rc_of(db ? history_read(db, op, body) : DB_GONE);
    json_take(body, &op->json);
}
