/* SPDX-License-Identifier: MIT */
/*
 * execute.c - EXECUTE_LOGIN: a client's log-in from its request to a reserved place, or to an existing session,
 * log-in or answer. login.c continues from there.
 */
#include "dispatcher/login/execute.h"
#include "dispatcher/login/login.h"
#include "dispatcher/login/migrate.h"
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/robot/portals.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/job_wait.h"
#include "dispatcher/session/close.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/store/together.h"
#include "dispatcher/wire/idempotency.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"
#include "dispatcher/wire/store_reply.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOSING_LOOK_MS 100

struct entry { /* a request on its way to a reserved place */
    struct login *login;
    struct buf sealed;
    bool force_new;
    uint64_t old_ref; /* the session that force_new closes; 0 = none was found yet */
    bool was_planned; /* a plan for the sessions of a dead robot was requested */
    struct store_reserve *op;
};

static void reserve(struct entry *e);

static void entry_free(struct entry *e, bool with_login)
{
    if (e->op) {
        buf_free(&e->op->credentials);
        free(e->op);
    }
    buf_free(&e->sealed);
    if (with_login)
        login_free(e->login);
    free(e);
}

static void entry_refuse(struct entry *e, enum err error, const char *message, struct jv *extra)
{
    struct request *r = login_waiter(e->login);
    if (r)
        reply_error(e->login->d, r, error, message, extra);
    else
        jv_free(extra);
    entry_free(e, true);
}

static void entry_refuse_store(struct entry *e, enum err error, const char *message)
{
    char words[REFUSAL_WORDS_ROOM];
    const struct db_refusal *why = error == ERR_REFUSED_BY_DATABASE ? store_refusal(e->login->d->store) : NULL;
    entry_refuse(e, error, why ? refusal_message(why, words) : message, refusal_extra(why));
}

static void look_again(void *arg)
{
    struct entry *e = arg;
    struct login *l = e->login;
    struct request *r = login_waiter(l);
    if (r && !bulkhead_database_try(l->d, r, l->company_id)) /* others of its company are looking now */
        loop_timer_in(l->d->loop, &l->timer, CLOSING_LOOK_MS);
    else
        reserve(e);
}

/* The last session is being closed: looks again until the deadline. */
static void wait_for_close(struct entry *e)
{
    struct login *l = e->login;
    struct request *r = login_waiter(l);
    if (!r || request_left_ms(l->d, r) < LOGIN_BEFORE_DEADLINE_MS) {
        entry_refuse(e, ERR_WRONG_STATE, "The company's last session is still being closed.", NULL);
        return;
    }
    bulkhead_park(l->d, r);
    l->timer.fn = look_again;
    l->timer.arg = e;
    loop_timer_in(l->d->loop, &l->timer, CLOSING_LOOK_MS);
}

static void forced_close_done(struct dispatcher *d, void *arg, enum err error, const struct session_row *row)
{
    struct entry *e = arg;
    (void)d;
    if (!error) {
        e->force_new = false;
        reserve(e);
    } else if (error == ERR_WRONG_STATE) /* somebody else closes it, whose robot may not confirm that */
        wait_for_close(e);
    else if (error == ERR_LOGIN_IN_PROGRESS)
        entry_refuse(e, error, "A round of a batch works in the company's session.", job_extra(row->job_id, NULL));
    else
        entry_refuse_store(e, error,
                           error == ERR_ROBOT_UNREACHABLE ? "The robot did not confirm the close; nothing changed."
                                                          : NULL);
}

/* The session's robot is down. Dead: the session migrates or is lost in a moment. Silent: the session is kept, and
 * nothing can be done. */
static void robot_down(struct entry *e, const struct session_row *row)
{
    struct dispatcher *d = e->login->d;
    const struct robot *robot = robot_by_id(d, row->robot_id);
    if (robot && robot->verdict == VERDICT_DOWN && robot->down == DOWN_DEAD) {
        if (!e->was_planned)
            migrate_robot_changed(d, robot->id, "robot_down");
        e->was_planned = true;
        wait_for_close(e);
        return;
    }
    entry_refuse(e, ERR_ROBOT_SILENT, NULL, NULL);
}

static void reused(struct entry *e, const struct session_row *row)
{
    struct login *l = e->login;
    struct request *r = login_waiter(l);
    const struct robot *robot = robot_by_id(l->d, row->robot_id);
    if (robot && robot->verdict == VERDICT_DOWN) {
        robot_down(e, row);
        return;
    }
    if (e->force_new && e->old_ref && e->old_ref != row->ref) { /* the old one was closed, and this one is new */
        e->force_new = false;
        reserve(e);
        return;
    }
    if (e->force_new) {
        e->old_ref = row->ref;
        close_session(l->d, row, SESSION_CLOSED, "force_new", r, false, NULL, forced_close_done, e);
        return;
    }
    stat_inc(logins_reused_total);
    answer_keep(l->d, &l->key, l->company_id, l->portal, r ? r->key : 0, 200, ERR_OK, NULL,
                login_body(l->d, row, row->job_uid, NULL, true));
    entry_free(e, true);
}

static void begin(struct entry *e)
{
    struct login *l = e->login;
    struct store_reserve *op = e->op;
    struct request *r = login_waiter(l);
    stat_inc(logins_total);
    l->job_id = op->job_id;
    l->session_ref = op->session_ref;
    l->epoch = op->epoch;
    l->robot_id = op->robot_id;
    l->credentials = op->credentials;
    l->refused = op->refused;
    op->credentials = (struct buf){0};
    if (r) {
        r->db_ms += (int64_t)(clock_us() - r->arrived_us) / 1000;
        request_accepted(l->d, r, l->job_id, NULL);
    }
    entry_free(e, false);
    login_hold(l);
    login_call(l);
}

/* The key already has a job, whose outcome is the answer. */
static void replay(struct entry *e)
{
    struct login *l = e->login;
    struct request *r = login_waiter(l);
    if (r) {
        r->replayed = true;
        answer_await(l->d, r, &l->key, e->op->job_id);
    }
    entry_free(e, true);
}

/* The portal is down and not yet due for a trial, or has reached its limit of log-ins. */
static void refuse_gated(struct entry *e)
{
    const struct store_reserve *op = e->op;
    struct jv *extra = jv_new_object();
    char message[300];
    if (op->gate_why == GATE_BREAKER)
        snprintf(message, sizeof(message),
                 "The portal %s is down (%.64s); one log-in a second is let through to see whether it is back.",
                 op->portal, op->gate_error[0] ? op->gate_error : "portal_unavailable");
    else
        snprintf(message, sizeof(message), "The portal %s gets as many log-ins as it may (portals.%s.%s).",
                 op->portal, op->portal, op->gate_why == GATE_PACE ? "logins_per_minute" : "logins_at_once");
    jv_set_str(extra, "portal", op->portal);
    jv_set_int(extra, "retry_after_ms", (int64_t)(op->gate_wait_us / 1000 + 1));
    stat_inc(logins_gated_total);
    entry_refuse(e, ERR_PORTAL_UNAVAILABLE, message, extra);
}

static void reserved(void *arg, void *op_arg)
{
    struct entry *e = arg;
    struct store_reserve *op = op_arg;
    struct login *l = e->login;
    struct request *asker = login_waiter(l);
    if (asker)
        bulkhead_database_left(l->d, asker);
    if (op->rc != STORE_OK) {
        entry_refuse_store(e, store_err(op->rc), store_down_words(l->d));
        return;
    }
    switch (op->outcome) {
    case RESERVE_OK:
        begin(e);
        return;
    case RESERVE_REUSED:
        reused(e, &op->row);
        return;
    case RESERVE_MIGRATING:
        migrate_urgent(l->d, op->row.job_id);
        entry_refuse(e, ERR_LOGIN_IN_PROGRESS, "The session is moving to another robot.",
                     job_extra(op->row.job_id, NULL));
        return;
    case RESERVE_IN_PROGRESS:
        entry_refuse(e, ERR_LOGIN_IN_PROGRESS, NULL, job_extra(op->row.job_id, NULL));
        return;
    case RESERVE_CLOSING:
        wait_for_close(e);
        return;
    case RESERVE_ROBOT_DOWN:
        robot_down(e, &op->row);
        return;
    case RESERVE_ROWLESS: /* never two on the portal at once: it is closed first */
        close_session(l->d, &op->row, SESSION_CLOSED, "row_deleted", login_waiter(l), false, NULL,
                      forced_close_done, e);
        return;
    case RESERVE_NO_PLACE:
        entry_refuse(e, ERR_NO_FREE_WORKER, NULL, NULL);
        return;
    case RESERVE_GATED:
        refuse_gated(e);
        return;
    case RESERVE_MISMATCH:
        entry_refuse(e, ERR_IDEMPOTENCY_MISMATCH, NULL, NULL);
        return;
    case RESERVE_REPLAY:
        replay(e);
        return;
    case RESERVE_DUP_UID:
    case RESERVE_LOST:
        break;
    }
    struct request *r = login_waiter(l);
    if (r) /* this very job exists: its outcome is the answer */
        job_wait(l->d, r);
    entry_free(e, true);
}

static void reserve(struct entry *e)
{
    struct login *l = e->login;
    struct dispatcher *d = l->d;
    struct request *r = login_waiter(l);
    if (!r) { /* cancelled before anything was written */
        entry_free(e, true);
        return;
    }
    bool is_first = !e->op; /* afterwards a session is there, which no group takes */
    if (is_first)
        e->op = xcalloc(1, sizeof(*e->op));
    struct store_reserve *op = e->op;
    strcpy(op->job_uid, l->job_uid);
    op->company_id = l->company_id;
    strcpy(op->portal, l->portal);
    strcpy(op->action, l->action->name);
    op->priority = r->priority;
    op->remember = r->remember;
    op->params = e->sealed.data;
    op->params_len = e->sealed.len;
    op->token_id = r->token_id;
    op->user_id = r->user_id;
    strcpy(op->request_id, r->request_id);
    lease_fill(d, &l->lease, l->action->timeout_ms);
    op->lease = l->lease;
    op->laravel_max_age_ms = d->conf->session_idle_timeout_s * 1000;
    op->key = l->key;
    op->force_new = e->force_new;
    op->gate = portals_gate(d, l->portal);
    op->breaker = portals_times(d);
    uint32_t full[CANDIDATES_MAX];
    unsigned n_full = bulkhead_full_robots(d, r, full, CANDIDATES_MAX);
    op->n_candidates = robots_candidates(d, op->candidate, CANDIDATES_MAX, full, n_full);
    if (is_first)
        reserve_together(d->together, op, reserved, e);
    else
        store_submit(d->store, store_reserve, op, reserved, e);
}

void refuse_field(struct dispatcher *d, struct request *r, const char *field, const char *why)
{
    struct jv *extra = jv_new_object(), *errors = jv_new_object(), *list = jv_new_array();
    jv_push_str(list, why);
    jv_set(errors, field, list);
    jv_set(extra, "errors", errors);
    reply_error(d, r, ERR_VALIDATION_FAILED, NULL, extra);
}

bool login_may_start(struct dispatcher *d, struct request *r)
{
    const struct action *action = action_find(&d->conf->actions, r->action);
    if (!action || action->session != ACTION_CREATE) {
        refuse_field(d, r, "action", "This dispatcher does not know the action.");
        return false;
    }
    if (!r->company_id) {
        refuse_field(d, r, "company_id", "is needed");
        return false;
    }
    if (strcmp(action->portal, r->portal) != 0) { /* else a second session at its portal */
        refuse_field(d, r, "portal", "is not the portal of this action");
        return false;
    }
    if (!d->robots_revision) { /* just started: no robot is known yet */
        reply_error(d, r, ERR_DATABASE_UNAVAILABLE, NULL, NULL);
        return false;
    }
    if (r->remember && !d->seal) {
        refuse_field(d, r, "remember", "Credentials cannot be kept: the dispatcher has no seal.key_file.");
        return false;
    }
    return true;
}

void login_start(struct dispatcher *d, struct request *r)
{
    struct idempotency key;
    if (!bulkhead_database(d, r, r->company_id, login_start) || !login_may_start(d, r) ||
        !idempotency_of(d, r, "execute", r->company_id, &key))
        return;
    struct login *l = login_new(d);
    struct entry *e = xcalloc(1, sizeof(*e));
    e->login = l;
    e->force_new = r->force_new;
    l->key = key;
    l->request_key = r->key;
    l->company_id = r->company_id;
    l->action = action_find(&d->conf->actions, r->action);
    strcpy(l->portal, r->portal);
    strcpy(l->job_uid, r->job_uid);
    strcpy(l->request_id, r->request_id);
    strcpy(l->traceparent, r->traceparent);
    l->attempt.queued_ms = (int64_t)r->waited_ms;
    if (r->params) {
        buf_add(&l->params, r->params, r->params_len);
        if (d->seal)
            seal_wrap(d->seal, l->company_id, l->portal, "params", r->params, r->params_len, &e->sealed);
        if (r->remember)
            seal_wrap(d->seal, l->company_id, l->portal, "credentials", r->params, r->params_len, &l->remember);
    }
    reserve(e);
}
