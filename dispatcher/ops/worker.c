/* SPDX-License-Identifier: MIT */
/*
 * worker.c - operators add robots and change what was said of them. A robot's
 * base URL comes in, and never goes out again.
 */
#include "dispatcher/ops/worker.h"
#include "db/robot_row.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void change_done(void *arg, void *op_arg)
{
    struct store_robot_change *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    if (op->rc == STORE_OK && op->is_changed)
        robots_reload(d);
    if (r && !op->is_new && !op->is_found) {
        reply_error(d, r, ERR_NOT_FOUND, "There is no such worker.", NULL);
    } else if (r && *op->refused) {
        reply_error(d, r, ERR_WRONG_STATE, op->refused, NULL);
    } else if (r) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", true);
        jv_set_str(body, "worker", op->name);
        jv_set_bool(body, "changed", op->is_changed);
        jv_set(body, "capacity_stays", NULL);
        if (op->capacity_stays)
            jv_set_int(body, "capacity_stays", (int64_t)op->capacity_stays);
        reply_jv(d, r, 200, body);
    }
    free(op);
}

/* false: it is none. */
static bool url_take(const struct jv *body, const char *key, char out[URL_ROOM], bool *has)
{
    const struct jv *v = jv_get(body, key);
    *has = jv_type(v) == JV_STRING || jv_type(v) == JV_NULL;
    if (jv_type(v) == JV_STRING && *jv_str(v))
        return url_normalise(jv_str(v), out, URL_ROOM, NULL);
    return jv_type(v) == JV_ABSENT || *has;
}

/* The broker has checked all of it; what is wrong all the same is refused as a whole. */
static bool change_read(const struct jv *body, struct store_robot_change *op)
{
    const struct jv *capacity = jv_get(body, "capacity");
    op->has_capacity = jv_type(capacity) != JV_ABSENT;
    if (op->has_capacity && jv_type(capacity) != JV_NULL &&
        (!jv_id(capacity, &op->capacity) || op->capacity > ROBOT_CAPACITY_MAX))
        return false;
    return url_take(body, "base_url", op->base_url, &op->has_base_url) &&
           url_take(body, "viewer_url", op->viewer_url, &op->has_viewer_url) &&
           (op->has_base_url ? *op->base_url != 0 : !op->is_new);
}

void worker_start(struct dispatcher *d, struct request *r)
{
    struct store_robot_change *op = xcalloc(1, sizeof(*op));
    enum jv_bad why;
    struct jv *body = jv_parse(r->params ? r->params : "{}", r->params ? r->params_len : 2, &why);
    snprintf(op->name, sizeof(op->name), "%s", r->worker);
    op->is_new = r->op == OP_OPS_WORKER_ADD;
    request_actor(r, &op->by);
    bool is_good = *op->name && jv_type(body) == JV_OBJECT && change_read(body, op);
    jv_free(body);
    if (is_good) {
        store_submit(d->store, store_robot_change, op, change_done, asked_new(d, r));
        return;
    }
    free(op);
    reply_error(d, r, ERR_VALIDATION_FAILED, NULL, NULL);
}
