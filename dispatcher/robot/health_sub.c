/* SPDX-License-Identifier: MIT */
/*
 * health_sub.c - subscribes to healthd, and sends it the robots.
 *
 * Owns: a SUB and the state of each publisher, a DEALER for each control endpoint. The best verdict counts among
 * the publishers heard within three of their intervals. When all are silent every robot is unknown and work
 * continues. A gap in the sequence makes a publisher's state stale until its next full state, which a new
 * subscription brings.
 */
#include "dispatcher/robot/health_sub.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/robot/robots.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"

#include <stdlib.h>
#include <string.h>

#define ROBOTS_EVERY_MS 10000
#define TICK_MS 250
#define SUBSCRIBE_AGAIN_MS 1000
#define FIRST_WORD_MS 3000     /* after our start */
#define LEAST_INTERVAL_MS 1000 /* minimum, so that publishers with a shorter interval are not lost at once */

struct opinion {
    char name[NAME_ROOM], boot_id[65], why[201];
    struct health_row row; /* its strings point into this struct */
};

struct publisher {
    struct dispatcher *d;
    struct bus_sock *sock;
    const char *endpoint; /* in health_sub.endpoints */
    char incarnation[65];
    uint64_t seq, heard_ms, interval_ms, subscribed_ms;
    bool is_whole;           /* a full state was received, and no gap since */
    struct opinion *opinion; /* HEALTH_ROBOTS_MAX entries, so that names stay in place */
    struct names by_name;
    unsigned n;
};

struct control {
    struct dispatcher *d;
    struct bus_sock *sock;
    bool is_linked;
};

struct health_sub {
    struct publisher *publisher;
    struct control *control;
    unsigned n_publishers, n_controls;
    char **endpoints;
    struct proto_decoder *decoder;
    struct loop_timer timer;
    uint64_t told_revision, told_ms, started_ms;
    bool is_silent;
};

/* ---- the robots' list --------------------------------------------------------------------------------------- */

struct rows {
    struct robot_row *row;
    unsigned n;
};

static void row_add(struct dispatcher *d, const struct robot *r, void *arg)
{
    struct rows *rows = arg;
    (void)d;
    rows->row[rows->n++] = (struct robot_row){str_of(r->name), str_of(r->base_url), r->wanted};
}

static void robots_send(struct dispatcher *d)
{
    struct health_sub *h = d->health_sub;
    struct rows rows = {xcalloc(HEALTH_ROBOTS_MAX, sizeof(*rows.row)), 0};
    struct buf payload = {0};
    robots_each(d, row_add, &rows);
    proto_encode_robots(&payload, rows.row, rows.n);
    struct msg m = {.type = MSG_ROBOTS,
                    .ROBOTS = {.revision = d->robots_revision},
                    .payload = {payload.data, (uint32_t)payload.len}};
    for (unsigned i = 0; i < h->n_controls; i++)
        if (h->control[i].is_linked)
            proto_send(h->control[i].sock, NULL, 0, &m);
    buf_free(&payload);
    free(rows.row);
    h->told_ms = clock_ms();
    h->told_revision = d->robots_revision;
}

static void control_linked(void *arg, bool connected)
{
    struct control *c = arg;
    c->is_linked = connected;
    if (connected && c->d->robots_revision)
        robots_send(c->d);
}

static void control_received(void *arg, const void *peer, size_t peer_len, const char *role,
                             const struct bus_frame *frames, unsigned n)
{
    struct control *c = arg;
    struct msg m;
    (void)peer, (void)peer_len;
    if (proto_decode(c->d->health_sub->decoder, c->d->bus, role, ROLE_HEALTHD, frames, n, &m))
        stat_inc(bus_malformed_total);
}

/* ---- verdicts ----------------------------------------------------------------------------------------------- */

static bool is_heard(const struct publisher *p, uint64_t now)
{
    return p->is_whole &&
           now <= p->heard_ms + 3 * (p->interval_ms > LEAST_INTERVAL_MS ? p->interval_ms : LEAST_INTERVAL_MS);
}

static const struct health_row *opinion_of(const struct publisher *p, const char *name)
{
    uint32_t at = names_find(&p->by_name, name);
    return at == NAMES_NONE ? NULL : &p->opinion[at].row;
}

/* Takes the best verdict of the publishers that are heard. */
static void judge(struct dispatcher *d, const char *name)
{
    const struct health_row *best = NULL;
    uint64_t now = clock_ms();
    for (unsigned i = 0; i < d->health_sub->n_publishers; i++) {
        const struct publisher *p = &d->health_sub->publisher[i];
        const struct health_row *said = is_heard(p, now) ? opinion_of(p, name) : NULL;
        if (said && (!best || health_is_better(said, best)))
            best = said;
    }
    if (best)
        robots_judged(d, best);
}

static void robot_judge(struct dispatcher *d, const struct robot *r, void *arg)
{
    (void)arg;
    judge(d, r->name);
}

void health_sub_judge(struct dispatcher *d)
{
    if (d->health_sub)
        robots_each(d, robot_judge, NULL);
}

static void opinion_take(void *arg, const struct health_row *row)
{
    struct publisher *p = arg;
    char name[NAME_ROOM];
    str_copy(name, sizeof(name), row->name);
    uint32_t at = names_find(&p->by_name, name);
    if (at == NAMES_NONE) {
        if (p->n == HEALTH_ROBOTS_MAX)
            return;
        at = p->n++;
        strcpy(p->opinion[at].name, name);
        names_add(&p->by_name, p->opinion[at].name, at);
    }
    struct opinion *o = &p->opinion[at];
    o->row = *row;
    str_copy(o->boot_id, sizeof(o->boot_id), row->boot_id);
    str_copy(o->why, sizeof(o->why), row->why);
    o->row.name = str_of(o->name);
    o->row.boot_id = str_of(o->boot_id);
    o->row.why = str_of(o->why);
    judge(p->d, o->name);
}

/* Whether the message continues this publisher's state. A full state always does. */
static bool is_next(struct publisher *p, const struct msg_HEALTH *m)
{
    char incarnation[65];
    str_copy(incarnation, sizeof(incarnation), m->incarnation);
    if (m->full) {
        strcpy(p->incarnation, incarnation);
        names_clear(&p->by_name);
        p->n = 0;
        return p->is_whole = true;
    }
    if (p->is_whole && (strcmp(incarnation, p->incarnation) != 0 || m->seq != p->seq + 1)) {
        stat_inc(health_gaps_total);
        p->is_whole = false;
    }
    return p->is_whole;
}

static void health_received(void *arg, const void *peer, size_t peer_len, const char *role,
                            const struct bus_frame *frames, unsigned n)
{
    struct publisher *p = arg;
    struct dispatcher *d = p->d;
    struct msg m;
    (void)peer, (void)peer_len;
    if (proto_decode(d->health_sub->decoder, d->bus, role, ROLE_HEALTHD, frames, n, &m) || m.type != MSG_HEALTH ||
        (m.payload.len && proto_decode_health(m.payload, NULL, NULL))) {
        stat_inc(bus_malformed_total);
        return;
    }
    if (!is_next(p, &m.HEALTH))
        return;
    p->seq = m.HEALTH.seq;
    p->heard_ms = clock_ms();
    p->interval_ms = m.HEALTH.interval_ms;
    if (m.payload.len)
        proto_decode_health(m.payload, opinion_take, p);
}

static bool subscribe(struct publisher *p)
{
    bus_close(&p->sock);
    p->is_whole = false;
    p->subscribed_ms = clock_ms();
    p->sock = bus_connect(p->d->bus, BUS_SUB, p->endpoint, "healthd", health_received, p);
    return p->sock != NULL;
}

void health_sub_tick(struct dispatcher *d)
{
    struct health_sub *h = d->health_sub;
    uint64_t now = clock_ms();
    bool heard = false;
    for (unsigned i = 0; i < h->n_publishers; i++) {
        struct publisher *p = &h->publisher[i];
        heard |= is_heard(p, now);
        /* After a gap, subscribing again brings the full state at once. */
        if (p->heard_ms && !p->is_whole && now >= p->subscribed_ms + SUBSCRIBE_AGAIN_MS)
            subscribe(p);
    }
    if (!heard && !h->is_silent)
        log_line(LOG_WARN, "healthd", "to", "silent", "means", "robots are unknown, work goes on", NULL);
    else if (heard && h->is_silent)
        log_line(LOG_INFO, "healthd", "to", "heard", NULL);
    if (!heard && (!h->is_silent || now > h->started_ms + FIRST_WORD_MS))
        robots_all_unknown(d); /* including robots that are down according to the database */
    h->is_silent = !heard;
    if (d->robots_revision && (h->told_revision != d->robots_revision || now > h->told_ms + ROBOTS_EVERY_MS))
        robots_send(d);
}

static void tick_due(void *arg)
{
    struct dispatcher *d = arg;
    health_sub_tick(d);
    loop_timer_in(d->loop, &d->health_sub->timer, TICK_MS);
}

/* ---- start and stop ----------------------------------------------------------------------------------------- */

static bool publishers_make(struct dispatcher *d, struct health_sub *h)
{
    bool good = true;
    h->endpoints = conf_list(d->conf->health_endpoints, &h->n_publishers);
    h->publisher = xcalloc(h->n_publishers ? h->n_publishers : 1, sizeof(*h->publisher));
    for (unsigned i = 0; i < h->n_publishers; i++) {
        struct publisher *p = &h->publisher[i];
        p->d = d;
        p->endpoint = h->endpoints[i];
        p->opinion = xcalloc(HEALTH_ROBOTS_MAX, sizeof(*p->opinion));
        good &= subscribe(p);
    }
    return good;
}

static bool controls_make(struct dispatcher *d, struct health_sub *h)
{
    bool good = true;
    char **endpoints = conf_list(d->conf->health_control, &h->n_controls);
    h->control = xcalloc(h->n_controls ? h->n_controls : 1, sizeof(*h->control));
    for (unsigned i = 0; i < h->n_controls; i++) {
        struct control *c = &h->control[i];
        c->d = d;
        c->sock = bus_connect(d->bus, BUS_DEALER, endpoints[i], "healthd", control_received, c);
        good &= c->sock != NULL;
        if (c->sock)
            bus_on_link(c->sock, control_linked, c);
    }
    free(endpoints);
    return good;
}

struct health_sub *health_sub_new(struct dispatcher *d)
{
    struct health_sub *h = d->health_sub = xcalloc(1, sizeof(*h));
    h->is_silent = true;
    h->started_ms = clock_ms();
    h->decoder = proto_decoder_new();
    h->timer.fn = tick_due;
    h->timer.arg = d;
    loop_timer_in(d->loop, &h->timer, TICK_MS);
    if (!publishers_make(d, h) || !controls_make(d, h))
        health_sub_destroy(&d->health_sub);
    return d->health_sub;
}

void health_sub_destroy(struct health_sub **hp)
{
    struct health_sub *h = *hp;
    if (!h)
        return;
    struct dispatcher *d = h->timer.arg;
    loop_timer_stop(d->loop, &h->timer);
    for (unsigned i = 0; i < h->n_publishers; i++) {
        bus_close(&h->publisher[i].sock);
        names_clear(&h->publisher[i].by_name);
        free(h->publisher[i].opinion);
    }
    for (unsigned i = 0; i < h->n_controls; i++)
        bus_close(&h->control[i].sock);
    proto_decoder_destroy(&h->decoder);
    free(h->endpoints);
    free(h->publisher);
    free(h->control);
    free(h);
    *hp = NULL;
}
