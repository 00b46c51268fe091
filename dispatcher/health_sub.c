/*
 * health_sub.c - listening to healthd, and telling it the robots.
 *
 * Owns: a SUB and the picture of each publisher, a DEALER for each control
 * endpoint. Of the publishers heard within three of their intervals the best
 * verdict counts; when all are silent every robot is unknown and work goes on.
 * A gap in the sequence makes a publisher's picture stale until its next full
 * state (every 5 s).
 */
#include "dispatcher/dispatcher.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

#define ROBOTS_EVERY_MS 10000

struct opinion {
    char name[NAME_ROOM];
    struct health_row row; /* its strings point into boot_id and name here */
    char boot_id[65];
};

struct publisher {
    struct dispatcher *d;
    struct bus_sock *sock;
    char incarnation[65];
    uint64_t seq, heard_ms, interval_ms;
    bool whole; /* a full state came and no gap since */
    struct opinion *opinion;
    unsigned n;
};

struct control {
    struct dispatcher *d;
    struct bus_sock *sock;
    bool linked;
};

struct health_sub {
    struct publisher *publisher;
    struct control *control;
    unsigned n_publishers, n_controls;
    struct proto_decoder *decoder;
    uint64_t told_revision, told_ms;
    bool silent;
};

/* ---- the robots' list ------------------------------------------------------------------------------------------------- */

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
    struct msg m = {.type = MSG_ROBOTS, .ROBOTS = {.revision = robots_revision(d)}, .payload = {payload.data, (uint32_t)payload.len}};
    for (unsigned i = 0; i < h->n_controls; i++)
        if (h->control[i].linked)
            proto_send(h->control[i].sock, NULL, 0, &m);
    buf_free(&payload);
    free(rows.row);
    h->told_ms = clock_ms();
    h->told_revision = robots_revision(d);
}

static void control_linked(void *arg, bool connected)
{
    struct control *c = arg;
    c->linked = connected;
    if (connected && robots_revision(c->d))
        robots_send(c->d);
}

static void control_received(void *arg, const void *peer, size_t peer_len, const char *role, const struct bus_frame *frames, unsigned n)
{
    struct control *c = arg;
    struct msg m;
    (void)peer, (void)peer_len;
    if (proto_decode(c->d->health_sub->decoder, c->d->bus, role, ROLE_HEALTHD, frames, n, &m))
        stat_inc(bus_malformed_total);
}

/* ---- verdicts ----------------------------------------------------------------------------------------------------------- */

static bool is_heard(const struct publisher *p, uint64_t now)
{
    return p->whole && now <= p->heard_ms + 3 * (p->interval_ms > 1000 ? p->interval_ms : 1000);
}

static unsigned goodness(enum verdict v)
{
    static const unsigned of[] = {[VERDICT_UNKNOWN] = 0, [VERDICT_UP] = 3, [VERDICT_SUSPECT] = 2, [VERDICT_DOWN] = 1};
    return of[v];
}

/* The best of what those say that are heard. */
static void judge(struct dispatcher *d, const char *name)
{
    const struct health_row *best = NULL;
    uint64_t now = clock_ms();
    for (unsigned i = 0; i < d->health_sub->n_publishers; i++) {
        const struct publisher *p = &d->health_sub->publisher[i];
        if (!is_heard(p, now))
            continue;
        for (unsigned k = 0; k < p->n; k++)
            if (strcmp(p->opinion[k].name, name) == 0 && (!best || goodness(p->opinion[k].row.verdict) > goodness(best->verdict)))
                best = &p->opinion[k].row;
    }
    if (best)
        robots_judged(d, best);
}

static void opinion_take(void *arg, const struct health_row *row)
{
    struct publisher *p = arg;
    struct opinion *o = NULL;
    char name[NAME_ROOM];
    str_copy(name, sizeof(name), row->name);
    for (unsigned i = 0; i < p->n && !o; i++)
        if (strcmp(p->opinion[i].name, name) == 0)
            o = &p->opinion[i];
    if (!o) {
        if (p->n == HEALTH_ROBOTS_MAX)
            return;
        o = &p->opinion[p->n++];
        strcpy(o->name, name);
    }
    o->row = *row;
    str_copy(o->boot_id, sizeof(o->boot_id), row->boot_id);
    o->row.name = str_of(o->name);
    o->row.boot_id = str_of(o->boot_id);
    o->row.why = str_of("");
    if (p->whole)
        judge(p->d, name);
}

static void health_received(void *arg, const void *peer, size_t peer_len, const char *role, const struct bus_frame *frames, unsigned n)
{
    struct publisher *p = arg;
    struct dispatcher *d = p->d;
    struct msg m;
    char incarnation[65];
    (void)peer, (void)peer_len;
    if (proto_decode(d->health_sub->decoder, d->bus, role, ROLE_HEALTHD, frames, n, &m) || m.type != MSG_HEALTH ||
        (m.payload.len && proto_decode_health(m.payload, NULL, NULL))) {
        stat_inc(bus_malformed_total);
        return;
    }
    str_copy(incarnation, sizeof(incarnation), m.HEALTH.incarnation);
    if (strcmp(incarnation, p->incarnation) != 0 || m.HEALTH.seq != p->seq + 1) {
        if (!m.HEALTH.full) {
            if (p->whole)
                stat_inc(health_gaps_total);
            p->whole = false;
            return;
        }
        strcpy(p->incarnation, incarnation);
    }
    p->seq = m.HEALTH.seq;
    p->heard_ms = clock_ms();
    p->interval_ms = m.HEALTH.interval_ms;
    if (m.HEALTH.full) {
        p->n = 0;
        p->whole = true;
    }
    if (m.payload.len && p->whole)
        proto_decode_health(m.payload, opinion_take, p);
}

void health_sub_tick(struct dispatcher *d)
{
    struct health_sub *h = d->health_sub;
    uint64_t now = clock_ms();
    bool heard = false;
    for (unsigned i = 0; i < h->n_publishers; i++)
        heard |= is_heard(&h->publisher[i], now);
    if (!heard && !h->silent) {
        log_line(LOG_WARN, "healthd", "to", "silent", "means", "robots are unknown, work goes on", NULL);
        robots_all_unknown(d);
    } else if (heard && h->silent) {
        log_line(LOG_INFO, "healthd", "to", "heard", NULL);
    }
    h->silent = !heard;
    if (robots_revision(d) && (h->told_revision != robots_revision(d) || now > h->told_ms + ROBOTS_EVERY_MS))
        robots_send(d);
}

struct health_sub *health_sub_new(struct dispatcher *d)
{
    struct health_sub *h = d->health_sub = xcalloc(1, sizeof(*h));
    char **endpoints = conf_list(d->conf->health_endpoints, &h->n_publishers);
    bool good = true;
    h->silent = true;
    h->decoder = proto_decoder_new();
    h->publisher = xcalloc(h->n_publishers ? h->n_publishers : 1, sizeof(*h->publisher));
    for (unsigned i = 0; i < h->n_publishers; i++) {
        struct publisher *p = &h->publisher[i];
        p->d = d;
        p->opinion = xcalloc(HEALTH_ROBOTS_MAX, sizeof(*p->opinion));
        good &= (p->sock = bus_connect(d->bus, BUS_SUB, endpoints[i], "healthd", health_received, p)) != NULL;
    }
    free(endpoints);
    endpoints = conf_list(d->conf->health_control, &h->n_controls);
    h->control = xcalloc(h->n_controls ? h->n_controls : 1, sizeof(*h->control));
    for (unsigned i = 0; i < h->n_controls; i++) {
        struct control *c = &h->control[i];
        c->d = d;
        c->sock = bus_connect(d->bus, BUS_DEALER, endpoints[i], "healthd", control_received, c);
        if (c->sock)
            bus_on_link(c->sock, control_linked, c);
        else
            good = false;
    }
    free(endpoints);
    if (!good)
        health_sub_destroy(&d->health_sub);
    return d->health_sub;
}

void health_sub_destroy(struct health_sub **hp)
{
    struct health_sub *h = *hp;
    if (!h)
        return;
    for (unsigned i = 0; i < h->n_publishers; i++) {
        if (h->publisher[i].sock)
            bus_close(&h->publisher[i].sock);
        free(h->publisher[i].opinion);
    }
    for (unsigned i = 0; i < h->n_controls; i++)
        if (h->control[i].sock)
            bus_close(&h->control[i].sock);
    proto_decoder_destroy(&h->decoder);
    free(h->publisher);
    free(h->control);
    free(h);
    *hp = NULL;
}
