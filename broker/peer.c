/* SPDX-License-Identifier: MIT */
/*
 * peer.c - the connected dispatchers.
 *
 * Owns: the ROUTER that they connect to, the identity of each, its credit and its heartbeat. Must never use more
 * credit than a dispatcher granted in this incarnation. Must never accept a message from a role other than
 * `dispatcher`. A dispatcher that is silent for 2 s gets no new requests and loses its flights; when it speaks
 * again it is asked to greet again. A dispatcher whose connection is gone is forgotten. After a stall of our own
 * no dispatcher is judged silent.
 */
#include "broker/peer.h"
#include "broker/attempts.h"
#include "broker/auth.h"
#include "broker/companies.h"
#include "broker/feed.h"
#include "broker/fleet.h"
#include "broker/flight.h"
#include "broker/http.h"
#include "broker/progress.h"
#include "broker/roster.h"
#include "broker/route.h"
#include "broker/window.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STALLED_MS 1000   /* a tick this late means that we stalled */
#define CREDIT_MAX 100000 /* higher grants are not believed */
#define TOGETHER_MAX 16

/* ---- who may be asked --------------------------------------------------------------------------------------- */

bool peer_is_usable(const struct peer *p)
{
    return p->is_here && !p->is_lost && !p->is_draining;
}

static bool is_one_usable(const struct broker *b)
{
    for (struct peer *p = b->peers->list; p; p = p->next)
        if (peer_is_usable(p))
            return true;
    return false;
}

/* Hope lasts for 2 s after the last dispatcher went. */
static void hope(struct broker *b)
{
    if (is_one_usable(b))
        b->peers->hopeful_until_ms = loop_now_ms(b->loop) + PROTO_SILENT_MS;
}

/* ---- sending ------------------------------------------------------------------------------------------------ */

static int sent(struct broker *b, struct peer *p, int rc)
{
    if (rc == -EHOSTUNREACH) {
        hope(b); /* before it is lost: a lost dispatcher does not count as usable */
        p->is_lost = b->peers->is_any_lost = true;
        loop_wake(b->loop);
    } else if (rc == -EAGAIN) {
        p->is_choked = true;
    }
    return rc;
}

static int bundle_out(struct broker *b, struct peer *p)
{
    return sent(b, p, bundle_send(&p->bundle, b->peers->sock, p->route, p->route_len));
}

int peer_send(struct broker *b, struct peer *p, const struct msg *m)
{
    if (p->is_lost)
        return sent(b, p, -EHOSTUNREACH);
    if (p->takes_many && bundle_fits(m)) {
        b->peers->is_any_gathered = true;
        loop_wake(b->loop);
        return bundle_add(&p->bundle, m) ? bundle_out(b, p) : 0;
    }
    int rc = bundle_out(b, p);
    return rc ? rc : sent(b, p, proto_send(b->peers->sock, p->route, p->route_len, m));
}

int peer_request(struct broker *b, struct peer *p, struct flight *f)
{
    struct msg m = {.type = MSG_REQUEST, .REQUEST = f->request, .payload = f->payload};
    if (f->op_now != f->op)
        m.payload = (struct str){"", 0}; /* awaiting a log-in does not need its params */
    int rc = peer_send(b, p, &m);
    if (rc == 0)
        p->sent[f->request.lane]++;
    return rc;
}

static void ping_send(struct broker *b, struct peer *p)
{
    struct msg m = {.type = MSG_PING, .PING = {.seq = ++p->ping_seq}};
    peer_send(b, p, &m);
}

static void welcome_send(struct broker *b, struct peer *p)
{
    struct msg m = {
        .type = MSG_WELCOME,
        .WELCOME = {.name = str_of(b->name), .boot_id = str_of(b->boot_id), .many = true, .attempts = true}};
    peer_send(b, p, &m);
    if (b->is_draining) {
        struct msg bye = {.type = MSG_BYE, .BYE = {.reason = STR("stopping")}};
        peer_send(b, p, &bye);
    }
}

/* Sends REFUSED to a sender that is not in the list. */
static void refused_send(struct broker *b, const void *route, size_t route_len, const char *why)
{
    struct msg m = {.type = MSG_REFUSED, .REFUSED = {.reason = str_of(why)}};
    proto_send(b->peers->sock, route, route_len, &m);
}

void peers_bye(struct broker *b, const char *reason)
{
    struct msg m = {.type = MSG_BYE, .BYE = {.reason = str_of(reason)}};
    for (struct peer *p = b->peers->list; p; p = p->next)
        peer_send(b, p, &m);
}

/* ---- choosing ----------------------------------------------------------------------------------------------- */

uint64_t peer_credit(const struct peer *p, enum lane lane)
{
    uint64_t credit = p->limit[lane] > p->sent[lane] ? p->limit[lane] - p->sent[lane] : 0;
    return credit < CREDIT_MAX ? credit : CREDIT_MAX;
}

unsigned peers_foreign(const struct broker *b)
{
    unsigned bits = 0;
    bool is_any = false;
    for (const struct peer *p = b->peers->list; p; p = p->next)
        if (p->is_here) {
            bits |= p->foreign;
            is_any = true;
        }
    if (is_any)
        b->peers->foreign = bits;
    return b->peers->foreign;
}

bool peers_take_alerts(const struct broker *b)
{
    bool is_any = false;
    for (const struct peer *p = b->peers->list; p; p = p->next)
        if (p->is_here && !p->takes_alerts)
            return false;
        else
            is_any |= p->is_here;
    return is_any;
}

/* A turn's requests go to one dispatcher as far as TOGETHER_MAX: they share a message, a wake-up and a look-up. */
static bool is_gathering(const struct peer *p)
{
    return p->bundle.n && p->bundle.n < TOGETHER_MAX;
}

static bool is_better(const struct peer *a, const struct peer *b, enum lane lane)
{
    if (a->is_database_ok != b->is_database_ok)
        return a->is_database_ok;
    if (is_gathering(a) != is_gathering(b))
        return is_gathering(a);
    return peer_credit(a, lane) > peer_credit(b, lane);
}

struct peer *peers_pick(struct broker *b, enum lane lane)
{
    struct peer *best = NULL;
    for (struct peer *p = b->peers->list; p; p = p->next)
        if (peer_is_usable(p) && !p->is_choked && peer_credit(p, lane) && (!best || is_better(p, best, lane)))
            best = p;
    return best;
}

bool peers_hopeful(const struct broker *b)
{
    return is_one_usable(b) || loop_now_ms(b->loop) < b->peers->hopeful_until_ms;
}

bool peers_ready(const struct broker *b)
{
    for (struct peer *p = b->peers->list; p; p = p->next)
        if (peer_is_usable(p) && p->is_database_ok)
            return true;
    return false;
}

void peer_hold(struct peer *p, struct flight *f)
{
    f->peer = p;
    LIST_INSERT_HEAD(&p->flights, f, of_peer);
    p->n_flights++;
}

void peer_drop(struct flight *f)
{
    struct peer *p = f->peer;
    LIST_REMOVE(f, of_peer);
    f->peer = NULL;
    p->n_flights--;
}

/* ---- coming and going --------------------------------------------------------------------------------------- */

static void note(const struct peer *p, const char *to, const char *why)
{
    log_line(LOG_INFO, "dispatcher", "name", p->name, "boot", p->boot_id, "to", to, "why", why, NULL);
}

static void peer_is_here(struct broker *b, struct peer *p)
{
    p->is_here = true;
    roster_came(b->peers, p->name);
}

static void peer_unheard(struct broker *b, struct peer *p, const char *why)
{
    if (!p->is_here)
        return;
    hope(b);
    p->is_here = false;
    note(p, "gone", why);
    roster_went(b->peers, p);
    fleet_dispatcher_gone(b, p->name);
    companies_dispatcher_gone(b, p->name);
    flights_peer_gone(b, &p->flights);
}

static void peer_forget(struct broker *b, struct peer *p)
{
    struct peer **at = &b->peers->list;
    p->is_lost = true;
    peer_unheard(b, p, "connection lost");
    flights_peer_gone(b, &p->flights);
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    window_destroy(&p->window);
    buf_free(&p->bundle.data);
    free(p);
}

/* Sends the gathered bundles and forgets lost dispatchers. At the end of the turn, because during it their
 * messages or flights may be being walked. */
static bool turn_end(void *arg)
{
    struct broker *b = arg;
    if (b->peers->is_any_gathered) {
        b->peers->is_any_gathered = false;
        for (struct peer *p = b->peers->list; p; p = p->next)
            if (!p->is_lost && bundle_out(b, p) == -EAGAIN)
                b->peers->is_any_gathered = true; /* in the next turn again */
    }
    while (b->peers->is_any_lost) {
        b->peers->is_any_lost = false;
        for (struct peer *p = b->peers->list, *next; p; p = next) {
            next = p->next;
            if (p->is_lost)
                peer_forget(b, p);
        }
    }
    return false;
}

static struct peer *peer_find(const struct peers *ps, const void *route, size_t route_len)
{
    struct peer *p = ps->list;
    while (p && (p->route_len != route_len || memcmp(p->route, route, route_len) != 0))
        p = p->next;
    return p;
}

static void credit_forget(struct peer *p)
{
    p->incarnation = 0;
    memset(p->limit, 0, sizeof p->limit);
    memset(p->sent, 0, sizeof p->sent);
}

/* HELLO. From a known dispatcher it means that it has lost its state about us, including all requests of ours. */
static void greet(struct broker *b, struct peer *p, const void *route, size_t route_len, const struct msg_HELLO *m)
{
    struct peers *ps = b->peers;
    for (struct peer *other = ps->list; other; other = other->next)
        if (other != p && str_is(m->name, other->name)) {
            if (other->is_here && !other->is_lost && !str_is(m->boot_id, other->boot_id)) {
                ping_send(b, other);
                if (bundle_out(b, other) != -EHOSTUNREACH)
                    roster_ended(ps, other->name);
            }
            other->is_lost = ps->is_any_lost = true; /* the same dispatcher, on a new connection */
            loop_wake(b->loop);
        }
    if (p && p->incarnation)
        peer_unheard(b, p, "greets again");
    if (!p) {
        p = xcalloc(1, sizeof *p);
        p->route_len = route_len;
        memcpy(p->route, route, route_len);
        p->next = ps->list;
        ps->list = p;
    }
    str_copy(p->name, sizeof p->name, m->name);
    str_copy(p->boot_id, sizeof p->boot_id, m->boot_id);
    str_copy(p->version, sizeof p->version, m->version);
    p->capacity = m->capacity;
    p->takes_many = m->many;
    p->foreign = (unsigned)m->foreign;
    p->takes_alerts = m->alerts;
    bundle_drop(&p->bundle);
    p->is_draining = p->is_choked = false;
    credit_forget(p);
    p->heard_at_ms = loop_now_ms(b->loop);
    if (!p->is_here)
        note(p, "here", "greeting");
    peer_is_here(b, p);
    welcome_send(b, p);
    http_open(b);
}

/* ---- messages ----------------------------------------------------------------------------------------------- */

static void take_credit(struct broker *b, struct peer *p, uint64_t incarnation, struct u64s limits)
{
    if (!incarnation)
        return;
    if (p->incarnation && incarnation != p->incarnation) { /* it restarted without a message */
        flights_peer_gone(b, &p->flights);
        credit_forget(p);
    }
    p->incarnation = incarnation;
    for (uint32_t i = 0; i < limits.n; i++)
        p->limit[i] = limits.v[i];
    flights_pump(b);
}

static void take_ping(struct broker *b, struct peer *p, const struct msg_PING *m)
{
    struct msg pong = {.type = MSG_PONG, .PONG = {.seq = m->seq}};
    peer_send(b, p, &pong);
    if (m->draining && !p->is_draining)
        note(p, "draining", "told");
    hope(b);
    p->is_draining = m->draining;
    p->is_database_ok = m->database_ok;
    str_copy(p->brokers_lost, sizeof p->brokers_lost, m->brokers_lost);
    str_copy(p->at_limit, sizeof p->at_limit, m->at_limit);
    str_copy(p->database, sizeof p->database, m->database);
    str_copy(p->troubles, sizeof p->troubles, m->troubles);
    str_copy(p->node, sizeof p->node, m->node);
    if (m->stats)
        roster_stats(b, p, m->stats);
    take_credit(b, p, m->incarnation, m->limits);
}

static void pass_wake(struct broker *b, const struct peer *from, struct str what)
{
    struct msg m = {.type = MSG_WAKE, .WAKE = {.what = what}};
    for (struct peer *p = b->peers->list; p; p = p->next)
        if (p != from && p->is_here)
            peer_send(b, p, &m);
}

static void take_event(struct broker *b, const struct msg_EVENT *m)
{
    if (str_is(m->kind, "token_revoked"))
        auth_forget(b, m->id);
    else if (str_is(m->kind, "batch"))
        progress_stale(b, m->id);
    feed_take(b, m);
}

static void take(struct broker *b, struct peer *p, const struct msg *m)
{
    switch ((int)m->type) {
    case MSG_ACCEPTED:
    case MSG_REPLY:
    case MSG_REPLY_HEAD:
    case MSG_CHUNK:
        flights_take(b, p, m);
        break;
    case MSG_CREDIT:
        take_credit(b, p, m->CREDIT.incarnation, m->CREDIT.limits);
        break;
    case MSG_PING:
        take_ping(b, p, &m->PING);
        break;
    case MSG_EVENT:
        take_event(b, &m->EVENT);
        break;
    case MSG_WAKE:
        pass_wake(b, p, m->WAKE.what);
        break;
    case MSG_ROBOT_STATS:
        if (proto_decode_robot_stats(m->payload, NULL, NULL) == 0)
            fleet_robots_told(b, p->name, p->boot_id, m->payload);
        else
            stat_inc(bus_malformed_total);
        break;
    case MSG_COMPANY_STATS:
        if (proto_decode_company_stats(m->payload, NULL, NULL) == 0)
            companies_told(b, p->name, m);
        else
            stat_inc(bus_malformed_total);
        break;
    case MSG_ATTEMPT_STATS:
        if (proto_decode_attempt_stats(m->payload, NULL, NULL) == 0)
            attempt_sums_told(b->attempts, p->name, p->boot_id, m->payload);
        else
            stat_inc(bus_malformed_total);
        break;
    case MSG_BYE:
        note(p, "draining", "bye");
        hope(b);
        p->is_draining = true;
        break;
    case MSG_REFUSED:
        peer_unheard(b, p, "refuses");
        break;
    default: /* PONG: receiving it is enough */
        break;
    }
}

static void malformed(struct broker *b, const void *route, size_t route_len, enum proto_bad bad)
{
    stat_inc(bus_malformed_total);
    log_line(LOG_DEBUG, "malformed", "from", "dispatcher", "why", proto_bad_text(bad), NULL);
    if (bad == PROTO_VERSION_UNKNOWN)
        refused_send(b, route, route_len, "unknown version of the wire");
}

struct letter { /* the sender of a message */
    struct broker *b;
    const void *route;
    size_t route_len;
    const char *role;
};

static void received(void *arg, const void *route, size_t route_len, const char *role,
                     const struct bus_frame *frames, unsigned n);

static bool received_part(void *arg, const struct bus_frame *frames, unsigned n)
{
    const struct letter *l = arg;
    received(l->b, l->route, l->route_len, l->role, frames, n);
    return true;
}

static void received(void *arg, const void *route, size_t route_len, const char *role,
                     const struct bus_frame *frames, unsigned n)
{
    struct broker *b = arg;
    struct msg m;
    enum proto_bad bad = proto_decode(b->peers->decoder, b->bus, role, ROLE_DISPATCHER, frames, n, &m);
    if (bad) {
        malformed(b, route, route_len, bad);
        return;
    }
    if (m.type == MSG_MANY) {
        struct letter l = {b, route, route_len, role};
        if (!bundle_each(m.payload, received_part, &l))
            malformed(b, route, route_len, PROTO_PAYLOAD);
        return;
    }
    struct peer *p = peer_find(b->peers, route, route_len);
    if (m.type == MSG_HELLO) {
        greet(b, p, route, route_len, &m.HELLO);
        return;
    }
    if (!p || p->is_lost) {
        refused_send(b, route, route_len, "say HELLO first");
        return;
    }
    p->heard_at_ms = loop_now_ms(b->loop);
    p->is_choked = false;
    if (!p->is_here) {
        peer_is_here(b, p);
        note(p, "here", "heard again");
    }
    take(b, p, &m);
}

/* ---- time --------------------------------------------------------------------------------------------------- */

static void count_them(struct broker *b)
{
    uint64_t n = 0;
    for (struct peer *p = b->peers->list; p; p = p->next)
        n += peer_is_usable(p);
    stat_set(dispatchers, n);
    stat_set(uptime_seconds, (loop_now_ms(b->loop) - b->started_ms) / 1000);
}

static void tick(void *arg)
{
    struct broker *b = arg;
    struct peers *ps = b->peers;
    uint64_t now = clock_ms();
    bool was_stalled = now > ps->ticked_at_ms + PROTO_PING_MS + STALLED_MS;
    ps->ticked_at_ms = now;
    loop_timer_in(b->loop, &ps->tick, PROTO_PING_MS);
    for (struct peer *p = ps->list; p; p = p->next) {
        if (was_stalled)
            p->heard_at_ms = now;
        if (p->is_here && now > p->heard_at_ms + PROTO_SILENT_MS)
            peer_unheard(b, p, "silent");
        ping_send(b, p);
    }
    if (was_stalled && ps->hopeful_until_ms)
        ps->hopeful_until_ms = now + PROTO_SILENT_MS;
    hope(b);
    if (!peers_hopeful(b))
        flights_none_there(b);
    count_them(b);
}

/* A connection ended. ZeroMQ does not say which one: it is the one that a PING cannot reach. */
static void link_changed(void *arg, bool is_connected)
{
    struct broker *b = arg;
    if (is_connected)
        return;
    for (struct peer *p = b->peers->list; p; p = p->next)
        ping_send(b, p);
}

struct peers *peers_new(struct broker *b)
{
    struct peers *ps = b->peers = xcalloc(1, sizeof *ps);
    ps->decoder = proto_decoder_new();
    ps->sock = bus_bind(b->bus, BUS_ROUTER, b->conf->broker_bind, received, b);
    ps->ticked_at_ms = clock_ms();
    ps->foreign = FOREIGN_FORM; /* unknown yet: a token is not called bad before a dispatcher could judge it */
    ps->tick.fn = tick;
    ps->tick.arg = b;
    loop_timer_in(b->loop, &ps->tick, PROTO_PING_MS);
    loop_hook(b->loop, turn_end, b);
    if (ps->sock)
        bus_on_link(ps->sock, link_changed, b);
    else
        peers_destroy(&b->peers);
    return b->peers;
}

void peers_destroy(struct peers **pp)
{
    struct peers *ps = *pp;
    if (!ps)
        return;
    struct broker *b = ps->tick.arg;
    loop_timer_stop(b->loop, &ps->tick);
    loop_unhook(b->loop, turn_end, b);
    bus_close(&ps->sock);
    while (ps->list) {
        struct peer *p = ps->list;
        CHECK(LIST_EMPTY(&p->flights), "dispatcher=%s flights=%llu", p->name, (unsigned long long)p->n_flights);
        ps->list = p->next;
        window_destroy(&p->window);
        buf_free(&p->bundle.data);
        free(p);
    }
    proto_decoder_destroy(&ps->decoder);
    free(ps);
    *pp = NULL;
}
