/* SPDX-License-Identifier: MIT */
/*
 * schedule_ops.c - operators look at schedules, run one now, let one rest:
 * OPS_SCHEDULES, OPS_SCHEDULE_SET.
 */
#include "dispatcher/queue/schedule_ops.h"
#include "dispatcher/queue/schedule.h"
#include "dispatcher/store/store_schedule.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

static void listed(void *arg, void *op_arg)
{
    struct store_schedules *op = op_arg;
    asked_json(arg, op->rc, ERR_OK, &op->json);
    free(op);
}

static struct jv *set_jv(const struct store_schedule_set *op)
{
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    jv_set_str(body, "name", op->name);
    if (op->wish == SCHEDULE_RUN) {
        jv_set_int(body, "batch_id", (int64_t)op->batch_id);
    } else {
        jv_set_bool(body, "enabled", op->wish == SCHEDULE_ENABLE);
        jv_set_time(body, "next_at", op->next_s * 1000);
    }
    return body;
}

static void set_done(void *arg, void *op_arg)
{
    struct store_schedule_set *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    if (op->rc == STORE_OK && op->batch_id) {
        peers_event(d, "batch", op->batch_id, 0, "open");
        schedule_soon(d); /* filled here; if that is cut short, any dispatcher goes on */
    }
    if (r && !op->found)
        reply_error(d, r, ERR_NOT_FOUND, "There is no such schedule.", NULL);
    else if (r && op->refused[0])
        reply_error(d, r, ERR_WRONG_STATE, op->refused, NULL);
    else if (r)
        reply_jv(d, r, 200, set_jv(op));
    free(op);
}

void schedules_start(struct dispatcher *d, struct request *r)
{
    if (r->op == OP_OPS_SCHEDULES) {
        store_submit(d->store, store_schedules, xcalloc(1, sizeof(struct store_schedules)), listed,
                     asked_new(d, r));
        return;
    }
    struct store_schedule_set *op = xcalloc(1, sizeof(*op));
    str_copy(op->name, sizeof(op->name), str_of(r->name));
    op->wish = strcmp(r->state, "run") == 0       ? SCHEDULE_RUN
               : strcmp(r->state, "enabled") == 0 ? SCHEDULE_ENABLE
                                                  : SCHEDULE_DISABLE;
    op->actions = &d->conf->actions;
    request_actor(r, &op->by);
    store_submit(d->store, store_schedule_set, op, set_done, asked_new(d, r));
}
