/* SPDX-License-Identifier: MIT */
/*
 * trend.c - the last hour in steps of ten seconds, for charts: for each lane and the durable queue the work done
 * and the time waited, the depth, the used places. Kept in memory: a restarted broker begins anew.
 */
#include "broker/trend.h"
#include "broker/fleet.h"
#include "broker/flight.h"
#include "broker/numbers.h"
#include "broker/summary.h"
#include "broker/tally.h"

#include "common/check.h"
#include "common/clock.h"
#include <stdlib.h>
#include <string.h>

#define STEP_MS 10000
#define SERIES (LANE_COUNT + 1) /* the lanes, then the durable queue */

struct point {
    double done_per_s[SERIES], failed_per_s[SERIES];
    double wait_p95_s[SERIES]; /* negative: not measured */
    double depth[SERIES];      /* negative: unknown */
    double used, total;        /* places; negative: unknown */
};

struct sums {
    struct lane_sum lane[LANE_COUNT];
    struct queue_sum queue;
};

struct trend {
    struct point point[TREND_POINTS]; /* a ring of completed points */
    unsigned n, next;
    int64_t began_unix_ms; /* of the growing point */
    uint64_t began_ms;
    struct sums at_begin;
};

static void sums_take(const struct broker *b, struct sums *out)
{
    for (enum lane lane = 0; lane < LANE_COUNT; lane++)
        out->lane[lane] = *tally_lane(b->tally, lane);
    out->queue = *fleet_queue(b);
}

struct trend *trend_new(struct broker *b)
{
    struct trend *t = b->trend = xcalloc(1, sizeof *t);
    t->began_ms = loop_now_ms(b->loop);
    t->began_unix_ms = clock_unix_ms();
    sums_take(b, &t->at_begin);
    return t;
}

void trend_destroy(struct trend **tp)
{
    free(*tp);
    *tp = NULL;
}

static struct hist hist_since(const struct hist *now, const struct hist *then)
{
    struct hist grown = {.sum_us = now->sum_us - then->sum_us};
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        grown.n[i] = now->n[i] - then->n[i];
    return grown;
}

static void series_fill(struct point *p, unsigned at, double s, uint64_t done, uint64_t failed,
                        const struct hist *wait)
{
    p->done_per_s[at] = (double)done / s;
    p->failed_per_s[at] = (double)failed / s;
    p->wait_p95_s[at] = hist_quantile(wait, 0.95);
}

/* The growth since the growing point began. */
static struct point point_now(const struct broker *b)
{
    const struct trend *t = b->trend;
    struct point p;
    struct sums now;
    uint64_t ms = loop_now_ms(b->loop) - t->began_ms;
    double s = (double)(ms > 1000 ? ms : 1000) / 1000;
    sums_take(b, &now);
    for (enum lane lane = 0; lane < LANE_COUNT; lane++) {
        const struct lane_sum *then = &t->at_begin.lane[lane];
        struct hist wait = hist_since(&now.lane[lane].wait, &then->wait);
        series_fill(&p, lane, s, now.lane[lane].done - then->done, now.lane[lane].failed - then->failed, &wait);
        p.depth[lane] = (double)flights_depth(b, lane);
    }
    struct hist wait = hist_since(&now.queue.wait, &t->at_begin.queue.wait);
    series_fill(&p, LANE_COUNT, s, now.queue.done - t->at_begin.queue.done,
                now.queue.failed - t->at_begin.queue.failed, &wait);
    struct fleet_count places = fleet_count(b);
    p.depth[LANE_COUNT] = (double)summary_view(b).depth;
    p.used = (double)places.used;
    p.total = (double)places.total;
    return p;
}

void trend_tick(struct broker *b)
{
    struct trend *t = b->trend;
    if (loop_now_ms(b->loop) < t->began_ms + STEP_MS)
        return;
    struct point whole = point_now(b);
    uint64_t steps = (loop_now_ms(b->loop) - t->began_ms) / STEP_MS; /* more than one after a stall */
    for (uint64_t i = 0; i < steps && i < TREND_POINTS; i++) {
        t->point[t->next] = whole;
        t->next = (t->next + 1) % TREND_POINTS;
        t->n += t->n < TREND_POINTS;
    }
    t->began_ms += steps * STEP_MS;
    t->began_unix_ms += (int64_t)(steps * STEP_MS);
    sums_take(b, &t->at_begin);
}

/* ---- for charts --------------------------------------------------------------------------------------------- */

struct shown {
    const struct trend *trend;
    struct point growing;
    unsigned whole; /* completed points before it */
};

static const struct point *point_at(const struct shown *v, unsigned i)
{
    return i == v->whole ? &v->growing
                         : &v->trend->point[(v->trend->next + TREND_POINTS - v->whole + i) % TREND_POINTS];
}

static struct jv *values_jv(const struct shown *v, size_t offset)
{
    struct jv *list = jv_new_array();
    for (unsigned i = 0; i <= v->whole; i++) {
        double value;
        memcpy(&value, (const char *)point_at(v, i) + offset, sizeof value);
        jv_push_number(list, value);
    }
    return list;
}

static struct jv *series_jv(const struct shown *v, size_t offset)
{
    struct jv *by_name = jv_new_object();
    for (unsigned i = 0; i < SERIES; i++)
        jv_set(by_name, i < LANE_COUNT ? lane_name[i] : "queue", values_jv(v, offset + i * sizeof(double)));
    return by_name;
}

struct jv *trend_jv(const struct broker *b, unsigned points)
{
    const struct trend *t = b->trend;
    struct shown v = {t, point_now(b), t->n < points - 1 ? t->n : points - 1};
    struct jv *body = jv_new_object();
    jv_set_int(body, "step_s", STEP_MS / 1000);
    jv_set_time(body, "from", t->began_unix_ms - (int64_t)v.whole * STEP_MS);
    jv_set_int(body, "n", v.whole + 1);
    jv_set(body, "done_per_s", series_jv(&v, offsetof(struct point, done_per_s)));
    jv_set(body, "failed_per_s", series_jv(&v, offsetof(struct point, failed_per_s)));
    jv_set(body, "wait_p95_s", series_jv(&v, offsetof(struct point, wait_p95_s)));
    jv_set(body, "depth", series_jv(&v, offsetof(struct point, depth)));
    jv_set(body, "places_used", values_jv(&v, offsetof(struct point, used)));
    jv_set(body, "places_total", values_jv(&v, offsetof(struct point, total)));
    return body;
}
