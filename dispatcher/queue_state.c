/*
 * queue_state.c - operators look at the queue, pause and resume it. A pause holds
 * for claims only: what runs goes on, and work is taken in as before.
 */
#include "dispatcher/asked.h"
#include "dispatcher/store_queue.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

/* By the database's clock. */
static void refuse_past(struct dispatcher *d, struct request *r)
{
    if (!r)
        return;
    struct jv *extra = jv_new_object(), *errors = jv_new_object(), *why = jv_new_array();
    jv_push_str(why, "has passed");
    jv_set(errors, "until", why);
    jv_set(extra, "errors", errors);
    reply_error(d, r, ERR_VALIDATION_FAILED, NULL, extra);
}

static void state_done(void *arg, void *op_arg)
{
    struct store_queue_state *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    if (op->rc == STORE_OK && op->change == PAUSE_END) {
        queue_wake(d);
        peers_wake(d, "work");
    }
    if (op->rc == STORE_OK && op->is_past)
        refuse_past(d, asked_answer(arg, op->rc));
    else
        asked_json(arg, op->rc, ERR_OK, &op->json);
    free(op);
}

static void state_start(struct dispatcher *d, struct request *r, enum pause_change change)
{
    struct store_queue_state *op = xcalloc(1, sizeof(*op));
    op->change = change;
    strcpy(op->reason, r->reason);
    op->until_ms = (int64_t)r->until_ms;
    op->for_ms = (int64_t)r->for_ms;
    request_actor(r, &op->by);
    store_submit(d->store, store_queue_state, op, state_done, asked_new(d, r));
}

void queue_state_start(struct dispatcher *d, struct request *r)
{
    switch ((int)r->op) {
    case OP_OPS_QUEUE:
        state_start(d, r, PAUSE_LOOK);
        return;
    case OP_OPS_QUEUE_PAUSE:
        state_start(d, r, PAUSE_SET);
        return;
    case OP_OPS_QUEUE_RESUME:
        state_start(d, r, PAUSE_END);
        return;
    default:
        CHECK(false, "op %d is not about the queue", (int)r->op);
    }
}
