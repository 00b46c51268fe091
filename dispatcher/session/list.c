/* SPDX-License-Identifier: MIT */
/*
 * list.c - a session's mailbox, from the robot that holds it. The robot's bytes pass through unparsed, without a
 * byte order mark. Only a body that is certainly not an answer is refused.
 */
#include "dispatcher/session/list.h"
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/robot/robot_answer.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/activity.h"
#include "dispatcher/session/close.h"
#include "dispatcher/session/lookup.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/url.h"

#include <stdlib.h>
#include <string.h>

#define KEEP_MS 500 /* reserved from the deadline for the way back */

struct list {
    struct dispatcher *d;
    uint64_t key;
    struct robot_call *call;
    struct session_row row;
};

static void list_resolved(struct dispatcher *d, struct request *r, enum resolve res,
                          const struct session_row *row);

static void list_end(struct list *l, struct request *r)
{
    activity_drop(l->d, l->row.ref);
    if (r) {
        r->work = NULL;
        r->on_cancel = NULL;
    }
    free(l);
}

static void list_cancelled(struct dispatcher *d, struct request *r)
{
    struct list *l = r->work;
    (void)d;
    call_stop(l->call);
    list_end(l, r);
}

static void list_again(struct dispatcher *d, struct request *r)
{
    resolve_session(d, r, r->session_id, list_resolved);
}

static void list_answered(void *arg, struct call_answer *a)
{
    struct list *l = arg;
    struct dispatcher *d = l->d;
    struct request *r = request_find(d, l->key);
    const struct robot *robot = robot_by_id(d, l->row.robot_id);
    struct session_row row = l->row;
    CHECK(r, "a list without its request");
    list_end(l, r);
    robots_boot_seen(d, row.robot_id, a->boot_id, clock_ms() - (uint64_t)a->took_ms);
    r->robot_ms += a->took_ms;
    answer_mark_drop(a);
    enum err failure = answer_failure(a);
    if (failure)
        answer_note(r, robot, "list", a);
    if (failure) {
        reply_error(d, r, failure, answer_message(a), NULL);
    } else if (a->status == 404) {
        session_gone(d, r, &row, list_again);
    } else if (a->status >= 500 || (a->status >= 300 && a->status < 400)) {
        answer_refuse(d, r, a);
    } else if (a->result == CALL_TOO_BIG || (a->status < 300 && !answer_looks_like_json(a))) {
        reply_error(d, r, ERR_ROBOT_BAD_RESPONSE, NULL, NULL);
    } else {
        strcpy(r->content_encoding, a->content_encoding);
        const char *now = strcmp(row.session_id, r->session_id) == 0 ? NULL : row.session_id;
        reply_take(d, r, a->status, answer_type(a), now, a->body);
    }
}

static void list_resolved(struct dispatcher *d, struct request *r, enum resolve res, const struct session_row *row)
{
    if (res != RESOLVE_OK) {
        resolve_reply(d, r, res, row);
        return;
    }
    int64_t left = request_left_ms(d, r) - KEEP_MS;
    if (left <= 0) {
        reply_error(d, r, ERR_DEADLINE_EXCEEDED, NULL, NULL);
        return;
    }
    if (!bulkhead_call(d, r, row->robot_id, row->company_id, list_start))
        return;
    struct list *l = xcalloc(1, sizeof(*l));
    struct buf path = {0};
    l->d = d;
    l->key = r->key;
    l->row = *row;
    buf_addf(&path, "/%s/buzon/list?session_id=", row->portal);
    url_encode(&path, row->session_id);
    buf_addf(&path, "&page=%llu", (unsigned long long)(r->page ? r->page : 1));
    struct call_spec spec = {.method = "GET",
                             .base_url = robot_by_id(d, row->robot_id)->base_url,
                             .robot_id = row->robot_id,
                             .is_work = true,
                             .path = path.data,
                             .request_id = r->request_id,
                             .traceparent = r->traceparent,
                             .connect_ms = d->conf->timeout_connect_ms,
                             .total_ms = d->conf->timeout_list_ms < left ? d->conf->timeout_list_ms : left,
                             .usual_ms = d->conf->timeout_list_ms - 2 * KEEP_MS,
                             .max_bytes = (size_t)d->conf->limit_list_bytes,
                             .done = list_answered,
                             .arg = l};
    activity_hold(d, row->ref);
    r->work = l;
    r->on_cancel = list_cancelled;
    l->call = call_start(d->robot_http, &spec);
    buf_free(&path);
}

void list_start(struct dispatcher *d, struct request *r)
{
    resolve_session(d, r, r->session_id, list_resolved);
}

static void leave_dead_robot(struct dispatcher *d, struct request *r, void *arg)
{
    struct list *l = r->work;
    const uint32_t *robot_id = arg;
    if (!l || r->on_cancel != list_cancelled || l->row.robot_id != *robot_id)
        return;
    list_cancelled(d, r);
    list_again(d, r);
}

void list_robot_down(struct dispatcher *d, uint32_t robot_id)
{
    requests_each(d, OP_BUZON_LIST, leave_dead_robot, &robot_id);
}
