/* SPDX-License-Identifier: MIT */
/*
 * activity.c - records when sessions were last used. Owns the set of sessions used since the last flush, and those
 * with a call or stream in flight. A flush is one statement for up to 200 of them. The next flush makes up for a
 * failed one.
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

struct activity {
    struct map by_ref;
};

static struct activity *activity_of(struct dispatcher *d)
{
    if (!d->activity)
        d->activity = xcalloc(1, sizeof(*d->activity));
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

static void flushed(void *arg, void *op)
{
    (void)arg;
    free(op);
}

void activity_flush(struct dispatcher *d)
{
    struct activity *a = activity_of(d);
    struct store_activity *op = NULL;
    struct used *u;
    map_each(&a->by_ref, u, struct used, by_ref) {
        if (u->dirty || u->held) {
            if (!op)
                op = xcalloc(1, sizeof(*op));
            op->ref[op->n++] = u->by_ref.key;
            if (op->n == 200) {
                store_submit(d->store, store_activity, op, flushed, d);
                op = NULL;
            }
        }
        u->dirty = false;
        if (!u->held) {
            map_remove(&a->by_ref, &u->by_ref);
            free(u);
        }
    }
    if (op)
        store_submit(d->store, store_activity, op, flushed, d);
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
    map_each(&(*ap)->by_ref, u, struct used, by_ref)
        free(u);
    map_free(&(*ap)->by_ref);
    free(*ap);
    *ap = NULL;
}
