/* SPDX-License-Identifier: MIT */
/*
 * queue.c - takes queued work from the database and begins it, as far as robots have places.
 *
 * Owns: when a claim is made (one at a time), the number of queued log-ins under
 * way here, and which batches have to be looked at because an item of theirs
 * ended. Waiting work is in the database only. A wake-up may be lost: the
 * poll finds what it missed. Must never begin what was not claimed.
 */
#include "dispatcher/queue/queue.h"
#include "dispatcher/login/login.h"
#include "dispatcher/login/round.h"
#include "dispatcher/queue/webhook.h"
#include "dispatcher/robot/portals.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/robot/tally.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/wire/peer.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

/* A dispatcher runs so many times as many queued log-ins as a lane has requests: while some are at their robots,
 * others are claimed, and others' outcomes are recorded. */
#define RUNNING_TIMES 4
#define REFUSED_MS 200
#define TOUCHED_MS 250       /* batches are looked at, and told of, this often at most */
#define ALL_BATCHES_MS 10000 /* those whose last item's dispatcher died */

struct queue {
    struct dispatcher *d;
    bool is_claiming, is_looking, is_finishing;
    bool is_wanted; /* something may be there to be claimed */
    bool is_again;  /* it was said while a claim was under way */
    bool is_paused_told;
    bool is_refused; /* the database refused every row: the next claim waits for the timer */
    unsigned n_running;
    struct loop_timer poll, touched, refused;
    uint64_t poll_at_ms, all_batches_at_ms;
    uint64_t looked_after;           /* of all batches, those up to here were looked at */
    uint64_t batch[QUEUE_CLAIM_MAX]; /* touched */
    unsigned n_batches;
};

static void pump(struct queue *q);

static void poll_in(struct queue *q, uint64_t ms)
{
    q->poll_at_ms = clock_ms() + ms;
    loop_timer_in(q->d->loop, &q->poll, ms);
}

static uint64_t poll_jittered_ms(const struct queue *q)
{
    uint64_t every = (uint64_t)q->d->conf->queue_poll_ms;
    return every + id_random_u64() % (every / 2 + 1);
}

/* ---- claiming ----------------------------------------------------------------------------------------------- */

static void pause_tell(struct queue *q, bool is_paused)
{
    if (is_paused != q->is_paused_told)
        log_line(LOG_INFO, "queue", "to", is_paused ? "paused" : "going", NULL);
    q->is_paused_told = is_paused;
}

static void claimed(void *arg, void *op_arg)
{
    struct queue *q = arg;
    struct store_claim *op = op_arg;
    bool is_more = op->rc == STORE_OK && (op->n || op->n_met || op->n_refused || op->n_held);
    q->is_claiming = false;
    q->is_wanted = q->is_again || is_more;
    q->is_again = false;
    if (op->rc == STORE_OK)
        pause_tell(q, op->is_paused);
    stat_add(queue_claimed_total, op->n);
    stat_add(queue_met_total, op->n_met);
    stat_add(queue_refused_total, op->n_refused);
    stat_add(queue_failed_total, op->n_refused);
    q->is_refused = op->rc == STORE_REFUSED || (op->refuses_all && op->n_refused);
    if (q->is_refused) /* one at a time and not at once, so that most of the queue is unchanged when the table is mended */
        loop_timer_in(q->d->loop, &q->refused, REFUSED_MS);
    for (unsigned i = 0; i < op->n_met; i++)
        tally_queued(q->d, op->met[i].company_id, op->met[i].waited_ms);
    q->n_running += op->n;
    stat_set(queue_running, q->n_running);
    pump(q); /* before these begin, which takes some time: the database works meanwhile */
    for (unsigned i = 0; i < op->n; i++)
        (op->got[i].is_met ? round_met : login_queued)(q->d, &op->got[i], &op->lease);
    for (unsigned i = 0; i < op->n_batches; i++)
        queue_batch_touched(q->d, op->batch[i]);
    if (op->n_held)
        portals_soon(q->d, op->hold_wait_us);
    stat_add(queue_held_total, op->n_held);
    free(op->got);
    free(op);
}

/* Takes more when there is a reason to look and room to run it. */
static void pump(struct queue *q)
{
    struct dispatcher *d = q->d;
    unsigned most = (unsigned)d->conf->dispatcher_concurrency * RUNNING_TIMES;
    if (!q->is_wanted || q->is_claiming || q->is_refused || d->draining || q->n_running >= most ||
        !d->robots_revision)
        return;
    struct store_claim *op = xcalloc(1, sizeof(*op));
    lease_fill(d, &op->lease, 0);
    op->max = most - q->n_running < QUEUE_CLAIM_MAX ? most - q->n_running : QUEUE_CLAIM_MAX;
    op->tries = (unsigned)d->conf->queue_max_attempts;
    op->kept_back_percent = (unsigned)d->conf->queue_interactive_percent;
    op->logins_per_robot = (unsigned)d->conf->queue_robot_logins;
    op->laravel_max_age_ms = d->conf->session_idle_timeout_s * 1000;
    op->actions = &d->conf->actions;
    op->portals = &d->conf->portals;
    op->breaker = portals_times(d);
    op->n_candidates = robots_candidates(d, op->candidate, CANDIDATES_MAX, NULL, 0);
    q->is_claiming = true;
    store_submit(d->store, store_claim, op, claimed, q);
}

static void refused_due(void *arg)
{
    struct queue *q = arg;
    q->is_refused = false;
    q->is_wanted = true;
    pump(q);
}

void queue_wake(struct dispatcher *d)
{
    struct queue *q = d->queue;
    if (!q)
        return;
    if (q->is_claiming)
        q->is_again = true;
    q->is_wanted = true;
    pump(q);
}

void queue_login_ended(struct dispatcher *d)
{
    struct queue *q = d->queue;
    if (!q)
        return;
    CHECK(q->n_running > 0, "a queued log-in ended that did not run");
    stat_set(queue_running, --q->n_running);
    pump(q);
}

/* ---- the poll ----------------------------------------------------------------------------------------------- */

static void looked(void *arg, void *op_arg)
{
    struct queue *q = arg;
    struct store_queue_look *op = op_arg;
    uint64_t next_ms = poll_jittered_ms(q);
    q->is_looking = false;
    if (op->rc == STORE_OK && op->due_in_ms >= 0 && (uint64_t)op->due_in_ms + 1 < next_ms)
        next_ms = (uint64_t)op->due_in_ms + 1;
    if (q->poll_at_ms > clock_ms() + next_ms || q->poll_at_ms <= clock_ms())
        poll_in(q, next_ms);
    if (op->rc == STORE_OK && op->is_ready)
        queue_wake(q->d);
    free(op);
}

static void poll_due(void *arg)
{
    struct queue *q = arg;
    poll_in(q, poll_jittered_ms(q));
    if (q->is_looking || q->is_claiming || q->d->draining)
        return;
    q->is_looking = true;
    store_submit(q->d->store, store_queue_look, xcalloc(1, sizeof(struct store_queue_look)), looked, q);
}

void queue_due_in(struct dispatcher *d, int64_t ms)
{
    struct queue *q = d->queue;
    if (q && clock_ms() + (uint64_t)ms < q->poll_at_ms)
        poll_in(q, (uint64_t)ms + 1);
}

/* ---- batches whose items ended ------------------------------------------------------------------------------ */

static void finished(void *arg, void *op_arg)
{
    struct queue *q = arg;
    struct store_batch_finish *op = op_arg;
    q->is_finishing = false;
    for (unsigned i = 0; i < op->n_done; i++) {
        log_line(LOG_INFO, "batch", "batch", log_i((long long)op->done[i]), "to", "done", NULL);
        peers_event(q->d, "batch", op->done[i], 0, "done");
    }
    if (op->n_done)
        webhook_soon(q->d);
    if (op->asked)
        peers_wake(q->d, "cancel");
    if (!op->n)
        q->looked_after = op->rc == STORE_OK ? op->after : 0;
    if (op->rc != STORE_OK || q->looked_after)
        q->all_batches_at_ms = 0;
    free(op);
}

static void touched_due(void *arg)
{
    struct queue *q = arg;
    struct dispatcher *d = q->d;
    uint64_t now = clock_ms();
    bool is_all = now >= q->all_batches_at_ms;
    loop_timer_in(d->loop, &q->touched, TOUCHED_MS);
    if (q->is_finishing || (!q->n_batches && !is_all))
        return;
    struct store_batch_finish *op = xcalloc(1, sizeof(*op));
    if (is_all) {
        q->all_batches_at_ms = now + ALL_BATCHES_MS + id_random_u64() % ALL_BATCHES_MS;
        op->after = q->looked_after;
    } else {
        op->n = q->n_batches;
        memcpy(op->batch, q->batch, q->n_batches * sizeof(*q->batch));
    }
    for (unsigned i = 0; i < q->n_batches; i++)
        peers_event(d, "batch", q->batch[i], 0, "running");
    q->n_batches = 0;
    q->is_finishing = true;
    store_submit(d->store, store_batch_finish, op, finished, q);
}

void queue_batch_touched(struct dispatcher *d, uint64_t batch_id)
{
    struct queue *q = d->queue;
    if (!q || !batch_id)
        return;
    for (unsigned i = 0; i < q->n_batches; i++)
        if (q->batch[i] == batch_id)
            return;
    if (q->n_batches == QUEUE_CLAIM_MAX)
        q->all_batches_at_ms = 0; /* more than are remembered: all are looked at */
    else
        q->batch[q->n_batches++] = batch_id;
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

struct queue *queue_new(struct dispatcher *d)
{
    struct queue *q = xcalloc(1, sizeof(*q));
    q->d = d;
    q->poll = (struct loop_timer){.fn = poll_due, .arg = q};
    q->touched = (struct loop_timer){.fn = touched_due, .arg = q};
    q->refused = (struct loop_timer){.fn = refused_due, .arg = q};
    poll_in(q, 0);
    loop_timer_in(d->loop, &q->touched, TOUCHED_MS);
    return q;
}

void queue_destroy(struct queue **qp)
{
    struct queue *q = *qp;
    if (!q)
        return;
    *qp = NULL;
    loop_timer_stop(q->d->loop, &q->poll);
    loop_timer_stop(q->d->loop, &q->touched);
    loop_timer_stop(q->d->loop, &q->refused);
    free(q);
}
