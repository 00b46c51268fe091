/* SPDX-License-Identifier: MIT */
/*
 * held.c - how many places of each robot are held, counted some times a second while log-ins ask for robots.
 *
 * A count reads each place that is held, so that no log-in may make one for itself when many are. Owns: the last count. It is for
 * choosing only, and may be old: what others took since is seen at the place, and that all are full is looked up by the log-in
 * that finds none (store_place.c).
 */
#include "dispatcher/robot/held.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdlib.h>

#define FEW 64 /* as many places each log-in counts for itself, exactly */
/* The longer a count takes, the longer it is good: a hundredth of a connection's time goes into it. */
#define EVERY_MIN_MS 100
#define EVERY_MAX_MS 2000
#define SHARE 100

struct helds {
    struct store_held *now, *next; /* next: while it is being counted it is the store's */
    bool is_counting;
    uint32_t counted; /* number of the count `now`; 0 = none yet */
    uint64_t due_ms;
    struct loop_timer timer;
    struct dispatcher *d;
};

static void counted(void *arg, void *op)
{
    struct helds *h = arg;
    (void)op;
    h->is_counting = false;
    h->due_ms = clock_ms() + EVERY_MIN_MS;
    if (h->next->rc != STORE_OK)
        return;
    struct store_held *old = h->now;
    h->now = h->next;
    h->next = old;
    uint64_t every = h->now->took_us * SHARE / 1000;
    h->due_ms = clock_ms() + (every < EVERY_MIN_MS ? EVERY_MIN_MS : every > EVERY_MAX_MS ? EVERY_MAX_MS : every);
    if (!++h->counted)
        h->counted = 1;
}

static void count(void *arg)
{
    struct helds *h = arg;
    h->is_counting = true;
    store_submit(h->d->store, store_held, h->next, counted, h);
}

struct helds *helds_new(struct dispatcher *d)
{
    struct helds *h = xcalloc(1, sizeof(*h));
    h->d = d;
    h->now = xcalloc(1, sizeof(*h->now));
    h->next = xcalloc(1, sizeof(*h->next));
    h->timer.fn = count;
    h->timer.arg = h;
    return h;
}

void helds_destroy(struct dispatcher *d)
{
    struct helds *h = d->helds;
    if (!h)
        return;
    loop_timer_stop(d->loop, &h->timer);
    free(h->now);
    free(h->next);
    free(h);
    d->helds = NULL;
}

static int by_robot(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = ((const struct robot_held *)b)->robot_id;
    return x < y ? -1 : x > y;
}

void helds_write(struct dispatcher *d, struct candidate *c, unsigned n)
{
    struct helds *h = d->helds;
    uint64_t now = clock_ms();
    if (!h->is_counting && !loop_timer_is_set(&h->timer))
        loop_timer_in(d->loop, &h->timer, h->due_ms > now ? h->due_ms - now : 0);
    if (!h->counted || h->now->all <= FEW)
        return;
    for (unsigned i = 0; i < n; i++) {
        const struct robot_held *of =
            bsearch(&c[i].robot_id, h->now->row, h->now->n, sizeof(h->now->row[0]), by_robot);
        c[i].counted = h->counted;
        c[i].capacity = of ? of->capacity : 1; /* it is new: one may try it */
        c[i].used = of ? of->used : 0;
    }
}
