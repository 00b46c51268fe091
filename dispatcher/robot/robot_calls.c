/* SPDX-License-Identifier: MIT */
/*
 * robot_calls.c - the calls to a robot about its sessions, made by Chasqui itself rather than for a client.
 *
 * Owns nothing. The answers are read here, so an unrequested encoding is decoded.
 */
#include "dispatcher/robot/robot_calls.h"
#include "dispatcher/robot/robots.h"

#include "common/url.h"

#include <stdlib.h>

#define ANSWER_BYTES 65536
#define LIST_BYTES 16777216

static void call(struct dispatcher *d, const struct robot *robot, struct call_spec *spec, struct call_ids ids,
                 call_done_fn *done, void *arg)
{
    spec->base_url = robot->base_url;
    spec->robot_id = robot->id;
    spec->is_decoded = true;
    spec->request_id = ids.request_id;
    spec->traceparent = ids.traceparent;
    spec->connect_ms = d->conf->timeout_connect_ms;
    if (!spec->max_bytes)
        spec->max_bytes = ANSWER_BYTES;
    spec->done = done;
    spec->arg = arg;
    call_start(d->robot_http, spec);
}

void robot_call_close(struct dispatcher *d, const struct robot *robot, const char *session_id, struct call_ids ids,
                      call_done_fn *done, void *arg)
{
    struct buf path = {0};
    buf_adds(&path, "/sessions/");
    url_encode(&path, session_id);
    call(d, robot,
         &(struct call_spec){.method = "DELETE", .path = path.data, .total_ms = d->conf->timeout_close_ms}, ids,
         done, arg);
    buf_free(&path);
}

void robot_call_fence(struct dispatcher *d, const struct robot *robot, uint64_t company_id, const char *portal,
                      uint64_t epoch, struct call_ids ids, call_done_fn *done, void *arg)
{
    struct jv *body = jv_new_object();
    size_t len;
    jv_set_int(body, "company_id", (int64_t)company_id);
    jv_set_str(body, "portal", portal);
    jv_set_int(body, "epoch", (int64_t)epoch);
    char *text = jv_dump(body, &len);
    struct call_spec spec = {.method = "POST",
                             .path = "/sessions/fence",
                             .body = text,
                             .body_len = len,
                             .total_ms = d->conf->timeout_robot_ms};
    call(d, robot, &spec, ids, done, arg);
    free(text);
    jv_free(body);
}

void robot_call_list(struct dispatcher *d, const struct robot *robot, struct call_ids ids, call_done_fn *done,
                     void *arg)
{
    struct call_spec spec = {
        .method = "GET", .path = "/sessions", .total_ms = d->conf->timeout_robot_ms, .max_bytes = LIST_BYTES};
    call(d, robot, &spec, ids, done, arg);
}

void robot_call_health(struct dispatcher *d, const struct robot *robot, int64_t total_ms, bool is_fresh,
                       call_done_fn *done, void *arg)
{
    struct call_spec spec = {.method = "GET", .path = "/health", .total_ms = total_ms, .is_fresh = is_fresh};
    call(d, robot, &spec, (struct call_ids){0}, done, arg);
}
