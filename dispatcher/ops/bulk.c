/* SPDX-License-Identifier: MIT */
/*
 * bulk.c - operators act on all jobs that a filter finds, and look first how
 * many those are. A change goes on step by step (store_bulk.c), also when nobody
 * waits for its end any more; each step's jobs are told of after its commit.
 */
#include "dispatcher/ops/bulk.h"
#include "dispatcher/queue/queue.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void bulk_reply(struct dispatcher *d, struct request *r, const struct store_bulk *op)
{
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    jv_set_int(body, "n", (int64_t)op->n);
    jv_set_bool(body, "capped", op->capped);
    if (op->n_refused)
        jv_set_int(body, "refused", (int64_t)op->n_refused);
    if (op->n_still_refused)
        jv_set_int(body, "credentials_refused", (int64_t)op->n_still_refused);
    reply_jv(d, r, 200, body);
}

static void count_done(void *arg, void *op_arg)
{
    struct store_bulk *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    if (r)
        bulk_reply(d, r, op);
    free(op);
}

static void step_tell(struct dispatcher *d, struct store_bulk *op)
{
    for (unsigned i = 0; i < op->n_changed; i++) {
        const struct bulk_change *c = &op->changed[i];
        peers_event(d, "job", c->job_id, c->company_id, c->status);
        if (c->batch_id && (!i || op->changed[i - 1].batch_id != c->batch_id))
            queue_batch_touched(d, c->batch_id);
    }
    if (op->n_changed && op->is_retry) {
        queue_wake(d);
        peers_wake(d, "work");
    }
    if (op->asked) {
        leases_renew_soon(d);
        peers_wake(d, "cancel");
    }
    op->asked = false;
}

static void step_done(void *arg, void *op_arg)
{
    struct store_bulk *op = op_arg;
    struct asked *a = arg;
    struct dispatcher *d = a->d;
    if (op->rc == STORE_OK)
        step_tell(d, op);
    if (op->rc == STORE_OK && op->more) {
        store_submit(d->store, store_bulk, op, step_done, a);
        return;
    }
    struct request *r = asked_answer(a, op->rc);
    if (r)
        bulk_reply(d, r, op);
    free(op);
}

void bulk_start(struct dispatcher *d, struct request *r)
{
    struct store_bulk *op = xcalloc(1, sizeof(*op));
    op->is_retry = strcmp(r->action, "retry") == 0;
    snprintf(op->status, sizeof(op->status), "%.20s", r->state);
    strcpy(op->portal, r->portal);
    strcpy(op->worker, r->worker);
    strcpy(op->error, r->error);
    strcpy(op->robot_error, r->robot_error);
    op->company_id = r->company_id;
    op->batch_id = r->batch_id;
    op->tries = (unsigned)d->conf->queue_max_attempts;
    request_actor(r, &op->by);
    strcpy(op->reason, r->reason);
    if (r->op == OP_OPS_JOBS_COUNT)
        store_submit(d->store, store_bulk_count, op, count_done, asked_new(d, r));
    else
        store_submit(d->store, store_bulk, op, step_done, asked_new(d, r));
}
