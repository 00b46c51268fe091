/* SPDX-License-Identifier: MIT */
/*
 * main.c - start and stop of a dispatcher. A stop signal drains: BYE to the
 * brokers, what is in flight ends, and what does not end in time is left to
 * its lease and rescued by another dispatcher. Then nothing new is begun, and
 * what the database is asked just now comes back.
 */
#include "dispatcher/handlers.h"
#include "dispatcher/login/round.h"
#include "dispatcher/login/migrate.h"
#include "dispatcher/login/settle.h"
#include "dispatcher/news.h"
#include "dispatcher/ops/drain.h"
#include "dispatcher/ops/summary.h"
#include "dispatcher/ops/verify.h"
#include "dispatcher/queue/alerts.h"
#include "dispatcher/queue/batch.h"
#include "dispatcher/queue/events.h"
#include "dispatcher/queue/queue.h"
#include "dispatcher/robot/boot_check.h"
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/robot/health_sub.h"
#include "dispatcher/robot/held.h"
#include "dispatcher/robot/portals.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/robot/silence.h"
#include "dispatcher/robot/tally.h"
#include "dispatcher/robot/unanswered.h"
#include "dispatcher/session/activity.h"
#include "dispatcher/session/job_wait.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/session/lookup.h"
#include "dispatcher/session/reconcile.h"
#include "dispatcher/store/together.h"
#include "dispatcher/store/viewer_link.h"
#include "dispatcher/sweep.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/request.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/supervisor.h"
#include "common/trial.h"
#include "dispatcher/history.h"
#include "dispatcher/retention.h"
#include "dispatcher/ops/row_repair.h"
#include "dispatcher/queue/schedule.h"
#include "dispatcher/queue/webhook.h"
#include "db/mariadb.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define DRAIN_MS 25000
#define LAST_WORDS_MS 2000 /* for the database, after that */
#define DRAIN_LOOK_MS 20
#define DATABASE_WORDS_BYTES 700

struct drain {
    struct dispatcher *d;
    struct supervisor *supervisor;
    struct loop_timer timer;
    uint64_t until_ms;
};

static bool is_database_quiet(const struct dispatcher *d)
{
    return !store_waiting(d->store) && store_idle_threads(d->store) == (unsigned)d->conf->dispatcher_db_threads;
}

static void drain_look(void *arg)
{
    struct drain *drain = arg;
    struct dispatcher *d = drain->d;
    bool is_busy = requests_in_flight(d) || settles_running(d) || calls_running(d->robot_http);
    bool is_late = clock_ms() >= drain->until_ms;
    if (d->sweep && (!is_busy || is_late)) {
        sweep_destroy(&d->sweep);
        activity_flush(d);
        leases_resign(d);
        drain->until_ms = clock_ms() + LAST_WORDS_MS;
    } else if (!d->sweep && (is_late || (!is_busy && is_database_quiet(d)))) {
        loop_stop(d->loop);
        return;
    }
    loop_timer_in(d->loop, &drain->timer, DRAIN_LOOK_MS);
}

static void drain_begin(void *arg)
{
    struct drain *drain = arg;
    drain->d->draining = true;
    drain->until_ms = clock_ms() + DRAIN_MS;
    supervisor_stopping(drain->supervisor);
    log_line(LOG_INFO, "drain", "in_flight", log_i(requests_in_flight(drain->d)), NULL);
    peers_bye(drain->d, "stopping");
    drain->timer.fn = drain_look;
    drain->timer.arg = drain;
    drain_look(drain);
}

/* Credentials pass through this process: no core of it is written, nobody traces it. */
static void secrets_guard(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* A connection to a robot is a descriptor; the usual soft limit of 1024 is for programs that call select(). */
static void descriptors_raise(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* The parts that hold secrets. */
static bool secrets_open(struct dispatcher *d)
{
    if (d->conf->seal_key_file && !(d->seal = seal_open(d->conf->seal_key_file)))
        return false;
    if (!d->seal)
        log_line(LOG_WARN, "no_seal_key", "means", "params are not kept, remember and migrations are off", NULL);
    return viewer_link_open(d->conf) && (d->webhooks = webhooks_new(d)) && (d->verifier = verifier_new(d)) &&
           (d->events = events_new(d)) && (d->alerts = alerts_new(d));
}

static bool parts_build(struct dispatcher *d)
{
    if (!(d->bus = bus_new(d->loop, d->conf)) || !secrets_open(d))
        return false;
    d->store = store_new(d->loop, d->conf);
    d->robot_http = robot_http_new(d->loop, d->conf);
    d->requests = requests_new();
    d->bulkheads = bulkheads_new(d);
    d->job_waits = job_waits_new(d);
    tally_new(d);
    robot_http_watch(d->robot_http, tally_called, d);
    d->summaries = summaries_new(d);
    d->batches = batches_new(d);
    d->robots = robots_new(d);
    d->helds = helds_new(d);
    d->leases = leases_new(d);
    d->logins = logins_new();
    d->rounds = rounds_new();
    d->lookups = lookups_new(d);
    d->migrations = migrations_new(d);
    d->drains = drains_new(d);
    d->silences = silences_new();
    d->unanswered = unanswered_new();
    d->boot_checks = boot_checks_new();
    d->reconciler = reconciler_new(d);
    d->schedules = schedules_new(d);
    d->retention = retention_new();
    d->history = history_new();
    d->row_repair = row_repair_new();
    d->peers = peers_new(d);
    d->health_sub = health_sub_new(d);
    d->together = together_new(d->loop, d->store);
    d->queue = queue_new(d);
    d->portals = portals_new(d);
    d->sweep = sweep_new(d);
    return d->peers && d->health_sub;
}

static void parts_drop(struct dispatcher *d)
{
    sweep_destroy(&d->sweep);
    portals_destroy(&d->portals);
    queue_destroy(&d->queue);
    health_sub_destroy(&d->health_sub);
    peers_destroy(&d->peers);
    robot_http_destroy(&d->robot_http);
    store_destroy(&d->store);
    logins_destroy(d);
    rounds_destroy(d);
    row_repair_destroy(&d->row_repair);
    retention_destroy(&d->retention);
    history_destroy(&d->history);
    webhooks_destroy(&d->webhooks);
    verifier_destroy(&d->verifier);
    events_destroy(&d->events);
    alerts_destroy(&d->alerts);
    schedules_destroy(&d->schedules);
    reconciler_destroy(&d->reconciler);
    drains_destroy(&d->drains);
    silences_destroy(&d->silences);
    unanswered_destroy(&d->unanswered);
    boot_checks_destroy(&d->boot_checks);
    migrations_destroy(&d->migrations);
    lookups_destroy(&d->lookups);
    job_waits_destroy(d);
    together_destroy(&d->together);
    activity_destroy(&d->activity);
    leases_destroy(&d->leases);
    robots_destroy(&d->robots);
    helds_destroy(d);
    requests_destroy(&d->requests);
    bulkheads_destroy(&d->bulkheads);
    summaries_destroy(&d->summaries);
    tally_destroy(&d->tally);
    batches_destroy(&d->batches);
    seal_close(&d->seal);
    viewer_link_close();
    bus_destroy(&d->bus);
}

static bool database_try(const struct conf *conf)
{
    struct db *db = db_new(conf);
    bool good = db_ready(db) == DB_OK;
    char words[DATABASE_WORDS_BYTES];
    snprintf(words, sizeof(words), "%s at %s: %s", conf->db_name, conf->db_host,
             good ? "connected" : db_error(db));
    trial_told(good, "database", words);
    if (good && db_query(db, "SELECT 1 FROM chasqui_sessions LIMIT 1", "") != DB_OK) {
        snprintf(words, sizeof(words), "its tables cannot be read: %s; chasqui migrate makes them", db_error(db));
        good = trial_told(false, "database", words);
    }
    db_destroy(&db);
    return good;
}

/* --check. */
static bool everything_try(struct dispatcher *d)
{
    bool good = trial_keys(d->conf, "dispatcher");
    bool is_open = secrets_open(d);
    trial_told(is_open, "secrets",
               is_open ? "those that are configured can be read" : "one cannot be read; see above");
    good &= database_try(d->conf);
    parts_drop(d);
    return good && is_open;
}

int main(int argc, char **argv)
{
    struct dispatcher d = {0};
    struct drain drain = {.d = &d};
    struct conf *conf = conf_from_args(CONF_DISPATCHER, "dispatcher", argc, argv);

    log_detach();
    secrets_guard();
    descriptors_raise();
    handlers_check();
    d.conf = conf;
    d.news = &news_of_floors;
    d.stream_memory.budget = (uint64_t)conf->dispatcher_stream_memory_bytes;
    snprintf(d.name, sizeof(d.name), "%.64s", conf->dispatcher_name);
    id_boot(d.boot_id);

    d.loop = loop_new();
    if (conf->is_check) {
        bool good = d.loop && everything_try(&d);
        loop_destroy(&d.loop);
        conf_destroy(&conf);
        return good ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    struct memory *memory = d.loop ? memory_new(d.loop) : NULL;
    bool is_built = d.loop && parts_build(&d);
    if (is_built) {
        drain.supervisor = supervisor_new(d.loop);
        loop_on_stop(d.loop, drain_begin, &drain);
        supervisor_ready(drain.supervisor);
        log_line(LOG_INFO, "started", "name", d.name, "boot", d.boot_id, NULL);
        loop_run(d.loop);
        log_line(LOG_INFO, "stopped", "in_flight", log_i(requests_in_flight(&d)), NULL);
    }

    supervisor_destroy(&drain.supervisor);
    parts_drop(&d);
    memory_destroy(&memory);
    loop_destroy(&d.loop);
    conf_destroy(&conf);
    return is_built ? EXIT_SUCCESS : EXIT_FAILURE;
}
