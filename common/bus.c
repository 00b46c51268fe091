/* SPDX-License-Identifier: MIT */
/*
 * bus.c - ZeroMQ sockets in an epoll loop.
 *
 * Owns every socket of the process except the actors' pipes, our CURVE secret and the allow-list. ZMQ_FD only
 * signals that something may have happened. It wakes the loop, and the loop's hook then reads each touched socket
 * until EAGAIN, because any call on a socket (even a send) may swallow the wake-up of a message that arrived in
 * the meantime. Never blocks. Input from a peer is never an error of ours: it is delivered, or dropped and
 * counted.
 *
 * Fails closed. Debian's libzmq cannot be configured to refuse peers while no ZAP handler answers
 * (ZAP_ENFORCE_DOMAIN is a draft), so the handler is bound before the first server socket and closed after the
 * last one. A peer that slipped in would have no User-Id, and bus_peer_is() refuses it.
 */
#include "common/bus_sock.h"

#include "common/check.h"
#include "common/id.h"
#include "common/key.h"
#include "common/log.h"
#include "common/stat.h"
#include "common/zap.h"
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#define MESSAGES_PER_TURN 64 /* per socket */
#define FRAME_BYTES_MAX (1280 * 1024)
#define KEEP_BYTES_MIN 16384 /* smaller ones may lie in the library's struct, or in a buffer that many share */
#define HWM 20000
#define HANDSHAKE_MS 3000
#define CONNECT_MS 3000
#define RECONNECT_MAX_MS 2000

/* --- one message in ------------------------------------------------------------------------------------------ */

/* Returns false when there is nothing to read. */
static bool message_read(void *handle, struct bus_message *m)
{
    m->n = 0;
    m->is_too_long = false;
    for (bool more = true; more;) {
        zmq_msg_t *part = &m->parts[m->n];
        zmq_msg_init(part);
        int rc;
        do
            rc = zmq_msg_recv(part, handle, ZMQ_DONTWAIT);
        while (rc < 0 && zmq_errno() == EINTR);
        if (rc < 0) {
            /* EAGAIN cannot occur between two parts: libzmq delivers whole messages. */
            CHECK(m->n == 0 && !m->is_too_long, "n=%u errno=%d", m->n, zmq_errno());
            zmq_msg_close(part);
            return false;
        }
        more = zmq_msg_more(part);
        if (m->n + 1 < BUS_PARTS_MAX) {
            m->n++;
        } else {
            m->is_too_long = true;
            zmq_msg_close(part);
        }
    }
    return true;
}

static void message_close(struct bus_message *m)
{
    for (unsigned i = 0; i < m->n; i++)
        zmq_msg_close(&m->parts[i]);
}

static void deliver(struct bus_sock *s, struct bus_message *m)
{
    struct bus_frame frames[BUS_FRAMES_MAX];
    const void *peer = NULL;
    size_t peer_len = 0;
    unsigned skip = s->has_peer_id ? 1 : 0;
    if (skip) {
        peer = zmq_msg_data(&m->parts[0]);
        peer_len = zmq_msg_size(&m->parts[0]);
    }
    unsigned n = m->n - skip;
    stat_inc(bus_messages_in_total);
    if (m->is_too_long || n < 1 || n > BUS_FRAMES_MAX || peer_len > BUS_PEER_MAX) {
        stat_inc(bus_malformed_total);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        frames[i] = (struct bus_frame){zmq_msg_data(&m->parts[skip + i]), zmq_msg_size(&m->parts[skip + i])};
    const char *role = s->server_role;
    if (s->is_server && s->bus->curve_dir)
        role = zmq_msg_gets(&m->parts[m->n - 1], "User-Id");
    s->bus->delivered = m;
    s->fn(s->arg, peer, peer_len, role ? role : "", frames, n);
    s->bus->delivered = NULL;
}

struct bus_kept {
    zmq_msg_t part;
};

struct bus_kept *bus_keep(struct bus *b, const void *data)
{
    struct bus_message *m = b->delivered;
    for (unsigned i = 0; m && i < m->n; i++) {
        if (zmq_msg_data(&m->parts[i]) != data || zmq_msg_size(&m->parts[i]) < KEEP_BYTES_MIN)
            continue;
        struct bus_kept *k = xmalloc(sizeof *k);
        zmq_msg_init(&k->part);
        zmq_msg_move(&k->part, &m->parts[i]);
        CHECK(zmq_msg_data(&k->part) == data, "a frame of %zu bytes has moved", zmq_msg_size(&k->part));
        return k;
    }
    return NULL;
}

void bus_kept_free(struct bus_kept **kp)
{
    if (*kp)
        zmq_msg_close(&(*kp)->part);
    free(*kp);
    *kp = NULL;
}

void bus_sock_touch(struct bus_sock *s)
{
    s->is_touched = true;
    if (!s->bus->is_in_hook)
        loop_wake(s->bus->loop);
}

/* A REP socket: each request gets its reply, as in ZeroMQ's RFC 27. */
static void zap_answer(struct bus_sock *s, struct bus_message *m)
{
    struct bus_frame request[BUS_PARTS_MAX];
    for (unsigned i = 0; i < m->n; i++)
        request[i] = (struct bus_frame){zmq_msg_data(&m->parts[i]), zmq_msg_size(&m->parts[i])};
    const char *role = zap_judge(s->bus->zap, request, m->is_too_long ? 0 : m->n);
    const struct bus_frame reply[] = {
        {"1.0", 3},
        {m->n > 1 ? request[1].data : "", m->n > 1 ? request[1].len : 0},
        {role ? "200" : "400", 3},
        {role ? "OK" : "refused", role ? 2 : 7},
        {role ? role : "", role ? strlen(role) : 0},
        {"", 0},
    };
    for (unsigned i = 0; i < 6; i++)
        zmq_send(s->handle, reply[i].data, reply[i].len, ZMQ_DONTWAIT | (i < 5 ? ZMQ_SNDMORE : 0));
}

/* --- the hook ------------------------------------------------------------------------------------------------ */

static void sock_read(struct bus_sock *s)
{
    struct bus_message m;
    while (s->left && !s->is_dead) {
        if (!message_read(s->handle, &m)) {
            s->is_touched = false;
            return;
        }
        s->left--;
        s->bus->reading = s;
        switch (s->kind) {
        case KIND_PEER:
            deliver(s, &m);
            break;
        case KIND_ZAP:
            zap_answer(s, &m);
            break;
        case KIND_MONITOR:
            if (!s->watched->is_dead)
                bus_link_event(s->watched, &m);
            break;
        }
        s->bus->reading = NULL;
        message_close(&m);
    }
}

static void sock_free(struct bus_sock *s)
{
    free(s->server_role);
    free(s);
}

static void bury(struct bus *b)
{
    for (struct bus_sock **at = &b->socks; *at;) {
        struct bus_sock *s = *at;
        if (s->is_dead) {
            *at = s->next;
            sock_free(s);
        } else {
            at = &s->next;
        }
    }
}

/* Reads every touched socket, and repeats while reading one has touched another. Returns true when a socket has
 * messages left beyond its limit for this turn. */
static bool bus_turn(void *arg)
{
    struct bus *b = arg;
    bool has_progress, has_more = false;
    b->is_in_hook = true;
    for (struct bus_sock *s = b->socks; s; s = s->next)
        s->left = MESSAGES_PER_TURN;
    do {
        has_progress = false;
        for (struct bus_sock *s = b->socks; s; s = s->next) {
            if (s->is_touched && s->left && !s->is_dead) {
                sock_read(s);
                has_progress = true;
            }
        }
    } while (has_progress);
    b->is_in_hook = false;
    bury(b);
    for (struct bus_sock *s = b->socks; s; s = s->next)
        has_more |= s->is_touched;
    return has_more;
}

static void fd_ready(void *arg, uint32_t events)
{
    struct bus_sock *s = arg;
    (void)events;
    s->is_touched = true;
}

/* --- making and closing sockets ------------------------------------------------------------------------------ */

void bus_sock_set_int(struct bus_sock *s, int option, int value)
{
    int rc = zmq_setsockopt(s->handle, option, &value, sizeof value);
    CHECK(rc == 0, "option=%d value=%d errno=%d", option, value, zmq_errno());
}

static void set_bytes(struct bus_sock *s, int option, const void *value, size_t len)
{
    int rc = zmq_setsockopt(s->handle, option, value, len);
    CHECK(rc == 0, "option=%d len=%zu errno=%d", option, len, zmq_errno());
}

/* Returns NULL after logging why (the process is out of descriptors or memory). */
struct bus_sock *bus_sock_new(struct bus *b, enum sock_kind kind, int zmq_type)
{
    zsock_t *sock = zsock_new(zmq_type);
    int fd = -1;
    size_t len = sizeof fd;
    if (!sock || zmq_getsockopt(zsock_resolve(sock), ZMQ_FD, &fd, &len) != 0) {
        log_line(LOG_ERROR, "bus_socket_failed", "why", zmq_strerror(zmq_errno()), NULL);
        zsock_destroy(&sock);
        return NULL;
    }
    struct bus_sock *s = xcalloc(1, sizeof *s);
    s->bus = b;
    s->kind = kind;
    s->sock = sock;
    s->handle = zsock_resolve(sock);
    s->is_touched = true;
    s->left = b->is_in_hook ? MESSAGES_PER_TURN : 0;
    s->watch = loop_fd_add(b->loop, fd, EPOLLIN, fd_ready, s);
    s->next = b->socks;
    b->socks = s;
    loop_wake(b->loop);
    bus_sock_set_int(s, ZMQ_LINGER, 0);
    if (!s->watch) {
        log_line(LOG_ERROR, "bus_socket_failed", "why", "the kernel watches no more descriptors", NULL);
        bus_close(&s);
    }
    return s;
}

/* Sets the options of every socket that leaves the process. */
static void set_transport(struct bus_sock *s, const char *endpoint)
{
    bus_sock_set_int(s, ZMQ_SNDHWM, HWM);
    bus_sock_set_int(s, ZMQ_RCVHWM, HWM);
    int64_t frame_max = FRAME_BYTES_MAX;
    set_bytes(s, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max);
    bus_sock_set_int(s, ZMQ_TCP_KEEPALIVE, 1);
    bus_sock_set_int(s, ZMQ_TCP_KEEPALIVE_IDLE, 30);
    bus_sock_set_int(s, ZMQ_TCP_KEEPALIVE_INTVL, 10);
    bus_sock_set_int(s, ZMQ_TCP_KEEPALIVE_CNT, 3);
    bus_sock_set_int(s, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    bus_sock_set_int(s, ZMQ_CONNECT_TIMEOUT, CONNECT_MS);
    bus_sock_set_int(s, ZMQ_RECONNECT_IVL,
                     100 + (int)(id_random_u64() % 401)); /* random, so that clients do not reconnect together */
    bus_sock_set_int(s, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    bus_sock_set_int(s, ZMQ_BACKLOG, 1024);
    if (strchr(endpoint, '['))
        bus_sock_set_int(s, ZMQ_IPV6, 1);
}

void bus_sock_rekey(struct bus_sock *s)
{
    struct bus *b = s->bus;
    uint8_t server_key[KEY_BYTES], public_key[KEY_BYTES], secret_key[KEY_BYTES];
    if (!s->server_role)
        return;
    s->is_old_key = !s->is_old_key && key_read_old(b->curve_dir, s->server_role, server_key);
    if (s->is_old_key || key_read_public(b->curve_dir, s->server_role, server_key))
        set_bytes(s, ZMQ_CURVE_SERVERKEY, server_key, KEY_BYTES);
    if (key_read_pair(b->curve_dir, b->role, public_key, secret_key)) {
        set_bytes(s, ZMQ_CURVE_PUBLICKEY, public_key, KEY_BYTES);
        set_bytes(s, ZMQ_CURVE_SECRETKEY, secret_key, KEY_BYTES);
    }
    sodium_memzero(secret_key, sizeof secret_key);
}

static int zmq_type_of(enum bus_type type)
{
    switch (type) {
    case BUS_ROUTER:
        return ZMQ_ROUTER;
    case BUS_DEALER:
        return ZMQ_DEALER;
    case BUS_XPUB:
        return ZMQ_XPUB;
    case BUS_SUB:
        return ZMQ_SUB;
    }
    CHECK(false, "type=%d", (int)type);
    return -1;
}

static struct bus_sock *peer_new(struct bus *b, enum bus_type type, const char *endpoint, bus_recv_fn *fn,
                                 void *arg)
{
    struct bus_sock *s = bus_sock_new(b, KIND_PEER, zmq_type_of(type));
    if (!s)
        return NULL;
    s->fn = fn;
    s->arg = arg;
    s->has_peer_id = type == BUS_ROUTER;
    snprintf(s->endpoint, sizeof s->endpoint, "%s", endpoint);
    set_transport(s, endpoint);
    switch (type) {
    case BUS_ROUTER:
        bus_sock_set_int(s, ZMQ_ROUTER_MANDATORY, 1);
        break;
    case BUS_DEALER:
        bus_sock_set_int(s, ZMQ_IMMEDIATE, 1);
        break;
    case BUS_XPUB:
        bus_sock_set_int(s, ZMQ_XPUB_VERBOSE, 1);
        break;
    case BUS_SUB:
        set_bytes(s, ZMQ_SUBSCRIBE, "", 0);
        break;
    }
    return s;
}

void bus_close(struct bus_sock **sp)
{
    struct bus_sock *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    struct bus *b = s->bus;
    CHECK(b->reading != s && (!s->monitor || b->reading != s->monitor), "endpoint=%s", s->endpoint);
    bus_link_forget(s);
    loop_fd_remove(b->loop, &s->watch);
    zsock_destroy(&s->sock);
    s->is_dead = true;
    if (!b->is_in_hook)
        bury(b);
}

#define ZAP_ENDPOINT "inproc://zeromq.zap.01" /* RFC 27 */

/* Called before the first server socket. */
static bool zap_start(struct bus *b)
{
    if (b->zap)
        return true;
    b->zap_sock = bus_sock_new(b, KIND_ZAP, ZMQ_REP);
    if (!b->zap_sock)
        return false;
    bus_sock_set_int(b->zap_sock, ZMQ_RCVHWM, 0);
    if (zmq_bind(b->zap_sock->handle, ZAP_ENDPOINT) != 0) {
        log_line(LOG_ERROR, "bus_zap_failed", "why", zmq_strerror(zmq_errno()), NULL);
        bus_close(&b->zap_sock);
        return false;
    }
    b->zap = zap_new(b->loop, b->curve_dir);
    return true;
}

/* The file of an ipc:// endpoint is its owner's alone, whatever the umask says: only this user's processes connect. */
static int socket_bind(struct bus_sock *s, const char *endpoint)
{
    mode_t before = umask(S_IRWXG | S_IRWXO | S_IXUSR);
    int rc = zmq_bind(s->handle, endpoint);
    umask(before);
    return rc;
}

struct bus_sock *bus_bind(struct bus *b, enum bus_type type, const char *endpoint, bus_recv_fn *fn, void *arg)
{
    if (b->curve_dir && !zap_start(b))
        return NULL;
    struct bus_sock *s = peer_new(b, type, endpoint, fn, arg);
    if (!s)
        return NULL;
    s->is_server = true;
    /* The domain is set without CURVE too. A socket with a domain refuses ZMTP 1 and 2. In these, noise passes for
     * messages, and their handshake aborts the process when a socket is closed during it (libzmq 4.3.4,
     * process_routing_id_msg). */
    set_bytes(s, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, strlen(ZAP_DOMAIN));
    if (b->curve_dir) {
        bus_sock_set_int(s, ZMQ_CURVE_SERVER, 1);
        set_bytes(s, ZMQ_CURVE_SECRETKEY, b->secret_key, KEY_BYTES);
    }
    size_t len = sizeof s->endpoint;
    if (socket_bind(s, endpoint) != 0 || zmq_getsockopt(s->handle, ZMQ_LAST_ENDPOINT, s->endpoint, &len) != 0) {
        log_line(LOG_ERROR, "bus_bind_failed", "endpoint", endpoint, "why", zmq_strerror(zmq_errno()), NULL);
        bus_close(&s);
    }
    return s;
}

struct bus_sock *bus_connect(struct bus *b, enum bus_type type, const char *endpoint, const char *server_role,
                             bus_recv_fn *fn, void *arg)
{
    uint8_t server_key[KEY_BYTES];
    if (b->curve_dir && !key_read_public(b->curve_dir, server_role, server_key))
        return NULL;
    struct bus_sock *s = peer_new(b, type, endpoint, fn, arg);
    if (!s)
        return NULL;
    if (b->curve_dir) {
        set_bytes(s, ZMQ_CURVE_SERVERKEY, server_key, KEY_BYTES);
        set_bytes(s, ZMQ_CURVE_PUBLICKEY, b->public_key, KEY_BYTES);
        set_bytes(s, ZMQ_CURVE_SECRETKEY, b->secret_key, KEY_BYTES);
        s->server_role = xstrdup(server_role);
    }
    /* Watch before connecting: otherwise a later bus_on_link() could miss the first link. */
    if (!bus_link_watch(s) || !bus_link_connect(s)) {
        log_line(LOG_ERROR, "bus_connect_failed", "endpoint", endpoint, "why", zmq_strerror(zmq_errno()), NULL);
        bus_close(&s);
        return NULL;
    }
    return s;
}

const char *bus_endpoint(const struct bus_sock *s)
{
    return s->endpoint;
}

/* --- one message out ----------------------------------------------------------------------------------------- */

/* libzmq frees a taken payload when it is done with it, in its own thread or in ours. But closing a part that
 * could not be sent must leave the payload to its owner. */
static _Thread_local const void *kept_data;

static void free_sent(void *data, void *hint)
{
    (void)hint;
    if (data != kept_data)
        free(data);
}

/* Returns 0 or -errno; the part is closed in both cases. */
static int part_send(struct bus_sock *s, zmq_msg_t *part, bool more)
{
    int rc;
    do
        rc = zmq_msg_send(part, s->handle, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    while (rc < 0 && zmq_errno() == EINTR);
    if (rc >= 0)
        return 0;
    rc = -zmq_errno();
    kept_data = zmq_msg_data(part);
    zmq_msg_close(part);
    kept_data = NULL;
    return rc;
}

static void part_copy(zmq_msg_t *part, const void *data, size_t len)
{
    int rc = zmq_msg_init_size(part, len);
    CHECK(rc == 0, "len=%zu errno=%d", len, zmq_errno());
    if (len)
        memcpy(zmq_msg_data(part), data, len);
}

static int send_all(struct bus_sock *s, const void *peer, size_t peer_len, const struct bus_frame *frames,
                    unsigned n, bool is_taken)
{
    zmq_msg_t part;
    int rc = 0;
    CHECK(n >= 1 && n <= BUS_FRAMES_MAX && s->has_peer_id == (peer != NULL), "n=%u peer=%d", n, peer != NULL);
    bus_sock_touch(s);
    if (peer) {
        part_copy(&part, peer, peer_len);
        if ((rc = part_send(s, &part, true)) < 0)
            return rc;
    }
    for (unsigned i = 0; i < n; i++) {
        bool more = i + 1 < n;
        if (rc < 0) {
            /* The connection broke between two parts: libzmq drops all further parts up to the message's end. */
            zmq_msg_init(&part);
            part_send(s, &part, more);
            continue;
        }
        if (!more && is_taken) {
            rc = zmq_msg_init_data(&part, (void *)frames[i].data, frames[i].len, free_sent, NULL);
            CHECK(rc == 0, "len=%zu errno=%d", frames[i].len, zmq_errno());
        } else {
            part_copy(&part, frames[i].data, frames[i].len);
        }
        rc = part_send(s, &part, more);
        if (rc < 0 && i == 0 && !peer)
            return rc; /* no part of the message was taken */
    }
    if (rc == 0)
        stat_inc(bus_messages_out_total);
    return rc;
}

int bus_send(struct bus_sock *s, const void *peer, size_t peer_len, const struct bus_frame *frames, unsigned n)
{
    return send_all(s, peer, peer_len, frames, n, false);
}

int bus_send_take(struct bus_sock *s, const void *peer, size_t peer_len, const struct bus_frame *frames,
                  unsigned n)
{
    return send_all(s, peer, peer_len, frames, n, true);
}

bool bus_peer_is(const struct bus *b, const char *role, const char *wanted)
{
    return !b->curve_dir || strcmp(role, wanted) == 0;
}

/* --- the bus itself ------------------------------------------------------------------------------------------ */

static void unset_zsys_environment(void)
{
    extern char **environ;
    for (char **e = environ; e && *e;) {
        if (strncmp(*e, "ZSYS_", 5) != 0) {
            e++;
            continue;
        }
        char *name = xstrndup(*e, strcspn(*e, "="));
        unsetenv(name);
        free(name);
        e = environ;
    }
}

/* Once per process. */
static void library_init(void)
{
    static bool is_done;
    if (is_done)
        return;
    is_done = true;
    unset_zsys_environment();
    zsys_handler_set(NULL);
    zsys_set_max_sockets(0);
    zsys_set_logstream(stderr);
}

static const char *role_name(enum conf_owner role)
{
    switch (role) {
    case CONF_BROKER:
        return "broker";
    case CONF_DISPATCHER:
        return "dispatcher";
    case CONF_HEALTHD:
        return "healthd";
    case CONF_CTL:
        return "ctl";
    case CONF_ALL:
        break;
    }
    CHECK(false, "role=%d", (int)role);
    return NULL;
}

struct bus *bus_new(struct loop *l, const struct conf *conf)
{
    library_init();
    struct bus *b = xcalloc(1, sizeof *b);
    b->loop = l;
    b->role = role_name(conf->role);
    loop_hook(l, bus_turn, b);
    if (!conf->curve_dir)
        return b;
    b->curve_dir = xstrdup(conf->curve_dir);
    if (!key_read_pair(b->curve_dir, b->role, b->public_key, b->secret_key))
        bus_destroy(&b);
    return b;
}

static struct bus_sock *first_peer(const struct bus *b)
{
    struct bus_sock *s = b->socks;
    while (s && s->kind != KIND_PEER)
        s = s->next;
    return s;
}

void bus_destroy(struct bus **bp)
{
    struct bus *b = *bp;
    if (!b)
        return;
    *bp = NULL;
    CHECK(!b->is_in_hook, "role=%s", b->role);
    loop_unhook(b->loop, bus_turn, b);
    for (struct bus_sock *s; (s = first_peer(b));)
        bus_close(&s);
    if (b->zap_sock)
        zmq_unbind(b->zap_sock->handle, ZAP_ENDPOINT); /* closing alone frees the name only some time later */
    bus_close(&b->zap_sock); /* last: without it a server socket would admit every peer */
    zap_destroy(&b->zap);
    resolver_destroy(&b->resolver);
    sodium_memzero(b->secret_key, sizeof b->secret_key);
    free(b->curve_dir);
    free(b);
}
