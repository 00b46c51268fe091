/* SPDX-License-Identifier: MIT */
/*
 * stats.c - the state of the system, collected from the files that own its parts: as one JSON object for the page
 * and the command line, and as Prometheus text. Owns the timer that drives the ticks of all of them.
 */
#include "broker/stats.h"
#include "broker/alerts.h"
#include "broker/attempts.h"
#include "broker/batch.h"
#include "broker/companies.h"
#include "broker/feed.h"
#include "broker/fleet.h"
#include "broker/flight.h"
#include "broker/health.h"
#include "broker/http.h"
#include "broker/numbers.h"
#include "broker/peer.h"
#include "broker/sse.h"
#include "broker/summary.h"
#include "broker/tally.h"
#include "broker/trend.h"
#include "broker/words.h"

#include "common/check.h"
#include "common/clock.h"
#include <stdlib.h>
#include <string.h>

#define TICK_MS 1000
#define SOURCES_MAX 200

struct stats_board {
    struct broker *b;
    struct loop_timer timer;
};

static void tick(void *arg)
{
    struct stats_board *s = arg;
    struct broker *b = s->b;
    loop_timer_in(b->loop, &s->timer, TICK_MS);
    health_tick(b);
    tally_tick(b->tally, loop_now_ms(b->loop));
    summary_tick(b);
    fleet_tick(b);
    words_tick(b);
    alerts_tick(b);
    trend_tick(b);
    feed_tick(b);
}

struct stats_board *stats_board_new(struct broker *b)
{
    struct stats_board *s = xcalloc(1, sizeof *s);
    s->b = b;
    s->timer = (struct loop_timer){.fn = tick, .arg = s};
    loop_timer_in(b->loop, &s->timer, TICK_MS);
    return s;
}

void stats_board_destroy(struct stats_board **sp)
{
    if (*sp)
        loop_timer_stop((*sp)->b->loop, &(*sp)->timer);
    free(*sp);
    *sp = NULL;
}

struct jv *jv_new_stats(unsigned owner, const struct stats *s)
{
    struct jv *all = jv_new_object();
    for (unsigned i = 0; i < STAT_N; i++)
        if (!(stat_table[i].owner & owner))
            continue;
        else if (strcmp(stat_table[i].unit, "us") == 0)
            jv_set_number(all, stat_table[i].name, (double)s->v[i] / 1e6);
        else
            jv_set_int(all, stat_table[i].name, (int64_t)s->v[i]);
    return all;
}

/* ---- lanes -------------------------------------------------------------------------------------------------- */

static void counts_set(struct jv *one, const struct lane_sum *sum, const struct lane_sum *grown, double s)
{
    jv_set_number(one, "accepted_per_s", (double)grown->accepted / s);
    jv_set_number(one, "rejected_per_s", (double)grown->rejected / s);
    jv_set_number(one, "done_per_s", (double)grown->done / s);
    jv_set_number(one, "failed_per_s", (double)grown->failed / s);
    jv_set_number(one, "retried_per_s", (double)grown->retried / s);
    jv_set_int(one, "accepted_total", (int64_t)sum->accepted);
    jv_set_int(one, "rejected_total", (int64_t)sum->rejected);
    jv_set_int(one, "done_total", (int64_t)sum->done);
    jv_set_int(one, "failed_total", (int64_t)sum->failed);
    jv_set_int(one, "retried_total", (int64_t)sum->retried);
}

static struct jv *lane_jv(const struct broker *b, enum lane lane)
{
    struct jv *one = jv_new_object();
    struct lane_sum grown;
    uint64_t now = loop_now_ms(b->loop), depth = flights_depth(b, lane);
    double s = tally_lane_since(b->tally, lane, now, RATE_MS, &grown);
    double moved = (double)(grown.done + grown.failed) / s;
    jv_set_str(one, "lane", lane_name[lane]);
    jv_set_time(one, "as_of", clock_unix_ms());
    jv_set_int(one, "depth", (int64_t)depth);
    jv_set_int(one, "max_depth", b->conf->queue_max_depth);
    jv_set_number(one, "oldest_age_s", (double)flights_oldest_ms(b, lane) / 1000);
    jv_set_int(one, "in_flight", (int64_t)flights_in_flight(b, lane));
    jv_set_number(one, "clear_s", !depth ? 0 : moved > 0 ? (double)depth / moved : -1);
    counts_set(one, tally_lane(b->tally, lane), &grown, rate_span(s));
    tally_lane_since(b->tally, lane, now, TIMES_MS, &grown);
    jv_set(one, "wait_s", jv_new_times(&grown.wait));
    jv_set(one, "latency_s", jv_new_times(&grown.latency));
    return one;
}

static struct jv *lanes_jv(const struct broker *b)
{
    struct jv *lanes = jv_new_array();
    for (enum lane lane = 0; lane < LANE_COUNT; lane++)
        jv_push(lanes, lane_jv(b, lane));
    return lanes;
}

/* ---- the broker itself -------------------------------------------------------------------------------------- */

static struct jv *streams_jv(double bytes_per_s)
{
    struct jv *streams = jv_new_object();
    jv_set_int(streams, "active", (int64_t)stat_get(streams_active));
    jv_set_int(streams, "total", (int64_t)stat_get(streams_total));
    jv_set_int(streams, "bytes_total", (int64_t)stat_get(stream_out_bytes_total));
    jv_set_number(streams, "bytes_per_s", bytes_per_s);
    return streams;
}

static void own_gauges(struct broker *b)
{
    flights_stats(b);
    http_stats(b->http);
    uploads_stats(b);
    live_stats(b);
    stat_set(stream_memory_bytes, b->stream_memory.lent);
    loop_stats(b->loop);
    stat_set(uptime_seconds, (loop_now_ms(b->loop) - b->started_ms) / 1000);
}

static struct jv *broker_jv(struct broker *b)
{
    struct jv *one = jv_new_object();
    uint64_t now = loop_now_ms(b->loop);
    struct all_sum minute;
    double s = rate_span(tally_minute(b->tally, now, &minute));
    own_gauges(b);
    jv_set_str(one, "name", b->name);
    jv_set_str(one, "boot_id", b->boot_id);
    jv_set_str(one, "version", CHASQUI_VERSION);
    jv_set_time(one, "as_of", clock_unix_ms());
    jv_set_int(one, "uptime_s", (int64_t)stat_get(uptime_seconds));
    jv_set_int(one, "connections", (int64_t)stat_get(http_connections));
    jv_set_int(one, "max_connections", b->conf->broker_max_connections);
    jv_set_int(one, "parked", (int64_t)stat_get(http_parked));
    jv_set_int(one, "flights", (int64_t)flights_open(b));
    jv_set_number(one, "requests_per_s", (double)minute.answers / s);
    jv_set_number(one, "errors_per_s", (double)minute.errors / s);
    jv_set(one, "routes", tally_routes_jv(b->tally, now));
    jv_set(one, "streams", streams_jv((double)minute.stream_bytes / s));
    jv_set(one, "stats", jv_new_stats(STAT_BROKER, &stat_own));
    return one;
}

struct jv *stats_jv(struct broker *b, unsigned history_points)
{
    struct jv *body = jv_new_object();
    const char *state;
    struct jv *words = words_jv(b, &state);
    jv_set_bool(body, "ok", true);
    jv_set_time(body, "as_of", clock_unix_ms());
    jv_set_str(body, "state", state);
    jv_set(body, "words", words);
    jv_set(body, "lanes", lanes_jv(b));
    jv_set(body, "queue", summary_queue_jv(b));
    jv_set(body, "places", fleet_places_jv(b));
    jv_set(body, "robots", fleet_robots_jv(b));
    jv_set(body, "logins", fleet_logins_jv(b));
    jv_set(body, "dispatchers", peers_jv(b));
    jv_set(body, "broker", broker_jv(b));
    jv_set(body, "healthds", health_jv(b));
    jv_set(body, "companies", companies_jv(b));
    if (history_points)
        jv_set(body, "history", trend_jv(b, history_points));
    return body;
}

void stats_metrics(struct broker *b, struct buf *out)
{
    struct stat_source *sources = xcalloc(SOURCES_MAX, sizeof *sources);
    unsigned n = 0;
    own_gauges(b);
    sources[n++] = (struct stat_source){STAT_BROKER, "broker", b->name, &stat_own};
    n += peers_sources(b, sources + n, SOURCES_MAX - n);
    n += health_sources(b, sources + n, SOURCES_MAX - n);
    stat_prometheus(out, sources, n);
    free(sources);
    flights_metrics(b, out);
    tally_metrics(b->tally, out);
    summary_metrics(b, out);
    fleet_metrics(b, out);
    attempt_sums_metrics(b->attempts, out);
    peers_metrics(b, out);
    health_metrics(b, out);
}
