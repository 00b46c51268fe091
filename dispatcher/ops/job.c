/* SPDX-License-Identifier: MIT */
/*
 * job.c - jobs for clients and operators: shown, listed, cancelled, put back, and
 * what they wait for. Answers from the database alone; who runs a job is told by
 * WAKE, and asks the database itself.
 */
#include "dispatcher/ops/job.h"
#include "dispatcher/queue/queue.h"
#include "dispatcher/robot/robot_answer.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/job_wait.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_operators(const struct request *r)
{
    return r->op == OP_OPS_JOBS || r->op == OP_OPS_JOB_GET || r->op == OP_OPS_JOB_CANCEL;
}

/* ---- one ---------------------------------------------------------------------------------------------------- */

static void job_done(void *arg, void *op_arg)
{
    struct store_job *op = op_arg;
    struct asked *a = arg;
    const struct request *r = request_find(a->d, a->key);
    bool is_seen = op->found && r && (is_operators(r) || request_may_see(r, op->company_id));
    answer_json(a, op->rc, is_seen ? ERR_OK : ERR_JOB_NOT_FOUND, &op->json);
    free(op);
}

static void get_start(struct dispatcher *d, struct request *r)
{
    struct store_job *op = xcalloc(1, sizeof(*op));
    op->job_id = r->job_id;
    strcpy(op->job_uid, r->job_uid);
    store_submit(d->store, store_job, op, job_done, asked_new(d, r));
}

/* ---- pages -------------------------------------------------------------------------------------------------- */

static void jobs_done(void *arg, void *op_arg)
{
    struct store_jobs *op = op_arg;
    answer_json(arg, op->rc, ERR_OK, &op->json);
    free(op->companies);
    free(op);
}

static void jobs_start(struct dispatcher *d, struct request *r)
{
    struct store_jobs *op = xcalloc(1, sizeof(*op));
    op->all = is_operators(r) || r->all_companies;
    op->companies = r->companies; /* the request does not need them any more */
    op->n_companies = r->n_companies;
    r->companies = NULL;
    r->n_companies = 0;
    snprintf(op->status, sizeof(op->status), "%.20s", r->state);
    strcpy(op->portal, r->portal);
    strcpy(op->error, r->error);
    strcpy(op->robot_error, r->robot_error);
    op->company_id = r->company_id;
    op->batch_id = r->batch_id;
    op->cursor = r->cursor;
    op->limit = r->limit;
    if (is_operators(r)) {
        strcpy(op->worker, r->worker);
        strcpy(op->search, r->search);
        op->since_ms = (int64_t)r->since_ms;
        op->for_ms = (int64_t)r->for_ms;
        op->until_ms = (int64_t)r->until_ms;
    }
    store_submit(d->store, store_jobs, op, jobs_done, asked_new(d, r));
}

/* ---- cancelling --------------------------------------------------------------------------------------------- */

static void outcome_reply(struct dispatcher *d, struct request *r, int status, uint64_t job_id,
                          const char *job_uid, const char *state)
{
    struct jv *body = jv_new_object();
    jv_set_bool(body, "ok", true);
    jv_set_int(body, "job_id", (int64_t)job_id);
    jv_set_str(body, "job_uid", job_uid);
    jv_set_str(body, "status", state);
    r->job = job_id;
    reply_jv(d, r, status, body);
}

static void state_refuse(struct dispatcher *d, struct request *r, uint64_t job_id, const char *state,
                         const char *message)
{
    struct jv *extra = jv_new_object();
    jv_set_int(extra, "job_id", (int64_t)job_id);
    jv_set_str(extra, "status", state);
    reply_error(d, r, ERR_WRONG_STATE, message, extra);
}

struct cancelling {
    struct asked *asked;
    uint64_t *companies;
    struct store_cancel op;
};

static void cancel_done(void *arg, void *op_arg)
{
    struct cancelling *c = arg;
    struct store_cancel *op = op_arg;
    struct dispatcher *d = c->asked->d;
    struct request *r = asked_answer(c->asked, op->rc);
    if (op->rc == STORE_OK && op->outcome == CANCEL_DONE) {
        peers_event(d, "job", op->job_id, op->company_id, "cancelled");
        queue_batch_touched(d, op->batch_id);
        job_waits_wake(d, op->job_id);
    } else if (op->rc == STORE_OK && op->outcome == CANCEL_ASKED) {
        leases_renew_soon(d);
        peers_wake(d, "cancel");
    }
    if (r)
        switch (op->outcome) {
        case CANCEL_DONE:
        case CANCEL_ASKED:
            outcome_reply(d, r, op->outcome == CANCEL_DONE ? 200 : 202, op->job_id, op->job_uid, op->status);
            break;
        case CANCEL_NOT_FOUND:
            reply_error(d, r, ERR_JOB_NOT_FOUND, NULL, NULL);
            break;
        case CANCEL_ENDED:
            state_refuse(d, r, op->job_id, op->status, "The job has ended.");
            break;
        case CANCEL_NOT_OURS:
            state_refuse(d, r, op->job_id, op->status, "Laravel made this job: only Laravel can cancel it.");
            break;
        }
    free(c->companies);
    free(c);
}

static void cancel_start(struct dispatcher *d, struct request *r)
{
    struct cancelling *c = xcalloc(1, sizeof(*c));
    struct store_cancel *op = &c->op;
    c->asked = asked_new(d, r);
    c->companies = r->companies;
    op->job_id = r->job_id;
    strcpy(op->job_uid, r->job_uid);
    op->all = is_operators(r) || r->all_companies;
    op->companies = r->companies;
    op->n_companies = r->n_companies;
    r->companies = NULL;
    r->n_companies = 0;
    request_actor(r, &op->by);
    strcpy(op->reason, r->reason);
    store_submit(d->store, store_cancel, op, cancel_done, c);
}

/* ---- putting back ------------------------------------------------------------------------------------------- */

static void retry_done(void *arg, void *op_arg)
{
    struct store_retry *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    if (op->rc == STORE_OK && op->ok) {
        peers_event(d, "job", op->job_id, op->company_id, "queued");
        queue_wake(d);
        peers_wake(d, "work");
        queue_batch_touched(d, op->batch_id);
    }
    if (r && op->ok)
        outcome_reply(d, r, 200, op->job_id, op->job_uid, op->status);
    else if (r && op->found)
        state_refuse(d, r, op->job_id, op->status,
                     "Only a log-in of ours that failed or was cancelled can be put back.");
    else if (r)
        reply_error(d, r, ERR_JOB_NOT_FOUND, NULL, NULL);
    free(op);
}

static void retry_start(struct dispatcher *d, struct request *r)
{
    struct store_retry *op = xcalloc(1, sizeof(*op));
    op->job_id = r->job_id;
    strcpy(op->job_uid, r->job_uid);
    op->tries = (unsigned)d->conf->queue_max_attempts;
    request_actor(r, &op->by);
    strcpy(op->reason, r->reason);
    store_submit(d->store, store_retry, op, retry_done, asked_new(d, r));
}

/* ---- what it waits for -------------------------------------------------------------------------------------- */

static void why_done(void *arg, void *op_arg)
{
    struct store_why *op = op_arg;
    answer_json(arg, op->rc, op->found ? ERR_OK : ERR_JOB_NOT_FOUND, &op->json);
    free(op);
}

static void why_start(struct dispatcher *d, struct request *r)
{
    struct store_why *op = xcalloc(1, sizeof(*op));
    op->job_id = r->job_id;
    strcpy(op->job_uid, r->job_uid);
    robots_room(d, &op->room);
    op->portals = &d->conf->portals;
    store_submit(d->store, store_why, op, why_done, asked_new(d, r));
}

static void company_done(void *arg, void *op_arg)
{
    struct store_company *op = op_arg;
    answer_json(arg, op->rc, ERR_OK, &op->json);
    free(op);
}

static void company_start(struct dispatcher *d, struct request *r)
{
    struct store_company *op = xcalloc(1, sizeof(*op));
    op->portals = &d->conf->portals;
    robots_room(d, &op->room);
    op->company_id = r->company_id;
    store_submit(d->store, store_company, op, company_done, asked_new(d, r));
}

void job_start(struct dispatcher *d, struct request *r)
{
    switch ((int)r->op) {
    case OP_JOB_GET:
    case OP_OPS_JOB_GET:
        get_start(d, r);
        return;
    case OP_JOBS:
    case OP_OPS_JOBS:
        jobs_start(d, r);
        return;
    case OP_JOB_CANCEL:
    case OP_OPS_JOB_CANCEL:
        cancel_start(d, r);
        return;
    case OP_OPS_JOB_RETRY:
        retry_start(d, r);
        return;
    case OP_OPS_COMPANY:
        company_start(d, r);
        return;
    case OP_OPS_JOB_WHY:
        why_start(d, r);
        return;
    default:
        CHECK(false, "op %d is not about a job", (int)r->op);
    }
}
