/* SPDX-License-Identifier: MIT */
/*
 * loop.c - the turn of the loop: due timers, hooks, sleep, ready descriptors, freeing removed watches.
 *
 * Owns the epoll descriptor, the signal descriptor and every struct loop_fd. Must never close a descriptor that
 * was added, and never owns a timer's memory. A removed loop_fd is only marked dead, because an event for it may
 * already be in the batch being served; it is freed after the batch. When the kernel refuses a descriptor the
 * caller gets the error. Any other error of epoll is a bug of ours.
 */
#include "common/loop.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/stat.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define EVENTS_PER_SLEEP 256
#define STALL_WINDOW_MS 30000
#define HOOKS_MAX 16

struct loop_fd {
    int fd;
    bool is_dead; /* invariant: dead ones are in `graves`, the others in `live` */
    loop_fd_fn *fn;
    void *arg;
    LIST_ENTRY(loop_fd) link;
};

struct loop {
    int epoll_fd, signal_fd;
    uint64_t now_ms;
    bool is_running, is_stopping, was_asked; /* was_asked: a first stop signal came */
    bool is_interrupted;                     /* it was SIGINT */
    bool is_awake;                           /* loop_wake() was called since the hooks last ran */
    struct heap timers;
    LIST_HEAD(loop_fds, loop_fd) live, graves;
    struct loop_fd *signals; /* our own watch on signal_fd */
    unsigned n_hooks;
    struct {
        loop_hook_fn *fn;
        void *arg;
    } hooks[HOOKS_MAX];
    void (*stop_fn)(void *);
    void *stop_arg;
    struct { /* the longest turn, in this window and in the one before */
        uint64_t woke_us, now_us, before_us, until_ms;
    } stall;
};

static void signals_ready(void *arg, uint32_t events)
{
    struct loop *l = arg;
    struct signalfd_siginfo info;
    (void)events;
    while (read(l->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP)
            continue;
        if (!l->was_asked && l->stop_fn) {
            l->was_asked = true;
            l->is_interrupted = info.ssi_signo == SIGINT;
            l->stop_fn(l->stop_arg);
        } else {
            l->is_stopping = true;
        }
    }
}

struct loop *loop_new(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);

    struct loop *l = xcalloc(1, sizeof *l);
    l->now_ms = clock_ms();
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (l->epoll_fd >= 0 && l->signal_fd >= 0)
        l->signals = loop_fd_add(l, l->signal_fd, EPOLLIN, signals_ready, l);
    if (!l->signals)
        loop_destroy(&l);
    return l;
}

static void bury(struct loop *l)
{
    while (!LIST_EMPTY(&l->graves)) {
        struct loop_fd *h = LIST_FIRST(&l->graves);
        LIST_REMOVE(h, link);
        free(h);
    }
}

void loop_destroy(struct loop **lp)
{
    struct loop *l = *lp;
    if (!l)
        return;
    *lp = NULL;
    while (!LIST_EMPTY(&l->live)) {
        struct loop_fd *h = LIST_FIRST(&l->live);
        loop_fd_remove(l, &h);
    }
    bury(l);
    heap_free(&l->timers);
    if (l->signal_fd >= 0)
        close(l->signal_fd);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    free(l);
}

struct loop_fd *loop_fd_add(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *arg)
{
    struct loop_fd *h = xcalloc(1, sizeof *h);
    *h = (struct loop_fd){.fd = fd, .fn = fn, .arg = arg};
    struct epoll_event ev = {.events = events, .data.ptr = h};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        CHECK(errno == ENOSPC || errno == ENOMEM, "fd=%d errno=%d", fd, errno);
        free(h);
        return NULL;
    }
    LIST_INSERT_HEAD(&l->live, h, link);
    return h;
}

void loop_fd_change(struct loop *l, struct loop_fd *h, uint32_t events)
{
    if (!h)
        return;
    CHECK(!h->is_dead, "fd=%d", h->fd);
    struct epoll_event ev = {.events = events, .data.ptr = h};
    int rc = epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, h->fd, &ev);
    CHECK(rc == 0, "fd=%d errno=%d", h->fd, errno);
}

void loop_fd_remove(struct loop *l, struct loop_fd **hp)
{
    struct loop_fd *h = *hp;
    *hp = NULL;
    if (!h)
        return;
    CHECK(!h->is_dead, "fd=%d", h->fd);
    /* A library that closed its descriptor before removing it here has thereby removed it from the epoll set. */
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, h->fd, NULL);
    LIST_REMOVE(h, link);
    h->is_dead = true;
    LIST_INSERT_HEAD(&l->graves, h, link);
}

void loop_timer_at(struct loop *l, struct loop_timer *t, uint64_t at_ms)
{
    heap_set(&l->timers, &t->item, at_ms);
}

void loop_timer_in(struct loop *l, struct loop_timer *t, uint64_t in_ms)
{
    heap_set(&l->timers, &t->item, clock_ms() + in_ms);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    heap_remove(&l->timers, &t->item);
}

bool loop_timer_is_set(const struct loop_timer *t)
{
    return t->item.place != 0;
}

void loop_hook(struct loop *l, loop_hook_fn *fn, void *arg)
{
    CHECK(l->n_hooks < HOOKS_MAX, "n=%u", l->n_hooks);
    l->hooks[l->n_hooks].fn = fn;
    l->hooks[l->n_hooks++].arg = arg;
}

void loop_unhook(struct loop *l, loop_hook_fn *fn, void *arg)
{
    for (unsigned i = 0; i < l->n_hooks; i++) {
        if (l->hooks[i].fn == fn && l->hooks[i].arg == arg) {
            l->n_hooks--;
            memmove(&l->hooks[i], &l->hooks[i + 1], (l->n_hooks - i) * sizeof l->hooks[0]);
            return;
        }
    }
}

void loop_wake(struct loop *l)
{
    l->is_awake = true;
}

/* Runs at most as many timers as were set when the turn began: a timer that sets itself to "now" cannot hold the
 * turn. */
static void run_timers(struct loop *l)
{
    for (size_t left = l->timers.len; left && l->timers.len; left--) {
        struct loop_timer *t = (struct loop_timer *)heap_min(&l->timers);
        if (t->item.key > l->now_ms)
            return;
        heap_remove(&l->timers, &t->item);
        t->fn(t->arg);
    }
}

static int sleep_ms(struct loop *l)
{
    bool has_more = false;
    l->is_awake = false;
    for (unsigned i = 0; i < l->n_hooks; i++)
        if (l->hooks[i].fn(l->hooks[i].arg))
            has_more = true;
    if (has_more || l->is_awake || l->is_stopping)
        return 0;
    const struct heap_item *first = heap_min(&l->timers);
    if (!first)
        return -1;
    uint64_t now = clock_ms();
    if (first->key <= now)
        return 0;
    return first->key - now > INT_MAX ? INT_MAX : (int)(first->key - now);
}

/* Measures the turn: from the end of one sleep to the beginning of the next. */
static void turn_ends(struct loop *l)
{
    uint64_t us = clock_us(), took_us = us - l->stall.woke_us;
    if (us / 1000 >= l->stall.until_ms) {
        bool is_next = us / 1000 < l->stall.until_ms + STALL_WINDOW_MS;
        l->stall.before_us = is_next ? l->stall.now_us : 0;
        l->stall.now_us = 0;
        l->stall.until_ms = us / 1000 + STALL_WINDOW_MS;
    }
    if (took_us > l->stall.now_us)
        l->stall.now_us = took_us;
}

static void turn(struct loop *l)
{
    struct epoll_event events[EVENTS_PER_SLEEP];
    l->now_ms = clock_ms();
    run_timers(l);
    int sleep_for_ms = sleep_ms(l);
    turn_ends(l);
    int n = epoll_wait(l->epoll_fd, events, EVENTS_PER_SLEEP, sleep_for_ms);
    CHECK(n >= 0 || errno == EINTR, "errno=%d", errno);
    l->stall.woke_us = clock_us();
    l->now_ms = clock_ms();
    for (int i = 0; i < n; i++) {
        struct loop_fd *h = events[i].data.ptr;
        if (!h->is_dead)
            h->fn(h->arg, events[i].events);
    }
    bury(l);
}

void loop_run(struct loop *l)
{
    l->is_running = true;
    l->stall.woke_us = clock_us();
    while (!l->is_stopping)
        turn(l);
    l->is_running = false;
    l->is_stopping = false;
}

void loop_stop(struct loop *l)
{
    l->is_stopping = true;
}

void loop_on_stop(struct loop *l, void (*fn)(void *), void *arg)
{
    l->stop_fn = fn;
    l->stop_arg = arg;
}

bool loop_is_interrupted(const struct loop *l)
{
    return l->is_interrupted;
}

uint64_t loop_stall_us(const struct loop *l)
{
    return l->stall.now_us > l->stall.before_us ? l->stall.now_us : l->stall.before_us;
}

void loop_stats(const struct loop *l)
{
    stat_set(loop_stall_seconds, loop_stall_us(l));
    stat_set(log_lines_dropped_total, log_dropped());
    stat_set(log_blocked, log_is_blocked());
}

uint64_t loop_now_ms(const struct loop *l)
{
    return l->is_running ? l->now_ms : clock_ms();
}
