/* SPDX-License-Identifier: MIT */
/*
 * publish.c - the two sockets of healthd.
 *
 * Owns: the sequence under a random incarnation. XPUB: sends the full state at each subscription, every 5 s and
 * when the list changes; a delta at each change; an empty delta at least every second, so that subscribers can
 * treat silence as a failure. ROUTER: receives the list of robots; the highest revision wins. Robots are published
 * by name only; a base URL must never leave this process.
 */
#include "healthd/healthd.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

#define FULL_MS 5000
#define BEAT_MS 1000

struct publisher {
    struct healthd *h;
    struct bus_sock *pub, *control;
    struct proto_decoder *decoder;
    char incarnation[ID_BOOT_BYTES];
    uint64_t seq, revision, full_at_ms, started_ms;
    struct loop_timer beat;
};

struct rows {
    struct health_row *row;
    unsigned n;
};

static uint64_t beat_ms(const struct healthd *h)
{
    return h->conf->healthd_interval_ms < BEAT_MS ? (uint64_t)h->conf->healthd_interval_ms : BEAT_MS;
}

static void row_add(void *arg, const struct target *t)
{
    struct rows *rows = arg;
    bool is_two = t->is_two && t->judgement.verdict == VERDICT_UP;
    rows->row[rows->n++] = (struct health_row){.name = str_of(t->name),
                                               .verdict = is_two ? VERDICT_SUSPECT : t->judgement.verdict,
                                               .since_unix_ms = t->since_unix_ms,
                                               .sessions = t->last.sessions,
                                               .capacity = t->last.capacity,
                                               .boot_id = str_of(t->last.boot_id),
                                               .why = is_two ? STR("two_boots") : str_of(t->last.why),
                                               .down = t->judgement.down,
                                               .other_boot = str_of(t->is_two ? t->boots.other : "")};
}

static void send(struct publisher *p, bool full, const struct rows *rows)
{
    struct buf payload = {0};
    proto_encode_health(&payload, rows->row, rows->n);
    stat_inc(publications_total);
    loop_stats(p->h->loop);
    stat_set(uptime_seconds, (clock_ms() - p->started_ms) / 1000);
    struct msg m = {.type = MSG_HEALTH,
                    .HEALTH = {.incarnation = str_of(p->incarnation),
                               .seq = ++p->seq,
                               .interval_ms = beat_ms(p->h),
                               .revision = p->revision,
                               .full = full,
                               .stats = full ? &stat_own : NULL},
                    .payload = {payload.data, (uint32_t)payload.len}};
    proto_send(p->pub, NULL, 0, &m);
    buf_free(&payload);
    loop_timer_in(p->h->loop, &p->beat, beat_ms(p->h));
}

void publish_full(struct healthd *h)
{
    struct rows rows = {xcalloc(prober_count(h) + 1, sizeof(*rows.row)), 0};
    prober_each(h, row_add, &rows);
    send(h->publisher, true, &rows);
    free(rows.row);
    h->publisher->full_at_ms = clock_ms() + FULL_MS;
}

void publish_change(struct healthd *h, const struct target *t)
{
    struct health_row row;
    struct rows rows = {&row, 0};
    row_add(&rows, t);
    send(h->publisher, false, &rows);
}

static void beat_due(void *arg)
{
    struct publisher *p = arg;
    struct rows none = {NULL, 0};
    if (clock_ms() >= p->full_at_ms)
        publish_full(p->h);
    else
        send(p, false, &none);
}

/* A new subscription: the full state is sent, and all other subscribers receive it too. */
static void subscribed(void *arg, const void *peer, size_t peer_len, const char *role,
                       const struct bus_frame *frames, unsigned n)
{
    struct publisher *p = arg;
    (void)peer, (void)peer_len, (void)role;
    if (n == 1 && frames[0].len >= 1 && *(const uint8_t *)frames[0].data == 1)
        publish_full(p->h);
}

static void told(void *arg, const void *peer, size_t peer_len, const char *role, const struct bus_frame *frames,
                 unsigned n)
{
    struct publisher *p = arg;
    struct msg m;
    enum proto_bad bad = proto_decode(p->decoder, p->h->bus, role, ROLE_DISPATCHER, frames, n, &m);
    if (!bad && m.type == MSG_ROBOTS && proto_decode_robots(m.payload, NULL, NULL) != 0)
        bad = PROTO_PAYLOAD;
    if (bad || m.type != MSG_ROBOTS) {
        stat_inc(bus_malformed_total);
        log_line(LOG_DEBUG, "malformed", "from", "dispatcher", "why", proto_bad_text(bad), NULL);
        if (bad == PROTO_VERSION_UNKNOWN) {
            struct msg no = {.type = MSG_REFUSED, .REFUSED = {.reason = STR("unknown version; this is 1")}};
            proto_send(p->control, peer, peer_len, &no);
        }
        return;
    }
    if (m.ROBOTS.revision <= p->revision)
        return;
    p->revision = m.ROBOTS.revision;
    prober_list(p->h, m.payload);
    log_line(LOG_INFO, "robots", "revision", log_i((long long)p->revision), "n", log_i(prober_count(p->h)), NULL);
}

struct publisher *publisher_new(struct healthd *h)
{
    struct publisher *p = h->publisher = xcalloc(1, sizeof(*p));
    p->h = h;
    p->started_ms = clock_ms();
    p->decoder = proto_decoder_new();
    id_boot(p->incarnation);
    p->beat.fn = beat_due;
    p->beat.arg = p;
    p->pub = bus_bind(h->bus, BUS_XPUB, h->conf->healthd_bind, subscribed, p);
    p->control = p->pub ? bus_bind(h->bus, BUS_ROUTER, h->conf->healthd_control, told, p) : NULL;
    if (!p->control)
        publisher_destroy(&h->publisher);
    else
        loop_timer_in(h->loop, &p->beat, beat_ms(h));
    return h->publisher;
}

void publisher_destroy(struct publisher **pp)
{
    struct publisher *p = *pp;
    if (!p)
        return;
    loop_timer_stop(p->h->loop, &p->beat);
    if (p->pub)
        bus_close(&p->pub);
    if (p->control)
        bus_close(&p->control);
    proto_decoder_destroy(&p->decoder);
    free(p);
    *pp = NULL;
}
