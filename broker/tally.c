/* SPDX-License-Identifier: MIT */
/*
 * tally.c - the broker's counts by lane and by route.
 *
 * Owns: those counters, and snapshots of them for rates and percentiles. A route's label is its pattern, never a
 * path from a client, so the number of labels is bounded.
 */
#include "broker/tally.h"
#include "broker/numbers.h"
#include "broker/route.h"
#include "broker/window.h"

#include "common/check.h"
#include "common/stat.h"
#include <stdio.h>
#include <stdlib.h>

#define WIDTH_OF(type) (sizeof(type) / sizeof(uint64_t))

struct route_sum { /* uint64_t only */
    uint64_t answers;
    struct hist latency;
};

struct per_route {
    const struct route *route; /* NULL: paths without a route */
    struct route_sum sum;
    uint64_t by_status[STATUS_MAX + 1];
    struct window *window; /* NULL until the route is first used */
};

struct tally {
    struct lane_sum lane[LANE_COUNT];
    struct window *lane_window[LANE_COUNT];
    struct all_sum all;
    struct window *all_window;
    struct per_route *route; /* n_routes, the last one for unknown paths */
    unsigned n_routes;
};

struct tally *tally_new(uint64_t now_ms)
{
    struct tally *t = xcalloc(1, sizeof *t);
    for (unsigned i = 0; i < LANE_COUNT; i++)
        t->lane_window[i] = window_new(WIDTH_OF(struct lane_sum), SUMS_SLOTS, SUMS_STEP_MS, now_ms, NULL);
    t->all_window = window_new(WIDTH_OF(struct all_sum), SUMS_SLOTS, SUMS_STEP_MS, now_ms, NULL);
    t->n_routes = route_count() + 1;
    t->route = xcalloc(t->n_routes, sizeof *t->route);
    for (unsigned i = 0; i < route_count(); i++)
        t->route[i].route = route_at(i);
    return t;
}

void tally_destroy(struct tally **tp)
{
    struct tally *t = *tp;
    if (!t)
        return;
    *tp = NULL;
    for (unsigned i = 0; i < LANE_COUNT; i++)
        window_destroy(&t->lane_window[i]);
    for (unsigned i = 0; i < t->n_routes; i++)
        window_destroy(&t->route[i].window);
    window_destroy(&t->all_window);
    free(t->route);
    free(t);
}

struct lane_sum *tally_lane(struct tally *t, enum lane lane)
{
    return &t->lane[lane];
}

void tally_answer(struct tally *t, const struct route *route, unsigned status, uint64_t took_ms)
{
    struct per_route *r = &t->route[route ? route_index(route) : t->n_routes - 1];
    r->sum.answers++;
    hist_add(&r->sum.latency, took_ms * 1000);
    if (status <= STATUS_MAX)
        r->by_status[status]++;
    if (!route || route->listener != LISTENER_APP)
        return;
    t->all.answers++;
    t->all.errors += status >= 500;
}

void tally_tick(struct tally *t, uint64_t now_ms)
{
    t->all.stream_bytes = stat_get(stream_out_bytes_total);
    for (unsigned i = 0; i < LANE_COUNT; i++)
        window_step(t->lane_window[i], now_ms, (const uint64_t *)&t->lane[i]);
    window_step(t->all_window, now_ms, (const uint64_t *)&t->all);
    for (unsigned i = 0; i < t->n_routes; i++) {
        struct per_route *r = &t->route[i];
        if (!r->window && r->sum.answers) /* all answers within this second count as new */
            r->window = window_new(WIDTH_OF(struct route_sum), SUMS_SLOTS, SUMS_STEP_MS, now_ms, NULL);
        else if (r->window)
            window_step(r->window, now_ms, (const uint64_t *)&r->sum);
    }
}

double tally_lane_since(const struct tally *t, enum lane lane, uint64_t now_ms, uint64_t ago_ms,
                        struct lane_sum *grown)
{
    return window_since(t->lane_window[lane], now_ms, (const uint64_t *)&t->lane[lane], ago_ms, (uint64_t *)grown);
}

double tally_minute(const struct tally *t, uint64_t now_ms, struct all_sum *grown)
{
    return window_since(t->all_window, now_ms, (const uint64_t *)&t->all, RATE_MS, (uint64_t *)grown);
}

/* ---- for people --------------------------------------------------------------------------------------------- */

static const char *method_of(const struct per_route *r)
{
    return r->route ? r->route->method : "none";
}

static const char *path_of(const struct per_route *r)
{
    return r->route ? r->route->path : "none";
}

static struct jv *route_jv(const struct per_route *r, uint64_t now_ms)
{
    struct jv *one = jv_new_object(), *codes = jv_new_object();
    struct route_sum grown = r->sum;
    double s = 1;
    if (r->window)
        s = window_since(r->window, now_ms, (const uint64_t *)&r->sum, RATE_MS, (uint64_t *)&grown);
    jv_set_str(one, "method", method_of(r));
    jv_set_str(one, "route", path_of(r));
    jv_set_number(one, "per_s", (double)grown.answers / rate_span(s));
    for (unsigned status = 0; status <= STATUS_MAX; status++) {
        char name[8];
        snprintf(name, sizeof name, "%u", status);
        if (r->by_status[status])
            jv_set_int(codes, name, (int64_t)r->by_status[status]);
    }
    jv_set(one, "codes", codes);
    if (r->window)
        window_since(r->window, now_ms, (const uint64_t *)&r->sum, TIMES_MS, (uint64_t *)&grown);
    jv_set(one, "latency_s", jv_new_times(&grown.latency));
    return one;
}

static int most_asked_first(const void *a, const void *b)
{
    uint64_t x = (*(const struct per_route *const *)a)->sum.answers;
    uint64_t y = (*(const struct per_route *const *)b)->sum.answers;
    return x < y ? 1 : -(x > y);
}

struct jv *tally_routes_jv(const struct tally *t, uint64_t now_ms)
{
    struct jv *list = jv_new_array();
    const struct per_route **order = xcalloc(t->n_routes, sizeof *order);
    unsigned n = 0;
    for (unsigned i = 0; i < t->n_routes; i++)
        if (t->route[i].sum.answers)
            order[n++] = &t->route[i];
    qsort(order, n, sizeof *order, most_asked_first);
    for (unsigned i = 0; i < n; i++)
        jv_push(list, route_jv(order[i], now_ms));
    free(order);
    return list;
}

/* ---- for Prometheus ----------------------------------------------------------------------------------------- */

static void lane_counter(const struct tally *t, struct buf *out, enum stat_family_id f, size_t offset)
{
    stat_family(out, f);
    for (unsigned i = 0; i < LANE_COUNT; i++)
        stat_sample(out, f, (double)*(const uint64_t *)((const char *)&t->lane[i] + offset), &lane_name[i]);
}

static void lane_times(const struct tally *t, struct buf *out, enum stat_family_id f, size_t offset)
{
    stat_family(out, f);
    for (unsigned i = 0; i < LANE_COUNT; i++)
        stat_sample_hist(out, f, (const struct hist *)((const char *)&t->lane[i] + offset), &lane_name[i]);
}

static void routes_codes(const struct tally *t, struct buf *out)
{
    stat_family(out, FAMILY_route_requests_total);
    for (unsigned i = 0; i < t->n_routes; i++)
        for (unsigned status = 0; status <= STATUS_MAX; status++) {
            const struct per_route *r = &t->route[i];
            char code[8];
            snprintf(code, sizeof code, "%u", status);
            if (r->by_status[status])
                stat_sample(out, FAMILY_route_requests_total, (double)r->by_status[status],
                            (const char *const[]){method_of(r), path_of(r), code});
        }
}

static void routes_times(const struct tally *t, struct buf *out)
{
    stat_family(out, FAMILY_route_latency_seconds);
    for (unsigned i = 0; i < t->n_routes; i++)
        if (t->route[i].sum.answers)
            stat_sample_hist(out, FAMILY_route_latency_seconds, &t->route[i].sum.latency,
                             (const char *const[]){method_of(&t->route[i]), path_of(&t->route[i])});
}

void tally_metrics(const struct tally *t, struct buf *out)
{
    lane_counter(t, out, FAMILY_lane_accepted_total, offsetof(struct lane_sum, accepted));
    lane_counter(t, out, FAMILY_lane_rejected_total, offsetof(struct lane_sum, rejected));
    lane_counter(t, out, FAMILY_lane_done_total, offsetof(struct lane_sum, done));
    lane_counter(t, out, FAMILY_lane_failed_total, offsetof(struct lane_sum, failed));
    lane_counter(t, out, FAMILY_lane_retried_total, offsetof(struct lane_sum, retried));
    lane_times(t, out, FAMILY_lane_wait_seconds, offsetof(struct lane_sum, wait));
    lane_times(t, out, FAMILY_lane_latency_seconds, offsetof(struct lane_sum, latency));
    routes_codes(t, out);
    routes_times(t, out);
}
