/* SPDX-License-Identifier: MIT */
/*
 * robot_sockets.c - curl's kept connections to robots, in our loop.
 *
 * Owns: the state of each of curl's descriptors, from its first use to its close, and its entry in the epoll set.
 * A socket stays in the set while curl keeps its connection idle, so a call on a kept connection costs no
 * epoll_ctl. Unrequested bytes from a robot on a kept connection must never become the next call's answer (libcurl
 * 7.88 would take them). Such a connection is closed when the bytes arrive, and each connection is checked once
 * more before a request is sent. A request that must not be sent twice is never left in doubt by a robot that closes
 * what is idle: it goes on a kept connection only between SETTLED_MS and RECENT_MS after the last answer, and on none
 * of a robot that was hasty within HASTY_FOR_MS. Once curl may send it, curl is given no other connection; curl's own
 * counter of bytes would not do, since it leaves out a request that the socket did not take at the first try.
 */
#include "dispatcher/robot/robot_sockets.h"
#include "dispatcher/robot/robots.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/map.h"
#include "common/stat.h"
#include "dispatcher/robot/robot_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* A robot that closes after each answer, and does not say so, has done it by SETTLED_MS. Servers close what is idle
 * after 1 s or more; half of it is left for a long way to them. One that closes within HASTY_MS is hasty. */
#define SETTLED_MS 10
#define RECENT_MS 500
#define HASTY_MS 750
#define HASTY_FOR_MS 3600000

struct socket {
    struct robot_sockets *sockets;
    struct loop_fd *handle; /* NULL = not in the loop */
    uint32_t events;
    int fd;
    bool is_kept;     /* a connection, known from socket_open and socket_close; curl's other descriptors are not */
    bool is_idle;     /* curl does not watch it now: no call uses it, or a paused one */
    uint64_t left_ms; /* when a call ended on it, 0 = none did */
    uint64_t *hasty_ms;         /* of the robot; NULL = not known yet */
    struct socket_user *user;   /* the call that uses it, NULL = none */
    uint16_t port, remote_port; /* local port, 0 = not known yet */
    char remote[INET6_ADDRSTRLEN];
    struct map_node by_port; /* while `port` is known */
};

struct robot_sockets {
    struct loop *loop;
    CURLM *multi;
    const struct networks *networks;
    void (*acted)(void *arg);
    void *arg;
    struct socket **by_fd;
    int n_by_fd;
    struct map by_port; /* connections by local port */
};

/* Whether they are the alert with which TLS closes: a record of alerts, or in TLS 1.3 one of two bytes. */
static bool is_farewell(const unsigned char *bytes, ssize_t len)
{
    return len > 5 && bytes[1] == 3 && (bytes[0] == 21 || (bytes[0] == 23 && bytes[3] == 0 && bytes[4] == 19));
}

/* Something came on a connection that no call uses: whether the robot ends it. Unrequested bytes are read, and it is
 * shut down: curl checks with MSG_PEEK whether it may use a connection. */
static bool is_ended(struct socket *k)
{
    unsigned char bytes[16384];
    ssize_t n = recv(k->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) /* the call that has just ended has read it */
        return false;
    if (k->hasty_ms && k->left_ms && clock_ms() - k->left_ms < HASTY_MS)
        *k->hasty_ms = clock_ms();
    if (n <= 0)
        return true;
    if (!is_farewell(bytes, n)) {
        stat_inc(robot_stray_answers_total);
        log_line(LOG_WARN, "robot_stray_bytes", "address", k->remote, "port", log_i(k->remote_port), "what",
                 "the connection is closed", NULL);
    }
    for (unsigned i = 0; i < 64 && recv(k->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0; i++)
        ;
    shutdown(k->fd, SHUT_RDWR);
    return true;
}

static void socket_ready(void *arg, uint32_t events)
{
    struct socket *k = arg;
    struct robot_sockets *s = k->sockets;
    int running, what = 0;
    if (k->is_idle) { /* the robot closed a kept connection, or sent unrequested bytes: curl will find it closed */
        if (k->user || is_ended(k))
            loop_fd_remove(s->loop, &k->handle);
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP))
        what |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        what |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        what |= CURL_CSELECT_ERR;
    curl_multi_socket_action(s->multi, k->fd, what, &running);
    s->acted(s->arg);
}

static struct socket *socket_of(struct robot_sockets *s, int fd)
{
    if (fd >= s->n_by_fd) {
        int n = fd + 64;
        s->by_fd = xrealloc(s->by_fd, (size_t)n * sizeof(struct socket *));
        memset(s->by_fd + s->n_by_fd, 0, (size_t)(n - s->n_by_fd) * sizeof(struct socket *));
        s->n_by_fd = n;
    }
    if (!s->by_fd[fd]) {
        s->by_fd[fd] = xcalloc(1, sizeof(struct socket));
        *s->by_fd[fd] = (struct socket){.sockets = s, .fd = fd, .is_idle = true};
    }
    return s->by_fd[fd];
}

static void socket_use(struct socket *k, struct socket_user *u)
{
    if (u->socket && u->socket != k && u->socket->user == u)
        u->socket->user = NULL;
    if (k->user && k->user != u)
        k->user->socket = NULL;
    k->user = u;
    k->hasty_ms = u->hasty_ms;
    u->socket = k;
}

void socket_leave(struct socket_user *u)
{
    if (!u->socket)
        return;
    u->socket->user = NULL;
    u->socket->left_ms = clock_ms();
    u->socket = NULL;
}

static void socket_drop(struct robot_sockets *s, int fd)
{
    struct socket *k = fd < s->n_by_fd ? s->by_fd[fd] : NULL;
    if (!k)
        return;
    if (k->user)
        socket_leave(k->user);
    loop_fd_remove(s->loop, &k->handle);
    if (k->port)
        map_remove(&s->by_port, &k->by_port);
    free(k);
    s->by_fd[fd] = NULL;
}

static void address_note(struct socket *k, const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    bool is_v4 = address->sa_family == AF_INET;
    if (!inet_ntop(address->sa_family, is_v4 ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr,
                   k->remote, sizeof(k->remote)))
        k->remote[0] = 0;
    k->remote_port = ntohs(is_v4 ? v4->sin_port : v6->sin6_port);
}

static uint16_t local_port(int fd)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return 0;
    return ntohs(at.ss_family == AF_INET ? ((struct sockaddr_in *)&at)->sin_port
                                         : ((struct sockaddr_in6 *)&at)->sin6_port);
}

/* Finds the connection that curl is about to use. A new one is recorded under its port. NULL = not found. */
static struct socket *socket_by_port(struct robot_sockets *s, uint16_t port, const char *remote,
                                     uint16_t remote_port)
{
    for (struct map_node *n = map_find(&s->by_port, port); n; n = map_find_next(n)) {
        struct socket *k = map_value(n, struct socket, by_port);
        if (k->remote_port == remote_port && strcmp(k->remote, remote) == 0)
            return k;
    }
    for (int fd = 0; fd < s->n_by_fd; fd++) {
        struct socket *k = s->by_fd[fd];
        if (!k || !k->is_kept || k->port || local_port(fd) != port || k->remote_port != remote_port)
            continue;
        k->port = port;
        map_add(&s->by_port, &k->by_port, port);
        return k;
    }
    return NULL;
}

/* curl no longer watches a descriptor. A connection's descriptor stays in the set, because the connection is
 * kept. */
static void socket_rest(struct robot_sockets *s, struct socket *k)
{
    if (!k->is_kept) {
        socket_drop(s, k->fd);
        return;
    }
    k->is_idle = true;
    if (k->handle && k->events != EPOLLIN)
        loop_fd_remove(s->loop, &k->handle);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
    struct robot_sockets *s = user;
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    struct socket *k = socket_of(s, fd);
    struct socket_user *u = NULL;
    (void)socket_user;
    if (what == CURL_POLL_REMOVE) {
        socket_rest(s, k);
        return 0;
    }
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&u);
    if (u && k->is_kept)
        socket_use(k, u);
    k->is_idle = false;
    if (!k->handle)
        k->handle = loop_fd_add(s->loop, fd, events, socket_ready, k);
    else if (k->events != events)
        loop_fd_change(s->loop, k->handle, events);
    k->events = events;
    return 0;
}

/* Whether curl is about to send a second time what must be sent once. */
static bool is_second(struct socket_user *u)
{
    if (u->is_begun && u->hasty_ms) /* its kept connection is dead */
        *u->hasty_ms = clock_ms();
    u->is_spent |= u->is_begun;
    return u->is_begun;
}

bool socket_is_hasty(const struct socket_user *u)
{
    return u->hasty_ms && *u->hasty_ms && clock_ms() - *u->hasty_ms < HASTY_FOR_MS;
}

static curl_socket_t socket_open_any(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct socket_user *u = user;
    if (is_second(u))
        return CURL_SOCKET_BAD;
    int fd = purpose == CURLSOCKTYPE_IPCXN
                 ? socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol)
                 : -1;
    if (fd < 0)
        return CURL_SOCKET_BAD;
    socket_of(u->sockets, fd)->is_kept = true;
    address_note(socket_of(u->sockets, fd), &address->addr);
    return fd;
}

static curl_socket_t socket_open(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    const struct socket_user *u = user;
    if (purpose == CURLSOCKTYPE_IPCXN && networks_hold(u->sockets->networks, &address->addr))
        return socket_open_any(user, purpose, address);
    log_line(LOG_WARN, "robot_address_refused", "why", "not in robot.allow_addresses", NULL);
    return CURL_SOCKET_BAD;
}

static int socket_close(void *user, curl_socket_t fd)
{
    socket_drop(user, fd);
    return close(fd);
}

/* Whether no byte has arrived on it. */
static bool is_quiet(const struct socket *k, CURL *easy)
{
    struct curl_tlssessioninfo *tls = NULL;
    char byte;
    if (recv(k->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
        return false;
    if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || !tls ||
        tls->backend != CURLSSLBACKEND_OPENSSL || !tls->internals)
        return true;
    return !tls_has_bytes(tls->internals);
}

/* Whether the robot has no reason to close it at this moment. */
static bool is_surely_open(const struct socket *k)
{
    uint64_t idle_ms = clock_ms() - k->left_ms;
    return idle_ms >= SETTLED_MS && idle_ms <= RECENT_MS;
}

/* Whether a call may go on the connection that curl chose: no byte has already arrived on it. */
static bool is_usable(struct socket *k, struct socket_user *u)
{
    socket_use(k, u);
    if (!k->left_ms)
        return true;
    if (u->is_once && !is_surely_open(k))
        return false;
    if (is_quiet(k, u->easy))
        return true;
    stat_inc(robot_stray_answers_total);
    log_line(LOG_WARN, "robot_stray_bytes", "address", k->remote, "port", log_i(k->remote_port), "what",
             "another connection is used", NULL);
    return false;
}

/* Just before a request is sent. */
static int before_request(void *arg, char *remote, char *local, int remote_port, int port)
{
    struct socket_user *u = arg;
    struct socket *k = socket_by_port(u->sockets, (uint16_t)port, remote, (uint16_t)remote_port);
    (void)local;
    if (is_second(u))
        return CURL_PREREQFUNC_ABORT;
    u->is_stale = k && !is_usable(k, u);
    if (u->is_stale)
        return CURL_PREREQFUNC_ABORT; /* curl then closes it */
    u->is_begun = u->is_once;
    return CURL_PREREQFUNC_OK;
}

void sockets_prepare(struct robot_sockets *s, struct socket_user *u, CURL *easy, void *owner)
{
    u->owner = owner;
    u->sockets = s;
    u->easy = easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, u);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, socket_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, u);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, socket_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, s);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, u);
}

void sockets_allow_any(struct socket_user *u)
{
    curl_easy_setopt(u->easy, CURLOPT_OPENSOCKETFUNCTION, socket_open_any);
}

struct robot_sockets *sockets_new(struct loop *l, CURLM *multi, const struct networks *networks,
                                  void (*acted)(void *arg), void *arg)
{
    struct robot_sockets *s = xcalloc(1, sizeof(*s));
    *s = (struct robot_sockets){.loop = l, .multi = multi, .networks = networks, .acted = acted, .arg = arg};
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, s);
    return s;
}

void sockets_destroy(struct robot_sockets **sp)
{
    struct robot_sockets *s = *sp;
    if (!s)
        return;
    for (int fd = 0; fd < s->n_by_fd; fd++)
        socket_drop(s, fd);
    map_free(&s->by_port);
    free(s->by_fd);
    free(s);
    *sp = NULL;
}
