/* SPDX-License-Identifier: MIT */
/*
 * refused.c - stored credentials that robots refused, for operators to see and to lift: OPS_REFUSED,
 * OPS_REFUSED_LIFT.
 */
#include "dispatcher/login/refused.h"
#include "dispatcher/robot/robot_answer.h"
#include "dispatcher/store/store_credentials.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

static void listed(void *arg, void *op_arg)
{
    struct store_refused_list *op = op_arg;
    answer_json(arg, op->rc, ERR_OK, &op->json);
    free(op);
}

static void lifted(void *arg, void *op_arg)
{
    struct store_refused_lift *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    if (r && op->found) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", true);
        jv_set_int(body, "company_id", (int64_t)op->company_id);
        jv_set_str(body, "portal", op->portal);
        reply_jv(d, r, 200, body);
    } else if (r) {
        reply_error(d, r, ERR_NOT_FOUND, "No credentials of this company and portal are refused.", NULL);
    }
    free(op);
}

void refused_start(struct dispatcher *d, struct request *r)
{
    if (r->op == OP_OPS_REFUSED) {
        struct store_refused_list *op = xcalloc(1, sizeof(*op));
        op->company_id = r->company_id;
        strcpy(op->portal, r->portal);
        op->cursor = r->cursor;
        op->limit = r->limit;
        store_submit(d->store, store_refused_list, op, listed, asked_new(d, r));
        return;
    }
    struct store_refused_lift *op = xcalloc(1, sizeof(*op));
    op->company_id = r->company_id;
    strcpy(op->portal, r->portal);
    request_actor(r, &op->by);
    store_submit(d->store, store_refused_lift, op, lifted, asked_new(d, r));
}
