/* SPDX-License-Identifier: MIT */
/*
 * listen.c - the sockets of a listening address, and the kernel's state of them.
 *
 * "*", "" and "[::]" mean all of IPv4 and all of IPv6. "localhost" means both loopback addresses, whatever the
 * resolver says. A name means all of its addresses. Each address is a socket of its own. IPv6 sockets accept no
 * IPv4, so that peers have one form. Owns nothing. Fails when no address can be bound, or when one is in use. A
 * host without IPv6 is not a failure.
 *
 * Closing without loss: closing a listening socket resets connections that the kernel has accepted for it already.
 * So new connections are turned away first (their SYN is dropped, and its repetition meets a closed port), and
 * accepted ones are served.
 */
#include "broker/listen.h"

#include "common/log.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SYN 0x02
#define ACK 0x10
#define TCP_FLAGS_AT 13

static void failed(const char *where, const char *why)
{
    log_line(LOG_ERROR, "listen_failed", "address", where, "why", why, NULL);
}

/* Reads the host without brackets. Returns false when there is no port. */
static bool where_split(const char *where, char *host, size_t room, const char **port)
{
    const char *colon = strrchr(where, ':');
    size_t len = colon ? (size_t)(colon - where) : 0;
    bool is_bracketed = len >= 2 && where[0] == '[' && where[len - 1] == ']';
    snprintf(host, room, "%.*s", (int)(is_bracketed ? len - 2 : len), is_bracketed ? where + 1 : where);
    *port = colon ? colon + 1 : NULL;
    return colon;
}

/* Returns -1 with errno set. */
static int bind_one(const struct addrinfo *a)
{
    int on = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    bool is_good = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                   (a->ai_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
                   bind(fd, a->ai_addr, a->ai_addrlen) == 0;
    if (is_good)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

struct binding {
    const char *where;
    int *fds;
    unsigned n, max;
    int why;         /* the last errno of an address that this host lacks */
    bool is_refused; /* an address is in use, or may not be bound */
};

static void bind_host(struct binding *b, const char *host, const char *port, int family)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM,
                             .ai_family = family},
                    *found = NULL;
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        failed(b->where, gai_strerror(rc));
        b->is_refused = true;
        return;
    }
    for (const struct addrinfo *a = found; a && b->n < b->max && !b->is_refused; a = a->ai_next) {
        int fd = bind_one(a);
        if (fd >= 0) {
            b->fds[b->n++] = fd;
            continue;
        }
        b->why = errno;
        b->is_refused = errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT;
        if (b->is_refused)
            failed(b->where, strerror(errno));
    }
    freeaddrinfo(found);
}

unsigned listen_bind(const char *where, int *fds, unsigned max)
{
    struct binding b = {.where = where, .fds = fds, .max = max};
    char host[256];
    const char *port;
    if (!where_split(where, host, sizeof host, &port)) {
        failed(where, "it has no port");
        return 0;
    }
    if (!*host || strcmp(host, "*") == 0 || strcmp(host, "::") == 0) {
        bind_host(&b, "0.0.0.0", port, AF_INET);
        bind_host(&b, "::", port, AF_INET6);
    } else if (strcmp(host, "localhost") == 0) {
        bind_host(&b, "127.0.0.1", port, AF_INET);
        bind_host(&b, "::1", port, AF_INET6);
    } else {
        bind_host(&b, host, port, AF_UNSPEC);
    }
    if (b.n && !b.is_refused)
        return b.n;
    if (!b.is_refused)
        failed(where, strerror(b.why));
    while (b.n)
        close(fds[--b.n]);
    return 0;
}

void listen_turn_away(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_AT),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
        log_line(LOG_DEBUG, "not_turned_away", "why", strerror(errno), NULL);
}

bool listen_has_more(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, 0) == 1;
}

void listen_reset(int fd)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    if (connect(fd, &none, sizeof none) != 0)
        log_line(LOG_DEBUG, "reset_failed", "why", strerror(errno), NULL);
}

uint64_t listen_bytes_come(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return 0;
    return info.tcpi_bytes_received;
}
