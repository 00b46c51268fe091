/* SPDX-License-Identifier: MIT */
/* action_call.c - calls a robot for an action in a session. Owns nothing; wipes the request that it wrote. */
#include "dispatcher/robot/action_call.h"
#include "dispatcher/robot/robots.h"

#include "common/url.h"

#include <stdlib.h>
#include <string.h>

/* Adds one of the params of a GET: texts unchanged, null as empty, any other value that is not a scalar as
 * JSON. */
static void query_add(void *arg, const char *key, struct jv *v)
{
    static const char *const ours[] = {"session_id", "company_id", "portal", "job_uid", "epoch"};
    struct buf *path = arg;
    size_t len;
    for (unsigned i = 0; i < sizeof(ours) / sizeof(*ours); i++)
        if (strcmp(key, ours[i]) == 0)
            return;
    char *text = jv_type(v) == JV_STRING || jv_type(v) == JV_NULL ? NULL : jv_dump(v, &len);
    buf_adds(path, "&");
    url_encode(path, key);
    buf_adds(path, "=");
    url_encode(path, text ? text : jv_type(v) == JV_STRING ? jv_str(v) : "");
    free(text);
}

struct robot_call *action_call(struct dispatcher *d, const struct action_call *c)
{
    struct jv *body = c->params ? jv_copy(c->params) : jv_new_object();
    struct buf path = {0};
    size_t len;
    bool is_post = strcmp(c->action->method, "POST") == 0;
    jv_set_str(body, "session_id", c->row->session_id);
    jv_set_int(body, "company_id", (int64_t)c->row->company_id);
    jv_set_str(body, "portal", c->row->portal);
    jv_set_str(body, "job_uid", c->job_uid);
    buf_adds(&path, c->action->path);
    if (!is_post) {
        buf_adds(&path, "?session_id=");
        url_encode(&path, c->row->session_id);
        buf_addf(&path, "&job_uid=%s", c->job_uid);
        jv_each(body, query_add, &path);
    }
    char *text = jv_dump(body, &len);
    struct call_spec spec = {.method = c->action->method,
                             .base_url = c->robot->base_url,
                             .robot_id = c->robot->id,
                             .is_work = true,
                             .path = path.data,
                             .is_decoded = true,
                             .body = is_post ? text : NULL,
                             .body_len = is_post ? len : 0,
                             .idempotency_key = c->key,
                             .request_id = c->request_id,
                             .traceparent = c->traceparent,
                             .connect_ms = d->conf->timeout_connect_ms,
                             .total_ms = c->action->timeout_ms,
                             .max_bytes = c->max_bytes,
                             .done = c->done,
                             .arg = c->arg};
    struct robot_call *call = call_start(d->robot_http, &spec);
    explicit_bzero(text, len);
    free(text);
    jv_wipe(body);
    buf_free(&path);
    return call;
}
