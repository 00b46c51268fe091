/* SPDX-License-Identifier: MIT */
/*
 * summary.c - what stands in the database, as a dispatcher sums it up.
 *
 * Owns: the last summary, and the one question that is under way. One dispatcher
 * is asked every few seconds, whoever looks and however many: no look at a page
 * ever costs a query. Must never show an old summary as a new one.
 */
#include "broker/summary.h"
#include "broker/changes.h"
#include "broker/fleet.h"
#include "broker/flight.h"
#include "broker/numbers.h"
#include "broker/peer.h"

#include "common/check.h"
#include "common/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVERY_MS 5000
#define WATCHED_EVERY_MS 900 /* each tick */
#define HURRIED_MS 500       /* from one look to the next, when something is known to have changed */
#define WATCHED_MS 15000     /* after somebody looked */
#define PATIENCE_MS 5000
#define STALE_MS 15000 /* what waited so long ago tells no end */
#define KEY_OF_SUMMARIES (UINT64_MAX - 1)

struct summary {
    struct broker *b;
    struct flight flight;
    char request_id[129];
    uint64_t asked_at_ms, watched_until_ms;
    uint64_t changed_at_ms; /* what was read before is known to be untrue */
    struct jv *body;        /* NULL = none came yet */
    uint64_t read_at_ms;    /* the database */
    int64_t at_unix_ms;
};

static int64_t number_of(const struct jv *obj, const char *key)
{
    int64_t n;
    return jv_int(jv_get(obj, key), &n) ? n : -1;
}

static void replied(void *arg, const struct msg_REPLY *m, struct str payload)
{
    struct summary *s = arg;
    enum jv_bad why;
    if (m->error.len)
        return;
    struct jv *body = jv_parse(payload.p, payload.len, &why);
    if (jv_type(jv_get(body, "queue")) != JV_OBJECT || jv_type(jv_get(body, "robots")) != JV_ARRAY) {
        stat_inc(replies_refused_total);
        jv_free(body);
        return;
    }
    if (s->body && changes_tell(s->b, s->body, body))
        flow_held(fleet_flow(s->b), loop_now_ms(s->b->loop));
    jv_free(s->body);
    s->body = body;
    int64_t age_ms = number_of(body, "age_ms"); /* else what waits would seem to have waited shorter than before */
    s->read_at_ms = loop_now_ms(s->b->loop) - (age_ms > 0 ? (uint64_t)age_ms : 0);
    s->at_unix_ms = clock_unix_ms() - (age_ms > 0 ? age_ms : 0);
    stat_inc(summaries_total);
    fleet_places_told(s->b, body);
}

static void failed(void *arg, enum err e)
{
    (void)arg, (void)e; /* it grows old: that is seen, and it is asked again */
}

static const struct flight_user user = {.reply = replied, .failed = failed};

struct summary *summary_new(struct broker *b)
{
    struct summary *s = b->summary = xcalloc(1, sizeof *s);
    s->b = b;
    s->asked_at_ms = loop_now_ms(b->loop);
    return s;
}

void summary_destroy(struct summary **sp)
{
    struct summary *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    flight_close(&s->flight);
    jv_free(s->body);
    free(s);
}

void summary_watched(struct broker *b)
{
    b->summary->watched_until_ms = loop_now_ms(b->loop) + WATCHED_MS;
}

void summary_tick(struct broker *b)
{
    struct summary *s = b->summary;
    uint64_t now = loop_now_ms(b->loop);
    bool is_untrue = s->changed_at_ms && s->read_at_ms <= s->changed_at_ms;
    uint64_t every = is_untrue ? HURRIED_MS : now < s->watched_until_ms || !s->body ? WATCHED_EVERY_MS : EVERY_MS;
    if (s->flight.state != FLIGHT_NONE || now < s->asked_at_ms + every || !peers_ready(b) ||
        !peers_pick(b, LANE_CONTROL) || b->is_draining)
        return;
    s->asked_at_ms = now;
    id_request(s->request_id);
    s->flight = (struct flight){.user = &user,
                                .arg = s,
                                .op = OP_OPS_SUMMARY,
                                .request = {.request_id = str_of(s->request_id), .all_companies = true},
                                .payload = {"", 0},
                                .fair_key = KEY_OF_SUMMARIES,
                                .deadline_at_ms = now + PATIENCE_MS};
    flight_start(b, &s->flight);
}

void summary_hurry(struct broker *b)
{
    b->summary->changed_at_ms = loop_now_ms(b->loop);
    summary_tick(b);
}

/* ---- what it says ------------------------------------------------------------------------------------------- */

/* {n,capped} of the ready rows, added up. */
static int64_t depth_of(const struct jv *queue, bool *is_capped)
{
    const struct jv *rows = jv_get(queue, "ready");
    int64_t n = 0;
    *is_capped = false;
    for (size_t i = 0; i < jv_len(rows); i++) {
        bool capped = false;
        int64_t of_row = number_of(jv_at(rows, i), "n");
        n += of_row > 0 ? of_row : 0;
        *is_capped |= jv_bool(jv_get(jv_at(rows, i), "capped"), &capped) && capped;
    }
    return n;
}

/* All log-ins of the portal are paused. */
static bool is_portal_paused(const struct jv *body, const char *name)
{
    const struct jv *list = jv_get(body, "pauses");
    bool is_paused = false;
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i);
        const char *portal = jv_str(jv_get(one, "portal"));
        is_paused |= portal && strcmp(portal, name) == 0 && !jv_str(jv_get(one, "action")) &&
                     number_of(one, "batch_id") <= 0;
    }
    return is_paused;
}

/* Set aside for a moment, until it is known whether a fault was the portal's: it waits as it did before. */
static int64_t doubtful_of(const struct jv *body)
{
    const struct jv *names = jv_get(body, "doubtful"), *held = jv_get(body, "held");
    int64_t sum = 0;
    for (size_t i = 0; i < jv_len(names); i++) {
        const char *name = jv_str(jv_at(names, i));
        int64_t n = name && !is_portal_paused(body, name) ? number_of(held, name) : 0;
        sum += n > 0 ? n : 0;
    }
    return sum;
}

static void held_add(void *arg, const char *portal, struct jv *n)
{
    double x;
    (void)portal;
    *(int64_t *)arg += jv_number(n, &x) ? (int64_t)x : 0;
}

struct summary_view summary_view(const struct broker *b)
{
    const struct summary *s = b->summary;
    const struct jv *queue = jv_get(s->body, "queue");
    struct summary_view v = {.is_known = s->body != NULL,
                             .depth = -1,
                             .oldest_age_ms = -1,
                             .scheduled = -1,
                             .batches_open = -1,
                             .refused = -1};
    if (!s->body)
        return v;
    v.age_ms = loop_now_ms(b->loop) - s->read_at_ms;
    v.depth = depth_of(queue, &v.is_depth_capped);
    v.oldest_age_ms = number_of(queue, "oldest_age_ms");
    if (v.oldest_age_ms >= 0)
        v.oldest_age_ms += (int64_t)v.age_ms;
    v.scheduled = number_of(jv_get(queue, "scheduled"), "n");
    jv_each(jv_get(s->body, "held"), held_add, &v.held);
    int64_t doubtful = doubtful_of(s->body);
    v.depth += doubtful;
    v.held -= doubtful;
    v.batches_open = number_of(jv_get(queue, "batches_open"), "n");
    int64_t until = number_of(jv_get(queue, "paused"), "until_ms");
    v.is_paused = jv_type(jv_get(queue, "paused")) == JV_OBJECT && (until <= 0 || until > clock_unix_ms());
    v.refused = number_of(jv_get(s->body, "refused"), "n");
    return v;
}

void summary_refusal(const struct broker *b, char *why, size_t room)
{
    str_copy(why, room, str_of(jv_str(jv_get(jv_get(b->summary->body, "refused"), "why"))));
}

void summary_each_portal(const struct broker *b, summary_portal_fn *fn, void *arg)
{
    const struct jv *list = jv_get(b->summary->body, "portals"), *held = jv_get(b->summary->body, "held");
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i);
        const char *name = jv_str(jv_get(one, "name")), *state = jv_str(jv_get(one, "state")),
                   *why = jv_str(jv_get(one, "why"));
        int64_t n = name ? number_of(held, name) : -1, since_ms = number_of(one, "since_ms");
        if (name && state)
            fn(arg, name, state, why ? why : "-", since_ms > 0 ? since_ms : 0, n > 0 ? n : 0);
    }
}

static const char *filled(const char *text)
{
    return text && *text ? text : NULL;
}

void summary_each_pause(const struct broker *b, void (*fn)(void *arg, const struct part_pause *pause), void *arg)
{
    const struct jv *list = jv_get(b->summary->body, "pauses");
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i);
        int64_t batch = number_of(one, "batch_id");
        struct part_pause pause = {filled(jv_str(jv_get(one, "portal"))), filled(jv_str(jv_get(one, "action"))),
                                   filled(jv_str(jv_get(one, "reason"))), batch > 0 ? batch : 0, -1};
        if (pause.portal && !pause.action && !pause.batch_id)
            pause.held = number_of(jv_get(b->summary->body, "held"), pause.portal);
        fn(arg, &pause);
    }
}

bool summary_holds_portal(const struct broker *b, const char *name)
{
    return summary_view(b).is_paused || is_portal_paused(b->summary->body, name);
}

void summary_pause(const struct broker *b, char *why, size_t room)
{
    const char *reason = jv_str(jv_get(jv_get(jv_get(b->summary->body, "queue"), "paused"), "reason"));
    str_copy(why, room, str_of(reason && *reason ? reason : "no reason given"));
}

static struct jv *paused_jv(const struct jv *told)
{
    struct jv *paused = jv_new_object();
    int64_t until = number_of(told, "until_ms"), since = number_of(told, "since_ms");
    jv_set_str(paused, "reason", jv_str(jv_get(told, "reason")));
    jv_set_time(paused, "until", until > 0 ? until : 0);
    jv_set_str(paused, "by", jv_str(jv_get(told, "by")));
    jv_set_time(paused, "since", since > 0 ? since : 0);
    return paused;
}

static struct jv *count_jv(int64_t n, bool is_capped)
{
    struct jv *count = jv_new_object();
    jv_set_int(count, "n", n > 0 ? n : 0);
    jv_set_bool(count, "capped", is_capped);
    return count;
}

/* A robot that is busy may seem suspect: that it does not go on is not known until nothing begins. */
static bool may_begin(const struct broker *b, const struct flow *flow, uint64_t at_ms)
{
    struct fleet_count n = fleet_count(b);
    bool is_active = flow->begun_ms && at_ms < flow->begun_ms + FLOW_BEGINS_MS;
    return n.up || n.unknown || (n.suspect && is_active);
}

struct queue_now summary_now(const struct broker *b)
{
    struct queue_now now = {.view = summary_view(b), .pace.clear_ms = -1};
    struct flow *flow = fleet_flow(b);
    uint64_t at_ms = loop_now_ms(b->loop);
    struct queue_sum grown;
    bool waits = now.view.depth > 0 && !now.view.is_paused && may_begin(b, flow, at_ms);
    now.goes = flow_goes(flow, at_ms, waits, peers_count(b).queued_running);
    flow_look(flow, at_ms, now.goes);
    uint64_t span_ms = flow_span_ms(flow, at_ms, now.goes);
    if (span_ms) {
        double s = fleet_queue_since(b, span_ms, &grown);
        now.pace = flow_pace((uint64_t)now.view.depth, grown.done + grown.failed, (uint64_t)(s * 1000));
    }
    if (now.view.is_depth_capped || now.view.age_ms > STALE_MS || !flow_begins(flow, at_ms, &now.pace))
        now.pace.clear_ms = -1;
    if (now.view.is_known && now.view.depth <= 0 && !now.view.held)
        now.pace.clear_ms = 0;
    return now;
}

static void counts_set(const struct broker *b, struct jv *one, const struct summary_view *v)
{
    static const char *const names[] = {"scheduled", "batches_open"};
    const struct jv *queue = jv_get(b->summary->body, "queue");
    jv_set(one, "depth", count_jv(v->depth, v->is_depth_capped));
    for (unsigned i = 0; i < 2; i++)
        jv_set(one, names[i], jv_copy(jv_get(queue, names[i])));
    jv_set(one, "running", count_jv((int64_t)peers_count(b).queued_running, false));
    jv_set(one, "by_priority", jv_copy(jv_get(queue, "ready")));
    jv_set_number(one, "oldest_age_s", v->depth > 0 ? (double)v->oldest_age_ms / 1000 : -1);
    jv_set(one, "paused", v->is_paused ? paused_jv(jv_get(queue, "paused")) : NULL);
}

struct jv *summary_queue_jv(const struct broker *b)
{
    struct queue_now now = summary_now(b);
    struct queue_sum grown;
    const struct queue_sum *sum = fleet_queue(b);
    if (!now.view.is_known)
        return NULL;
    struct jv *one = jv_new_object();
    jv_set_time(one, "as_of", b->summary->at_unix_ms);
    counts_set(b, one, &now.view);
    double s = fleet_queue_since(b, RATE_MS, &grown);
    jv_set_number(one, "clear_s",
                  now.pace.clear_ms > 0 ? (double)now.pace.clear_ms / 1000 : (double)now.pace.clear_ms);
    jv_set_bool(one, "moves", now.goes);
    jv_set_int(one, "held", now.view.held);
    s = rate_span(s);
    jv_set_number(one, "accepted_per_s", (double)grown.accepted / s);
    jv_set_number(one, "rejected_per_s", (double)grown.rejected / s);
    jv_set_number(one, "done_per_s", (double)grown.done / s);
    jv_set_number(one, "failed_per_s", (double)grown.failed / s);
    jv_set_number(one, "retried_per_s", (double)grown.retried / s);
    jv_set_int(one, "accepted_total", (int64_t)sum->accepted);
    jv_set_int(one, "rejected_total", (int64_t)sum->rejected);
    jv_set_int(one, "done_total", (int64_t)sum->done);
    jv_set_int(one, "failed_total", (int64_t)sum->failed);
    jv_set_int(one, "retried_total", (int64_t)sum->retried);
    fleet_queue_since(b, TIMES_MS, &grown);
    jv_set(one, "wait_s", jv_new_times(&grown.wait));
    return one;
}

static void depths_metric(const struct broker *b, struct buf *out)
{
    const struct jv *rows = jv_get(jv_get(b->summary->body, "queue"), "ready");
    stat_family(out, FAMILY_queue_depth);
    for (int64_t priority = 9; priority >= 0; priority--) {
        char name[4];
        int64_t n = 0;
        for (size_t i = 0; i < jv_len(rows); i++)
            if (number_of(jv_at(rows, i), "priority") == priority)
                n = number_of(jv_at(rows, i), "n");
        snprintf(name, sizeof name, "%d", (int)priority);
        stat_sample(out, FAMILY_queue_depth, (double)(n > 0 ? n : 0), (const char *const[]){name});
    }
}

static void one_metric(struct buf *out, enum stat_family_id f, double value)
{
    stat_family(out, f);
    stat_sample(out, f, value > 0 ? value : 0, NULL);
}

void summary_metrics(const struct broker *b, struct buf *out)
{
    struct summary_view v = summary_view(b);
    if (!v.is_known)
        return;
    depths_metric(b, out);
    one_metric(out, FAMILY_queue_scheduled, (double)v.scheduled);
    one_metric(out, FAMILY_queue_oldest_age_seconds, (double)v.oldest_age_ms / 1000);
    one_metric(out, FAMILY_queue_batches_open, (double)v.batches_open);
    one_metric(out, FAMILY_queue_paused, v.is_paused);
    one_metric(out, FAMILY_queue_age_seconds, (double)v.age_ms / 1000);
}
