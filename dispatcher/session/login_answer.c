/* SPDX-License-Identifier: MIT */
/*
 * login_answer.c - the answers to a client about a log-in. Owns nothing.
 */
#include "dispatcher/session/login_answer.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

struct jv *login_body(struct dispatcher *d, const struct session_row *row, const char *job_uid, const char *url,
                      bool reused)
{
    const struct robot *robot = robot_by_id(d, row->robot_id);
    struct jv *body = jv_new_object(), *about = jv_new_object(), *shape = session_jv(row, NULL);
    jv_set_bool(body, "ok", true);
    jv_set_int(body, "job_id", (int64_t)row->job_id);
    jv_set_str(body, "job_uid", job_uid);
    jv_set_str(body, "session_id", row->session_id);
    jv_set(body, "viewer_url", jv_copy(jv_get(shape, "viewer_url")));
    jv_set_str(about, "url", url && *url ? url : NULL);
    jv_set_str(about, "titulo", row->title[0] ? row->title : NULL);
    jv_set_str(about, "worker", robot ? robot->name : NULL);
    jv_set(body, "robot", about);
    if (reused)
        jv_set_bool(body, "reused", true);
    jv_free(shape);
    return body;
}

struct jv *job_extra(uint64_t job_id, const char *job_uid)
{
    struct jv *extra = jv_new_object();
    jv_set_int(extra, "job_id", (int64_t)job_id);
    if (job_uid && *job_uid)
        jv_set_str(extra, "job_uid", job_uid);
    return extra;
}

void enqueue_answer(struct dispatcher *d, struct request *r, uint64_t job_id, const char *job_uid)
{
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    jv_set_int(body, "job_id", (int64_t)job_id);
    jv_set_str(body, "job_uid", job_uid);
    jv_set_str(body, "status", "queued");
    reply_jv(d, r, 202, body);
}
