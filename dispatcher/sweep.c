/* SPDX-License-Identifier: MIT */
/*
 * sweep.c - the tick that does every timed duty. Messages and wake-ups may be
 * lost; the sweep is the truth. Each duty has at most one op under way.
 */
#include "dispatcher/sweep.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/login/migrate.h"
#include "dispatcher/ops/drain.h"
#include "dispatcher/robot/health_sub.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/robot/silence.h"
#include "dispatcher/robot/unanswered.h"
#include "dispatcher/session/activity.h"
#include "dispatcher/session/close.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/session/reconcile.h"

#include "common/check.h"
#include "common/clock.h"
#include "dispatcher/queue/alerts.h"
#include "dispatcher/queue/events.h"
#include "dispatcher/history.h"
#include "dispatcher/retention.h"
#include "dispatcher/ops/row_repair.h"
#include "dispatcher/queue/schedule.h"
#include "dispatcher/queue/webhook.h"

#include <stdlib.h>

#define SOON_MS 5

struct sweep {
    struct dispatcher *d;
    struct loop_timer timer;
    uint64_t flush_at_ms, full_at_ms;
};

static void tick(void *arg)
{
    struct sweep *s = arg;
    struct dispatcher *d = s->d;
    uint64_t now = clock_ms();
    if (now >= s->full_at_ms) {
        s->full_at_ms = now + (uint64_t)d->conf->session_sweep_ms;
        robots_reload(d); /* also tells whether the database is there */
        if (d->seal)
            seal_refresh(d->seal);
        health_sub_tick(d);
        silence_tick(d);
        unanswered_tick(d);
        robots_boots_look(d);
        drain_tick(d);
        if (!d->draining)
            close_idle_tick(d);
    }
    leases_tick(d);
    schedule_tick(d);
    webhook_tick(d);
    events_tick(d);
    alerts_tick(d);
    retention_tick(d);
    history_tick(d);
    row_repair_tick(d);
    migrate_tick(d);
    if (!d->draining)
        reconcile_tick(d);
    if (now >= s->flush_at_ms) {
        s->flush_at_ms = now + (uint64_t)activity_flush_every_ms(d);
        activity_flush(d);
    }
    uint64_t every = (uint64_t)d->conf->session_sweep_ms, renewal = (uint64_t)d->conf->queue_lease_ms / 8;
    loop_timer_in(d->loop, &s->timer, every < renewal ? every : renewal);
}

void sweep_soon(struct dispatcher *d)
{
    if (d->sweep)
        loop_timer_in(d->loop, &d->sweep->timer, SOON_MS);
}

struct sweep *sweep_new(struct dispatcher *d)
{
    struct sweep *s = xcalloc(1, sizeof(*s));
    s->d = d;
    s->timer.fn = tick;
    s->timer.arg = s;
    loop_timer_in(d->loop, &s->timer, 0);
    return s;
}

void sweep_destroy(struct sweep **sp)
{
    if (*sp)
        loop_timer_stop((*sp)->d->loop, &(*sp)->timer);
    free(*sp);
    *sp = NULL;
}
