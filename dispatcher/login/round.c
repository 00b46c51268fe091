/* SPDX-License-Identifier: MIT */
/*
 * round.c - rounds: the steps of an item in its session after the log-in, and the close.
 *
 * Owns: each round in progress here, by its lease of kind `round`. A step is recorded as begun before its robot is
 * called. Its answer is recorded before the next step begins. So a dispatcher that takes over the lease knows the
 * state of the round. It repeats a step with unknown end only when that is safe (a GET, or `safe = true`); else
 * the item ends as outcome_unknown.
 *
 * A refusal by the robot fails the item. When the robot was unreachable, or its session is gone, the item is
 * retried with a log-in. In both cases the round's own session is closed first: between two attempts a round that
 * closes holds no session. A session that the round reused, or that was also given to another client, is never
 * closed. A close that a robot does not confirm is left to reconcile.c, which repeats it before that robot gets
 * new work.
 */
#include "dispatcher/login/round.h"
#include "dispatcher/news.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/robot/tally.h"
#include "dispatcher/session/activity.h"
#include "dispatcher/session/job_wait.h"
#include "dispatcher/session/close.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/wire/peer.h"

#include "dispatcher/robot/action_call.h"
#include "dispatcher/wire/store_reply.h"
#include "dispatcher/store/store_round.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define AGAIN_MS 200  /* retry at the database, plus as much again at random */
#define TURN_TRIES 20 /* with a long answer and the database up: after these the answer is too long for it */
#define LONG_BYTES 262144
#define CLOSE_TRIES 6      /* unconfirmed closes before it is left to reconcile.c */
#define CLOSE_AGAIN_MS 250 /* doubled each time */
#define RETRY_FIRST_MS 1000
#define RETRY_MOST_MS 60000

struct round {
    struct dispatcher *d;
    LIST_ENTRY(round) others;
    uint64_t job_id, session_ref, company_id, began_ms;
    struct queued item;
    struct lease lease;
    bool held, is_running; /* is_running: counted by queue.c */
    bool is_fresh;         /* its session was opened for this attempt */
    bool is_rescued;
    bool cancelled;
    char portal[PORTAL_ROOM], job_uid[ID_JOB_UID_BYTES], request_id[129];
    struct session_row row;
    struct loop_timer timer;
    /* its definition */
    char names[STEPS_NAMES_ROOM];
    struct jv *params; /* an array by step; NULL = no step has params */
    bool closes;
    /* its progress */
    unsigned n, done;            /* steps; those completed */
    int at;                      /* the step in progress; -1 = none */
    const struct action *action; /* its action */
    struct robot_call *call;
    struct round_answer answer; /* not recorded yet */
    /* its end */
    enum round_end ending;
    enum err error;
    char message[501];
    struct attempt_end said; /* the robot's refusal of a step */
    bool is_unbegun;
    int64_t retry_ms;
    unsigned close_tries, turn_tries;
};

struct rounds {
    LIST_HEAD(, round) all;
};

static void turn(void *arg);
static void close_ask(void *arg);
static void read_again(void *arg);

struct rounds *rounds_new(void)
{
    return xcalloc(1, sizeof(struct rounds));
}

static void drop(struct round *w)
{
    loop_timer_stop(w->d->loop, &w->timer);
    LIST_REMOVE(w, others);
    jv_wipe(w->params);
    buf_wipe(&w->answer.body);
    free(w);
}

/* Their leases end by themselves, and other dispatchers go on with them. */
void rounds_destroy(struct dispatcher *d)
{
    struct round *w;
    if (!d->rounds)
        return;
    while ((w = LIST_FIRST(&d->rounds->all)))
        drop(w);
    free(d->rounds);
    d->rounds = NULL;
}

static void round_free(struct round *w)
{
    if (w->is_running)
        w->d->news->work_ended(w->d);
    if (w->held)
        lease_drop(w->d, w->job_id, w->lease.token);
    tally_used(w->d, w->company_id, clock_ms() - w->began_ms);
    drop(w);
}

/* Another dispatcher has it. */
static void round_lost(struct round *w)
{
    log_line(LOG_WARN, "lease_lost", "job", log_i((long long)w->job_id), "kind", "round", NULL);
    round_free(w);
}

static void again_in(struct round *w, uint64_t ms, loop_timer_fn *fn)
{
    w->timer.fn = fn;
    w->timer.arg = w;
    loop_timer_in(w->d->loop, &w->timer, ms);
}

static void again_soon(struct round *w, loop_timer_fn *fn)
{
    again_in(w, AGAIN_MS + id_random_u64() % AGAIN_MS, fn);
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

static bool may_close(const struct round *w)
{
    return w->closes && w->row.ref && w->row.job_id == w->job_id;
}

/* The item has ended, or waits for its next attempt. Both are recorded. */
static void ended(struct round *w, enum round_end how)
{
    struct dispatcher *d = w->d;
    stat_inc(rounds_total);
    if (how == ROUND_DONE)
        stat_inc(queue_done_total);
    else if (how == ROUND_FAILED)
        stat_inc(queue_failed_total);
    else if (how == ROUND_CANCELLED)
        stat_inc(logins_cancelled_total);
    else
        stat_inc(logins_retried_total);
    if (how != ROUND_DONE)
        log_line(LOG_WARN,
                 how == ROUND_RETRYING ? "round_retrying"
                 : how == ROUND_FAILED ? "round_failed"
                                       : "round_cancelled",
                 "job", log_i((long long)w->job_id), "request", w->request_id, "step", log_i(w->at), "error",
                 err_code(w->error), NULL);
    if (how == ROUND_RETRYING)
        d->news->work_due_in(d, w->retry_ms);
    peers_event(d, "job", w->job_id, w->company_id,
                how == ROUND_DONE        ? "done"
                : how == ROUND_FAILED    ? "failed"
                : how == ROUND_CANCELLED ? "cancelled"
                                         : "retrying");
    job_waits_wake(d, w->job_id);
    d->news->batch_touched(d, w->item.batch_id);
    round_free(w);
}

static void closed_recorded(void *arg, void *op_arg)
{
    struct round *w = arg;
    struct store_round_closed *op = op_arg;
    struct dispatcher *d = w->d;
    enum store_rc rc = op->rc;
    bool lost = op->lost;
    enum round_end how = op->ending;
    enum place_fate place = op->place;
    free(op);
    if (rc != STORE_OK) {
        w->close_tries = CLOSE_TRIES; /* the robot has answered; its answer is requested again */
        again_soon(w, close_ask);
        return;
    }
    if (lost) {
        round_lost(w);
        return;
    }
    stat_inc(sessions_closed_total);
    peers_event(d, "session", w->job_id, w->company_id, "closed");
    if (place == PLACE_FREE) {
        peers_wake(d, "place");
        d->news->work_ready(d);
    }
    ended(w, how);
}

static void close_judged(struct dispatcher *d, void *arg, enum err e, enum place_fate place)
{
    struct round *w = arg;
    (void)d;
    if (!w->held) {
        round_lost(w);
        return;
    }
    if (e && w->close_tries++ < CLOSE_TRIES) {
        again_in(w, (uint64_t)CLOSE_AGAIN_MS << w->close_tries, close_ask);
        return;
    }
    struct store_round_closed *op = xcalloc(1, sizeof(*op));
    op->job_id = w->job_id;
    op->batch_id = w->item.batch_id;
    op->idx = w->item.idx;
    op->session_ref = w->session_ref;
    memcpy(op->token, w->lease.token, sizeof(op->token));
    op->place = e ? PLACE_KEEP_PENDING : place;
    op->retry_ms = w->retry_ms;
    store_submit(w->d->store, store_round_closed, op, closed_recorded, w);
}

static void close_ask(void *arg)
{
    struct round *w = arg;
    if (!w->held)
        round_lost(w);
    else
        close_on_robot(w->d, &w->row, w->request_id, close_judged, w);
}

/* Exponential back-off with full jitter, as for log-ins. */
static int64_t retry_in_ms(const struct round *w)
{
    uint64_t most = (uint64_t)RETRY_FIRST_MS << (w->item.attempts < 7 ? w->item.attempts : 7);
    return (int64_t)(50 + id_random_u64() % (most < RETRY_MOST_MS ? most : RETRY_MOST_MS));
}

static void end(struct round *w, enum round_end how)
{
    w->ending = how;
    w->retry_ms = how == ROUND_RETRYING ? retry_in_ms(w) : -1;
    turn(w);
}

static void fail(struct round *w, enum err e, const char *message)
{
    w->error = e;
    if (message != w->message)
        snprintf(w->message, sizeof(w->message), "%s", message && *message ? message : err_text(e));
    end(w, ROUND_FAILED);
}

/* The failure is not the robot's answer. Another attempt may succeed, unless it could run an unsafe step twice. */
static void fail_for_now(struct round *w, enum err e, const char *message, bool is_unbegun)
{
    w->is_unbegun = is_unbegun && w->at == (int)w->done;
    if (w->cancelled) {
        end(w, ROUND_CANCELLED);
    } else if (!is_unbegun && !action_is_safe(w->action)) {
        fail(w, ERR_OUTCOME_UNKNOWN, NULL);
    } else if (w->item.attempts >= w->item.tries) {
        fail(w, e, message);
    } else {
        w->error = e;
        snprintf(w->message, sizeof(w->message), "%s", message && *message ? message : err_text(e));
        end(w, ROUND_RETRYING);
    }
}

/* ---- the robot's answer ------------------------------------------------------------------------------------- */

/* Handles the robot's refusal, in its own words. */
static void refused(struct round *w, const struct jv *words)
{
    const char *error = jv_str(jv_get(words, "error")), *message = jv_str(jv_get(words, "message"));
    char name[ACTION_NAME_MAX + 1];
    steps_name(w->names, (unsigned)w->at, name);
    snprintf(w->message, sizeof(w->message), "Step %d (%s): the robot refused%s%.100s%s%.300s", w->at, name,
             error || message ? ": " : ".", error ? error : "", error && message ? ": " : "",
             message ? message : "");
    w->answer.is_refusal = true;
    attempt_words(&w->said, words);
    w->said.status = w->answer.status;
    fail(w, ERR_STEP_FAILED, w->message);
}

static void answered(void *arg, struct call_answer *a)
{
    struct round *w = arg;
    struct dispatcher *d = w->d;
    enum err failure = answer_failure(a);
    w->call = NULL;
    activity_drop(d, w->row.ref);
    robots_boot_seen(d, w->row.robot_id, a->boot_id, clock_ms() - (uint64_t)a->took_ms);
    if (!w->held) {
        round_lost(w);
        return;
    }
    if (failure)
        answer_note(NULL, robot_by_id(d, w->row.robot_id), "step", a);
    if (failure == ERR_ROBOT_BAD_RESPONSE) {
        fail(w, failure,
             a->result == CALL_TOO_BIG ? "The robot's answer to a step is longer than limit.list_bytes."
                                       : answer_message(a));
        return;
    }
    if (failure) {
        fail_for_now(w, failure, answer_message(a), a->result == CALL_NOT_SENT);
        return;
    }
    if (a->status == 404) { /* the robot does not know the session */
        if (!may_close(w))  /* else its close finds the same */
            session_gone(d, NULL, &w->row, NULL);
        if (action_is_safe(w->action))
            fail_for_now(w, ERR_SESSION_EXPIRED, NULL, false);
        else
            fail(w, ERR_SESSION_EXPIRED, NULL);
        return;
    }
    w->answer.is_set = true;
    w->answer.step = (unsigned)w->at;
    w->answer.status = a->status;
    buf_clear(&w->answer.body);
    if (a->result == CALL_ANSWERED && a->body)
        buf_add(&w->answer.body, a->body->data ? a->body->data : "", a->body->len);
    if (a->status < 200 || a->status >= 300) {
        struct jv *words = answer_words(d, a);
        refused(w, words);
        jv_free(words);
        return;
    }
    turn(w);
}

/* Handles an answer that the database judged: ok is false, or it is not a valid answer. */
static void answer_is_bad(struct round *w, enum round_verdict verdict)
{
    if (verdict == ANSWER_GARBAGE) {
        w->answer.is_set = false;
        fail(w, ERR_ROBOT_BAD_RESPONSE, NULL);
        return;
    }
    struct call_answer a = {.result = CALL_ANSWERED, .status = w->answer.status, .body = &w->answer.body};
    struct jv *words = answer_words(w->d, &a);
    refused(w, words);
    jv_free(words);
}

/* ---- a step ------------------------------------------------------------------------------------------------- */

static void step_call(void *arg)
{
    struct round *w = arg;
    struct dispatcher *d = w->d;
    const struct robot *robot = robot_by_id(d, w->row.robot_id);
    char key[ID_JOB_UID_BYTES + 40];
    if (!w->held) {
        round_lost(w);
        return;
    }
    if (w->cancelled) {
        w->is_unbegun = w->at == (int)w->done;
        end(w, ROUND_CANCELLED);
        return;
    }
    if (!lease_trusted(d, w->job_id, w->lease.token)) { /* the database was slow: the item may no longer be ours */
        leases_renew_soon(d);
        again_soon(w, step_call);
        return;
    }
    if (!robot) {
        fail_for_now(w, ERR_ROBOT_UNREACHABLE, NULL, true);
        return;
    }
    snprintf(key, sizeof(key), "%s.%llu.%d", w->job_uid, (unsigned long long)w->row.epoch, w->at);
    stat_inc(steps_total);
    activity_hold(d, w->row.ref);
    w->call = action_call(d, &(struct action_call){.action = w->action,
                                                   .robot = robot,
                                                   .row = &w->row,
                                                   .params = w->params ? jv_at(w->params, (size_t)w->at) : NULL,
                                                   .job_uid = w->job_uid,
                                                   .key = key,
                                                   .request_id = w->request_id,
                                                   .max_bytes = (size_t)d->conf->limit_list_bytes,
                                                   .done = answered,
                                                   .arg = w});
}

static const struct action *step_action(const struct round *w, unsigned step)
{
    char name[ACTION_NAME_MAX + 1];
    return steps_name(w->names, step, name) ? action_find(&w->d->conf->actions, name) : NULL;
}

/* Finds the step to run, from `step` on: a completed unsafe step is not run again. n = none. */
static unsigned step_next(const struct round *w, unsigned step)
{
    while (step < w->n && step < w->done && step_action(w, step) && !action_is_safe(step_action(w, step)))
        step++;
    return step;
}

/* ---- a turn: what ended is recorded, and what begins -------------------------------------------------------- */

static void turn_recorded(void *arg, void *op_arg)
{
    struct round *w = arg;
    struct store_round_turn *op = op_arg;
    struct dispatcher *d = w->d;
    if (op->rc != STORE_OK) {
        free(op);
        bool is_too_long =
            w->answer.body.len > LONG_BYTES && store_is_up(d->store) && w->turn_tries++ > TURN_TRIES;
        if (is_too_long) {
            w->answer.is_set = false;
            fail(w, ERR_ROBOT_BAD_RESPONSE,
                 "The database does not take an answer as long as this step's (max_allowed_packet).");
        } else {
            again_soon(w, turn);
        }
        return;
    }
    w->turn_tries = 0;
    if (op->verdict != ANSWER_GOOD) {
        enum round_verdict verdict = op->verdict;
        free(op);
        answer_is_bad(w, verdict);
        return;
    }
    bool lost = op->lost, gone = op->gone, is_closing = op->is_closing,
         is_left = op->next < 0 && op->ending == ROUND_ON;
    int next = op->next;
    if (is_closing)
        w->row = op->row;
    w->done = op->steps_done;
    buf_wipe(&w->answer.body);
    w->answer = (struct round_answer){0};
    free(op);
    if (lost || !w->held) {
        round_lost(w);
    } else if (is_left) { /* we shut down: another dispatcher begins the next step, once our lease ends */
        round_free(w);
    } else if (gone) {
        w->action = step_action(w, (unsigned)next);
        w->at = next;
        fail_for_now(w, ERR_SESSION_LOST, NULL, true);
    } else if (next >= 0) {
        w->at = next;
        w->action = step_action(w, (unsigned)next);
        d->news->batch_touched(d, w->item.batch_id);
        step_call(w);
    } else if (is_closing) {
        close_ask(w);
    } else {
        ended(w, w->ending);
    }
}

/* A good answer ends its step. The next step then begins, unless we shut down. Without a next step the round is
 * done. */
static void turn(void *arg)
{
    struct round *w = arg;
    if (!w->held) {
        round_lost(w);
        return;
    }
    struct store_round_turn *op = xcalloc(1, sizeof(*op));
    bool is_good = w->answer.is_set && !w->answer.is_refusal && w->ending == ROUND_ON;
    unsigned from = w->at < 0 ? (w->is_fresh || w->is_rescued ? 0 : w->done) : (unsigned)w->at + is_good;
    op->steps_done = is_good && (unsigned)w->at >= w->done ? (unsigned)w->at + 1 : w->done;
    unsigned done_before = w->done;
    w->done = op->steps_done; /* for step_next() */
    unsigned next = step_next(w, from);
    w->done = done_before;
    op->job_id = w->job_id;
    op->batch_id = w->item.batch_id;
    op->idx = w->item.idx;
    op->session_ref = w->session_ref;
    op->company_id = w->company_id;
    strcpy(op->portal, w->portal);
    memcpy(op->token, w->lease.token, sizeof(op->token));
    op->seal = w->d->seal;
    op->answer = w->answer;
    if (w->ending == ROUND_ON && w->cancelled)
        w->ending = ROUND_CANCELLED;
    else if (w->ending == ROUND_ON && next >= w->n)
        w->ending = ROUND_DONE;
    op->next = w->ending == ROUND_ON && !w->d->draining ? (int)next : -1;
    op->ending = w->ending;
    op->is_unbegun = w->is_unbegun && w->ending != ROUND_ON;
    op->may_close = may_close(w);
    op->retry_ms = w->retry_ms;
    if (w->error) {
        snprintf(op->error, sizeof(op->error), "%s", err_code(w->error));
        strcpy(op->message, w->message);
        op->said = w->said;
    }
    store_submit(w->d->store, store_round_turn, op, turn_recorded, w);
}

/* ---- the beginning ------------------------------------------------------------------------------------------ */

static bool steps_known(const struct round *w)
{
    for (unsigned i = 0; i < w->n; i++)
        if (!step_action(w, i) || step_action(w, i)->session != ACTION_USE)
            return false;
    return true;
}

static bool params_open(struct round *w, const struct buf *sealed)
{
    struct buf plain = {0};
    enum jv_bad why;
    if (!sealed->len)
        return true;
    if (w->d->seal && seal_unwrap(w->d->seal, 0, w->portal, "then", sealed->data, sealed->len, &plain))
        w->params = jv_parse(plain.data, plain.len, &why);
    buf_wipe(&plain);
    return jv_type(w->params) == JV_ARRAY && jv_len(w->params) == w->n;
}

/* Whether a step was begun whose end is unknown here: its dispatcher died, or it failed in an earlier attempt. */
static bool is_step_open(const struct store_round_read *op)
{
    return op->step >= 0 && (unsigned)op->step == op->steps_done;
}

static void go_on(struct round *w, const struct store_round_read *op)
{
    bool is_good = steps_known(w) && params_open(w, &op->params);
    if (op->ending != ROUND_ON) { /* only its close is left */
        w->ending = op->ending;
        w->error = err_from_code(op->error, strlen(op->error));
        w->error = w->error == ERR_COUNT ? ERR_OK : w->error;
        snprintf(w->message, sizeof(w->message), "%.500s", op->message);
        w->retry_ms = op->ending == ROUND_RETRYING ? retry_in_ms(w) : -1;
        if (w->row.state == SESSION_CLOSING)
            close_ask(w);
        else
            turn(w);
        return;
    }
    if (!is_good) {
        fail(w, ERR_VALIDATION_FAILED,
             "This dispatcher does not know a step's action, or cannot open its params with its seal key.");
        return;
    }
    if (is_step_open(op) && (unsigned)op->step < w->n && !action_is_safe(step_action(w, (unsigned)op->step))) {
        w->at = op->step;
        fail(w, ERR_OUTCOME_UNKNOWN, NULL);
        return;
    }
    if (w->is_rescued && op->step >= 0 && (unsigned)op->step < w->n) {
        if ((unsigned)op->step + 1 == op->steps_done) /* it ended, and the next one did not begin */
            w->is_fresh = w->is_rescued = false;
        else /* a safe step: once more */
            w->at = op->step;
        w->action = step_action(w, (unsigned)op->step);
    }
    turn(w);
}

static void was_read(void *arg, void *op_arg)
{
    struct round *w = arg;
    struct store_round_read *op = op_arg;
    if (op->rc != STORE_OK) {
        again_soon(w, read_again);
    } else if (!w->held) {
        round_lost(w);
    } else {
        if (op->found) {
            strcpy(w->names, op->names);
            w->closes = op->closes;
            strcpy(w->job_uid, op->job_uid);
            strcpy(w->request_id, op->request_id);
            w->done = op->steps_done;
        }
        w->n = steps_count(w->names);
        if (op->row.ref)
            w->row = op->row;
        strcpy(w->portal, op->portal);
        if (op->found)
            go_on(w, op);
        else /* Laravel deleted the job, which cancels it */
            end(w, ROUND_CANCELLED);
    }
    buf_free(&op->params);
    free(op);
}

static void read_again(void *arg)
{
    struct round *w = arg;
    if (!w->held) {
        round_lost(w);
        return;
    }
    struct store_round_read *op = xcalloc(1, sizeof(*op));
    op->job_id = w->job_id;
    op->batch_id = w->item.batch_id;
    op->idx = w->item.idx;
    op->session_ref = w->session_ref;
    op->step = -1;
    store_submit(w->d->store, store_round_read, op, was_read, w);
}

/* Lost: the lease's new holder continues. To stop: the step in flight ends now, whatever its effect. */
static void lease_told(struct dispatcher *d, uint64_t job_id, enum lease_news news, void *arg)
{
    struct round *w = arg;
    (void)job_id;
    if (news == LEASE_LOST)
        w->held = false;
    else
        w->cancelled = true;
    if (!w->call)
        return; /* the next action will find out */
    call_stop(w->call);
    w->call = NULL;
    activity_drop(d, w->row.ref);
    if (news == LEASE_LOST)
        round_lost(w);
    else
        end(w, ROUND_CANCELLED);
}

static struct round *round_new(struct dispatcher *d, uint64_t job_id, uint64_t company_id,
                               const struct queued *item, const struct lease *lease)
{
    struct round *w = xcalloc(1, sizeof(*w));
    w->d = d;
    LIST_INSERT_HEAD(&d->rounds->all, w, others);
    w->job_id = job_id;
    w->company_id = company_id;
    w->item = *item;
    w->lease = *lease;
    w->at = -1;
    w->retry_ms = -1;
    w->began_ms = clock_ms();
    lease_hold(d, job_id, &w->lease, lease_told, w);
    w->held = true;
    return w;
}

void round_logged_in(struct login *l, const struct session_row *row)
{
    struct dispatcher *d = l->d;
    if (l->held)
        lease_drop(d, l->job_id, l->lease.token);
    l->held = false;
    struct round *w = round_new(d, l->job_id, l->company_id, &l->item, &l->lease);
    w->is_running = l->is_running;
    w->is_fresh = true;
    w->cancelled = l->cancelled;
    w->row = *row;
    w->session_ref = row->ref;
    l->is_running = false;
    login_free(l);
    read_again(w);
}

void round_met(struct dispatcher *d, struct claimed *got, const struct lease *lease)
{
    struct round *w = round_new(d, got->job_id, got->company_id, &got->item, lease);
    w->is_running = true;
    w->session_ref = got->session_ref;
    tally_queued(d, w->company_id, got->waited_ms);
    stat_inc(queue_met_total);
    buf_free(&got->params);
    buf_free(&got->credentials);
    read_again(w);
}

void round_rescued(struct dispatcher *d, const struct rescued *job, const struct lease *lease)
{
    struct round *w = round_new(d, job->job_id, job->row.company_id, &job->item, lease);
    w->is_rescued = true;
    w->cancelled = job->cancelled;
    w->row = job->row;
    w->session_ref = job->row.ref;
    read_again(w);
}
