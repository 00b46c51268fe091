/* SPDX-License-Identifier: MIT */
/*
 * enqueue.c - EXECUTE_QUEUED: a log-in that is put into the queue, and perhaps
 * waited for. Once its job is committed nothing that happens here matters to it.
 */
#include "dispatcher/queue/enqueue.h"
#include "dispatcher/login/login.h"
#include "dispatcher/queue/queue.h"
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/session/close.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/wire/idempotency.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"
#include "dispatcher/wire/store_reply.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    struct dispatcher *d;
    uint64_t key;
    uint64_t old_ref; /* the session that force_new closes; 0 = none was found yet */
    struct buf sealed;
    struct store_enqueue op;
};

static void entry_free(struct entry *e)
{
    buf_free(&e->sealed);
    free(e);
}

static void enqueued(void *arg, void *op_arg);

static void forced_close_done(struct dispatcher *d, void *arg, enum err error, const struct session_row *row)
{
    struct entry *e = arg;
    struct request *r = request_find(d, e->key);
    if (r && error == ERR_LOGIN_IN_PROGRESS) {
        reply_error(d, r, error, "A round of a batch works in the company's session.",
                    job_extra(row->job_id, NULL));
        entry_free(e);
        return;
    }
    /* Wrong state: somebody else closes it, whose robot may not confirm that. */
    if (!error || (error == ERR_WRONG_STATE && r && request_left_ms(d, r) > 0)) {
        if (!error)
            e->op.force_new = false;
        store_submit(d->store, store_enqueue, &e->op, enqueued, e);
        return;
    }
    if (r)
        reply_error(
            d, r, error,
            error == ERR_ROBOT_UNREACHABLE ? "The robot did not confirm the close; nothing changed." : NULL, NULL);
    entry_free(e);
}

static void enqueued(void *arg, void *op_arg)
{
    struct entry *e = arg;
    struct store_enqueue *op = op_arg;
    struct dispatcher *d = e->d;
    struct request *r = request_find(d, e->key);
    bool is_new = op->rc == STORE_OK && op->outcome == ENQUEUE_OK;
    if (r)
        bulkhead_database_left(d, r);
    if (op->rc == STORE_OK && op->outcome == ENQUEUE_REUSED && op->force_new) {
        if (e->old_ref && e->old_ref != op->row.ref) { /* the old one was closed, and this one is new */
            op->force_new = false;
            store_submit(d->store, store_enqueue, op, enqueued, e);
            return;
        }
        e->old_ref = op->row.ref;
        close_session(d, &op->row, SESSION_CLOSED, "force_new", r, false, NULL, forced_close_done, e);
        return;
    }
    if (is_new) {
        stat_inc(queue_enqueued_total);
        peers_event(d, "job", op->job_id, op->company_id, "queued");
        peers_wake(d, "work");
        if (op->available_at_ms)
            queue_due_in(d, op->due_in_ms);
    }
    if (r && op->rc != STORE_OK) {
        reply_store(d, r, op->rc);
    } else if (r) {
        switch (op->outcome) {
        case ENQUEUE_REUSED:
            stat_inc(logins_reused_total);
            answer_keep(d, &op->key, op->company_id, op->portal, r->key, 200, ERR_OK, NULL,
                        login_body(d, &op->row, op->row.job_uid, NULL, true));
            break;
        case ENQUEUE_MISMATCH:
            reply_error(d, r, ERR_IDEMPOTENCY_MISMATCH, NULL, NULL);
            break;
        case ENQUEUE_IN_PROGRESS:
            if (r->wait_ms) {
                answer_await(d, r, &(struct idempotency){0}, op->row.job_id);
            } else {
                struct jv *extra = jv_new_object();
                jv_set_int(extra, "job_id", (int64_t)op->row.job_id);
                reply_error(d, r, ERR_LOGIN_IN_PROGRESS, NULL, extra);
            }
            break;
        case ENQUEUE_REPLAY:
            r->replayed = true;
            answer_await(d, r, &op->key, op->job_id);
            break;
        case ENQUEUE_OK:
        case ENQUEUE_SAME:
            request_accepted(d, r, op->job_id, NULL);
            if (r->wait_ms)
                answer_await(d, r, &op->key, op->job_id);
            else
                enqueue_answer(d, r, op->job_id, op->job_uid);
            break;
        }
    }
    entry_free(e);
}

void enqueue_start(struct dispatcher *d, struct request *r)
{
    struct idempotency key;
    if (!bulkhead_database(d, r, r->company_id, enqueue_start) || !login_may_start(d, r) ||
        !idempotency_of(d, r, "execute", r->company_id, &key))
        return;
    if (r->params && !d->seal) {
        refuse_field(d, r, "params",
                     "cannot be kept until the log-in begins: the dispatcher has no seal.key_file");
        return;
    }
    struct entry *e = xcalloc(1, sizeof(*e));
    e->d = d;
    e->key = r->key;
    if (r->params)
        seal_wrap(d->seal, r->company_id, r->portal, "params", r->params, r->params_len, &e->sealed);
    struct store_enqueue *op = &e->op;
    strcpy(op->job_uid, r->job_uid);
    op->company_id = r->company_id;
    strcpy(op->portal, r->portal);
    strcpy(op->action, r->action);
    op->priority = r->priority;
    op->remember = r->remember;
    op->force_new = r->force_new;
    op->params = e->sealed.data;
    op->params_len = e->sealed.len;
    op->token_id = r->token_id;
    op->user_id = r->user_id;
    strcpy(op->request_id, r->request_id);
    op->tries = (unsigned)d->conf->queue_max_attempts;
    op->available_at_ms = (int64_t)r->available_at_ms;
    op->key = key;
    store_submit(d->store, store_enqueue, op, enqueued, e);
}
