/* SPDX-License-Identifier: MIT */
/*
 * action.c - an action inside a session. It is recorded before the robot is called and never repeated. When its
 * dispatcher dies its outcome is unknown.
 */
#include "dispatcher/session/action.h"
#include "dispatcher/robot/action_call.h"
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/robot/robot_answer.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/activity.h"
#include "dispatcher/session/close.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/session/lookup.h"
#include "dispatcher/wire/idempotency.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"
#include "dispatcher/wire/store_reply.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_BYTES 1048576

struct run {
    struct dispatcher *d;
    uint64_t key;            /* key of the request, if it still waits */
    struct robot_call *call; /* NULL = none in flight */
    uint64_t job_id;
    char job_uid[ID_JOB_UID_BYTES];
    struct lease lease;
    const struct action *action;
    struct session_row row;
    char *params;
    size_t params_len;
    bool gone;      /* the robot answered 404: the session must be checked */
    bool lost;      /* the lease went to another dispatcher, which ends the job */
    bool cancelled; /* the job is to stop */
    struct idempotency stands_for;
    /* the outcome */
    enum err error;
    struct attempt_end attempt;
    struct jv *extra, *result;
};

static void run_free(struct run *w)
{
    jv_free(w->extra);
    jv_free(w->result);
    if (w->params)
        explicit_bzero(w->params, w->params_len);
    free(w->params);
    free(w);
}

static void action_again(struct dispatcher *d, struct request *r)
{
    reply_error(d, r, ERR_SESSION_MIGRATING,
                "The session moved to another robot meanwhile; the action was not carried out.", NULL);
}

static void ended(void *arg, void *op_arg)
{
    struct run *w = arg;
    struct store_action_end *op = op_arg;
    struct dispatcher *d = w->d;
    struct request *r = request_find(d, w->key);
    if (!w->lost)
        lease_drop(d, w->job_id, w->lease.token);
    if (op->rc != STORE_OK || op->lost)
        log_line(LOG_WARN, "action_end_not_recorded", "job", log_i((long long)w->job_id), NULL);
    free(op);
    if (r && w->gone && !w->cancelled) {
        session_gone(d, r, &w->row, action_again);
    } else if (w->error) {
        struct jv *extra = w->extra ? w->extra : jv_new_object();
        w->extra = NULL;
        jv_set_int(extra, "job_id", (int64_t)w->job_id);
        answer_keep(d, &w->stands_for, w->row.company_id, w->row.portal, w->key, 0,
                    w->cancelled ? ERR_WRONG_STATE : w->error, w->cancelled ? "The job was cancelled." : NULL,
                    extra);
    } else if (!w->gone) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", true);
        jv_set_int(body, "job_id", (int64_t)w->job_id);
        jv_set_str(body, "job_uid", w->job_uid);
        jv_set_str(body, "session_id", w->row.session_id);
        jv_set(body, "result", w->result);
        w->result = NULL;
        answer_keep(d, &w->stands_for, w->row.company_id, w->row.portal, w->key, 200, ERR_OK, NULL, body);
    }
    run_free(w);
}

static void finish(struct run *w)
{
    struct store_action_end *op = xcalloc(1, sizeof(*op));
    op->job_id = w->job_id;
    memcpy(op->token, w->lease.token, sizeof(op->token));
    op->cancelled = w->cancelled;
    op->attempt = w->attempt;
    op->attempt.n = 1;
    op->attempt.outcome = w->cancelled                      ? OUTCOME_CANCELLED
                          : !w->error && !w->gone           ? OUTCOME_DONE
                          : w->error == ERR_OUTCOME_UNKNOWN ? OUTCOME_UNKNOWN
                          : w->attempt.outcome              ? w->attempt.outcome
                                                            : OUTCOME_ROBOT;
    if (!w->cancelled && (w->error || w->gone)) {
        snprintf(op->error, sizeof(op->error), "%s", w->gone ? "session_expired" : err_code(w->error));
        snprintf(op->message, sizeof(op->message), "%s", w->gone ? "" : err_text(w->error));
    }
    store_submit(w->d->store, store_action_end, op, ended, w);
}

static bool is_refusal(const struct jv *body)
{
    bool ok = true;
    return jv_bool(jv_get(body, "ok"), &ok) && !ok;
}

static void action_answered(void *arg, struct call_answer *a)
{
    struct run *w = arg;
    struct request *r = request_find(w->d, w->key);
    enum jv_bad why;
    w->call = NULL;
    if (r)
        r->robot_ms += a->took_ms;
    w->attempt.robot_ms = a->took_ms;
    w->attempt.status = a->result == CALL_ANSWERED ? a->status : 0;
    activity_drop(w->d, w->row.ref);
    robots_boot_seen(w->d, w->row.robot_id, a->boot_id, clock_ms() - (uint64_t)a->took_ms);
    w->error = answer_failure(a);
    if (w->error) {
        answer_note(r, robot_by_id(w->d, w->row.robot_id), "action", a);
    } else if (a->status == 404) {
        w->gone = true;
    } else {
        bool is_2xx = a->status >= 200 && a->status < 300, is_whole = a->result == CALL_ANSWERED && is_2xx;
        w->result = is_whole ? jv_parse_mended(a->body->data, a->body->len, &why) : NULL;
        if (!is_2xx || is_refusal(w->result)) {
            w->error = ERR_ROBOT_ERROR;
            w->extra = jv_new_object();
            jv_set(w->extra, "robot", answer_words(w->d, a));
            attempt_words(&w->attempt, jv_get(w->extra, "robot"));
            w->attempt.outcome =
                outcome_of_refusal(w->action, a->status, w->attempt.error[0] ? w->attempt.error : NULL);
        } else if (jv_type(w->result) != JV_OBJECT) {
            w->error = ERR_ROBOT_BAD_RESPONSE;
        }
    }
    finish(w);
}

/* The lease is lost: its new holder ends the job as outcome_unknown, and so do we. A cancelled job ends as
 * cancelled; what the robot did for it is unknown. */
static void lease_told(struct dispatcher *d, uint64_t job_id, enum lease_news news, void *arg)
{
    struct run *w = arg;
    w->lost |= news == LEASE_LOST;
    if (w->lost)
        log_line(LOG_WARN, "lease_lost", "job", log_i((long long)job_id), "kind", "action", NULL);
    if (!w->call)
        return;
    w->cancelled = news == LEASE_CANCELLED;
    call_stop(w->call);
    w->call = NULL;
    activity_drop(d, w->row.ref);
    w->error = ERR_OUTCOME_UNKNOWN;
    finish(w);
}

static void started(void *arg, void *op_arg)
{
    struct run *w = arg;
    struct store_action_start *op = op_arg;
    struct dispatcher *d = w->d;
    struct request *r = request_find(d, w->key);
    const struct robot *robot = robot_by_id(d, w->row.robot_id);
    enum store_rc rc = op->rc;
    bool dup = op->dup_uid, is_replayed = op->replayed, is_mismatch = op->mismatch;
    w->job_id = op->job_id;
    free(op);
    if (rc == STORE_OK && (is_replayed || is_mismatch)) {
        if (r && is_mismatch) {
            reply_error(d, r, ERR_IDEMPOTENCY_MISMATCH, NULL, NULL);
        } else if (r) {
            r->replayed = true;
            answer_await(d, r, &w->stands_for, w->job_id);
        }
        run_free(w);
        return;
    }
    if (rc != STORE_OK || dup) {
        if (r)
            reply_store_err(d, r, dup ? ERR_OUTCOME_UNKNOWN : store_err(rc), NULL);
        run_free(w);
        return;
    }
    lease_hold(d, w->job_id, &w->lease, lease_told, w);
    if (r)
        request_accepted(d, r, w->job_id, NULL);
    if (!robot || !lease_trusted(d, w->job_id, w->lease.token)) {
        w->error = ERR_ROBOT_UNREACHABLE;
        finish(w);
        return;
    }
    enum jv_bad why;
    struct jv *params = w->params ? jv_parse(w->params, w->params_len, &why) : NULL;
    activity_hold(d, w->row.ref);
    w->call = action_call(d, &(struct action_call){.action = w->action,
                                                   .robot = robot,
                                                   .row = &w->row,
                                                   .params = params,
                                                   .job_uid = w->job_uid,
                                                   .key = w->job_uid,
                                                   .request_id = r ? r->request_id : NULL,
                                                   .traceparent = r ? r->traceparent : NULL,
                                                   .max_bytes = ANSWER_BYTES,
                                                   .done = action_answered,
                                                   .arg = w});
    jv_wipe(params);
}

static void action_resolved(struct dispatcher *d, struct request *r, enum resolve res,
                            const struct session_row *row)
{
    const struct action *action = action_find(&d->conf->actions, r->action);
    if (res != RESOLVE_OK) {
        resolve_reply(d, r, res, row);
        return;
    }
    if (!action || strcmp(action->portal, row->portal) != 0) {
        struct jv *extra = jv_new_object(), *errors = jv_new_object(), *list = jv_new_array();
        jv_push_str(list,
                    action ? "The session is of another portal." : "This dispatcher does not know the action.");
        jv_set(errors, action ? "portal" : "action", list);
        jv_set(extra, "errors", errors);
        reply_error(d, r, ERR_VALIDATION_FAILED, NULL, extra);
        return;
    }
    if (r->company_id != row->company_id) { /* the body named another company than the session's */
        reply_error(d, r, ERR_SESSION_NOT_FOUND, NULL, NULL);
        return;
    }
    struct idempotency key;
    if (!bulkhead_call(d, r, row->robot_id, row->company_id, action_start) ||
        !idempotency_of(d, r, "execute", r->company_id, &key))
        return;
    struct run *w = xcalloc(1, sizeof(*w));
    struct store_action_start *op = xcalloc(1, sizeof(*op));
    w->stands_for = op->key = key;
    w->d = d;
    w->key = r->key;
    w->row = *row;
    w->action = action;
    w->attempt.queued_ms = (int64_t)r->waited_ms;
    w->params = r->params;
    w->params_len = r->params_len;
    r->params = NULL;
    lease_fill(d, &w->lease, action->timeout_ms);
    strcpy(w->job_uid, r->job_uid);
    strcpy(op->job_uid, r->job_uid);
    op->company_id = row->company_id;
    strcpy(op->portal, row->portal);
    strcpy(op->action, r->action);
    strcpy(op->session_id, row->session_id);
    strcpy(op->worker, robot_by_id(d, row->robot_id)->name);
    op->priority = r->priority;
    op->token_id = r->token_id;
    op->user_id = r->user_id;
    strcpy(op->request_id, r->request_id);
    op->lease = w->lease;
    store_submit(d->store, store_action_start, op, started, w);
}

void action_start(struct dispatcher *d, struct request *r)
{
    resolve_session(d, r, r->session_id, action_resolved);
}
