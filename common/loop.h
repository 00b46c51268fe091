/* SPDX-License-Identifier: MIT */
/*
 * loop.h - one epoll loop per process: file descriptors, timers, and hooks that run before each sleep (ZeroMQ's
 * edge-triggered descriptors and libmicrohttpd need one). One turn: run due timers, run the hooks, sleep until the
 * next timer or event, serve the ready descriptors. Not thread-safe, no globals.
 *
 * SIGTERM and SIGINT end loop_run() (signalfd); SIGHUP and SIGPIPE are ignored.
 */
#ifndef CHASQUI_LOOP_H
#define CHASQUI_LOOP_H

#include "heap.h"
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_fd;

/* Called when `fd` is ready; `events` are EPOLL* bits. May add, change and remove any descriptor, including its
 * own. */
typedef void loop_fd_fn(void *arg, uint32_t events);
/* Called once when due; the timer is then off the heap. May set the timer again and may free the memory that holds
 * it. */
typedef void loop_timer_fn(void *arg);
/* Called before every sleep. Does a capped amount of work. Returns true when more is left, so that the loop does
 * not sleep. */
typedef bool loop_hook_fn(void *arg);

struct loop_timer {        /* owned by the user, zero-initialised; fn and arg are set once */
    struct heap_item item; /* first member */
    loop_timer_fn *fn;
    void *arg;
};

/* Blocks SIGTERM, SIGINT and SIGHUP for this thread: call before threads start. NULL when out of descriptors. */
struct loop *loop_new(void);
void loop_destroy(struct loop **lp);

/* The caller keeps owning `fd` and must remove it before closing it. Returns NULL when the kernel refuses (its
 * limit of watched descriptors); loop_fd_change and loop_fd_remove accept NULL and do nothing. */
struct loop_fd *loop_fd_add(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *arg);
void loop_fd_change(struct loop *l, struct loop_fd *h, uint32_t events);
void loop_fd_remove(struct loop *l, struct loop_fd **hp); /* does not close fd; safe inside any callback */

void loop_timer_at(struct loop *l, struct loop_timer *t, uint64_t at_ms); /* clock_ms(); insert or move */
void loop_timer_in(struct loop *l, struct loop_timer *t, uint64_t in_ms);
void loop_timer_stop(struct loop *l, struct loop_timer *t); /* no-op when not set */
bool loop_timer_is_set(const struct loop_timer *t);

void loop_hook(struct loop *l, loop_hook_fn *fn, void *arg);
void loop_unhook(struct loop *l, loop_hook_fn *fn, void *arg); /* not inside a hook */
void loop_wake(struct loop *l); /* run the hooks once more before sleeping (loop's own thread only) */

void loop_run(struct loop *l); /* until loop_stop() or a stop signal */
void loop_stop(struct loop *l);
/* Sets the function called at a stop signal. The owner shuts down in it and then calls loop_stop(). Without fn the
 * loop just ends. A second signal ends the loop at once. */
void loop_on_stop(struct loop *l, void (*fn)(void *), void *arg);
bool loop_is_interrupted(const struct loop *l); /* the stop signal was SIGINT: a person at a terminal waits */
/* The longest turn within the last half to whole minute: for that long nothing else was served. */
uint64_t loop_stall_us(const struct loop *l);
void loop_stats(const struct loop *l); /* sets the process's stats of loop and log */
/* Monotonic milliseconds, read at the start of this turn and again when a sleep ends. */
uint64_t loop_now_ms(const struct loop *l);

#endif
