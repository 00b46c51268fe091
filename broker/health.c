/* SPDX-License-Identifier: MIT */
/*
 * health.c - healthd's reports, for operators: each publisher's own counters and its verdicts by name. No decision
 * is made from them here; the dispatchers subscribe themselves. Knows no robot's URL, only names. A publisher
 * counts as heard while it is connected and was not silent for SILENT_MS.
 */
#include "broker/health.h"
#include "broker/fleet.h"
#include "broker/numbers.h"
#include "broker/stats.h"
#include "broker/window.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SILENT_MS 2500 /* it publishes at least once a second */
#define STALLED_MS 1000

struct opinion {
    char name[65];
    struct robot_health told;
};

struct publisher {
    struct broker *b;
    struct bus_sock *sock;
    char *endpoint; /* owned */
    char incarnation[65];
    bool is_linked;
    uint64_t seq, heard_at_ms, interval_ms, n_gaps;
    int64_t stats_unix_ms, silent_since_ms; /* unix; 0 = no, or not yet */
    struct opinion *opinion;                /* HEALTH_ROBOTS_MAX entries, so that names stay in place */
    struct names by_name;
    unsigned n;
    struct stats stats;
    struct window *probes; /* of stats' probe_seconds */
};

struct health {
    struct publisher *publisher;
    unsigned n;
    struct proto_decoder *decoder;
    uint64_t ticked_at_ms;
};

/* ---- messages ----------------------------------------------------------------------------------------------- */

static void opinion_take(void *arg, const struct health_row *row)
{
    struct publisher *p = arg;
    char name[65];
    str_copy(name, sizeof name, row->name);
    uint32_t at = names_find(&p->by_name, name);
    if (at == NAMES_NONE) {
        if (p->n == HEALTH_ROBOTS_MAX)
            return;
        at = p->n++;
        strcpy(p->opinion[at].name, name);
        names_add(&p->by_name, p->opinion[at].name, at);
    }
    struct robot_health *told = &p->opinion[at].told;
    told->verdict = row->verdict;
    told->since_ms = row->since_unix_ms;
    told->sessions = row->sessions;
    told->capacity = row->capacity;
    str_copy(told->boot_id, sizeof told->boot_id, row->boot_id);
    str_copy(told->why, sizeof told->why, row->why);
    told->down = row->down;
    str_copy(told->other_boot, sizeof told->other_boot, row->other_boot);
    fleet_robot_judged(p->b, name);
}

static void sequence_take(struct publisher *p, const struct msg_HEALTH *m)
{
    if (p->seq && str_is(m->incarnation, p->incarnation) && m->seq > p->seq + 1) {
        p->n_gaps++;
        stat_inc(healthd_gaps_total);
    }
    if (!str_is(m->incarnation, p->incarnation)) { /* its counters restarted */
        window_destroy(&p->probes);
        memset(&p->stats, 0, sizeof p->stats);
    }
    str_copy(p->incarnation, sizeof p->incarnation, m->incarnation);
    p->seq = m->seq;
}

static void received(void *arg, const void *peer, size_t peer_len, const char *role,
                     const struct bus_frame *frames, unsigned n)
{
    struct publisher *p = arg;
    struct msg m;
    (void)peer, (void)peer_len;
    enum proto_bad bad = proto_decode(p->b->health->decoder, p->b->bus, role, ROLE_HEALTHD, frames, n, &m);
    if (!bad && m.type == MSG_HEALTH && m.payload.len && proto_decode_health(m.payload, NULL, NULL) != 0)
        bad = PROTO_PAYLOAD;
    if (bad) {
        stat_inc(bus_malformed_total);
        log_line(LOG_DEBUG, "malformed", "from", "healthd", "why", proto_bad_text(bad), NULL);
        return;
    }
    if (m.type != MSG_HEALTH)
        return;
    p->heard_at_ms = loop_now_ms(p->b->loop);
    p->interval_ms = m.HEALTH.interval_ms;
    p->is_linked = true;
    sequence_take(p, &m.HEALTH);
    if (m.HEALTH.stats) {
        p->stats = *m.HEALTH.stats;
        p->stats_unix_ms = clock_unix_ms();
    }
    if (m.HEALTH.full) {
        names_clear(&p->by_name);
        p->n = 0;
    }
    if (m.payload.len)
        proto_decode_health(m.payload, opinion_take, p);
}

static void linked(void *arg, bool is_connected)
{
    struct publisher *p = arg;
    p->is_linked = is_connected;
}

/* ---- start and stop ----------------------------------------------------------------------------------------- */

struct health *health_new(struct broker *b)
{
    struct health *h = b->health = xcalloc(1, sizeof *h);
    char **endpoints = conf_list(b->conf->health_endpoints, &h->n);
    bool is_good = true;
    h->decoder = proto_decoder_new();
    h->publisher = xcalloc(h->n ? h->n : 1, sizeof *h->publisher);
    for (unsigned i = 0; i < h->n; i++) {
        struct publisher *p = &h->publisher[i];
        p->b = b;
        p->endpoint = xstrdup(endpoints[i]);
        p->opinion = xcalloc(HEALTH_ROBOTS_MAX, sizeof *p->opinion);
        p->silent_since_ms = clock_unix_ms();
        p->sock = bus_connect(b->bus, BUS_SUB, endpoints[i], "healthd", received, p);
        is_good &= p->sock != NULL;
        if (p->sock)
            bus_on_link(p->sock, linked, p);
    }
    free(endpoints);
    if (!is_good)
        health_destroy(&b->health);
    return b->health;
}

void health_destroy(struct health **hp)
{
    struct health *h = *hp;
    if (!h)
        return;
    *hp = NULL;
    for (unsigned i = 0; i < h->n; i++) {
        bus_close(&h->publisher[i].sock);
        names_clear(&h->publisher[i].by_name);
        window_destroy(&h->publisher[i].probes);
        free(h->publisher[i].endpoint);
        free(h->publisher[i].opinion);
    }
    proto_decoder_destroy(&h->decoder);
    free(h->publisher);
    free(h);
}

/* ---- who is heard ------------------------------------------------------------------------------------------- */

static bool is_heard(const struct broker *b, const struct publisher *p)
{
    return p->heard_at_ms && p->is_linked && loop_now_ms(b->loop) < p->heard_at_ms + SILENT_MS;
}

void health_tick(struct broker *b)
{
    struct health *h = b->health;
    uint64_t now = clock_ms();
    bool was_stalled = h->ticked_at_ms && now > h->ticked_at_ms + 1000 + STALLED_MS;
    h->ticked_at_ms = now;
    for (unsigned i = 0; i < h->n; i++) {
        struct publisher *p = &h->publisher[i];
        if (was_stalled && p->heard_at_ms && p->is_linked)
            p->heard_at_ms = now; /* the pause was ours */
        if (is_heard(b, p))
            p->silent_since_ms = 0;
        else if (!p->silent_since_ms)
            p->silent_since_ms = clock_unix_ms() - (p->is_linked ? (int64_t)(now - p->heard_at_ms) : 0);
        if (!p->probes && p->stats.present)
            p->probes = window_new(sizeof(struct hist) / sizeof(uint64_t), SUMS_SLOTS, SUMS_STEP_MS, now,
                                   (const uint64_t *)&p->stats.h[HIST_probe_seconds]);
        if (p->probes)
            window_step(p->probes, now, (const uint64_t *)&p->stats.h[HIST_probe_seconds]);
    }
}

unsigned health_heard(const struct broker *b, unsigned *of, int64_t *silent_since_ms)
{
    unsigned n = 0;
    *of = b->health->n;
    *silent_since_ms = 0;
    for (unsigned i = 0; i < b->health->n; i++) {
        const struct publisher *p = &b->health->publisher[i];
        n += is_heard(b, p);
        if (p->silent_since_ms > *silent_since_ms) /* the last one to fall silent */
            *silent_since_ms = p->silent_since_ms;
    }
    return n;
}

const char *health_silent_one(const struct broker *b)
{
    for (unsigned i = 0; i < b->health->n; i++)
        if (!is_heard(b, &b->health->publisher[i]))
            return b->health->publisher[i].endpoint;
    return NULL;
}

/* ---- verdicts ----------------------------------------------------------------------------------------------- */

static const struct robot_health *opinion_of(const struct publisher *p, const char *name)
{
    uint32_t at = names_find(&p->by_name, name);
    return at == NAMES_NONE ? NULL : &p->opinion[at].told;
}

static bool is_better(const struct robot_health *a, const struct robot_health *b)
{
    struct health_row x = {.verdict = a->verdict, .down = a->down, .since_unix_ms = a->since_ms};
    struct health_row y = {.verdict = b->verdict, .down = b->down, .since_unix_ms = b->since_ms};
    return health_is_better(&x, &y);
}

bool health_robot(const struct broker *b, const char *name, struct robot_health *out)
{
    const struct robot_health *best = NULL;
    for (unsigned i = 0; i < b->health->n; i++) {
        const struct publisher *p = &b->health->publisher[i];
        const struct robot_health *told = is_heard(b, p) ? opinion_of(p, name) : NULL;
        if (told && (!best || is_better(told, best)))
            best = told;
    }
    if (best)
        *out = *best;
    return best != NULL;
}

void health_each(const struct broker *b, void (*fn)(void *arg, const char *name), void *arg)
{
    for (unsigned i = 0; i < b->health->n; i++)
        for (unsigned k = 0; is_heard(b, &b->health->publisher[i]) && k < b->health->publisher[i].n; k++)
            fn(arg, b->health->publisher[i].opinion[k].name);
}

struct jv *health_opinions_jv(const struct broker *b, const char *name)
{
    struct jv *list = jv_new_array();
    for (unsigned i = 0; i < b->health->n; i++) {
        const struct publisher *p = &b->health->publisher[i];
        const struct robot_health *told = is_heard(b, p) ? opinion_of(p, name) : NULL;
        if (!told)
            continue;
        struct jv *one = jv_new_object();
        jv_set_str(one, "endpoint", p->endpoint);
        jv_set_str(one, "verdict", verdict_name[told->verdict]);
        jv_push(list, one);
    }
    return list;
}

/* ---- for people --------------------------------------------------------------------------------------------- */

static void verdicts_count(const struct publisher *p, struct jv *one)
{
    int64_t n[4] = {0};
    for (unsigned i = 0; i < p->n; i++)
        n[p->opinion[i].told.verdict]++;
    for (unsigned v = 0; v < 4; v++)
        jv_set_int(one, verdict_name[v], n[v]);
}

struct jv *health_jv(const struct broker *b)
{
    struct jv *list = jv_new_array();
    uint64_t now = loop_now_ms(b->loop);
    for (unsigned i = 0; i < b->health->n; i++) {
        const struct publisher *p = &b->health->publisher[i];
        struct jv *one = jv_new_object();
        struct hist probes = {0};
        jv_set_str(one, "endpoint", p->endpoint);
        jv_set_time(one, "as_of", p->stats_unix_ms);
        jv_set_bool(one, "heard", is_heard(b, p));
        if (p->heard_at_ms)
            jv_set_int(one, "last_heard_ms", (int64_t)(now - p->heard_at_ms));
        else
            jv_set(one, "last_heard_ms", NULL);
        jv_set_time(one, "silent_since", p->silent_since_ms);
        jv_set_int(one, "interval_ms", (int64_t)p->interval_ms);
        verdicts_count(p, one);
        if (p->probes)
            window_since(p->probes, now, (const uint64_t *)&p->stats.h[HIST_probe_seconds], TIMES_MS,
                         (uint64_t *)&probes);
        jv_set(one, "probe_s", jv_new_times(&probes));
        jv_set_int(one, "gaps_total", (int64_t)p->n_gaps);
        jv_set(one, "stats", jv_new_stats(STAT_HEALTHD, &p->stats));
        jv_push(list, one);
    }
    return list;
}

/* ---- for Prometheus ----------------------------------------------------------------------------------------- */

unsigned health_sources(const struct broker *b, struct stat_source *out, unsigned max)
{
    unsigned n = 0;
    for (unsigned i = 0; i < b->health->n && n < max; i++)
        if (is_heard(b, &b->health->publisher[i]))
            out[n++] = (struct stat_source){STAT_HEALTHD, "healthd", b->health->publisher[i].endpoint,
                                            &b->health->publisher[i].stats};
    return n;
}

static void family(const struct broker *b, struct buf *out, enum stat_family_id f,
                   int64_t (*value)(const struct robot_health *o))
{
    bool has_head = false;
    for (unsigned i = 0; i < b->health->n; i++) {
        const struct publisher *p = &b->health->publisher[i];
        for (unsigned k = 0; is_heard(b, p) && k < p->n; k++) {
            const struct opinion *o = &p->opinion[k];
            if (value(&o->told) < 0)
                continue;
            if (!has_head)
                stat_family(out, f);
            has_head = true;
            stat_sample(out, f, (double)value(&o->told), (const char *const[]){p->endpoint, o->name});
        }
    }
}

static int64_t verdict_value(const struct robot_health *o)
{
    static const int64_t of[] = {
        [VERDICT_UNKNOWN] = -1, [VERDICT_UP] = 2, [VERDICT_SUSPECT] = 1, [VERDICT_DOWN] = 0};
    return of[o->verdict];
}

static int64_t sessions_value(const struct robot_health *o)
{
    return o->sessions;
}

static int64_t capacity_value(const struct robot_health *o)
{
    return o->capacity;
}

void health_metrics(const struct broker *b, struct buf *out)
{
    family(b, out, FAMILY_robot_verdict, verdict_value);
    family(b, out, FAMILY_robot_sessions, sessions_value);
    family(b, out, FAMILY_robot_capacity, capacity_value);
    stat_family(out, FAMILY_healthd_heard);
    for (unsigned i = 0; i < b->health->n; i++)
        stat_sample(out, FAMILY_healthd_heard, is_heard(b, &b->health->publisher[i]),
                    (const char *const[]){b->health->publisher[i].endpoint});
}
