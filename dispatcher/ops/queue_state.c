/* SPDX-License-Identifier: MIT */
/*
 * queue_state.c - operators look at the queue, pause and resume it. A pause holds
 * for claims only: what runs goes on, and work is taken in as before.
 */
#include "dispatcher/ops/queue_state.h"
#include "dispatcher/login/login.h"
#include "dispatcher/queue/queue.h"
#include "dispatcher/robot/portals.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

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
        portals_look(d); /* lets go of what was held */
        queue_wake(d);
        peers_wake(d, "work");
    }
    if (op->rc == STORE_OK && op->no_batch) {
        asked_json(arg, op->rc, ERR_BATCH_NOT_FOUND, &op->json);
    } else if (op->rc == STORE_OK && op->too_many) {
        struct request *r = asked_answer(arg, op->rc);
        if (r)
            reply_error(d, r, ERR_WRONG_STATE,
                        "200 parts of the queue are paused already; end one of those first.", NULL);
        buf_free(&op->json);
    } else if (op->rc == STORE_OK && op->is_past) {
        refuse_past(d, asked_answer(arg, op->rc));
        buf_free(&op->json);
    } else {
        asked_json(arg, op->rc, ERR_OK, &op->json);
    }
    free(op);
}

static void state_start(struct dispatcher *d, struct request *r, enum pause_change change)
{
    struct store_queue_state *op = xcalloc(1, sizeof(*op));
    op->change = change;
    strcpy(op->reason, r->reason);
    op->until_ms = (int64_t)r->until_ms;
    op->for_ms = (int64_t)r->for_ms;
    strcpy(op->portal, r->portal);
    strcpy(op->action, r->action);
    op->batch_id = r->batch_id;
    request_actor(r, &op->by);
    store_submit(d->store, store_queue_state, op, state_done, asked_new(d, r));
}

/* A part of the queue that nothing can be in is a mistake: a misspelt name must not look like a pause. */
static bool scope_ok(struct dispatcher *d, struct request *r)
{
    const struct action_table *actions = &d->conf->actions;
    const struct action *action = r->action[0] ? action_find(actions, r->action) : NULL;
    bool is_portal = !r->portal[0];
    for (unsigned i = 0; i < actions->n; i++)
        is_portal |= strcmp(actions->rows[i].portal, r->portal) == 0;
    if (!is_portal)
        refuse_field(d, r, "portal", "is not a portal that is known here");
    else if (r->action[0] && (!action || action->session != ACTION_CREATE))
        refuse_field(d, r, "action", "is not a log-in that is known here");
    else if (action && r->portal[0] && strcmp(action->portal, r->portal) != 0)
        refuse_field(d, r, "portal", "is not the portal of this action");
    else
        return true;
    return false;
}

static void portals_done(void *arg, void *op_arg)
{
    struct store_portal_list *op = op_arg;
    asked_json(arg, op->rc, ERR_OK, &op->json);
    free(op);
}

static void portals_start(struct dispatcher *d, struct request *r)
{
    struct store_portal_list *op = xcalloc(1, sizeof(*op));
    op->conf = &d->conf->portals;
    op->actions = &d->conf->actions;
    store_submit(d->store, store_portal_list, op, portals_done, asked_new(d, r));
}

void queue_state_start(struct dispatcher *d, struct request *r)
{
    switch ((int)r->op) {
    case OP_OPS_QUEUE:
        state_start(d, r, PAUSE_LOOK);
        return;
    case OP_OPS_QUEUE_PAUSE:
        if (scope_ok(d, r))
            state_start(d, r, PAUSE_SET);
        return;
    case OP_OPS_QUEUE_RESUME:
        if (scope_ok(d, r))
            state_start(d, r, PAUSE_END);
        return;
    case OP_OPS_PORTALS:
        portals_start(d, r);
        return;
    default:
        CHECK(false, "op %d is not about the queue", (int)r->op);
    }
}
