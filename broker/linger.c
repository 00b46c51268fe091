/* SPDX-License-Identifier: MIT */
/*
 * linger.c - closes a connection without losing its last answer.
 *
 * Closing a socket with unread bytes of its client resets it, and the reset may overtake the answer. So a second
 * descriptor of the socket is kept for a moment and read to its end. Owns those descriptors: at most LINGERS_MAX,
 * each for at most LINGER_MS and LINGER_BYTES_MAX. Further connections are closed at once.
 */
#include "broker/linger.h"

#include "common/check.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINGERS_MAX 500
#define LINGER_MS 2000
#define LINGER_BYTES_MAX (16 * 1024 * 1024)

struct one {
    struct lingering *linger;
    LIST_ENTRY(one) of_all;
    int fd;
    struct loop_fd *watch;
    struct loop_timer timer;
    size_t read_bytes;
};

struct lingering {
    struct loop *loop;
    LIST_HEAD(ones, one) list;
    unsigned n;
};

static void one_end(struct one *o)
{
    struct lingering *l = o->linger;
    loop_timer_stop(l->loop, &o->timer);
    loop_fd_remove(l->loop, &o->watch);
    close(o->fd);
    LIST_REMOVE(o, of_all);
    l->n--;
    free(o);
}

static void readable(void *arg, uint32_t events)
{
    struct one *o = arg;
    char waste[16384];
    (void)events;
    ssize_t n = recv(o->fd, waste, sizeof waste, MSG_DONTWAIT);
    if (n > 0)
        o->read_bytes += (size_t)n;
    bool is_over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (is_over || o->read_bytes > LINGER_BYTES_MAX)
        one_end(o);
}

static void time_over(void *arg)
{
    one_end(arg);
}

void linger_close(struct lingering *l, int fd)
{
    int kept = l->n < LINGERS_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (kept < 0)
        return;
    struct one *o = xcalloc(1, sizeof *o);
    o->linger = l;
    o->fd = kept;
    o->timer.fn = time_over;
    o->timer.arg = o;
    LIST_INSERT_HEAD(&l->list, o, of_all);
    l->n++;
    loop_timer_in(l->loop, &o->timer, LINGER_MS);
    o->watch = loop_fd_add(l->loop, kept, EPOLLIN | EPOLLRDHUP, readable, o);
    if (!o->watch)
        one_end(o);
}

struct lingering *linger_new(struct loop *l)
{
    struct lingering *made = xcalloc(1, sizeof *made);
    made->loop = l;
    return made;
}

void linger_destroy(struct lingering **lp)
{
    struct lingering *l = *lp;
    if (!l)
        return;
    *lp = NULL;
    while (!LIST_EMPTY(&l->list))
        one_end(LIST_FIRST(&l->list));
    free(l);
}
