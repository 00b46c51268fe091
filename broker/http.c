/* SPDX-License-Identifier: MIT */
/*
 * http.c - connections, and the only file that includes libmicrohttpd.
 *
 * Two daemons without threads, each an epoll set inside ours. Owns: listeners, connections (struct client), and
 * the exchange of each. A connection whose exchange waits is suspended in the library. The library notices nothing
 * on a suspended connection, so its descriptor is watched here meanwhile. Must never queue an answer before the
 * request is complete, unless the connection is to end with it: the library closes after an early answer.
 *
 * Slow clients: the library closes connections that move no byte for broker.idle_timeout_s. Connections that move
 * a byte now and then but never finish their request are cut here after broker.request_timeout_ms.
 *
 * Eviction: when an address or the listener has too many connections, the oldest one without a verified token and
 * without a request is closed first. Idle connections with a verified token follow, when one owner has too many or
 * the listener is full. Unless the listener is full, one whose bytes have arrived and are only not read yet is spared:
 * hundreds of connections of one client that come at a time all ask at once.
 */
#include "broker/http.h"
#include "broker/auth.h"
#include "broker/cors.h"
#include "broker/exchange.h"
#include "broker/gate.h"
#include "broker/linger.h"
#include "broker/listen.h"
#include "broker/pull.h"
#include "broker/ratelimit.h"
#include "broker/route.h"
#include "broker/strangers.h"

#include "common/check.h"
#include "common/log.h"
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define KNOWN_VERSION "0.9.75" /* the gate knows the memory layout of this version */
/* Per connection: a head of GATE_HEAD_BYTES_MAX, its table of fields (64 bytes each), and the head of the answer. The
 * library clears one and a half times as much after each request, and an idle connection keeps all of it. */
#define POOL_BYTES (19 * 1024)
#define FIELDS_MAX 256
#define DOORS_MAX 16 /* addresses of both listeners */
#define OPS_CONNECTIONS_MAX 1000
#define RUN_MS 250      /* interval of handling the library's own timeouts */
#define WATCH_MS 50     /* a client is watched once its request has waited this long */
#define TURN_AWAY_MS 50 /* how long a listener turns connections away before it closes: more than a round trip */
#define ACCEPTS_MAX 1000
#define HEAD_MS 5000  /* a stop waits for so long for the rest of a head: anybody may send half of one */
#define YOUNG_MS 1000 /* a stranger's request may be on its way for so long */

struct door { /* one address of a listener */
    struct http *http;
    enum listener listener;
    int fd;                    /* bound; owned by the library once it listens; -1 = closed */
    struct MHD_Daemon *daemon; /* NULL = not listening yet */
    struct loop_fd *watch;     /* on the library's epoll set */
    bool is_due;               /* the library has work to do */
    uint64_t n_clients, n_clients_max;
    struct strangers *strangers, *guests; /* connections without a request: without a verified token, with one */
};

struct http {
    struct broker *b;
    struct door door[DOORS_MAX];
    unsigned n_doors;
    bool is_open; /* for the app listener */
    LIST_HEAD(clients, client) clients;
    TAILQ_HEAD(parked, client) parked; /* not watched yet, oldest first */
    struct loop_timer run_timer, watch_timer, sweep_timer, open_timer, close_timer;
    struct lingering *lingering;
    uint64_t n_parked;
};

struct client { /* one connection */
    struct door *door;
    LIST_ENTRY(client) of_all;
    struct MHD_Connection *connection;
    struct exchange *exchange; /* NULL between two requests */
    int fd;
    char peer[64];
    const char *target_at;    /* the library's address of the target */
    struct stranger stranger; /* in the strangers, or in the guests when is_known */
    bool is_known;            /* has presented a verified token */
    bool is_begun;            /* the exchange has received its head */
    bool is_whole;            /* the request is complete, or was answered */
    bool is_gone;             /* the client left while the connection was parked */
    bool is_abrupt;           /* it may still be sending when the connection is closed */
    bool is_parked;
    bool is_listed; /* in the parked list, to be watched */
    uint64_t parked_at_ms;
    TAILQ_ENTRY(client) of_parked;
    struct loop_fd *watch;
    uint64_t waits_since_ms; /* for its request to become complete; 0 = no byte of one received */
    uint64_t seen_bytes;     /* total received at the last look */
    bool is_looked_at;
};

struct outflow { /* read by the library */
    struct client *client;
    struct pull *pull;
    bool is_http10;
};

/* ---- parking ------------------------------------------------------------------------------------------------ */

static void due(struct door *d)
{
    d->is_due = true;
    loop_wake(d->http->b->loop);
}

static void unpark(struct client *c)
{
    struct http *h = c->door->http;
    if (!c->is_parked)
        return;
    c->is_parked = c->exchange->is_parked = false;
    h->n_parked--;
    loop_fd_remove(h->b->loop, &c->watch);
    if (c->is_listed)
        TAILQ_REMOVE(&h->parked, c, of_parked);
    c->is_listed = false;
    c->waits_since_ms = loop_now_ms(h->b->loop);
    MHD_resume_connection(c->connection);
    due(c->door);
}

/* A client in the middle of its body is not watched: after more data it may have left, and only reading shows
 * that. */
static void park(struct client *c)
{
    struct http *h = c->door->http;
    c->is_parked = c->exchange->is_parked = true;
    c->is_listed = c->is_whole;
    h->n_parked++;
    if (c->is_listed) {
        c->parked_at_ms = loop_now_ms(h->b->loop);
        TAILQ_INSERT_TAIL(&h->parked, c, of_parked);
    }
    MHD_suspend_connection(c->connection);
}

void http_resume(struct exchange *x)
{
    unpark(x->client);
}

static void client_gone(void *arg, uint32_t events)
{
    struct client *c = arg;
    (void)events;
    c->is_gone = true;
    exchange_gone(c->exchange);
    unpark(c);
}

/* Most requests are answered before they are due to be watched. */
static void watch_due(void *arg)
{
    struct http *h = arg;
    uint64_t now = loop_now_ms(h->b->loop);
    struct client *c;
    while ((c = TAILQ_FIRST(&h->parked)) && c->parked_at_ms + WATCH_MS <= now) {
        c->watch = loop_fd_add(h->b->loop, c->fd, EPOLLRDHUP, client_gone, c);
        if (!c->watch)
            break; /* the kernel has no room: try again later */
        TAILQ_REMOVE(&h->parked, c, of_parked);
        c->is_listed = false;
    }
    loop_timer_in(h->b->loop, &h->watch_timer, WATCH_MS);
}

/* ---- pulled answers ----------------------------------------------------------------------------------------- */

static void outflow_ready(void *arg)
{
    unpark(arg);
}

static ssize_t outflow_pull(void *arg, uint64_t at, char *out, size_t room)
{
    struct outflow *o = arg;
    (void)at;
    ssize_t n = o->client->is_gone ? PULL_BROKEN : o->pull->read(o->pull, out, room);
    if (n > 0)
        return n;
    if (n == PULL_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == PULL_BROKEN) {
        if (o->is_http10 && !o->pull->has_length)
            listen_reset(o->client->fd);
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    pull_on_ready(o->pull, outflow_ready, o->client);
    park(o->client);
    return 0;
}

static void outflow_free(void *arg)
{
    struct outflow *o = arg;
    pull_destroy(&o->pull);
    free(o);
}

/* ---- answers ------------------------------------------------------------------------------------------------ */

static struct MHD_Response *response_new(struct client *c, struct exchange *x)
{
    struct answer *a = &x->answer;
    struct MHD_Response *r;
    if (a->pull) {
        struct outflow *o = xmalloc(sizeof *o);
        *o = (struct outflow){.client = c, .pull = a->pull, .is_http10 = x->framing.is_http10};
        a->pull = NULL;
        bool is_bare = !o->pull->has_length && strcmp(x->method, "HEAD") == 0;
        r = MHD_create_response_from_callback(o->pull->has_length ? o->pull->length : MHD_SIZE_UNKNOWN,
                                              o->pull->block_bytes, outflow_pull, o, outflow_free);
        if (!r)
            outflow_free(o);
        else if (is_bare) /* else the library sends the last chunk although it omits the body */
            MHD_set_response_options(r, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    } else {
        r = MHD_create_response_from_buffer(a->len, a->body,
                                            a->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
        if (r)
            a->body = NULL;
    }
    return r;
}

static void header_number(struct MHD_Response *r, const char *name, uint64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, n);
    MHD_add_response_header(r, name, text);
}

static void cors_add(struct MHD_Response *r, const struct exchange *x)
{
    char text[300];
    size_t len;
    const char *origin = cors_origin(x, &len);
    if (x->b->conf->broker_cors_origins)
        MHD_add_response_header(r, "Vary", "Origin");
    if (!origin)
        return;
    snprintf(text, sizeof text, "%.*s", (int)len, origin);
    MHD_add_response_header(r, "Access-Control-Allow-Origin", text);
    MHD_add_response_header(r, "Access-Control-Expose-Headers", cors_exposed);
}

static void headers_add(struct MHD_Response *r, const struct exchange *x)
{
    const struct answer *a = &x->answer;
    MHD_add_response_header(r, "X-Request-Id", x->request_id);
    if (a->content_type)
        MHD_add_response_header(r, "Content-Type", a->content_type);
    MHD_add_response_header(r, "Cache-Control", a->is_keepable ? "no-cache" : "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    if (x->rate.is_on) {
        header_number(r, "X-RateLimit-Limit", x->rate.limit);
        header_number(r, "X-RateLimit-Remaining", x->rate.remaining);
    }
    for (unsigned i = 0; i < a->n; i++)
        MHD_add_response_header(r, a->header[i].name, a->header[i].value);
    cors_add(r, x);
    if (a->is_close)
        MHD_add_response_header(r, "Connection", "close");
}

static enum MHD_Result answer_send(struct client *c, struct exchange *x)
{
    struct MHD_Response *r = response_new(c, x);
    if (!r)
        return MHD_NO;
    c->is_abrupt = !c->is_whole;
    c->is_whole = true;
    headers_add(r, x);
    enum MHD_Result rc = MHD_queue_response(c->connection, x->answer.status, r);
    MHD_destroy_response(r);
    return rc;
}

/* ---- what the library tells --------------------------------------------------------------------------------- */

static struct client *client_of(struct MHD_Connection *connection)
{
    return *(struct client *const *)MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
}

/* The request line has arrived; the exchange begins. */
static void *line_came(void *arg, const char *target, struct MHD_Connection *connection)
{
    struct door *d = arg;
    struct client *c = client_of(connection);
    if (!c)
        return NULL;
    c->exchange = exchange_new(d->http->b, c, d->listener, target, c->peer);
    c->target_at = target;
    c->is_begun = c->is_whole = false;
    c->waits_since_ms = loop_now_ms(d->http->b->loop);
    return c->exchange;
}

struct fields {
    struct gate_field field[FIELDS_MAX];
    unsigned n;
};

static enum MHD_Result field_take(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct fields *f = arg;
    (void)kind;
    f->field[f->n++] = (struct gate_field){name, value ? value : ""};
    return f->n < FIELDS_MAX ? MHD_YES : MHD_NO;
}

static void idle_leave(struct client *c)
{
    strangers_leave(c->is_known ? c->door->guests : c->door->strangers, &c->stranger);
}

static enum exchange_next begin(struct client *c, struct exchange *x, const char *method, const char *version)
{
    struct fields fields;
    fields.n = 0;
    MHD_get_connection_values(c->connection, MHD_HEADER_KIND, field_take, &fields);
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct gate_head head = {
        .method = method,
        .target_at = c->target_at,
        .target = x->target,
        .version = version,
        .fields = fields.field,
        .n = fields.n,
        .bytes = size && fields.n < FIELDS_MAX ? size->header_size : SIZE_MAX,
    };
    c->is_begun = true;
    idle_leave(c);
    return exchange_begin(x, &head);
}

/* Called first with the head, then for each piece of the body, then a last time; also after each resume. */
static enum MHD_Result call(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                            const char *version, const char *data, size_t *len, void **context)
{
    struct exchange *x = *context;
    (void)arg, (void)connection, (void)url;
    if (!x)
        return MHD_NO;
    struct client *c = x->client;
    enum exchange_next next;
    if (!c->is_begun) {
        next = begin(c, x, method, version);
    } else if (*len) {
        next = exchange_body(x, data, len);
        if (exchange_is_steady(x))
            c->waits_since_ms = loop_now_ms(c->door->http->b->loop);
    } else {
        c->is_whole |= exchange_is_whole(x);
        next = exchange_step(x);
    }
    switch (next) {
    case EXCHANGE_ANSWER:
        return answer_send(c, x);
    case EXCHANGE_PARK:
        if (!c->is_parked) /* the library passes the next piece of a chunked body again */
            park(c);
        return MHD_YES;
    case EXCHANGE_MORE:
        return MHD_YES;
    case EXCHANGE_CUT:
        break;
    }
    return MHD_NO;
}

static bool has_bytes_to_read(const struct client *c)
{
    int n = 0;
    return ioctl(c->fd, FIONREAD, &n) == 0 && n > 0;
}

/* Closes it, unless it is asking; the library notices the end. */
static bool idle_leaves(const struct client *c)
{
    if (has_bytes_to_read(c))
        return false;
    shutdown(c->fd, SHUT_RDWR);
    return true;
}

static bool stranger_leaves(void *c)
{
    bool leaves = idle_leaves(c);
    stat_add(http_strangers_cut_total, leaves);
    return leaves;
}

/* Its client retries on another connection, as after any idle timeout. */
static bool guest_leaves(void *c)
{
    bool leaves = idle_leaves(c);
    stat_add(http_guests_cut_total, leaves);
    return leaves;
}

static void completed(void *arg, struct MHD_Connection *connection, void **context,
                      enum MHD_RequestTerminationCode why)
{
    struct exchange *x = *context;
    (void)arg, (void)connection;
    if (!x)
        return;
    struct client *c = x->client;
    c->is_abrupt |= !x->answer.status; /* the library refused it by itself, or cut it */
    c->exchange = NULL;
    c->waits_since_ms = 0;
    c->is_looked_at = false;
    *context = NULL;
    idle_leave(c); /* it is cut in the middle of its head */
    if (x->token) {
        c->is_known = true;
        stranger_owned_by(&c->stranger, token_owner(x->token));
    }
    exchange_end(x);
    if (why != MHD_REQUEST_TERMINATED_COMPLETED_OK) /* the connection ends too */
        return;
    uint64_t now_ms = loop_now_ms(c->door->http->b->loop);
    if (c->is_known)
        strangers_come(c->door->guests, &c->stranger, now_ms, guest_leaves);
    else
        strangers_come(c->door->strangers, &c->stranger, now_ms, stranger_leaves);
}

static void peer_name(struct MHD_Connection *connection, char *out, size_t room)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0;
    if (info && info->client_addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)info->client_addr;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        port = ntohs(in->sin_port);
    } else if (info && info->client_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)info->client_addr;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
        port = ntohs(in6->sin6_port);
    }
    snprintf(out, room, "%s:%u", host, port);
}

static void client_new(struct door *d, struct MHD_Connection *connection, void **context)
{
    struct http *h = d->http;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct client *c = xcalloc(1, sizeof *c);
    c->door = d;
    c->connection = connection;
    c->fd = info->connect_fd;
    c->is_abrupt = true;
    c->waits_since_ms = loop_now_ms(h->b->loop);
    peer_name(connection, c->peer, sizeof c->peer);
    LIST_INSERT_HEAD(&h->clients, c, of_all);
    d->n_clients++;
    *context = c;
    /* else the next one would wait until another one ends */
    if (d->n_clients >= d->n_clients_max && !strangers_shed(d->strangers, stranger_leaves))
        strangers_shed(d->guests, guest_leaves);
    stranger_from(&c->stranger,
                  MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr, c);
    strangers_come(d->strangers, &c->stranger, c->waits_since_ms, stranger_leaves);
}

/* Whether its last answer may be lost, because unread bytes of the client are still arriving. */
static bool is_to_linger(const struct client *c)
{
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 || (n < 0 && errno == EAGAIN && c->is_abrupt);
}

static void client_end(struct client *c)
{
    struct http *h = c->door->http;
    CHECK(!c->is_parked && !c->exchange, "fd=%d parked=%d", c->fd, c->is_parked);
    idle_leave(c);
    if (h->lingering && is_to_linger(c))
        linger_close(h->lingering, c->fd);
    LIST_REMOVE(c, of_all);
    if (c->door->n_clients-- >= c->door->n_clients_max)
        due(c->door); /* the library accepts new connections again */
    free(c);
}

static void connection_changed(void *arg, struct MHD_Connection *connection, void **context,
                               enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        client_new(arg, connection, context);
    else if (*context)
        client_end(*context);
}

/* The library would unescape in place. We unescape our own copy instead. */
static size_t unescape_not(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg, (void)connection;
    return strlen(text);
}

/* ---- slow clients ------------------------------------------------------------------------------------------- */

/* Between two requests the library does not report bytes of the next one; the kernel does. */
static void look_between(struct client *c, uint64_t now)
{
    uint64_t bytes = listen_bytes_come(c->fd);
    if (!c->is_looked_at)
        c->is_looked_at = true;
    else if (bytes != c->seen_bytes && !c->waits_since_ms)
        c->waits_since_ms = now;
    c->seen_bytes = bytes;
}

static void sweep_due(void *arg)
{
    struct http *h = arg;
    uint64_t now = loop_now_ms(h->b->loop), limit_ms = (uint64_t)h->b->conf->broker_request_timeout_ms;
    struct client *c;
    LIST_FOREACH(c, &h->clients, of_all) {
        if (c->is_parked || (c->exchange && c->is_whole)) {
            if (exchange_is_revoked(c->exchange))
                shutdown(c->fd, SHUT_RDWR);
            continue;
        }
        if (!c->exchange)
            look_between(c, now);
        if (!c->waits_since_ms || now < c->waits_since_ms + limit_ms)
            continue;
        stat_inc(http_slow_total);
        c->waits_since_ms = now; /* only once */
        shutdown(c->fd, SHUT_RDWR);
    }
    for (unsigned i = 0; i < h->n_doors; i++)
        strangers_sweep(h->door[i].strangers, now, stranger_leaves);
    loop_timer_in(h->b->loop, &h->sweep_timer, limit_ms / 4 < 1000 ? limit_ms / 4 : 1000);
}

/* ---- the loop ----------------------------------------------------------------------------------------------- */

static bool run(void *arg)
{
    struct http *h = arg;
    bool has_more = false;
    for (unsigned i = 0; i < h->n_doors; i++) {
        struct door *d = &h->door[i];
        MHD_UNSIGNED_LONG_LONG left_ms;
        if (!d->is_due || !d->daemon)
            continue;
        d->is_due = false;
        MHD_run(d->daemon);
        d->is_due |= MHD_get_timeout(d->daemon, &left_ms) == MHD_YES && left_ms == 0;
        has_more |= d->is_due;
    }
    return has_more;
}

static void door_ready(void *arg, uint32_t events)
{
    struct door *d = arg;
    (void)events;
    d->is_due = true;
}

static void run_due(void *arg)
{
    struct http *h = arg;
    for (unsigned i = 0; i < h->n_doors; i++)
        h->door[i].is_due = true;
    loop_timer_in(h->b->loop, &h->run_timer, RUN_MS);
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

/* Returns false after logging why. */
static bool door_bind(struct http *h, enum listener listener, const char *where)
{
    int fds[DOORS_MAX];
    unsigned n = listen_bind(where, fds, DOORS_MAX / 2);
    for (unsigned i = 0; i < n; i++)
        h->door[h->n_doors++] = (struct door){.http = h, .listener = listener, .fd = fds[i]};
    return n;
}

static bool door_open(struct door *d, unsigned connections_max)
{
    struct broker *b = d->http->b;
    const char *where = d->listener == LISTENER_APP ? b->conf->broker_http : b->conf->broker_ops;
    d->n_clients_max = connections_max;
    d->strangers = strangers_new((unsigned)b->conf->broker_anonymous_per_address, YOUNG_MS);
    d->guests = strangers_new(connections_max / 2, 0);
    if (listen(d->fd, LISTEN_BACKLOG) != 0) {
        log_line(LOG_ERROR, "listen_failed", "address", where, "why", strerror(errno), NULL);
        return false;
    }
    d->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, call, d, MHD_OPTION_LISTEN_SOCKET, d->fd,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_CONNECTION_LIMIT, connections_max,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)b->conf->broker_idle_timeout_s, MHD_OPTION_NOTIFY_COMPLETED,
        completed, d, MHD_OPTION_NOTIFY_CONNECTION, connection_changed, d, MHD_OPTION_URI_LOG_CALLBACK, line_came,
        d, MHD_OPTION_UNESCAPE_CALLBACK, unescape_not, d, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!d->daemon) {
        log_line(LOG_ERROR, "listen_failed", "address", where, "why", "the HTTP library does not start", NULL);
        return false;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(d->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    d->watch = loop_fd_add(b->loop, info->epoll_fd, EPOLLIN, door_ready, d);
    d->is_due = true;
    loop_wake(b->loop);
    return d->watch != NULL;
}

static bool doors_open(struct http *h, enum listener listener, unsigned connections_max)
{
    bool is_good = true;
    for (unsigned i = 0; i < h->n_doors; i++)
        if (h->door[i].listener == listener)
            is_good &= door_open(&h->door[i], connections_max);
    return is_good;
}

void http_open(struct broker *b)
{
    struct http *h = b->http;
    if (!h || h->is_open || b->is_draining)
        return;
    h->is_open = true;
    loop_timer_stop(b->loop, &h->open_timer);
    if (doors_open(h, LISTENER_APP, (unsigned)b->conf->broker_max_connections)) {
        log_line(LOG_INFO, "open", "http", b->conf->broker_http, NULL);
        return;
    }
    b->is_failed = true; /* another process has taken the address since it was bound */
    loop_stop(b->loop);
}

bool http_is_open(const struct http *h)
{
    return h->is_open;
}

static void open_due(void *arg)
{
    http_open(arg);
}

static void doors_close(void *arg);

struct http *http_new(struct broker *b)
{
    struct http *h = b->http = xcalloc(1, sizeof *h);
    h->b = b;
    TAILQ_INIT(&h->parked);
    h->run_timer = (struct loop_timer){.fn = run_due, .arg = h};
    h->watch_timer = (struct loop_timer){.fn = watch_due, .arg = h};
    h->sweep_timer = (struct loop_timer){.fn = sweep_due, .arg = h};
    h->open_timer = (struct loop_timer){.fn = open_due, .arg = b};
    h->close_timer = (struct loop_timer){.fn = doors_close, .arg = h};
    h->lingering = linger_new(b->loop);
    if (strcmp(MHD_get_version(), KNOWN_VERSION) != 0)
        log_line(LOG_WARN, "http_library", "version", MHD_get_version(), "why",
                 "the gate was made for " KNOWN_VERSION " and may refuse all", NULL);
    loop_hook(b->loop, run, h);
    loop_timer_in(b->loop, &h->run_timer, RUN_MS);
    loop_timer_in(b->loop, &h->watch_timer, WATCH_MS);
    loop_timer_in(b->loop, &h->sweep_timer, WATCH_MS);
    if (!door_bind(h, LISTENER_APP, b->conf->broker_http) || !door_bind(h, LISTENER_OPS, b->conf->broker_ops) ||
        !doors_open(h, LISTENER_OPS, OPS_CONNECTIONS_MAX)) {
        http_destroy(&b->http);
        return NULL;
    }
    if (b->conf->broker_start_delay_ms)
        loop_timer_in(b->loop, &h->open_timer, (uint64_t)b->conf->broker_start_delay_ms);
    else
        http_open(b);
    return b->is_failed ? NULL : b->http;
}

/* Accepts all connections that have arrived, then closes. */
static void door_close(struct door *d)
{
    for (unsigned i = 0; d->daemon && i < ACCEPTS_MAX && listen_has_more(d->fd); i++)
        MHD_run(d->daemon);
    if (d->daemon)
        MHD_quiesce_daemon(d->daemon);
    close(d->fd);
    d->fd = -1;
    d->is_due = true;
}

static void doors_close(void *arg)
{
    struct http *h = arg;
    for (unsigned i = 0; i < h->n_doors; i++)
        if (h->door[i].fd >= 0)
            door_close(&h->door[i]);
}

void http_quiesce(struct http *h)
{
    for (unsigned i = 0; i < h->n_doors; i++)
        listen_turn_away(h->door[i].fd);
    loop_timer_stop(h->b->loop, &h->open_timer);
    loop_timer_in(h->b->loop, &h->close_timer, TURN_AWAY_MS);
}

void http_destroy(struct http **hp)
{
    struct http *h = *hp;
    if (!h)
        return;
    *hp = NULL;
    linger_destroy(&h->lingering);
    struct client *c;
    LIST_FOREACH(c, &h->clients, of_all) {
        c->is_gone = true;
        if (c->is_parked) {
            exchange_gone(c->exchange);
            unpark(c);
        }
    }
    for (unsigned i = 0; i < h->n_doors; i++) {
        struct door *d = &h->door[i];
        loop_fd_remove(h->b->loop, &d->watch);
        if (d->daemon)
            MHD_stop_daemon(d->daemon);
        else if (d->fd >= 0)
            close(d->fd);
        strangers_destroy(&d->strangers);
        strangers_destroy(&d->guests);
    }
    loop_unhook(h->b->loop, run, h);
    loop_timer_stop(h->b->loop, &h->run_timer);
    loop_timer_stop(h->b->loop, &h->watch_timer);
    loop_timer_stop(h->b->loop, &h->sweep_timer);
    loop_timer_stop(h->b->loop, &h->open_timer);
    loop_timer_stop(h->b->loop, &h->close_timer);
    free(h);
}

static bool is_busy(const struct client *c)
{
    uint64_t now = loop_now_ms(c->door->http->b->loop);
    if (c->exchange && !c->is_whole && !c->is_parked)
        return c->is_begun ? !exchange_is_steady(c->exchange) : now < c->waits_since_ms + HEAD_MS;
    return c->exchange;
}

uint64_t http_busy(const struct http *h)
{
    const struct client *c;
    uint64_t n = 0;
    LIST_FOREACH(c, &h->clients, of_all)
        n += is_busy(c);
    for (unsigned i = 0; i < h->n_doors; i++)
        n += h->door[i].fd >= 0;
    return n;
}

bool http_has_unread(const struct http *h)
{
    const struct client *c;
    char byte;
    LIST_FOREACH(c, &h->clients, of_all)
        if (!c->exchange && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
            return true;
    return false;
}

void http_stats(const struct http *h)
{
    uint64_t n = 0, n_strangers = 0;
    for (unsigned i = 0; i < h->n_doors; i++) {
        n += h->door[i].n_clients;
        n_strangers += strangers_count(h->door[i].strangers);
    }
    stat_set(http_connections, n);
    stat_set(http_parked, h->n_parked);
    stat_set(http_strangers, n_strangers);
}
