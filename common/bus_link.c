/* SPDX-License-Identifier: MIT */
/*
 * bus_link.c - the connections of a socket: made, lost, refused, retried.
 *
 * libzmq's monitor reports what its I/O thread does, a little before the socket itself knows. This file turns the
 * reports into bus_on_link's connected or lost. A client whose link libzmq gave up for good is connected anew. A
 * working connection is never ended.
 *
 * libzmq would look names up in its one I/O thread, and a silent name server would stall every connection of the
 * process. So libzmq gets addresses only. Our resolver looks up endpoints by name, and a client without a link
 * follows its name to another address.
 */
#include "common/bus_sock.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include <stdio.h>
#include <string.h>

#define LOST_MS 10             /* delay from the monitor's report to ours */
#define REFUSED_RELINK_MS 1000 /* up to twice that, at random */

static void link_lost_due(void *arg)
{
    struct bus_sock *s = arg;
    int events;
    size_t len = sizeof events;
    zmq_getsockopt(s->handle, ZMQ_EVENTS, &events, &len); /* makes the socket itself notice; sends do so lazily */
    bus_sock_touch(s);
    if (s->link_fn)
        s->link_fn(s->link_arg, false);
}

/* ---- where to connect --------------------------------------------------------------------------------------- */

bool bus_endpoint_name(const char *endpoint, char host[BUS_ENDPOINT_BYTES])
{
    const char *colon = strrchr(endpoint, ':');
    host[0] = '\0';
    if (strncmp(endpoint, "tcp://", 6) != 0 || !colon || colon <= endpoint + 6)
        return false;
    snprintf(host, BUS_ENDPOINT_BYTES, "%.*s", (int)(colon - endpoint - 6), endpoint + 6);
    if (resolver_is_needless(host) || strchr(host, ';')) /* with a source address libzmq looks it up itself */
        host[0] = '\0';
    return host[0] != '\0';
}

/* Picks an address at random, so that clients spread. Prefers IPv4 addresses. */
static void target_pick(struct bus_sock *s, const char *addresses)
{
    const char *picked = NULL;
    size_t picked_len = 0;
    unsigned n = 0;
    for (const char *p = addresses; *p; p += strspn(p, ",")) {
        size_t len = strcspn(p, ",");
        bool is_better = !picked || (*picked == '[' && *p != '[');
        if (is_better || ((*p == '[') == (*picked == '[') && id_random_u64() % (n + 1) == 0)) {
            picked = p;
            picked_len = len;
        }
        n = is_better ? 1 : n + 1;
        p += len;
    }
    CHECK(picked, "host=%s", s->host);
    snprintf(s->target, sizeof s->target, "tcp://%.*s%s", (int)picked_len, picked, strrchr(s->endpoint, ':'));
    bus_sock_set_int(s, ZMQ_IPV6, *picked == '[');
}

static bool target_connect(struct bus_sock *s)
{
    if (zmq_connect(s->handle, s->target) == 0)
        return true;
    log_line(LOG_ERROR, "bus_connect_failed", "endpoint", s->endpoint, "why", zmq_strerror(zmq_errno()), NULL);
    s->target[0] = '\0';
    return false;
}

static void known_connect(struct bus_sock *s, const struct resolved *known)
{
    s->generation = known->generation;
    target_pick(s, known->addresses);
    target_connect(s);
    bus_sock_touch(s);
}

static void name_came(void *arg, const struct resolved *found, const char *why)
{
    struct bus_sock *s = arg;
    if (found) {
        known_connect(s, found);
        return;
    }
    if (!s->was_failure_logged)
        log_line(LOG_WARN, "bus_name_unknown", "endpoint", s->endpoint, "why", why, NULL);
    s->was_failure_logged = true;
    loop_timer_in(s->bus->loop, &s->relink_timer, BUS_NAME_MS);
}

bool bus_link_connect(struct bus_sock *s)
{
    bus_endpoint_name(s->endpoint, s->host);
    if (!s->host[0]) {
        snprintf(s->target, sizeof s->target, "%s", s->endpoint);
        return target_connect(s);
    }
    if (!s->bus->resolver)
        s->bus->resolver = resolver_new(s->bus->loop);
    const struct resolved *known = resolver_look(s->bus->resolver, s->host);
    if (known) {
        known_connect(s, known);
    } else {
        s->wait = (struct resolver_wait){.fn = name_came, .arg = s};
        resolver_wait(s->bus->resolver, s->host, BUS_RELINK_MS, &s->wait);
    }
    return true;
}

static void relink_set(struct bus_sock *s, uint64_t in_ms)
{
    s->relink_at_ms = clock_ms() + in_ms;
    loop_timer_in(s->bus->loop, &s->relink_timer, s->host[0] && in_ms > BUS_NAME_MS ? BUS_NAME_MS : in_ms);
}

/* Whether the name has moved, or has become known. */
static bool is_moved(struct bus_sock *s)
{
    const struct resolved *known = resolver_look(s->bus->resolver, s->host);
    resolver_doubt(s->bus->resolver, s->host);
    return known && known->generation != s->generation;
}

/* libzmq gives up a connection for good when the other side refuses our key or breaks the protocol. But keys are
 * allowed and rotated later, and the service at an address may change. */
static void relink_due(void *arg)
{
    struct bus_sock *s = arg;
    uint64_t now = clock_ms();
    s->is_relink_soon = false;
    if (s->wait.resolver) { /* the name is being looked up */
        loop_timer_in(s->bus->loop, &s->relink_timer, BUS_NAME_MS);
        return;
    }
    if (s->host[0] && now < s->relink_at_ms && s->target[0] && !is_moved(s)) {
        loop_timer_in(s->bus->loop, &s->relink_timer, BUS_NAME_MS);
        return;
    }
    if (s->target[0])
        zmq_disconnect(s->handle, s->target);
    s->target[0] = '\0';
    bus_sock_rekey(s);
    bus_link_connect(s);
    bus_sock_touch(s);
    relink_set(s, BUS_RELINK_MS);
}

/* ---- links -------------------------------------------------------------------------------------------------- */

/* libzmq reports to the monitor before it takes the connection from the socket. If we reported at once, our user
 * could still send into the lost connection. */
static void link_lost(struct bus_sock *s)
{
    s->is_linked = false;
    if (!s->is_server)
        relink_set(s, BUS_RELINK_MS);
    if (!loop_timer_is_set(&s->lost_timer))
        loop_timer_in(s->bus->loop, &s->lost_timer, LOST_MS);
}

static void link_made(struct bus_sock *s)
{
    s->is_linked = true;
    s->was_failure_logged = s->is_relink_soon = false;
    loop_timer_stop(s->bus->loop, &s->relink_timer);
    if (!s->is_server && loop_timer_is_set(&s->lost_timer)) { /* a client must learn of its links in order */
        loop_timer_stop(s->bus->loop, &s->lost_timer);
        link_lost_due(s);
    }
    if (s->link_fn)
        s->link_fn(s->link_arg, true);
}

static void link_failed(struct bus_sock *s, const char *why)
{
    s->is_failing = true;
    if (s->is_server) /* any noise may reach its port */
        return;
    if (!s->is_relink_soon) /* libzmq may retry earlier, and fail again */
        relink_set(s, REFUSED_RELINK_MS + id_random_u64() % REFUSED_RELINK_MS);
    s->is_relink_soon = true;
    if (!s->was_failure_logged)
        log_line(LOG_WARN, "bus_handshake_failed", "endpoint", s->endpoint, "why", why, NULL);
    s->was_failure_logged = true;
}

void bus_link_event(struct bus_sock *s, struct bus_message *m)
{
    uint16_t event;
    if (m->n < 1 || zmq_msg_size(&m->parts[0]) < sizeof event)
        return;
    memcpy(&event, zmq_msg_data(&m->parts[0]), sizeof event);
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
        s->is_failing = false;
        link_made(s);
    } else if (event == ZMQ_EVENT_DISCONNECTED) {
        bool was_link = !s->is_failing && (s->is_server || s->is_linked);
        s->is_failing = false;
        if (was_link)
            link_lost(s);
    } else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) {
        link_failed(s, "the other side refuses our key");
    } else {
        link_failed(s, "the handshake failed; do both sides have CURVE keys, and the right ones?");
    }
}

/* The monitor's pipe has no limit, because a full pipe would block libzmq's own thread. */
bool bus_link_watch(struct bus_sock *s)
{
    char name[64];
    if (s->monitor)
        return true;
    snprintf(name, sizeof name, "inproc://bus-monitor-%llx", (unsigned long long)id_random_u64());
    int rc = zmq_socket_monitor(s->handle, name,
                                ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
                                    ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                                    ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
    struct bus_sock *m = rc == 0 ? bus_sock_new(s->bus, KIND_MONITOR, ZMQ_PAIR) : NULL;
    if (!m)
        return false;
    bus_sock_set_int(m, ZMQ_RCVHWM, 0);
    rc = zmq_connect(m->handle, name);
    CHECK(rc == 0, "name=%s errno=%d", name, zmq_errno());
    m->watched = s;
    s->monitor = m;
    s->lost_timer.fn = link_lost_due;
    s->relink_timer.fn = relink_due;
    s->lost_timer.arg = s->relink_timer.arg = s;
    if (!s->is_server)
        relink_set(s, BUS_RELINK_MS);
    return true;
}

void bus_link_forget(struct bus_sock *s)
{
    loop_timer_stop(s->bus->loop, &s->lost_timer);
    loop_timer_stop(s->bus->loop, &s->relink_timer);
    resolver_forget(&s->wait);
    if (s->monitor) {
        zmq_socket_monitor(s->handle, NULL, 0);
        bus_close(&s->monitor);
    }
}

void bus_on_link(struct bus_sock *s, void (*fn)(void *arg, bool connected), void *arg)
{
    s->link_fn = fn;
    s->link_arg = arg;
    if (!bus_link_watch(s))
        log_line(LOG_ERROR, "bus_monitor_failed", "endpoint", s->endpoint, "why", zmq_strerror(zmq_errno()), NULL);
}
