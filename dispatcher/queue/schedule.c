/* SPDX-License-Identifier: MIT */
/*
 * schedule.c - recurring batches. Owns when to look next; everything else is in
 * the database, and each op there is safe to repeat. At most one op is under
 * way. While no schedule is near, looking costs one short query in 10 s.
 */
#include "dispatcher/queue/schedule.h"
#include "dispatcher/wire/peer.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/store/store_schedule.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_MS 10000
#define AGAIN_MS 1000 /* after the database refused, or while another dispatcher fills a batch */

struct schedules {
    struct dispatcher *d;
    struct loop_timer timer;
    uint64_t look_at_ms;
    bool is_busy; /* an op is under way */
};

static void look_in(struct schedules *s, uint64_t in_ms)
{
    s->is_busy = false;
    s->look_at_ms = clock_ms() + in_ms;
    loop_timer_in(s->d->loop, &s->timer, in_ms);
}

/* ---- filling ------------------------------------------------------------------------------------------------ */

static void fill_next(struct schedules *s);

static void filled(void *arg, void *op_)
{
    struct schedules *s = arg;
    struct store_schedule_fill *op = op_;
    bool is_good = op->rc == STORE_OK && op->batch_id;
    if (op->n)
        peers_wake(s->d, "work");
    if (is_good && op->is_whole)
        log_line(LOG_INFO, "schedule_filled", "batch", log_i((long long)op->batch_id), NULL);
    free(op);
    if (is_good && !s->d->draining)
        fill_next(s);
    else
        look_in(s, AGAIN_MS);
}

static void fill_next(struct schedules *s)
{
    s->is_busy = true;
    store_submit(s->d->store, store_schedule_fill, xcalloc(1, sizeof(struct store_schedule_fill)), filled, s);
}

/* ---- what is due -------------------------------------------------------------------------------------------- */

static void begin_next(struct schedules *s);

static void begun(void *arg, void *op_)
{
    struct schedules *s = arg;
    struct store_schedule_begin *op = op_;
    bool good = op->rc == STORE_OK, made = good && op->batch_id;
    if (good && op->is_bad)
        log_line(LOG_ERROR, "schedule_disabled", "schedule", op->name, "why",
                 "its cron expression or action is not good", NULL);
    if (good && op->missed)
        log_line(LOG_WARN, "schedule_missed", "schedule", op->name, "times", log_i(op->missed), NULL);
    if (made) {
        stat_inc(schedule_runs_total);
        log_line(LOG_INFO, "schedule_run", "schedule", op->name, "batch", log_i((long long)op->batch_id), NULL);
        peers_event(s->d, "batch", op->batch_id, 0, "open");
    }
    bool found = good && op->found;
    free(op);
    if (made)
        fill_next(s);
    else if (found)
        begin_next(s);
    else
        look_in(s, AGAIN_MS);
}

static void begin_next(struct schedules *s)
{
    struct store_schedule_begin *op = xcalloc(1, sizeof(*op));
    s->is_busy = true;
    strcpy(op->holder, s->d->name);
    op->grace_s = s->d->conf->schedule_grace_s;
    op->actions = &s->d->conf->actions;
    store_submit(s->d->store, store_schedule_begin, op, begun, s);
}

static void looked(void *arg, void *op_)
{
    struct schedules *s = arg;
    struct store_schedule_look op = *(struct store_schedule_look *)op_;
    free(op_);
    if (op.rc != STORE_OK)
        look_in(s, AGAIN_MS);
    else if (op.due_in_ms == 0)
        begin_next(s);
    else if (op.is_filling)
        fill_next(s);
    else
        look_in(s, op.due_in_ms > 0 && op.due_in_ms < LOOK_MS ? (uint64_t)op.due_in_ms : LOOK_MS);
}

static void look(void *arg)
{
    struct schedules *s = arg;
    if (s->d->draining)
        return;
    loop_timer_stop(s->d->loop, &s->timer);
    s->is_busy = true;
    store_submit(s->d->store, store_schedule_look, xcalloc(1, sizeof(struct store_schedule_look)), looked, s);
}

void schedule_tick(struct dispatcher *d)
{
    struct schedules *s = d->schedules;
    if (!s->is_busy && !d->draining && clock_ms() >= s->look_at_ms)
        look(s);
}

void schedule_soon(struct dispatcher *d)
{
    if (!d->schedules->is_busy && !d->draining)
        look(d->schedules);
}

struct schedules *schedules_new(struct dispatcher *d)
{
    struct schedules *s = xcalloc(1, sizeof(*s));
    s->d = d;
    s->timer.fn = look;
    s->timer.arg = s;
    return s;
}

void schedules_destroy(struct schedules **sp)
{
    if (*sp)
        loop_timer_stop((*sp)->d->loop, &(*sp)->timer);
    free(*sp);
    *sp = NULL;
}
