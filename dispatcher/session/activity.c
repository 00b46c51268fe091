/* SPDX-License-Identifier: MIT */
/*
 * activity.c - records when sessions were last used. Owns the set of sessions used since the last flush, and those
 * with a call or stream in flight. A flush is one statement for up to 200 of them. The next flush makes up for a
 * failed one. At most half of the database threads write them at a time: look-ups must not wait behind a flush.
 */
#include "dispatcher/session/activity.h"
#include "dispatcher/dispatcher.h"

#include "common/check.h"
#include "common/map.h"

#include <stdlib.h>

struct used {
    struct map_node by_ref;
    unsigned held; /* calls in flight */
    bool dirty;
};

struct flush { /* 200 of them at most */
    struct dispatcher *d;
    struct store_activity op;
    struct flush *next;
};

struct activity {
    struct map by_ref;
    struct flush *first, **last; /* of the last flush, not yet begun */
    unsigned n_running;
};

static struct activity *activity_of(struct dispatcher *d)
{
    if (!d->activity) {
        d->activity = xcalloc(1, sizeof(*d->activity));
        d->activity->last = &d->activity->first;
    }
    return d->activity;
}

static struct used *used_of(struct dispatcher *d, uint64_t ref)
{
    struct map *m = &activity_of(d)->by_ref;
    struct used *u = map_value(map_find(m, ref), struct used, by_ref);
    if (!u) {
        u = xcalloc(1, sizeof(*u));
        map_add(m, &u->by_ref, ref);
    }
    return u;
}

void activity_hold(struct dispatcher *d, uint64_t session_ref)
{
    struct used *u = used_of(d, session_ref);
    u->held++;
    u->dirty = true;
}

void activity_drop(struct dispatcher *d, uint64_t session_ref)
{
    struct used *u = used_of(d, session_ref);
    CHECK(u->held, "session %llu is not held", (unsigned long long)session_ref);
    u->held--;
    u->dirty = true;
}

void activity_touch(struct dispatcher *d, uint64_t session_ref)
{
    used_of(d, session_ref)->dirty = true;
}

static void pump(struct dispatcher *d);

static void flushed(void *arg, void *op)
{
    struct flush *f = arg;
    struct dispatcher *d = f->d;
    (void)op;
    d->activity->n_running--;
    free(f);
    pump(d);
}

/* A dispatcher that shuts down waits for nothing else. */
static void pump(struct dispatcher *d)
{
    struct activity *a = d->activity;
    unsigned half = (unsigned)d->conf->dispatcher_db_threads / 2;
    for (struct flush *f; (f = a->first) && (a->n_running < (half ? half : 1) || d->draining);) {
        if (!(a->first = f->next))
            a->last = &a->first;
        a->n_running++;
        store_submit(d->store, store_activity, &f->op, flushed, f);
    }
}

static struct flush *flush_new(struct dispatcher *d)
{
    struct flush *f = xcalloc(1, sizeof(*f));
    f->d = d;
    *d->activity->last = f;
    d->activity->last = &f->next;
    return f;
}

void activity_flush(struct dispatcher *d)
{
    struct activity *a = activity_of(d);
    struct flush *f = NULL;
    struct used *u;
    if (a->first && !d->draining)
        return; /* the last one is still being written: these stay dirty */
    map_each(&a->by_ref, u, struct used, by_ref) {
        if (u->dirty || u->held) {
            if (!f || f->op.n == ACTIVITY_MAX)
                f = flush_new(d);
            f->op.ref[f->op.n++] = u->by_ref.key;
        }
        u->dirty = false;
        if (!u->held) {
            map_remove(&a->by_ref, &u->by_ref);
            free(u);
        }
    }
    pump(d);
}

int64_t activity_flush_every_ms(const struct dispatcher *d)
{
    int64_t quarter = d->conf->session_idle_timeout_s * 1000 / 4;
    return quarter < 10000 ? quarter : 10000;
}

void activity_destroy(struct activity **ap)
{
    struct used *u;
    if (!*ap)
        return;
    for (struct flush *f; (f = (*ap)->first);) {
        (*ap)->first = f->next;
        free(f);
    }
    map_each(&(*ap)->by_ref, u, struct used, by_ref)
        free(u);
    map_free(&(*ap)->by_ref);
    free(*ap);
    *ap = NULL;
}
