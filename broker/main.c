/* SPDX-License-Identifier: MIT */
/*
 * main.c - start and stop of a broker.
 *
 * SIGTERM: for broker.stop_delay_ms everything continues, but /readyz says "stopping" and each answer ends its
 * connection, so that load balancers and their pools leave. Then the listeners close, the dispatchers receive BYE,
 * and requests in flight and requests still arriving on kept connections are answered. Idle connections are closed
 * last, after a moment without a request on any of them. SIGINT skips the delay. After broker.deadline_ms
 * everything ends.
 */
#include "broker/alerts.h"
#include "broker/attempts.h"
#include "broker/auth.h"
#include "broker/batch.h"
#include "broker/companies.h"
#include "broker/cors.h"
#include "broker/feed.h"
#include "broker/fleet.h"
#include "broker/flight.h"
#include "broker/health.h"
#include "broker/holders.h"
#include "broker/http.h"
#include "broker/peer.h"
#include "broker/progress.h"
#include "broker/ratelimit.h"
#include "broker/sse.h"
#include "broker/stats.h"
#include "broker/summary.h"
#include "broker/tally.h"
#include "broker/token_use.h"
#include "broker/trend.h"
#include "broker/web_session.h"
#include "broker/words.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/supervisor.h"
#include "common/trial.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define DRAIN_GRACE_MS 2000 /* beyond the deadline of requests */
#define DRAIN_LOOK_MS 20
#define CALM_MS 300

struct drain {
    struct broker *b;
    struct supervisor *supervisor;
    struct loop_timer timer;
    uint64_t until_ms;
    /* It ends after calm_ms without a request; busy_at_ms is the time of the latest one. */
    uint64_t calm_ms, busy_at_ms;
    bool is_told; /* BYE was sent */
};

static void drain_look(void *arg)
{
    struct drain *d = arg;
    struct http *h = d->b->http;
    uint64_t now = clock_ms();
    if (!d->is_told && !flights_queued(d->b)) {
        peers_bye(d->b, "stopping");
        d->is_told = true;
    }
    if (!d->is_told || http_busy(h))
        d->busy_at_ms = now;
    bool is_calm = now >= d->busy_at_ms + d->calm_ms && d->busy_at_ms != now;
    if (now >= d->until_ms || (is_calm && !http_has_unread(h)))
        loop_stop(d->b->loop);
    else
        loop_timer_in(d->b->loop, &d->timer, DRAIN_LOOK_MS);
}

static void drain_begin(void *arg)
{
    struct drain *d = arg;
    log_line(LOG_INFO, "drain", "in_flight", log_i((long long)flights_open(d->b)), NULL);
    d->b->is_stopping = d->b->is_draining = true;
    d->until_ms = clock_ms() + (uint64_t)d->b->conf->broker_deadline_ms + DRAIN_GRACE_MS;
    d->timer.fn = drain_look;
    http_quiesce(d->b->http);
    live_quiesce(d->b);
    drain_look(d);
}

static void stop_begin(void *arg)
{
    struct drain *d = arg;
    uint64_t delay_ms = loop_is_interrupted(d->b->loop) ? 0 : (uint64_t)d->b->conf->broker_stop_delay_ms;
    d->timer = (struct loop_timer){.fn = drain_begin, .arg = d};
    d->calm_ms = delay_ms < CALM_MS ? delay_ms : CALM_MS;
    d->b->is_stopping = true;
    supervisor_stopping(d->supervisor);
    log_line(LOG_INFO, "stopping", "delay_ms", log_i((long long)delay_ms), NULL);
    if (delay_ms)
        loop_timer_in(d->b->loop, &d->timer, delay_ms);
    else
        drain_begin(d);
}

/* Credentials pass through this process, so it must write no core and must not be traced. Each client is a
 * descriptor. Of the memory of each client some pages are never touched; with huge pages all of it would be
 * resident. */
static void limits_set(void)
{
    struct rlimit none = {0, 0}, files;
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static bool parts_build(struct broker *b)
{
    if (!cors_check(b->conf))
        return false;
    b->bus = bus_new(b->loop, b->conf);
    if (!b->bus)
        return false;
    b->tally = tally_new(loop_now_ms(b->loop));
    b->companies = companies_new();
    b->attempts = attempt_sums_new();
    summary_new(b);
    alerts_new(b);
    words_new(b);
    b->token_use = token_use_new();
    b->holders = holders_new((uint64_t)b->conf->broker_max_connections / 2);
    fleet_new(b);
    trend_new(b);
    b->ratelimit = ratelimit_new();
    b->flights = flights_new(b);
    b->auth = auth_new(b);
    b->uploads = uploads_new();
    b->live = live_new(b);
    b->progress = progress_new(b);
    b->feed = feed_new();
    if (!web_sessions_new(b) || !peers_new(b) || !health_new(b) || !http_new(b))
        return false;
    b->board = stats_board_new(b);
    return true;
}

static void parts_drop(struct broker *b)
{
    stats_board_destroy(&b->board);
    http_destroy(&b->http);
    uploads_destroy(b);
    progress_destroy(&b->progress);
    feed_destroy(&b->feed);
    live_destroy(&b->live);
    summary_destroy(&b->summary);
    alerts_destroy(&b->alerts);
    words_destroy(b);
    token_use_destroy(&b->token_use);
    holders_destroy(&b->holders);
    health_destroy(&b->health);
    auth_destroy(&b->auth);
    peers_destroy(&b->peers);
    flights_destroy(&b->flights);
    web_sessions_destroy(&b->web_sessions);
    ratelimit_destroy(&b->ratelimit);
    trend_destroy(&b->trend);
    fleet_destroy(&b->fleet);
    companies_destroy(&b->companies);
    attempt_sums_destroy(&b->attempts);
    tally_destroy(&b->tally);
    bus_destroy(&b->bus);
}

/* Performs --check. */
static int everything_try(struct conf *conf)
{
    bool good = cors_check(conf);
    good &= trial_keys(conf, "broker");
    good &= trial_bind("broker.http", conf->broker_http);
    good &= trial_bind("broker.ops", conf->broker_ops);
    good &= trial_bind("broker.bind", conf->broker_bind);
    conf_destroy(&conf);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct broker b = {0};
    struct drain drain = {.b = &b};
    struct conf *conf = conf_from_args(CONF_BROKER, "broker", argc, argv);

    if (conf->is_check)
        return everything_try(conf);
    log_detach();
    limits_set();
    b.conf = conf;
    b.stream_memory.budget = (uint64_t)conf->broker_stream_memory_bytes;
    b.started_ms = clock_ms();
    snprintf(b.name, sizeof b.name, "%s", conf->broker_http);
    id_boot(b.boot_id);

    b.loop = loop_new();
    struct memory *memory = b.loop ? memory_new(b.loop) : NULL;
    bool is_built = b.loop && parts_build(&b);
    if (is_built) {
        drain.supervisor = supervisor_new(b.loop);
        loop_on_stop(b.loop, stop_begin, &drain);
        supervisor_ready(drain.supervisor);
        log_line(LOG_INFO, "started", "http", conf->broker_http, "ops", conf->broker_ops, "bind",
                 conf->broker_bind, NULL);

        loop_run(b.loop);

        log_line(LOG_INFO, "stopped", "in_flight", log_i((long long)flights_open(&b)), NULL);
        loop_timer_stop(b.loop, &drain.timer);
    }
    supervisor_destroy(&drain.supervisor);
    parts_drop(&b);
    memory_destroy(&memory);
    loop_destroy(&b.loop);
    conf_destroy(&conf);
    return is_built && !b.is_failed ? EXIT_SUCCESS : EXIT_FAILURE;
}
