/*
 * health.c - what healthd says, for /metrics: each publisher's own counters and
 * the robots' verdicts by name. Nothing is decided by it here; the dispatchers
 * listen for themselves. Knows no robot's URL, only names.
 */
#include "broker/broker.h"

#include "common/check.h"
#include "common/log.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEARD_MS 15000 /* three full states */

struct opinion {
    char name[65];
    enum verdict verdict;
    int64_t sessions, capacity; /* -1 = not told */
};

struct publisher {
    struct broker *b;
    struct bus_sock *sock;
    char *endpoint; /* owned */
    uint64_t heard_at_ms;
    struct opinion *opinion; /* n of them; room for HEALTH_ROBOTS_MAX once one came */
    unsigned n;
    uint64_t stats[STAT_N];
};

struct health {
    struct publisher *publisher;
    unsigned n;
    struct proto_decoder *decoder;
};

static void opinion_take(void *arg, const struct health_row *row)
{
    struct publisher *p = arg;
    struct opinion *o = NULL;
    for (unsigned i = 0; i < p->n && !o; i++)
        if (str_is(row->name, p->opinion[i].name))
            o = &p->opinion[i];
    if (!o && p->n == HEALTH_ROBOTS_MAX)
        return;
    if (!o) {
        p->opinion = xrealloc(p->opinion, (p->n + 1) * sizeof *p->opinion);
        o = &p->opinion[p->n++];
        str_copy(o->name, sizeof o->name, row->name);
    }
    o->verdict = row->verdict;
    o->sessions = row->sessions;
    o->capacity = row->capacity;
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
    if (m.HEALTH.stats)
        memcpy(p->stats, m.HEALTH.stats->v, sizeof p->stats);
    if (m.HEALTH.full)
        p->n = 0;
    if (m.payload.len)
        proto_decode_health(m.payload, opinion_take, p);
}

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
        p->sock = bus_connect(b->bus, BUS_SUB, endpoints[i], "healthd", received, p);
        is_good &= p->sock != NULL;
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
        free(h->publisher[i].endpoint);
        free(h->publisher[i].opinion);
    }
    proto_decoder_destroy(&h->decoder);
    free(h->publisher);
    free(h);
}

static bool is_heard(const struct broker *b, const struct publisher *p)
{
    return p->heard_at_ms && loop_now_ms(b->loop) < p->heard_at_ms + HEARD_MS;
}

unsigned health_sources(const struct broker *b, struct stat_source *out, unsigned max)
{
    unsigned n = 0;
    for (unsigned i = 0; i < b->health->n && n < max; i++)
        if (is_heard(b, &b->health->publisher[i]))
            out[n++] = (struct stat_source){STAT_HEALTHD, "healthd", b->health->publisher[i].endpoint,
                                            b->health->publisher[i].stats};
    return n;
}

static void family(const struct broker *b, struct buf *out, const char *name, const char *help,
                   int64_t (*value)(const struct opinion *o))
{
    bool has_head = false;
    for (unsigned i = 0; i < b->health->n; i++) {
        const struct publisher *p = &b->health->publisher[i];
        for (unsigned k = 0; is_heard(b, p) && k < p->n; k++) {
            if (value(&p->opinion[k]) < 0)
                continue;
            if (!has_head)
                buf_addf(out, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
            has_head = true;
            buf_addf(out, "%s{healthd=\"", name);
            stat_label(out, p->endpoint);
            buf_adds(out, "\",robot=\"");
            stat_label(out, p->opinion[k].name);
            buf_addf(out, "\"} %" PRId64 "\n", value(&p->opinion[k]));
        }
    }
}

static int64_t verdict_value(const struct opinion *o)
{
    static const int64_t of[] = {
        [VERDICT_UNKNOWN] = -1, [VERDICT_UP] = 2, [VERDICT_SUSPECT] = 1, [VERDICT_DOWN] = 0};
    return of[o->verdict];
}

static int64_t sessions_value(const struct opinion *o)
{
    return o->sessions;
}

static int64_t capacity_value(const struct opinion *o)
{
    return o->capacity;
}

void health_metrics(const struct broker *b, struct buf *out)
{
    family(b, out, "chasqui_robot_verdict", "What healthd judges: 2 up, 1 suspect, 0 down.", verdict_value);
    family(b, out, "chasqui_robot_sessions", "Sessions that the robot says it has.", sessions_value);
    family(b, out, "chasqui_robot_capacity", "Capacity that the robot says it has.", capacity_value);
}
