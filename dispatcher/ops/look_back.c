/* SPDX-License-Identifier: MIT */
/*
 * look_back.c - operators look back: what failed, by class, and who did what
 * (the audit trail). Reads only. Names stand in place of robots' base URLs.
 */
#include "dispatcher/ops/look_back.h"
#include "dispatcher/robot/robot_answer.h"
#include "dispatcher/store/store_errors.h"
#include "dispatcher/store/store_history.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

static void audit_done(void *arg, void *op_arg)
{
    struct store_audit *op = op_arg;
    answer_json(arg, op->rc, ERR_OK, &op->json);
    free(op);
}

static void audit_start(struct dispatcher *d, struct request *r)
{
    struct store_audit *op = xcalloc(1, sizeof(*op));
    strcpy(op->search, r->search);
    strcpy(op->actor, r->actor);
    strcpy(op->action, r->action);
    strcpy(op->subject, r->subject);
    op->since_ms = (int64_t)r->since_ms;
    op->for_ms = (int64_t)r->for_ms;
    op->cursor = r->cursor;
    op->limit = r->limit;
    store_submit(d->store, store_audit, op, audit_done, asked_new(d, r));
}

static void errors_done(void *arg, void *op_arg)
{
    struct store_errors *op = op_arg;
    answer_json(arg, op->rc, ERR_OK, &op->json);
    free(op);
}

static void errors_start(struct dispatcher *d, struct request *r)
{
    struct store_errors *op = xcalloc(1, sizeof(*op));
    strcpy(op->portal, r->portal);
    op->batch_id = r->batch_id;
    op->since_ms = (int64_t)r->since_ms;
    op->for_ms = (int64_t)r->for_ms;
    op->until_ms = (int64_t)r->until_ms;
    store_submit(d->store, store_errors, op, errors_done, asked_new(d, r));
}

static void history_done(void *arg, void *op_arg)
{
    struct store_history *op = op_arg;
    answer_json(arg, op->rc, ERR_OK, &op->json);
    free(op);
}

static void history_start(struct dispatcher *d, struct request *r)
{
    int64_t range_s = (int64_t)(r->for_ms / 1000);
    if (!history_range(range_s)) {
        reply_error(d, r, ERR_VALIDATION_FAILED, NULL, NULL);
        return;
    }
    struct store_history *op = xcalloc(1, sizeof(*op));
    strcpy(op->portal, r->portal);
    strcpy(op->worker, r->worker);
    op->range_s = range_s;
    store_submit(d->store, store_history, op, history_done, asked_new(d, r));
}

void look_back_start(struct dispatcher *d, struct request *r)
{
    switch ((int)r->op) {
    case OP_OPS_AUDIT:
        audit_start(d, r);
        return;
    case OP_OPS_HISTORY:
        history_start(d, r);
        return;
    case OP_OPS_ERRORS:
        errors_start(d, r);
        return;
    default:
        CHECK(false, "op %d does not look back", (int)r->op);
    }
}
