/* SPDX-License-Identifier: MIT */
/*
 * peer.c - the connections to the brokers.
 *
 * Owns: one DEALER a broker, its credit, its heartbeat. Each address behind a name of dispatcher.brokers is a
 * broker. Its connection is closed once the name no longer has the address and the link is lost. Must never accept
 * a REQUEST from a broker that it considers dead. Must never promise more credit than the window. A broker that is
 * silent for 2 s, or whose connection is lost, is gone: its requests are cancelled (log-ins continue by
 * themselves) and the greeting begins again, under a new incarnation. After a short stall of our own no broker is
 * judged silent: its messages are still to be read. After a long one they are too old to be begun.
 */

#include "dispatcher/wire/peer.h"
#include "dispatcher/news.h"
#include "dispatcher/wire/broker_names.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOST_TEXT_MAX 300 /* of PING */
#define START_MS 3000     /* until then a broker never seen may still be starting */

#define STALLED_MS 1000       /* a tick this late means that we stalled */
#define STALLED_LONG_MS 10000 /* requests that waited for this long are not begun */

#define FIRST_LOOK_MS 2000 /* a database that has not answered by then is away, and requests are told so */

#define NAMED_MAX 64 /* brokers by name, over all names */

struct peer { /* a slot: free while endpoint is "" */
    struct dispatcher *d;
    unsigned index, entry; /* entry: index in dispatcher.brokers */
    char endpoint[BUS_ENDPOINT_BYTES];
    struct bus_sock *sock;    /* NULL in a used slot: the same broker is connected by another address */
    bool is_by_name, is_twin; /* twin: duplicates another connection; deaf until the tick closes it */
    uint64_t opened_ms;
    bool linked, known; /* known: WELCOME was received */
    bool was_known;
    char boot_id[65];
    uint64_t incarnation;
    uint64_t finished[LANE_COUNT], told[LANE_COUNT]; /* requests ended; last limit announced, never decreasing */
    uint64_t received[LANE_COUNT], owed[LANE_COUNT]; /* owed: credits that resumed requests took back early */
    uint64_t heard_ms, ping_seq;
    bool takes_many;      /* small messages to it are bundled */
    bool takes_attempts;  /* it knows ATTEMPT_STATS */
    struct bundle bundle; /* of this turn */
    char refused_why[201];
};

struct peers {
    struct peer *peer; /* n slots that never move: requests and sockets hold their indexes */
    unsigned n, window;
    char **entry; /* of dispatcher.brokers */
    unsigned n_entries;
    struct broker_names *names;
    struct proto_decoder *decoder;
    struct loop_timer timer;
    uint64_t started_ms, ticked_ms;
};

/* Sends after the bundle, which keeps the order. */
static int send_now(struct peer *p, const struct msg *m,
                    int (*send)(struct bus_sock *, const void *, size_t, const struct msg *))
{
    int rc = bundle_send(&p->bundle, p->sock, NULL, 0);
    return rc ? rc : send(p->sock, NULL, 0, m);
}

/* Returns false when m does not travel in a bundle. */
static bool gather(struct peer *p, const struct msg *m)
{
    if (!p->takes_many || !p->known || !bundle_fits(m))
        return false;
    if (bundle_add(&p->bundle, m))
        bundle_send(&p->bundle, p->sock, NULL, 0);
    loop_wake(p->d->loop);
    return true;
}

int peer_send(struct dispatcher *d, unsigned peer, const struct msg *m)
{
    struct peer *p = &d->peers->peer[peer];
    if (m->type == MSG_ATTEMPT_STATS && !p->takes_attempts)
        return 0;
    return gather(p, m) ? 0 : send_now(p, m, proto_send);
}

int peer_send_take(struct dispatcher *d, unsigned peer, const struct msg *m)
{
    struct peer *p = &d->peers->peer[peer];
    if (!gather(p, m))
        return send_now(p, m, proto_send_take);
    if (m->payload.len)
        free((void *)(uintptr_t)m->payload.p);
    return 0;
}

static bool turn_end(void *arg)
{
    struct peers *ps = arg;
    for (unsigned i = 0; i < ps->n; i++)
        if (ps->peer[i].sock)
            bundle_send(&ps->peer[i].bundle, ps->peer[i].sock, NULL, 0); /* a full peer gets it in the next turn */
    return false;
}

/* Until the robots were looked at, requests stay at the broker: there they wait, here they would be refused. */
static bool takes_requests(const struct dispatcher *d)
{
    return !d->draining && (d->robots_asked || clock_ms() >= d->peers->started_ms + FIRST_LOOK_MS);
}

static void limits_fill(struct peer *p, uint64_t out[LANE_COUNT])
{
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        if (takes_requests(p->d) &&
            p->told[i] < p->finished[i] + p->d->peers->window) /* a reduced window takes effect as requests end */
            p->told[i] = p->finished[i] + p->d->peers->window;
        out[i] = p->told[i];
    }
}

static void credit_send(struct peer *p)
{
    uint64_t limits[LANE_COUNT];
    limits_fill(p, limits);
    struct msg m = {.type = MSG_CREDIT, .CREDIT = {.incarnation = p->incarnation, .limits = {limits, LANE_COUNT}}};
    peer_send(p->d, p->index, &m);
}

void peer_finished(struct dispatcher *d, unsigned peer, enum lane lane)
{
    struct peer *p = &d->peers->peer[peer];
    unsigned step = d->peers->window / 8;
    if (p->owed[lane]) {
        p->owed[lane]--;
        return;
    }
    p->finished[lane]++;
    if (p->known && !d->draining && p->finished[lane] + d->peers->window >= p->told[lane] + (step ? step : 1))
        credit_send(p);
}

void peer_taken(struct dispatcher *d, unsigned peer, enum lane lane)
{
    d->peers->peer[peer].owed[lane]++;
}

unsigned peers_window(const struct dispatcher *d)
{
    return d->peers->window;
}

static void hello_send(struct peer *p)
{
    struct msg m = {.type = MSG_HELLO,
                    .HELLO = {.name = str_of(p->d->name),
                              .boot_id = str_of(p->d->boot_id),
                              .version = str_of(CHASQUI_VERSION),
                              .capacity = p->d->peers->window,
                              .many = true,
                              .alerts = true,
                              .foreign = p->d->news->tokens_of_others(p->d)}};
    peer_send(p->d, p->index, &m);
}

static size_t lost_add(char out[LOST_TEXT_MAX + 1], size_t len, const char *endpoint)
{
    if (len + 1 + strlen(endpoint) > LOST_TEXT_MAX)
        return len;
    return len + (size_t)sprintf(out + len, "%s%s", len ? "," : "", endpoint);
}

static bool is_named_unknown(const struct peers *ps, unsigned entry)
{
    for (unsigned i = 0; i < ps->n; i++)
        if (ps->peer[i].endpoint[0] && ps->peer[i].entry == entry)
            return false;
    return true;
}

/* Lists the endpoints of lost brokers, of brokers missing after their first seconds, and names without an
 * address. */
static void lost_fill(const struct peers *ps, char out[LOST_TEXT_MAX + 1])
{
    uint64_t now = clock_ms();
    size_t len = 0;
    out[0] = 0;
    for (unsigned i = 0; i < ps->n; i++) {
        const struct peer *p = &ps->peer[i];
        if (p->sock && !p->known && (p->was_known || now >= p->opened_ms + START_MS))
            len = lost_add(out, len, p->endpoint);
    }
    for (unsigned i = 0; i < ps->n_entries; i++)
        if (now >= ps->started_ms + START_MS && is_named_unknown(ps, i))
            len = lost_add(out, len, ps->entry[i]);
}

/* Writes "" while a server takes writes; else gone, read_only or hung, and why. */
static void database_fill(const struct dispatcher *d, char out[401])
{
    static const char *const word[] = {"", "read_only", "gone", "hung"};
    struct store_state s = store_state(d->store);
    out[0] = 0;
    if (s.state != DB_STATE_UP)
        snprintf(out, 401, "%s:%s", word[s.state], s.why);
}

static void ping_send(struct peer *p)
{
    char database[401], troubles[TROUBLE_TEXT_MAX + 1], node[NODE_TEXT_MAX + 1];
    database_fill(p->d, database);
    store_troubles(p->d->store, troubles);
    store_node_text(p->d->store, node);
    uint64_t limits[LANE_COUNT];
    char lost[LOST_TEXT_MAX + 1], at_limit[BULKHEAD_TEXT_MAX + 1];
    p->d->news->ping_asks(p->d, troubles, at_limit);
    lost_fill(p->d->peers, lost);
    limits_fill(p, limits);
    struct msg m = {.type = MSG_PING,
                    .PING = {.seq = ++p->ping_seq,
                             .incarnation = p->incarnation,
                             .limits = {limits, LANE_COUNT},
                             .database_ok = store_is_up(p->d->store) && p->d->robots_revision > 0,
                             .draining = p->d->draining,
                             .stats = &stat_own,
                             .brokers_lost = str_of(lost),
                             .at_limit = str_of(at_limit),
                             .database = str_of(database),
                             .troubles = str_of(troubles),
                             .node = str_of(node)}};
    peer_send(p->d, p->index, &m);
}

static void peer_lost(struct peer *p, const char *why)
{
    if (!p->known)
        return;
    log_line(LOG_WARN, "broker", "endpoint", p->endpoint, "to", "gone", "why", why, NULL);
    p->known = false;
    p->boot_id[0] = 0;
    bundle_drop(&p->bundle);
    requests_peer_gone(p->d, p->index);
}

/* Finds another peer than p that is connected to the same broker. */
static struct peer *twin_of(const struct peer *p, const char *boot_id)
{
    struct peers *ps = p->d->peers;
    for (unsigned i = 0; i < ps->n; i++)
        if (&ps->peer[i] != p && ps->peer[i].known && strcmp(ps->peer[i].boot_id, boot_id) == 0)
            return &ps->peer[i];
    return NULL;
}

/* A broker reached by two addresses mistakes the second connection for a restart of the first. The one by name is
 * closed. */
static bool is_twin(struct peer *p)
{
    struct peer *other = twin_of(p, p->boot_id), *leaves = p->is_by_name ? p : other;
    if (!other || !leaves->is_by_name)
        return false;
    log_line(LOG_INFO, "broker_by_two_addresses", "endpoint", p->endpoint, "known_as", other->endpoint, NULL);
    if (leaves == other) {
        peer_lost(other, "known by another address");
        strcpy(other->boot_id, p->boot_id);
    }
    leaves->is_twin = true;
    return leaves == p;
}

static void peer_linked(void *arg, bool connected)
{
    struct peer *p = arg;
    p->linked = connected;
    if (p->is_twin)
        return;
    if (!connected) {
        peer_lost(p, "connection lost");
        return;
    }
    p->incarnation = 0;
    hello_send(p);
}

static void peer_welcomed(struct peer *p, const struct msg_WELCOME *m)
{
    char boot_id[65];
    str_copy(boot_id, sizeof(boot_id), m->boot_id);
    if (p->known && strcmp(boot_id, p->boot_id) == 0)
        return;
    if (p->known)
        peer_lost(p, "restarted");
    strcpy(p->boot_id, boot_id);
    if (is_twin(p))
        return;
    p->known = p->was_known = true;
    p->takes_many = m->many;
    p->takes_attempts = m->attempts;
    p->refused_why[0] = 0;
    p->incarnation = id_random_u64() | 1;
    memset(p->finished, 0, sizeof(p->finished));
    memset(p->told, 0, sizeof(p->told));
    memset(p->received, 0, sizeof(p->received));
    memset(p->owed, 0, sizeof(p->owed));
    log_line(LOG_INFO, "broker", "endpoint", p->endpoint, "to", "known", NULL);
    if (p->d->draining) {
        struct msg bye = {.type = MSG_BYE, .BYE = {.reason = STR("stopping")}};
        peer_send(p->d, p->index, &bye);
    }
    ping_send(p);
    p->d->news->broker_known(p->d, p->index);
}

/* ---- which brokers ------------------------------------------------------------------------------------------ */

static void peer_received(void *arg, const void *peer, size_t peer_len, const char *role,
                          const struct bus_frame *frames, unsigned n);

static void window_set(struct peers *ps)
{
    struct dispatcher *d = ps->timer.arg;
    unsigned n = 0;
    for (unsigned i = 0; i < ps->n; i++)
        n += ps->peer[i].sock != NULL;
    if (n < ps->n_entries)
        n = ps->n_entries;
    ps->window = (unsigned)d->conf->dispatcher_concurrency / n;
    if (!ps->window)
        ps->window = 1;
}

static bool peer_connect(struct peer *p)
{
    p->is_twin = p->was_known = false;
    p->boot_id[0] = p->refused_why[0] = 0;
    p->opened_ms = clock_ms();
    p->sock = bus_connect(p->d->bus, BUS_DEALER, p->endpoint, "broker", peer_received, p);
    if (p->sock)
        bus_on_link(p->sock, peer_linked, p);
    window_set(p->d->peers);
    return p->sock != NULL;
}

static void peer_disconnect(struct peer *p, const char *why)
{
    peer_lost(p, why);
    p->linked = false;
    buf_free(&p->bundle.data);
    memset(&p->bundle, 0, sizeof(p->bundle));
    bus_close(&p->sock);
    window_set(p->d->peers);
}

static struct peer *peer_open(struct peers *ps, unsigned entry, const char *endpoint, bool is_by_name)
{
    for (unsigned i = 0; i < ps->n; i++) {
        struct peer *p = &ps->peer[i];
        if (p->endpoint[0])
            continue;
        p->entry = entry;
        p->is_by_name = is_by_name;
        p->boot_id[0] = 0;
        snprintf(p->endpoint, sizeof(p->endpoint), "%s", endpoint);
        return p;
    }
    return NULL;
}

static struct peer *peer_at(struct peers *ps, const char *endpoint)
{
    for (unsigned i = 0; i < ps->n; i++)
        if (strcmp(ps->peer[i].endpoint, endpoint) == 0)
            return &ps->peer[i];
    return NULL;
}

static bool is_among(const char *endpoint, const char *const *endpoints, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(endpoints[i], endpoint) == 0)
            return true;
    return false;
}

static void name_told(void *arg, unsigned entry, const char *const *endpoints, unsigned n)
{
    struct peers *ps = arg;
    for (unsigned i = 0; i < ps->n; i++) {
        struct peer *p = &ps->peer[i];
        if (!p->endpoint[0] || !p->is_by_name || p->entry != entry || p->linked ||
            is_among(p->endpoint, endpoints, n))
            continue;
        log_line(LOG_INFO, "broker", "endpoint", p->endpoint, "to", "left", "why", "its name has other addresses",
                 NULL);
        if (p->sock)
            peer_disconnect(p, "left");
        p->endpoint[0] = 0;
    }
    for (unsigned i = 0; i < n; i++) {
        struct peer *p = peer_at(ps, endpoints[i]);
        if (!p && !(p = peer_open(ps, entry, endpoints[i], true))) {
            log_line(LOG_WARN, "brokers_too_many", "endpoint", endpoints[i], NULL);
            return;
        }
        if (!p->sock && !twin_of(p, p->boot_id))
            peer_connect(p);
    }
}

static void malformed(const char *why)
{
    stat_inc(bus_malformed_total);
    log_line(LOG_DEBUG, "malformed", "from", "broker", "why", why, NULL);
}

static void request_came(struct peer *p, const struct msg *m)
{
    unsigned lane = (unsigned)m->REQUEST.lane;
    if (p->received[lane] >= p->told[lane]) {
        malformed("more requests than credit");
        return;
    }
    p->received[lane]++;
    if (!request_take(p->d, p->index, &m->REQUEST, m->payload)) {
        peer_finished(p->d, p->index, (enum lane)lane);
        malformed("the id is in flight");
    }
}

/* Logs each reason once: an unknown version is refused for ever. */
static void refused_note(struct peer *p, struct str reason)
{
    if (str_is(reason, p->refused_why))
        return;
    str_copy(p->refused_why, sizeof(p->refused_why), reason);
    log_line(LOG_WARN, "refused_by_broker", "endpoint", p->endpoint, "why", p->refused_why, NULL);
}

struct letter {
    struct peer *peer;
    const char *role;
};

static bool part_received(void *arg, const struct bus_frame *frames, unsigned n)
{
    const struct letter *l = arg;
    peer_received(l->peer, NULL, 0, l->role, frames, n);
    return true;
}

static void peer_received(void *arg, const void *peer, size_t peer_len, const char *role,
                          const struct bus_frame *frames, unsigned n)
{
    struct peer *p = arg;
    struct dispatcher *d = p->d;
    struct msg m;
    (void)peer, (void)peer_len;
    if (p->is_twin) /* a WELCOME on its way, or the second of two, would make it known beside the other */
        return;
    enum proto_bad bad = proto_decode(d->peers->decoder, d->bus, role, ROLE_BROKER, frames, n, &m);
    if (bad) {
        malformed(proto_bad_text(bad));
        return;
    }
    if (m.type == MSG_MANY) {
        struct letter l = {p, role};
        if (!bundle_each(m.payload, part_received, &l))
            malformed(proto_bad_text(PROTO_PAYLOAD));
        return;
    }
    p->heard_ms = clock_ms();
    if (m.type == MSG_WELCOME) {
        peer_welcomed(p, &m.WELCOME);
        return;
    }
    if (!p->known) { /* HELLO is in flight, or the tick sends it again */
        if (m.type == MSG_REFUSED)
            refused_note(p, m.REFUSED.reason);
        return;
    }
    switch ((int)m.type) {
    case MSG_REQUEST:
        request_came(p, &m);
        break;
    case MSG_CANCEL:
        request_cancel(d, p->index, m.CANCEL.id);
        break;
    case MSG_CHUNK_CREDIT:
        request_credit(d, p->index, m.CHUNK_CREDIT.id, m.CHUNK_CREDIT.limit);
        break;
    case MSG_PING: {
        struct msg pong = {.type = MSG_PONG, .PONG = {.seq = m.PING.seq}};
        peer_send(p->d, p->index, &pong);
        break;
    }
    case MSG_WAKE:
        d->news->tick_wanted(d);
        d->news->woken(d, m.WAKE.what);
        break;
    case MSG_REFUSED: /* it does not know us (any more) */
        peer_lost(p, "refused");
        hello_send(p);
        break;
    default: /* PONG and BYE: receiving is enough; a broker still answers after its BYE */
        break;
    }
}

/* Whether the process itself stood still, for a short time, since the last tick. */
static bool was_stalled(struct peers *ps, uint64_t now)
{
    uint64_t late_ms = now - ps->ticked_ms;
    ps->ticked_ms = now;
    return late_ms > PROTO_PING_MS + STALLED_MS && late_ms < STALLED_LONG_MS;
}

/* Handles HELLO, PING and silence. */
static void peers_tick(struct dispatcher *d)
{
    uint64_t now = clock_ms();
    bool is_after_stall = was_stalled(d->peers, now);
    loop_stats(d->loop);
    stat_set(stream_memory_bytes, d->stream_memory.lent);
    stat_set(uptime_seconds, (now - d->peers->started_ms) / 1000);
    stat_set(requests_in_flight, requests_in_flight(d));
    stat_set(database_ops_waiting, store_waiting(d->store));
    stat_set(database_threads, d->conf->dispatcher_db_threads);
    stat_set(database_threads_busy, (unsigned)d->conf->dispatcher_db_threads - store_idle_threads(d->store));
    for (unsigned i = 0; i < d->peers->n; i++) {
        struct peer *p = &d->peers->peer[i];
        if (is_after_stall)
            p->heard_ms = now;
        if (p->known && now > p->heard_ms + PROTO_SILENT_MS)
            peer_lost(p, "silent");
        if (p->is_twin && p->sock)
            peer_disconnect(p, "known by another address");
        if (!p->linked)
            continue;
        if (p->known)
            ping_send(p);
        else
            hello_send(p);
    }
}

static void tick_due(void *arg)
{
    struct dispatcher *d = arg;
    peers_tick(d);
    loop_timer_in(d->loop, &d->peers->timer, PROTO_PING_MS);
}

void peers_ping(struct dispatcher *d)
{
    for (unsigned i = 0; i < d->peers->n; i++)
        if (d->peers->peer[i].known)
            ping_send(&d->peers->peer[i]);
}

void peers_send_all(struct dispatcher *d, const struct msg *m)
{
    for (unsigned i = 0; i < d->peers->n; i++)
        if (d->peers->peer[i].known)
            peer_send(d, i, m);
}

void peers_bye(struct dispatcher *d, const char *reason)
{
    struct msg m = {.type = MSG_BYE, .BYE = {.reason = str_of(reason)}};
    peers_send_all(d, &m);
}

void peers_event(struct dispatcher *d, const char *kind, uint64_t id, uint64_t company_id, const char *state)
{
    struct msg m = {.type = MSG_EVENT,
                    .EVENT = {.kind = str_of(kind), .id = id, .company_id = company_id, .state = str_of(state)}};
    peers_send_all(d, &m);
}

void peers_wake(struct dispatcher *d, const char *what)
{
    struct msg m = {.type = MSG_WAKE, .WAKE = {.what = str_of(what)}};
    d->news->woken(d, str_of(what)); /* the brokers inform the other dispatchers, but not us */
    peers_send_all(d, &m);
}

struct peers *peers_new(struct dispatcher *d)
{
    struct peers *ps = xcalloc(1, sizeof(*ps));
    d->peers = ps;
    ps->entry = conf_list(d->conf->dispatcher_brokers, &ps->n_entries);
    ps->decoder = proto_decoder_new();
    ps->started_ms = ps->ticked_ms = clock_ms();
    ps->names = broker_names_new(d->loop, name_told, ps);
    ps->n = ps->n_entries + NAMED_MAX;
    ps->peer = xcalloc(ps->n, sizeof(*ps->peer));
    ps->timer.fn = tick_due;
    ps->timer.arg = d;
    for (unsigned i = 0; i < ps->n; i++) {
        ps->peer[i].d = d;
        ps->peer[i].index = i;
    }
    window_set(ps);
    bool good = true;
    for (unsigned i = 0; i < ps->n_entries; i++)
        if (!broker_names_add(ps->names, i, ps->entry[i]))
            good = peer_connect(peer_open(ps, i, ps->entry[i], false)) && good;
    loop_timer_in(d->loop, &ps->timer, PROTO_PING_MS);
    loop_hook(d->loop, turn_end, ps);
    if (!good)
        peers_destroy(&d->peers);
    return d->peers;
}

void peers_destroy(struct peers **pp)
{
    struct peers *ps = *pp;
    if (!ps)
        return;
    struct dispatcher *d = ps->timer.arg;
    loop_timer_stop(d->loop, &ps->timer);
    loop_unhook(d->loop, turn_end, ps);
    for (unsigned i = 0; i < ps->n; i++) {
        if (ps->peer[i].sock) {
            bundle_send(&ps->peer[i].bundle, ps->peer[i].sock, NULL, 0);
            bus_close(&ps->peer[i].sock);
        }
        buf_free(&ps->peer[i].bundle.data);
    }
    broker_names_destroy(&ps->names);
    proto_decoder_destroy(&ps->decoder);
    free(ps->entry);
    free(ps->peer);
    free(ps);
    *pp = NULL;
}
