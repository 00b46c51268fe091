/* SPDX-License-Identifier: MIT */
/*
 * job_wait.c - waits for the outcome of a job run elsewhere, by polling until it is terminal. Used after a broker's
 * dispatcher died, for a log-in whose lease was taken over, for queued log-ins with a waiting client, and for a
 * second request with the same Idempotency-Key.
 *
 * Owns: the waiters, by the job and key that they wait for. A waiting request holds no credit (bulkhead.c).
 * However many wait, one query asks the database for 256 jobs, five times a second. Only ended jobs are read in
 * full, once for all of their waiters.
 */
#include "dispatcher/session/job_wait.h"
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/session/login_answer.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/wire/idempotency.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define LOOK_MS 200
#define AGAIN_MS 2            /* for the other waiters, after the first one's answer was stored */
#define UNKNOWN_GRACE_MS 1500 /* the dying dispatcher's commit may still arrive */

struct waiter {
    uint64_t key, since_ms;
    bool is_told; /* the broker knows the job */
    struct waiter *next;
};

struct awaited {
    struct dispatcher *d;
    uint64_t job_id; /* 0 = only its job_uid is known */
    char job_uid[ID_JOB_UID_BYTES];
    bool is_looking; /* an op on it is in flight */
    bool is_ended;   /* terminal at the last look: its answer may not be stored yet */
    uint64_t round;  /* the round of polls that last asked for it */
    struct idempotency stands_for;
    struct loop_timer timer;
    struct waiter *waiters;
    LIST_ENTRY(awaited) of_all;
};

struct job_waits {
    struct dispatcher *d;
    LIST_HEAD(awaited_list, awaited) list;
    struct loop_timer poll;
    bool is_polling;
    uint64_t round;
};

struct poll {
    struct job_waits *a;
    struct store_jobs_over op;
};

static void look(void *arg);
static void look_at_job(struct awaited *w);

static void awaited_free(struct awaited *w)
{
    loop_timer_stop(w->d->loop, &w->timer);
    LIST_REMOVE(w, of_all);
    for (struct waiter *one; (one = w->waiters);) {
        w->waiters = one->next;
        free(one);
    }
    free(w);
}

/* Forgets waiters that are gone. Returns the first one still waiting, NULL = none. */
static struct request *first_waiter(struct awaited *w)
{
    struct request *first = NULL;
    for (struct waiter **at = &w->waiters; *at;) {
        struct waiter *one = *at;
        struct request *r = request_find(w->d, one->key);
        if (!r) {
            *at = one->next;
            free(one);
            continue;
        }
        first = first ? first : r;
        at = &one->next;
    }
    return first;
}

/* Gives the answer that the job's execute would have given, as far as the database knows it. */
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

/* Checks whether r may see the job just read. If so r is answered, if there is an answer. Returns false when r
 * waits on. */
static bool looked_for(struct awaited *w, struct waiter *one, struct request *r, struct store_job *op)
{
    struct dispatcher *d = w->d;
    bool is_seen = op->rc == STORE_OK && op->found && request_may_see(r, op->company_id);
    if (is_seen && !one->is_told && r->op != OP_JOB_AWAIT)
        request_accepted(d, r, op->job_id, op->job_uid);
    one->is_told |= is_seen;
    if (is_seen && r->op == OP_EXECUTE_QUEUED && !r->wait_ms)
        enqueue_answer(d, r, op->job_id, op->job_uid);
    else if (is_seen && op->terminal && (!w->stands_for.is_set || w->is_ended))
        answer(w, r, op);
    else if (!is_seen && op->rc == STORE_OK && clock_ms() > one->since_ms + UNKNOWN_GRACE_MS)
        reply_error(d, r, ERR_JOB_NOT_FOUND, NULL, NULL);
    else
        return false;
    return true;
}

static void looked(void *arg, void *op_arg)
{
    struct awaited *w = arg;
    struct store_job *op = op_arg;
    bool is_over = op->rc == STORE_OK && op->found && op->terminal, is_kept = false;
    w->is_looking = false;
    if (op->rc == STORE_OK && op->found)
        w->job_id = op->job_id;
    for (struct waiter *one = w->waiters; one && !is_kept; one = one->next) {
        struct request *r = request_find(w->d, one->key);
        /* the first answer under a key is stored; the others receive the stored one */
        is_kept = r && looked_for(w, one, r, op) && is_over && w->is_ended && w->stands_for.is_set;
    }
    bool is_to_be_kept = is_over && w->stands_for.is_set, is_unseen = !w->job_id;
    w->is_ended = is_over;
    buf_free(&op->json);
    free(op);
    if (!first_waiter(w)) {
        awaited_free(w);
        return;
    }
    for (struct waiter *one = w->waiters; one; one = one->next)
        is_unseen |= !one->is_told;
    if (is_kept)
        loop_timer_in(w->d->loop, &w->timer, AGAIN_MS);
    else if (is_to_be_kept || is_unseen)
        loop_timer_in(w->d->loop, &w->timer, LOOK_MS); /* else the poll finds it */
}

static void look_at_job(struct awaited *w)
{
    struct store_job *op = xcalloc(1, sizeof(*op));
    op->job_id = w->job_id;
    strcpy(op->job_uid, w->job_uid);
    store_submit(w->d->store, store_job, op, looked, w);
}

static void kept_read(void *arg, void *op_arg)
{
    struct awaited *w = arg;
    struct store_key_read *op = op_arg;
    for (struct waiter *one = w->waiters; one && op->rc == STORE_OK && op->answer.len; one = one->next) {
        struct request *r = request_find(w->d, one->key);
        if (r)
            answer_again(w->d, r, &op->answer);
    }
    buf_free(&op->answer);
    free(op);
    if (first_waiter(w)) {
        look_at_job(w);
        return;
    }
    awaited_free(w);
}

static void look(void *arg)
{
    struct awaited *w = arg;
    if (w->is_looking)
        return;
    if (!first_waiter(w)) {
        awaited_free(w);
        return;
    }
    w->is_looking = true;
    if (w->stands_for.is_set) {
        struct store_key_read *op = xcalloc(1, sizeof(*op));
        memcpy(op->scope, w->stands_for.scope, sizeof(op->scope));
        store_submit(w->d->store, store_key_read, op, kept_read, w);
    } else {
        look_at_job(w);
    }
}

/* ---- the poll ----------------------------------------------------------------------------------------------- */

static void poll_next(struct job_waits *a);

static void polled(void *arg, void *op_arg)
{
    struct poll *p = arg;
    struct job_waits *a = p->a;
    const struct store_jobs_over *op = op_arg;
    for (struct awaited *w = LIST_FIRST(&a->list), *next; w; w = next) {
        next = LIST_NEXT(w, of_all);
        for (unsigned i = 0; i < op->n && op->rc == STORE_OK; i++)
            if (w->job_id == op->job_id[i]) {
                if (op->is_over[i] && !loop_timer_is_set(&w->timer))
                    look(w);
                break;
            }
    }
    free(p);
    a->is_polling = false;
    poll_next(a);
}

/* Polls up to JOBS_OVER_MAX jobs that this round has not asked for yet. */
static void poll_next(struct job_waits *a)
{
    struct poll *p = NULL;
    for (struct awaited *w = LIST_FIRST(&a->list), *next; w; w = next) {
        next = LIST_NEXT(w, of_all);
        if (!w->job_id || w->is_looking || w->round == a->round)
            continue;
        if (!first_waiter(w)) {
            awaited_free(w);
            continue;
        }
        p = p ? p : xcalloc(1, sizeof(*p));
        w->round = a->round;
        p->op.job_id[p->op.n++] = w->job_id;
        if (p->op.n == JOBS_OVER_MAX)
            break;
    }
    if (!p)
        return;
    p->a = a;
    a->is_polling = true;
    store_submit(a->d->store, store_jobs_over, &p->op, polled, p);
}

static void poll_due(void *arg)
{
    struct job_waits *a = arg;
    loop_timer_in(a->d->loop, &a->poll, LOOK_MS);
    if (a->is_polling)
        return;
    a->round++;
    poll_next(a);
}

/* ---- what others ask ---------------------------------------------------------------------------------------- */

static bool is_same(const struct awaited *w, const struct idempotency *key, uint64_t job_id)
{
    return job_id && w->job_id == job_id && w->stands_for.is_set == key->is_set &&
           (!key->is_set || memcmp(w->stands_for.scope, key->scope, sizeof(key->scope)) == 0);
}

static struct awaited *awaited_of(struct dispatcher *d, const struct request *r, const struct idempotency *key,
                                  uint64_t job_id)
{
    struct awaited *w;
    LIST_FOREACH(w, &d->job_waits->list, of_all)
        if (is_same(w, key, job_id))
            return w;
    w = xcalloc(1, sizeof(*w));
    w->d = d;
    w->job_id = job_id;
    strcpy(w->job_uid, job_id ? "" : r->job_uid);
    w->stands_for = *key;
    w->timer.fn = look;
    w->timer.arg = w;
    LIST_INSERT_HEAD(&d->job_waits->list, w, of_all);
    return w;
}

void answer_await(struct dispatcher *d, struct request *r, const struct idempotency *key, uint64_t job_id)
{
    if (!bulkhead_park(d, r)) {
        if (r->op != OP_EXECUTE_QUEUED) {
            stat_inc(bulkhead_refused_total);
            reply_error(d, r, ERR_QUEUE_FULL, "Too many requests of this company wait already; try again.",
                        job_id ? job_extra(job_id, NULL) : NULL);
            return;
        }
        r->wait_ms = 0; /* it is queued, and its client learns that at once */
    }
    struct awaited *w = awaited_of(d, r, key, job_id);
    struct waiter *one = xcalloc(1, sizeof(*one));
    *one = (struct waiter){.key = r->key, .since_ms = clock_ms(), .next = w->waiters};
    w->waiters = one;
    if (!w->is_looking && !loop_timer_is_set(&w->timer))
        loop_timer_in(d->loop, &w->timer, 0);
}

void job_wait(struct dispatcher *d, struct request *r)
{
    answer_await(d, r, &(struct idempotency){0}, 0);
}

void job_waits_wake(struct dispatcher *d, uint64_t job_id)
{
    struct awaited *w;
    LIST_FOREACH(w, &d->job_waits->list, of_all)
        if (w->job_id == job_id && !w->is_looking)
            loop_timer_in(d->loop, &w->timer, 0);
}

struct job_waits *job_waits_new(struct dispatcher *d)
{
    struct job_waits *a = xcalloc(1, sizeof(*a));
    a->d = d;
    a->poll = (struct loop_timer){.fn = poll_due, .arg = a};
    loop_timer_in(d->loop, &a->poll, LOOK_MS);
    return a;
}

void job_waits_destroy(struct dispatcher *d)
{
    if (!d->job_waits)
        return;
    loop_timer_stop(d->loop, &d->job_waits->poll);
    while (!LIST_EMPTY(&d->job_waits->list))
        awaited_free(LIST_FIRST(&d->job_waits->list));
    free(d->job_waits);
    d->job_waits = NULL;
}
