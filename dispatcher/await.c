/*
 * await.c - the outcome of a job that somebody else works on: looked for until it
 * is terminal. For brokers whose dispatcher died, for a log-in whose lease was taken over, for queued log-ins
 * that are waited for, and for a second request with an Idempotency-Key.
 */
#include "dispatcher/idempotency.h"
#include "dispatcher/login.h"
#include "dispatcher/store_queue.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_MS 200
#define UNKNOWN_GRACE_MS 1500 /* the dying dispatcher's commit may still come */

struct awaited {
    struct dispatcher *d;
    uint64_t key, since_ms;
    uint64_t job_id;          /* 0 = only its job_uid is known */
    bool is_told;             /* the broker knows which job it is */
    bool is_ended;            /* it was terminal at the last look: what was answered may still be on its way to be kept */
    struct idempotency stands_for;
    struct loop_timer timer;
    struct awaited *prev, *next;
};

static void look(void *arg);

static void awaited_free(struct awaited *w)
{
    loop_timer_stop(w->d->loop, &w->timer);
    *(w->prev ? &w->prev->next : &w->d->awaits) = w->next;
    if (w->next)
        w->next->prev = w->prev;
    free(w);
}

static void look_soon(struct awaited *w)
{
    loop_timer_in(w->d->loop, &w->timer, LOOK_MS);
}

/* What the job's execute would have answered, as far as the database knows. */
static void answer(struct awaited *w, struct request *r, struct store_job *op)
{
    struct dispatcher *d = w->d;
    enum err e = err_from_code(op->error, (unsigned)strlen(op->error));
    const char *message = op->message;
    struct jv *extra = NULL;
    if (strcmp(op->status, "done") == 0 && op->session_ref) {
        answer_keep(d, &w->stands_for, op->company_id, r->portal, r->key, 200, ERR_OK, NULL,
                    login_body(d, &op->session, op->job_uid, NULL, false));
        return;
    }
    if (strcmp(op->status, "cancelled") == 0) {
        e = ERR_WRONG_STATE;
        message = "The job was cancelled.";
    } else if (strcmp(op->status, "done") == 0) {
        e = ERR_OUTCOME_UNKNOWN;
        message = "The job is done, but what it answered was not kept.";
    } else if (e == ERR_COUNT || e == ERR_OK) {
        e = ERR_NO_DISPATCHER;
    }
    extra = job_extra(op->job_id, op->job_uid);
    answer_keep(d, &w->stands_for, op->company_id, r->portal, r->key, 0, e, message, extra);
}

static void looked(void *arg, void *op_arg)
{
    struct awaited *w = arg;
    struct store_job *op = op_arg;
    struct dispatcher *d = w->d;
    struct request *r = request_find(d, w->key);
    bool is_seen = op->rc == STORE_OK && op->found && r && request_may_see(r, op->company_id);
    bool is_over = true;
    if (is_seen)
        w->job_id = op->job_id;
    if (is_seen && !w->is_told && r->op != OP_JOB_AWAIT)
        request_accepted(d, r, op->job_id, op->job_uid);
    w->is_told |= is_seen;
    if (is_seen && r->op == OP_EXECUTE_QUEUED && !r->wait_ms)
        enqueue_answer(d, r, op->job_id, op->job_uid);
    else if (is_seen && op->terminal && (!w->stands_for.is_set || w->is_ended))
        answer(w, r, op);
    else if (r && !is_seen && op->rc == STORE_OK && clock_ms() > w->since_ms + UNKNOWN_GRACE_MS)
        reply_error(d, r, ERR_JOB_NOT_FOUND, NULL, NULL);
    else if (r)
        is_over = false;
    w->is_ended = is_seen && op->terminal;
    buf_free(&op->json);
    free(op);
    if (is_over)
        awaited_free(w);
    else
        look_soon(w);
}

static void look_at_job(struct awaited *w, const struct request *r)
{
    struct store_job *op = xcalloc(1, sizeof(*op));
    op->job_id = w->job_id;
    strcpy(op->job_uid, r->job_uid);
    store_submit(w->d->store, store_job, op, looked, w);
}

static void kept_read(void *arg, void *op_arg)
{
    struct awaited *w = arg;
    struct store_key_read *op = op_arg;
    struct request *r = request_find(w->d, w->key);
    bool is_given = r && op->rc == STORE_OK && op->answer.len && answer_again(w->d, r, &op->answer);
    buf_free(&op->answer);
    free(op);
    if (!r || is_given)
        awaited_free(w);
    else
        look_at_job(w, r);
}

static void look(void *arg)
{
    struct awaited *w = arg;
    struct request *r = request_find(w->d, w->key);
    if (!r) {
        awaited_free(w);
    } else if (w->stands_for.is_set) {
        struct store_key_read *op = xcalloc(1, sizeof(*op));
        memcpy(op->scope, w->stands_for.scope, sizeof(op->scope));
        store_submit(w->d->store, store_key_read, op, kept_read, w);
    } else {
        look_at_job(w, r);
    }
}

void answer_await(struct dispatcher *d, struct request *r, const struct idempotency *key, uint64_t job_id)
{
    struct awaited *w = xcalloc(1, sizeof(*w));
    w->d = d;
    w->key = r->key;
    w->since_ms = clock_ms();
    w->job_id = job_id;
    w->stands_for = *key;
    w->timer.fn = look;
    w->timer.arg = w;
    w->next = d->awaits;
    if (w->next)
        w->next->prev = w;
    d->awaits = w;
    look(w);
}

void login_await(struct dispatcher *d, struct request *r)
{
    answer_await(d, r, &(struct idempotency){0}, 0);
}

void awaits_wake(struct dispatcher *d, uint64_t job_id)
{
    for (struct awaited *w = d->awaits; w; w = w->next)
        if (w->job_id == job_id && loop_timer_is_set(&w->timer))
            loop_timer_in(d->loop, &w->timer, 0);
}

void awaits_destroy(struct dispatcher *d)
{
    while (d->awaits)
        awaited_free(d->awaits);
}
