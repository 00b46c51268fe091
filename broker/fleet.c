/* SPDX-License-Identifier: MIT */
/*
 * fleet.c - aggregates the dispatchers' counts of the robots and of the durable queue.
 *
 * Owns: a row for each robot that a dispatcher or healthd named recently, the latest report of each dispatcher on
 * it, and the sums. A dispatcher's counters restart at 0 when it restarts, so only their growth is added. Must
 * never know a base URL. No decision depends on it.
 */
#include "broker/fleet.h"
#include "broker/health.h"
#include "broker/numbers.h"
#include "broker/summary.h"
#include "broker/window.h"

#include "common/check.h"
#include "common/clock.h"
#include <stdlib.h>
#include <string.h>

#define WIDTH_OF(type) (sizeof(type) / sizeof(uint64_t))
#define ROBOT_STEP_MS 30000 /* with thousands of robots snapshots must be coarser */
#define ROBOT_SLOTS 11
#define FORGET_MS 30000 /* a robot not named for this long was removed */
#define TOLD_MAX 64     /* dispatchers whose counts of a robot are kept */

struct robot_sum { /* uint64_t only */
    uint64_t done, failed;
    struct hist login;
    uint64_t fault[FAULT_COUNT];
};

struct told { /* a dispatcher's latest report on a robot */
    struct told *next;
    char dispatcher[65], boot_id[65];
    struct robot_sum sum;
    uint64_t in_flight, mute;
};

struct robot {
    char name[65];
    uint64_t named_at_ms; /* by any process */
    int64_t told_unix_ms;
    bool is_wanted_known;
    enum wanted wanted;
    struct told *told;
    struct robot_sum sum;
    struct window *window;
    struct robot_health health; /* the best current verdict, else the last one */
    enum verdict verdict;       /* UNKNOWN while no connected healthd knows it */
    int64_t mute_since_ms;      /* unix; calls of a dispatcher get no answer since then; 0 = no */
    struct {
        int64_t at_ms; /* 0 = no change seen yet */
        enum verdict from, to;
        char why[201];
    } change;
    struct {
        int64_t as_of_ms; /* 0 = unknown */
        int64_t used, total, kept_back, abandoned, left, movable, since_ms, deadline_ms;
        int64_t waiting, waiting_movable;  /* sessions on a silent robot; -1 = not silent */
        int64_t migrate_at_ms, lost_at_ms; /* unix; when they move, or are lost, unless it answers */
    } places;
};

/* A dispatcher that has reported all of its counters: a robot that it names later is new to it, and began at 0. */
struct heard {
    char dispatcher[65], boot_id[65];
};

struct fleet {
    struct robot **robot; /* sorted by name */
    unsigned n, room;
    struct queue_sum queue;
    struct window *queue_window; /* of a second, so that a pace is of the time that it names */
    struct flow flow;
    uint64_t dispatcher_heard_ms;
    struct heard heard[TOLD_MAX]; /* a ring */
    unsigned next_heard;
};

struct fleet *fleet_new(struct broker *b)
{
    struct fleet *f = b->fleet = xcalloc(1, sizeof *f);
    f->queue_window =
        window_new(WIDTH_OF(struct queue_sum), QUEUE_SLOTS, QUEUE_STEP_MS, loop_now_ms(b->loop), NULL);
    return f;
}

static void robot_free(struct robot *r)
{
    for (struct told *t = r->told, *next; t; t = next) {
        next = t->next;
        free(t);
    }
    window_destroy(&r->window);
    free(r);
}

void fleet_destroy(struct fleet **fp)
{
    struct fleet *f = *fp;
    if (!f)
        return;
    *fp = NULL;
    for (unsigned i = 0; i < f->n; i++)
        robot_free(f->robot[i]);
    window_destroy(&f->queue_window);
    free(f->robot);
    free(f);
}

/* ---- the rows ----------------------------------------------------------------------------------------------- */

/* The index of the name, or where it would be inserted. */
static unsigned place_of(const struct fleet *f, const char *name)
{
    unsigned from = 0, to = f->n;
    while (from < to) {
        unsigned middle = from + (to - from) / 2;
        if (strcmp(f->robot[middle]->name, name) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static struct robot *robot_find(const struct fleet *f, const char *name)
{
    unsigned at = place_of(f, name);
    return at < f->n && strcmp(f->robot[at]->name, name) == 0 ? f->robot[at] : NULL;
}

/* Returns NULL when there are too many robots. */
static struct robot *robot_named(struct broker *b, const char *name)
{
    struct fleet *f = b->fleet;
    struct robot *r = robot_find(f, name);
    if (!r) {
        unsigned at = place_of(f, name);
        if (f->n == HEALTH_ROBOTS_MAX)
            return NULL;
        if (f->n == f->room) {
            f->room = f->room ? f->room * 2 : 16;
            f->robot = xrealloc(f->robot, f->room * sizeof(struct robot *));
        }
        memmove(f->robot + at + 1, f->robot + at, (f->n - at) * sizeof(struct robot *));
        r = f->robot[at] = xcalloc(1, sizeof *r);
        f->n++;
        strcpy(r->name, name);
        r->health.sessions = r->health.capacity = -1;
        r->window = window_new(WIDTH_OF(struct robot_sum), ROBOT_SLOTS, ROBOT_STEP_MS, loop_now_ms(b->loop), NULL);
    }
    r->named_at_ms = loop_now_ms(b->loop);
    return r;
}

static struct told *told_of(struct robot *r, const char *dispatcher)
{
    struct told *t = r->told;
    while (t && strcmp(t->dispatcher, dispatcher) != 0)
        t = t->next;
    return t;
}

/* sum += now - before, element by element. A number that fell was restarted. */
static void add_growth(uint64_t *sum, const uint64_t *before, const uint64_t *now, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += now[i] >= before[i] ? now[i] - before[i] : now[i];
}

struct teller {
    struct broker *b;
    const char *dispatcher, *boot_id;
    bool is_heard; /* before this message */
    unsigned n;    /* rows in this message */
};

static bool is_heard(const struct fleet *f, const char *dispatcher, const char *boot_id)
{
    for (unsigned i = 0; i < TOLD_MAX; i++)
        if (strcmp(f->heard[i].dispatcher, dispatcher) == 0 && strcmp(f->heard[i].boot_id, boot_id) == 0)
            return true;
    return false;
}

static void heard_note(struct fleet *f, const char *dispatcher, const char *boot_id)
{
    struct heard *h = &f->heard[f->next_heard];
    f->next_heard = (f->next_heard + 1) % TOLD_MAX;
    strcpy(h->dispatcher, dispatcher);
    strcpy(h->boot_id, boot_id);
}

static struct told *told_new(struct robot *r, const struct teller *from, const struct robot_sum *now)
{
    struct told *t = xcalloc(1, sizeof *t);
    unsigned n = 0;
    strcpy(t->dispatcher, from->dispatcher);
    strcpy(t->boot_id, from->boot_id);
    if (!from->is_heard)
        t->sum = *now; /* counts from before we knew it are not added */
    t->next = r->told;
    r->told = t;
    for (struct told *last = t; last; last = last->next)
        if (++n == TOLD_MAX) { /* the first entries expired long ago */
            for (struct told *old = last->next, *next; old; old = next) {
                next = old->next;
                free(old);
            }
            last->next = NULL;
        }
    return t;
}

static void mute_look(struct robot *r)
{
    bool is_mute = false;
    for (const struct told *t = r->told; t; t = t->next)
        is_mute |= t->mute > 0;
    r->mute_since_ms = !is_mute ? 0 : r->mute_since_ms ? r->mute_since_ms : clock_unix_ms();
}

/* Combines healthd's verdict with the outcome of calls to a robot that is well by its health. */
static enum verdict judged(const struct robot *r, enum verdict v)
{
    return v == VERDICT_UP && r->mute_since_ms ? VERDICT_SUSPECT : v;
}

static bool is_judged_by_calls(const struct robot *r)
{
    return r->health.verdict == VERDICT_UP && r->mute_since_ms;
}

static void robot_told(void *arg, const struct robot_stats_row *row)
{
    static const struct robot_sum nothing;
    struct teller *from = arg;
    char name[65];
    from->n++;
    str_copy(name, sizeof name, row->name);
    struct robot *r = robot_named(from->b, name);
    if (!r)
        return;
    struct robot_sum now = {.done = row->done, .failed = row->failed, .login = row->login};
    memcpy(now.fault, row->fault, sizeof now.fault);
    struct told *t = told_of(r, from->dispatcher);
    if (!t)
        t = told_new(r, from, &now);
    bool is_same_boot = strcmp(t->boot_id, from->boot_id) == 0;
    strcpy(t->boot_id, from->boot_id);
    add_growth((uint64_t *)&r->sum, (const uint64_t *)(is_same_boot ? &t->sum : &nothing), (const uint64_t *)&now,
               WIDTH_OF(struct robot_sum));
    t->sum = now;
    t->in_flight = row->in_flight;
    t->mute = row->mute;
    mute_look(r);
    if (row->wanted == WANTED_DRAINING &&
        r->wanted != WANTED_DRAINING) /* what was counted is of an earlier drain */
        r->places.left = r->places.movable = r->places.since_ms = r->places.deadline_ms = -1;
    r->wanted = row->wanted;
    r->is_wanted_known = true;
    r->told_unix_ms = clock_unix_ms();
}

void fleet_robots_told(struct broker *b, const char *dispatcher, const char *boot_id, struct str payload)
{
    struct teller from = {b, dispatcher, boot_id, is_heard(b->fleet, dispatcher, boot_id), 0};
    b->fleet->dispatcher_heard_ms = loop_now_ms(b->loop);
    proto_decode_robot_stats(payload, robot_told, &from);
    if (!from.is_heard && from.n < ROBOT_STATS_MAX)
        heard_note(b->fleet, dispatcher, boot_id);
}

void fleet_stats_told(struct broker *b, const struct stats *before, const struct stats *now)
{
    struct queue_sum *q = &b->fleet->queue;
    static const struct {
        enum stat_id from;
        size_t to;
    } of[] = {
        {STAT_queue_enqueued_total, offsetof(struct queue_sum, accepted)},
        {STAT_batch_items_total, offsetof(struct queue_sum, accepted)},
        {STAT_batch_items_rejected_total, offsetof(struct queue_sum, rejected)},
        {STAT_queue_done_total, offsetof(struct queue_sum, done)},
        {STAT_queue_met_total, offsetof(struct queue_sum, done)},
        {STAT_queue_failed_total, offsetof(struct queue_sum, failed)},
        {STAT_logins_retried_total, offsetof(struct queue_sum, retried)},
        {STAT_queue_claimed_total, offsetof(struct queue_sum, begun)},
        {STAT_queue_met_total, offsetof(struct queue_sum, begun)},
    };
    const struct queue_sum was = *q;
    for (unsigned i = 0; i < sizeof of / sizeof of[0]; i++)
        add_growth((uint64_t *)((char *)q + of[i].to), &before->v[of[i].from], &now->v[of[i].from], 1);
    add_growth((uint64_t *)&q->wait, (const uint64_t *)&before->h[HIST_queue_wait_seconds],
               (const uint64_t *)&now->h[HIST_queue_wait_seconds], WIDTH_OF(struct hist));
    if (q->accepted != was.accepted && summary_view(b).depth <= 0) /* a queue that was empty is not */
        summary_hurry(b);
    flow_told(&b->fleet->flow, loop_now_ms(b->loop), q->begun - was.begun,
              q->done + q->failed + q->retried - was.done - was.failed - was.retried);
}

void fleet_dispatcher_gone(struct broker *b, const char *dispatcher)
{
    struct fleet *f = b->fleet;
    for (unsigned i = 0; i < f->n; i++) {
        struct told *t = told_of(f->robot[i], dispatcher);
        if (t) {
            t->in_flight = t->mute = 0;
            mute_look(f->robot[i]);
        }
    }
}

static int64_t number_of(const struct jv *row, const char *key)
{
    int64_t n;
    return jv_int(jv_get(row, key), &n) ? n : -1;
}

/* The database decides how long it has been silent. The deadline of its sessions is counted from now. */
static void waiting_take(struct robot *r, const struct jv *row, const struct jv *summary)
{
    int64_t silent_ms = number_of(row, "silent_ms"), migrate_ms = number_of(summary, "migrate_after_ms"),
            lost_ms = number_of(summary, "lost_after_ms");
    r->places.waiting = number_of(row, "waiting");
    r->places.waiting_movable = number_of(row, "waiting_movable");
    r->places.migrate_at_ms = migrate_ms < 0 ? 0 : r->places.as_of_ms + migrate_ms - silent_ms;
    r->places.lost_at_ms = lost_ms < 0 ? 0 : r->places.as_of_ms + lost_ms - silent_ms;
}

void fleet_places_told(struct broker *b, const struct jv *summary)
{
    const struct jv *robots = jv_get(summary, "robots");
    int64_t kept_back_percent = number_of(summary, "kept_back_percent");
    for (size_t i = 0; i < jv_len(robots); i++) {
        const struct jv *row = jv_at(robots, i);
        const char *name = jv_str(jv_get(row, "name"));
        struct robot *r = name && *name && strlen(name) < sizeof r->name ? robot_named(b, name) : NULL;
        if (!r)
            continue;
        r->places.as_of_ms = clock_unix_ms();
        r->places.used = number_of(row, "used");
        r->places.total = number_of(row, "total");
        r->places.kept_back =
            r->places.total > 0 && kept_back_percent > 0 ? r->places.total * kept_back_percent / 100 : 0;
        r->places.abandoned = number_of(row, "abandoned");
        r->places.left = number_of(row, "left");
        r->places.movable = number_of(row, "movable");
        r->places.since_ms = number_of(row, "drain_since_ms");
        r->places.deadline_ms = number_of(row, "drain_deadline_ms");
        waiting_take(r, row, summary);
    }
}

/* ---- verdicts ----------------------------------------------------------------------------------------------- */

static void health_look(struct broker *b, struct robot *r)
{
    struct robot_health now;
    enum verdict before = r->health.verdict;
    r->verdict = VERDICT_UNKNOWN;
    if (!health_robot(b, r->name, &now) || now.verdict == VERDICT_UNKNOWN)
        return;
    r->verdict = now.verdict;
    r->health = now;
    if (before == now.verdict || before == VERDICT_UNKNOWN)
        return;
    r->change.at_ms = now.since_ms;
    r->change.from = before;
    r->change.to = now.verdict;
    strcpy(r->change.why, now.why);
}

void fleet_robot_judged(struct broker *b, const char *name)
{
    struct robot *r = robot_named(b, name);
    if (r)
        health_look(b, r);
}

/* ---- time --------------------------------------------------------------------------------------------------- */

static void health_named(void *arg, const char *name)
{
    robot_named(arg, name);
}

void fleet_tick(struct broker *b)
{
    struct fleet *f = b->fleet;
    uint64_t now = loop_now_ms(b->loop);
    bool is_told = f->dispatcher_heard_ms + FORGET_MS / 2 > now; /* else no process could name them */
    health_each(b, health_named, b);
    window_step(f->queue_window, now, (const uint64_t *)&f->queue);
    for (unsigned i = 0; i < f->n;) {
        struct robot *r = f->robot[i];
        if (is_told && now > r->named_at_ms + FORGET_MS) {
            robot_free(r);
            memmove(f->robot + i, f->robot + i + 1, (--f->n - i) * sizeof(struct robot *));
            continue;
        }
        health_look(b, r);
        window_step(r->window, now, (const uint64_t *)&r->sum);
        i++;
    }
}

/* ---- for words and charts ----------------------------------------------------------------------------------- */

struct fleet_count fleet_count(const struct broker *b)
{
    struct fleet_count n = {0};
    for (unsigned i = 0; i < b->fleet->n; i++) {
        const struct robot *r = b->fleet->robot[i];
        bool is_active = r->wanted == WANTED_ACTIVE;
        n.all++;
        n.active += is_active;
        n.draining += r->wanted == WANTED_DRAINING;
        n.up += is_active && judged(r, r->health.verdict) == VERDICT_UP;
        n.suspect += is_active && judged(r, r->health.verdict) == VERDICT_SUSPECT;
        n.down += is_active && r->health.verdict == VERDICT_DOWN;
        n.unknown += is_active && r->health.verdict == VERDICT_UNKNOWN;
        if (r->places.as_of_ms && is_active && r->health.verdict != VERDICT_DOWN) {
            bool is_above = r->places.used > r->places.total; /* taken in so: takes no place of another robot */
            n.used += is_above ? r->places.total : r->places.used;
            n.total += r->places.total;
            if (r->places.total - r->places.kept_back > r->places.used)
                n.open_to_queue += r->places.total - r->places.kept_back - r->places.used;
        }
        if (r->places.as_of_ms && r->places.abandoned > 0)
            n.abandoned += r->places.abandoned;
    }
    if (!summary_view(b).is_known)
        n.used = n.total = -1;
    return n;
}

void fleet_each_judged(const struct broker *b, enum verdict v,
                       void (*fn)(void *arg, const char *name, int64_t since_ms, const char *why), void *arg)
{
    for (unsigned i = 0; i < b->fleet->n; i++) {
        const struct robot *r = b->fleet->robot[i];
        if (judged(r, r->health.verdict) == v && r->wanted == WANTED_ACTIVE && r->health.down != DOWN_SILENT &&
            !r->health.other_boot[0])
            fn(arg, r->name, is_judged_by_calls(r) ? r->mute_since_ms : r->health.since_ms,
               is_judged_by_calls(r) ? MUTE_WHY : r->health.why);
    }
}

void fleet_each_silent(const struct broker *b, fleet_silent_fn *fn, void *arg)
{
    for (unsigned i = 0; i < b->fleet->n; i++) {
        const struct robot *r = b->fleet->robot[i];
        if (r->health.verdict == VERDICT_DOWN && r->health.down == DOWN_SILENT && r->wanted != WANTED_DISABLED)
            fn(arg, r->name, r->health.since_ms, r->health.why, r->places.as_of_ms ? r->places.waiting : -1,
               r->places.lost_at_ms);
    }
}

void fleet_each_two(const struct broker *b, void (*fn)(void *arg, const char *name), void *arg)
{
    for (unsigned i = 0; i < b->fleet->n; i++)
        if (b->fleet->robot[i]->health.other_boot[0])
            fn(arg, b->fleet->robot[i]->name);
}

void fleet_each_draining(const struct broker *b,
                         void (*fn)(void *arg, const char *name, int64_t left, int64_t movable), void *arg)
{
    for (unsigned i = 0; i < b->fleet->n; i++) {
        const struct robot *r = b->fleet->robot[i];
        if (r->wanted == WANTED_DRAINING)
            fn(arg, r->name, r->places.as_of_ms ? r->places.left : -1,
               r->places.as_of_ms ? r->places.movable : -1);
    }
}

const struct queue_sum *fleet_queue(const struct broker *b)
{
    return &b->fleet->queue;
}

struct flow *fleet_flow(const struct broker *b)
{
    return &b->fleet->flow;
}

double fleet_queue_since(const struct broker *b, uint64_t ago_ms, struct queue_sum *grown)
{
    return window_since(b->fleet->queue_window, loop_now_ms(b->loop), (const uint64_t *)&b->fleet->queue, ago_ms,
                        (uint64_t *)grown);
}

/* ---- for people --------------------------------------------------------------------------------------------- */

static uint64_t in_flight_of(const struct robot *r)
{
    uint64_t n = 0;
    for (const struct told *t = r->told; t; t = t->next)
        n += t->in_flight;
    return n;
}

static void set_count(struct jv *obj, const char *key, int64_t n)
{
    if (n < 0)
        jv_set(obj, key, NULL);
    else
        jv_set_int(obj, key, n);
}

static struct jv *faults_jv(const uint64_t *fault)
{
    struct jv *errors = jv_new_object();
    for (unsigned i = 0; i < FAULT_COUNT; i++)
        jv_set_int(errors, fault_name[i], (int64_t)fault[i]);
    return errors;
}

static struct jv *change_jv(const struct robot *r)
{
    if (!r->change.at_ms)
        return NULL;
    struct jv *change = jv_new_object();
    jv_set_time(change, "at", r->change.at_ms);
    jv_set_str(change, "from", verdict_name[r->change.from]);
    jv_set_str(change, "to", verdict_name[r->change.to]);
    jv_set_str(change, "why", r->change.why);
    return change;
}

static struct jv *drain_jv(const struct robot *r)
{
    if (r->wanted != WANTED_DRAINING || !r->places.as_of_ms)
        return NULL;
    struct jv *drain = jv_new_object();
    jv_set_time(drain, "since", r->places.since_ms > 0 ? r->places.since_ms : 0);
    jv_set_time(drain, "deadline", r->places.deadline_ms > 0 ? r->places.deadline_ms : 0);
    set_count(drain, "sessions_left", r->places.left);
    set_count(drain, "movable", r->places.movable);
    return drain;
}

/* null unless the robot is silent; else what its sessions wait for, and until when. */
static struct jv *silence_jv(const struct robot *r)
{
    if (r->health.down != DOWN_SILENT || r->verdict != VERDICT_DOWN)
        return NULL;
    bool is_known = r->places.as_of_ms && r->places.waiting >= 0;
    struct jv *silence = jv_new_object();
    jv_set_time(silence, "since", r->health.since_ms);
    set_count(silence, "sessions_waiting", is_known ? r->places.waiting : -1);
    set_count(silence, "movable", is_known ? r->places.waiting_movable : -1);
    jv_set_time(silence, "migrate_at", is_known ? r->places.migrate_at_ms : 0);
    jv_set_time(silence, "lost_at", is_known ? r->places.lost_at_ms : 0);
    return silence;
}

static void numbers_set(const struct broker *b, const struct robot *r, struct jv *one)
{
    struct robot_sum grown;
    uint64_t now = loop_now_ms(b->loop);
    double s = window_since(r->window, now, (const uint64_t *)&r->sum, RATE_MS, (uint64_t *)&grown);
    jv_set_int(one, "logins_in_flight", (int64_t)in_flight_of(r));
    jv_set_int(one, "logins_done_total", (int64_t)r->sum.done);
    jv_set_int(one, "logins_failed_total", (int64_t)r->sum.failed);
    jv_set_number(one, "logins_done_per_s", (double)grown.done / rate_span(s));
    jv_set_number(one, "logins_failed_per_s", (double)grown.failed / rate_span(s));
    window_since(r->window, now, (const uint64_t *)&r->sum, TIMES_MS, (uint64_t *)&grown);
    jv_set(one, "login_s", jv_new_times(&grown.login));
    jv_set(one, "errors", faults_jv(grown.fault));
    jv_set(one, "errors_total", faults_jv(r->sum.fault));
}

struct jv *fleet_logins_jv(const struct broker *b)
{
    struct robot_sum grown;
    struct hist all = {0};
    for (unsigned i = 0; i < b->fleet->n; i++) {
        const struct robot *r = b->fleet->robot[i];
        window_since(r->window, loop_now_ms(b->loop), (const uint64_t *)&r->sum, TIMES_MS, (uint64_t *)&grown);
        for (size_t k = 0; k < WIDTH_OF(struct hist); k++)
            ((uint64_t *)&all)[k] += ((const uint64_t *)&grown.login)[k];
    }
    return jv_new_times(&all);
}

static struct jv *robot_jv(const struct broker *b, const struct robot *r)
{
    struct jv *one = jv_new_object();
    bool is_known = r->places.as_of_ms != 0;
    jv_set_str(one, "name", r->name);
    jv_set_time(one, "as_of", r->told_unix_ms);
    jv_set_str(one, "verdict", verdict_name[judged(r, r->verdict)]);
    jv_set_str(one, "last_verdict", verdict_name[judged(r, r->health.verdict)]);
    jv_set_str(one, "wanted", r->is_wanted_known ? wanted_name[r->wanted] : NULL);
    jv_set_time(one, "since", is_judged_by_calls(r) ? r->mute_since_ms : r->health.since_ms);
    jv_set_str(one, "why", is_judged_by_calls(r) ? MUTE_WHY : r->health.why);
    jv_set(one, "last_change", change_jv(r));
    jv_set_str(one, "boot_id", r->health.boot_id[0] ? r->health.boot_id : NULL);
    set_count(one, "sessions_reported", r->health.sessions);
    set_count(one, "capacity_reported", r->health.capacity);
    set_count(one, "places_used", is_known ? r->places.used : -1);
    set_count(one, "places_total", is_known ? r->places.total : -1);
    set_count(one, "abandoned", is_known ? r->places.abandoned : -1);
    jv_set_time(one, "places_as_of", r->places.as_of_ms);
    jv_set(one, "drain", drain_jv(r));
    jv_set_str(one, "down_as", r->health.down ? down_name[r->health.down] : NULL);
    jv_set(one, "silence", silence_jv(r));
    jv_set_str(one, "other_boot", r->health.other_boot[0] ? r->health.other_boot : NULL);
    numbers_set(b, r, one);
    jv_set(one, "healthds", health_opinions_jv(b, r->name));
    return one;
}

struct jv *fleet_robots_jv(const struct broker *b)
{
    struct jv *list = jv_new_array();
    for (unsigned i = 0; i < b->fleet->n; i++)
        jv_push(list, robot_jv(b, b->fleet->robot[i]));
    return list;
}

struct jv *fleet_places_jv(const struct broker *b)
{
    struct fleet_count n = fleet_count(b);
    int64_t as_of = 0;
    for (unsigned i = 0; i < b->fleet->n; i++)
        if (b->fleet->robot[i]->places.as_of_ms > as_of)
            as_of = b->fleet->robot[i]->places.as_of_ms;
    if (n.total < 0)
        return NULL;
    struct jv *places = jv_new_object();
    jv_set_time(places, "as_of", as_of);
    jv_set_int(places, "used", n.used);
    jv_set_int(places, "total", n.total);
    jv_set_int(places, "free", n.total > n.used ? n.total - n.used : 0);
    return places;
}

/* ---- for Prometheus ----------------------------------------------------------------------------------------- */

static int64_t wanted_value(const struct robot *r)
{
    static const int64_t of[] = {[WANTED_ACTIVE] = 2, [WANTED_DRAINING] = 1, [WANTED_DISABLED] = 0};
    return r->is_wanted_known ? of[r->wanted] : -1;
}

static int64_t used_value(const struct robot *r)
{
    return r->places.as_of_ms ? r->places.used : -1;
}

static int64_t total_value(const struct robot *r)
{
    return r->places.as_of_ms ? r->places.total : -1;
}

static int64_t left_value(const struct robot *r)
{
    return r->places.as_of_ms && r->wanted == WANTED_DRAINING ? r->places.left : -1;
}

static int64_t waiting_value(const struct robot *r)
{
    return r->places.as_of_ms ? (r->places.waiting > 0 ? r->places.waiting : 0) : -1;
}

static int64_t abandoned_value(const struct robot *r)
{
    return r->places.as_of_ms ? r->places.abandoned : -1;
}

static int64_t in_flight_value(const struct robot *r)
{
    return (int64_t)in_flight_of(r);
}

static int64_t done_value(const struct robot *r)
{
    return (int64_t)r->sum.done;
}

static int64_t failed_value(const struct robot *r)
{
    return (int64_t)r->sum.failed;
}

static void robots_family(const struct fleet *f, struct buf *out, enum stat_family_id id,
                          int64_t (*value)(const struct robot *r))
{
    stat_family(out, id);
    for (unsigned i = 0; i < f->n; i++)
        if (value(f->robot[i]) >= 0)
            stat_sample(out, id, (double)value(f->robot[i]), (const char *const[]){f->robot[i]->name});
}

void fleet_metrics(const struct broker *b, struct buf *out)
{
    const struct fleet *f = b->fleet;
    robots_family(f, out, FAMILY_robot_wanted, wanted_value);
    robots_family(f, out, FAMILY_robot_places_used, used_value);
    robots_family(f, out, FAMILY_robot_places, total_value);
    robots_family(f, out, FAMILY_robot_sessions_left, left_value);
    robots_family(f, out, FAMILY_robot_abandoned, abandoned_value);
    robots_family(f, out, FAMILY_robot_sessions_waiting, waiting_value);
    robots_family(f, out, FAMILY_robot_logins_in_flight, in_flight_value);
    robots_family(f, out, FAMILY_robot_logins_done_total, done_value);
    robots_family(f, out, FAMILY_robot_logins_failed_total, failed_value);
    stat_family(out, FAMILY_robot_login_seconds);
    for (unsigned i = 0; i < f->n; i++)
        stat_sample_hist(out, FAMILY_robot_login_seconds, &f->robot[i]->sum.login,
                         (const char *const[]){f->robot[i]->name});
    stat_family(out, FAMILY_robot_errors_total);
    for (unsigned i = 0; i < f->n; i++)
        for (unsigned k = 0; k < FAULT_COUNT; k++)
            stat_sample(out, FAMILY_robot_errors_total, (double)f->robot[i]->sum.fault[k],
                        (const char *const[]){f->robot[i]->name, fault_name[k]});
}
