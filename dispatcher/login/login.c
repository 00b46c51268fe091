/* SPDX-License-Identifier: MIT */
/*
 * login.c - log-ins: execute of a log-in action, and those claimed from the queue.
 *
 * Owns: each log-in from its reserved place to its recorded outcome. The job is durable. A synchronous job has one
 * attempt; a queued one is retried later. A waiter is only notified of the outcome. Another robot is tried only
 * when nothing was sent or the robot was full. Must never call a robot without a trusted lease, forget a session
 * that a robot opened, or log the contents of params.
 */
#include "dispatcher/login/login.h"
#include "dispatcher/login/round.h"
#include "dispatcher/news.h"
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/robot/portals.h"
#include "dispatcher/robot/robot_calls.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/robot/tally.h"
#include "dispatcher/session/job_wait.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/store/together.h"
#include "dispatcher/wire/idempotency.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"
#include "dispatcher/wire/store_reply.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_BYTES 65536
#define RECORD_AGAIN_MS 200  /* at first, then doubled each time */
#define RECORD_DOUBLED_MAX 4 /* doublings: up to every 3 s or so; at once when the database is back */
#define STALE_TRIES 3

#define RETRY_FIRST_MS 1000
#define RETRY_MOST_MS 60000
#define FULL_AGAIN_MS 1000 /* after all robots reported that they are full */

struct logins {
    LIST_HEAD(login_list, login) all;
};

struct logins *logins_new(void)
{
    return xcalloc(1, sizeof(struct logins));
}

struct login *login_new(struct dispatcher *d)
{
    struct login *l = xcalloc(1, sizeof(*l));
    l->d = d;
    LIST_INSERT_HEAD(&d->logins->all, l, others);
    return l;
}

static void drop(struct login *l)
{
    loop_timer_stop(l->d->loop, &l->timer);
    LIST_REMOVE(l, others);
    buf_wipe(&l->params);
    buf_free(&l->credentials);
    buf_free(&l->remember);
    jv_free(l->extra);
    free(l);
}

/* A log-in in flight when we end is found by its lease: another dispatcher asks the robot. */
void logins_destroy(struct dispatcher *d)
{
    struct login *l;
    if (!d->logins)
        return;
    while ((l = LIST_FIRST(&d->logins->all)))
        drop(l);
    free(d->logins);
    d->logins = NULL;
}

void login_free(struct login *l)
{
    if (l->is_running)
        l->d->news->work_ended(l->d);
    if (l->held)
        lease_drop(l->d, l->job_id, l->lease.token);
    if (l->began_ms)
        tally_used(l->d, l->company_id, clock_ms() - l->began_ms);
    drop(l);
}

struct request *login_waiter(struct login *l)
{
    return l->request_key ? request_find(l->d, l->request_key) : NULL;
}

/* ---- answers ------------------------------------------------------------------------------------------------ */

void login_tell_waiter(struct login *l, enum err error)
{
    struct request *r = login_waiter(l);
    l->request_key = 0;
    if (r)
        reply_error(l->d, r, error, l->message, job_extra(l->job_id, l->job_uid));
}

/* ---- the outcome -------------------------------------------------------------------------------------------- */

static void record_done(void *arg);
static void record_failed(void *arg);
static void call_again(void *arg);

static void again_soon(struct login *l, loop_timer_fn *fn)
{
    struct request *r = login_waiter(l);
    if (r && request_left_ms(l->d, r) < LOGIN_BEFORE_DEADLINE_MS)
        login_tell_waiter(l, ERR_DATABASE_UNAVAILABLE);
    uint64_t wait_ms = (uint64_t)RECORD_AGAIN_MS
                       << (l->again < RECORD_DOUBLED_MAX ? l->again : RECORD_DOUBLED_MAX);
    wait_ms = wait_ms / 2 + id_random_u64() % wait_ms;
    l->again++;
    log_line(LOG_WARN, "login_waits_for_database", "job", log_i((long long)l->job_id), "tries", log_i(l->again),
             "in_ms", log_i((long long)wait_ms), NULL);
    l->timer.fn = fn;
    l->timer.arg = l;
    loop_timer_in(l->d->loop, &l->timer, wait_ms);
}

/* A refusal by the database becomes the log-in's error. Only inside the op's done callback. */
static void refused_note(struct login *l)
{
    char words[REFUSAL_WORDS_ROOM];
    l->error = ERR_REFUSED_BY_DATABASE;
    snprintf(l->message, sizeof(l->message), "%s", refusal_message(store_refusal(l->d->store), words));
    text_clean_in_place(l->message, sizeof(l->message), sizeof(l->message));
    jv_free(l->extra);
    l->extra = refusal_extra(store_refusal(l->d->store));
}

void login_lost(struct login *l)
{
    struct request *r = login_waiter(l);
    log_line(LOG_WARN, "lease_lost", "job", log_i((long long)l->job_id), "kind",
             l->migrating ? "migrate" : "login", NULL);
    if (r)
        job_wait(l->d, r);
    login_free(l);
}

static void orphan_closed(void *arg, struct call_answer *a)
{
    (void)arg, (void)a;
}

static void close_unkept(struct login *l, const char *id);

static void done_recorded(void *arg, void *op_arg)
{
    struct login *l = arg;
    struct store_login_done *op = op_arg;
    struct dispatcher *d = l->d;
    struct request *r = login_waiter(l);
    if (op->rc == STORE_REFUSED) { /* never recordable: the fence ends the session that it opened */
        free(op);
        l->final = true;
        refused_note(l);
        login_settle(l, l->error, l->message);
        return;
    }
    if (op->rc != STORE_OK) {
        free(op);
        again_soon(l, record_done); /* the session is on the robot and must never be forgotten */
        return;
    }
    switch (op->outcome) {
    case LOGIN_DONE_LOST:
        free(op);
        login_lost(l);
        return;
    case LOGIN_DONE_DUP_SESSION:
        if (op->dup_robot_id && op->dup_robot_id != l->robot_id) /* on the same robot it is of another company */
            close_unkept(l, l->session_id);
        free(op);
        l->error = ERR_ROBOT_BAD_RESPONSE;
        snprintf(l->message, sizeof(l->message), "The robot answered a session id that is live elsewhere.");
        login_settle(l, l->error, l->message); /* the fence ends the session that this log-in opened */
        return;
    case LOGIN_DONE_ROWLESS: /* Laravel deletes a job to cancel it */
        free(op);
        l->cancelled = !l->migrating;
        l->final = true;
        login_settle(l, ERR_OUTCOME_UNKNOWN, "The job was deleted from portal_jobs.");
        return;
    case LOGIN_DONE_OK:
        break;
    }
    if (l->again) /* together with others, after it failed by itself */
        store_duty_over(d->store, "store_login_done");
    l->again = 0;
    stat_inc(logins_done_total);
    stat_add(queue_done_total, l->item.is_set && !l->item.is_round);
    login_tell_portal(l, OUTCOME_DONE);
    if (l->migrating)
        stat_inc(migrations_done_total);
    log_line(l->item.batch_id ? LOG_DEBUG : LOG_INFO, l->migrating ? "session_migrated" : "login_done", "job",
             log_i((long long)l->job_id), "request", l->request_id, "robot",
             robot_by_id(d, l->robot_id) ? robot_by_id(d, l->robot_id)->name : "", NULL);
    if (l->item.is_round) { /* the job continues */
        round_logged_in(l, &op->row);
        free(op);
        return;
    }
    if (!l->item.batch_id) {
        peers_event(d, "job", l->job_id, l->company_id, "done");
        peers_event(d, "session", l->job_id, l->company_id, "active");
        job_waits_wake(d, l->job_id);
    }
    d->news->batch_touched(d, l->item.batch_id);
    if (r || l->key.is_set)
        answer_keep(d, &l->key, l->company_id, l->portal, r ? r->key : 0, 200, ERR_OK, NULL,
                    login_body(d, &op->row, l->job_uid, l->url, false));
    free(op);
    login_free(l);
}

static void record_done(void *arg)
{
    struct login *l = arg;
    const struct robot *robot = robot_by_id(l->d, l->robot_id);
    struct store_login_done *op = xcalloc(1, sizeof(*op));
    op->job_id = l->job_id;
    op->session_ref = l->session_ref;
    op->company_id = l->company_id;
    strcpy(op->portal, l->portal);
    memcpy(op->token, l->lease.token, sizeof(op->token));
    strcpy(op->session_id, l->session_id);
    strcpy(op->boot_id, l->boot_id);
    strcpy(op->title, l->title);
    if (robot) {
        strcpy(op->robot_base_url, robot->base_url);
        strcpy(op->robot_viewer_url, robot->viewer_url);
        strcpy(op->worker, robot->name);
    }
    op->item = l->item;
    if (l->item.is_round)
        l->lease.asked_ms = clock_ms();
    op->ttl_ms = l->d->conf->queue_lease_ms;
    op->attempt = login_attempt(l, OUTCOME_DONE);
    op->lifts = l->uses_stored && l->refused.at_ms;
    if (l->remember.len) {
        op->credentials = l->remember.data;
        op->credentials_len = l->remember.len;
    }
    if (!l->migrating && !l->remember.len && !l->item.is_round && !op->lifts)
        record_together(l->d->together, op, done_recorded, l);
    else
        store_submit(l->d->store, store_login_done, op, done_recorded, l);
}

void login_succeeded(struct login *l)
{
    record_done(l);
}

static void failed_recorded(void *arg, void *op_arg)
{
    struct login *l = arg;
    struct store_login_failed *op = op_arg;
    struct dispatcher *d = l->d;
    struct request *r = login_waiter(l);
    bool lost = op->lost;
    int64_t retry = l->migrating || op->item.is_set ? op->retry_ms : -1;
    struct portal_change portal = op->portal;
    enum store_rc rc = op->rc;
    const char *later = later_state(op->uncounted);
    free(op);
    if (rc != STORE_OK) {
        again_soon(l, record_failed);
        return;
    }
    l->again = 0;
    if (lost) {
        login_lost(l);
        return;
    }
    login_tell_portal(l, login_outcome(l));
    if (portal.portal[0])
        portals_told(d, &portal);
    if (l->migrating)
        stat_inc(migrations_failed_total);
    else if (l->cancelled)
        stat_inc(logins_cancelled_total);
    else if (retry >= 0)
        stat_inc(logins_retried_total);
    else {
        stat_inc(logins_failed_total);
        stat_add(queue_failed_total, l->item.is_set);
    }
    log_line(LOG_WARN,
             l->migrating   ? "migration_failed"
             : l->cancelled ? "login_cancelled"
             : retry >= 0   ? "login_retrying"
                            : "login_failed",
             "job", log_i((long long)l->job_id), "request", l->request_id, "error", login_code(l), "robot_status",
             log_i(l->attempt.status), "robot_error", l->attempt.error, "retry_ms", log_i((long long)retry), NULL);
    if (l->item.is_set && retry >= 0)
        d->news->work_due_in(d, retry);
    if (!l->item.batch_id) {
        peers_event(d, "job", l->job_id, l->company_id,
                    l->cancelled ? "cancelled"
                    : retry >= 0 ? later
                                 : "failed");
        job_waits_wake(d, l->job_id);
    }
    d->news->batch_touched(d, l->item.batch_id);
    if (l->place == PLACE_FREE)
        peers_wake(d, "place");
    struct jv *extra = job_extra(l->job_id, l->job_uid);
    if (l->extra)
        jv_merge(extra, l->extra);
    answer_keep(d, &l->key, l->company_id, l->portal, r ? r->key : 0, 0, l->cancelled ? ERR_WRONG_STATE : l->error,
                l->cancelled ? "The job was cancelled." : l->message, extra);
    login_free(l);
}

/* Exponential back-off with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015); -1 = not again. */
static int64_t retry_ms(const struct login *l)
{
    if (l->final || l->cancelled)
        return -1;
    if (l->migrating) {
        uint64_t most = 500ull << (l->attempts < 6 ? l->attempts : 6);
        return (int64_t)(100 + id_random_u64() % (most < 30000 ? most : 30000));
    }
    if (!l->item.is_set)
        return -1;
    if (l->error == ERR_NO_FREE_WORKER)
        return (int64_t)(FULL_AGAIN_MS + id_random_u64() % FULL_AGAIN_MS);
    if (l->item.attempts >= l->item.tries)
        return -1;
    uint64_t most = (uint64_t)RETRY_FIRST_MS << (l->item.attempts < 7 ? l->item.attempts : 7);
    return (int64_t)(50 + id_random_u64() % (most < RETRY_MOST_MS ? most : RETRY_MOST_MS));
}

static void record_failed(void *arg)
{
    struct login *l = arg;
    struct store_login_failed *op = xcalloc(1, sizeof(*op));
    op->job_id = l->job_id;
    op->session_ref = l->session_ref;
    memcpy(op->token, l->lease.token, sizeof(op->token));
    snprintf(op->error, sizeof(op->error), "%s", login_code(l));
    snprintf(op->message, sizeof(op->message), "%s", l->message[0] ? l->message : err_text(l->error));
    op->refused_us =
        l->final && l->uses_stored && l->error == ERR_ROBOT_ERROR && !l->is_refused_before ? l->refused.set_us : 0;
    op->attempt = login_attempt(l, login_outcome(l));
    op->fault = login_ended(l, op->attempt.outcome);
    op->blames_portal = l->item.is_set && op->fault.how != BREAKER_WELL &&
                        portal_conf_find(&l->d->conf->portals, l->portal)->breaker;
    op->breaker = portals_times(l->d);
    strcpy(op->holder, l->d->name);
    op->tries = (unsigned)l->d->conf->queue_max_attempts;
    op->place = l->place;
    op->item = l->item;
    op->cancelled = l->cancelled;
    op->is_refused_before = l->is_refused_before;
    op->uncounted = l->item.is_set && l->error == ERR_NO_FREE_WORKER; /* 429 and 503: full, not an attempt */
    op->retry_ms = op->retry_up_ms = retry_ms(l);
    op->retry_down_ms = l->final || l->cancelled ? -1 : (int64_t)(FULL_AGAIN_MS + id_random_u64() % FULL_AGAIN_MS);
    store_submit(l->d->store, store_login_failed, op, failed_recorded, l);
}

void login_failed(struct login *l)
{
    record_failed(l);
}

/* ---- the robot's answer ------------------------------------------------------------------------------------- */

static void reserve_again(struct login *l, bool same_robot, uint64_t above);

void login_fail(struct login *l, enum err e, const char *message, enum place_fate place)
{
    l->error = e;
    if (message != l->message)
        snprintf(l->message, sizeof(l->message), "%s", message ? message : "");
    l->place = place;
    login_failed(l);
}

/* An id that cannot be stored is closed on the robot, as far as it can be named. */
static void close_unkept(struct login *l, const char *id)
{
    const struct robot *robot = robot_by_id(l->d, l->robot_id);
    if (!robot || !id || !*id || strlen(id) > 2000)
        return;
    robot_call_close(l->d, robot, id, (struct call_ids){l->request_id, l->traceparent}, orphan_closed, NULL);
}

static bool opened(struct login *l, const struct jv *body)
{
    const char *id = jv_str(jv_get(body, "session_id"));
    if (!text_session_id_ok(id)) {
        tally_fault(l->d, l->robot_id, FAULT_BAD_ANSWER);
        close_unkept(l, id);
        login_settle(l, ERR_ROBOT_BAD_RESPONSE, "The robot answered a session id that cannot be one.");
        return false;
    }
    strcpy(l->session_id, id);
    answer_text(l->d, jv_str(jv_get(body, "titulo")), l->title, sizeof(l->title), TITLE_MAX);
    answer_text(l->d, jv_str(jv_get(body, "url")), l->url, sizeof(l->url), WORDS_SHOWN_MAX);
    login_succeeded(l);
    return true;
}

/* The job keeps the robot's text, if there is one. */
static void words_keep(struct login *l)
{
    const struct jv *words = jv_get(l->extra, "robot");
    const char *error = jv_str(jv_get(words, "error")), *message = jv_str(jv_get(words, "message"));
    snprintf(l->message, sizeof(l->message), "%s", err_text(ERR_ROBOT_ERROR));
    if (error || message)
        snprintf(l->message, sizeof(l->message), "The robot said no: %s%s%s", error ? error : "",
                 error && message ? ": " : "", message ? message : "");
    text_clean_in_place(l->message, sizeof(l->message), sizeof(l->message)); /* the text was cut by bytes */
}

static void refused(struct login *l, const struct call_answer *a, const struct jv *body)
{
    const char *code = jv_str(jv_get(body, "error"));
    l->extra = jv_new_object();
    jv_set(l->extra, "robot", answer_words(l->d, a));
    attempt_words(&l->attempt, jv_get(l->extra, "robot"));
    l->attempt.outcome = outcome_of_refusal(l->action, a->status, code && *code ? code : NULL);
    l->final = code_is_in(l->action->final_errors, code);
    l->error = ERR_ROBOT_ERROR;
    words_keep(l);
    tally_fault(l->d, l->robot_id, l->attempt.outcome == OUTCOME_ROBOT ? FAULT_SAID_NO : FAULT_REFUSED);
    bool is_its_word = a->status == 503 && jv_type(body) == JV_OBJECT;
    if (a->status >= 500 && !is_its_word) { /* it may have begun: only the session list or the fence can tell */
        login_settle(l, ERR_ROBOT_ERROR, l->message);
        return;
    }
    l->place = PLACE_FREE;
    login_failed(l);
}

/* Whether it is a 429, or a 503 without another reason. A proxy's page and an empty body name no other reason. */
static bool is_full(int status, const struct jv *body)
{
    const struct jv *error = jv_type(body) == JV_OBJECT ? jv_get(body, "error") : NULL;
    const char *code = jv_str(error);
    return status == 429 || (status == 503 && (!error || jv_type(error) == JV_NULL ||
                                               (code && (!*code || strcmp(code, "full") == 0))));
}

static void full(struct login *l)
{
    stat_inc(robot_full_total);
    tally_fault(l->d, l->robot_id, FAULT_FULL);
    uint32_t wait_ms = robots_full(l->d, l->robot_id, l->asked_ms);
    if (wait_ms)
        l->d->news->work_due_in(l->d, wait_ms);
    l->error = ERR_NO_FREE_WORKER;
    reserve_again(l, false, 0);
}

/* Whether the robot opened a session. */
static bool answer_take(struct login *l, struct call_answer *a)
{
    enum jv_bad why;
    bool is_open = false;
    l->call = NULL;
    l->attempt.robot_ms += a->took_ms;
    l->attempt.status = a->result == CALL_ANSWERED ? a->status : 0;
    robots_boot_seen(l->d, l->robot_id, a->boot_id, clock_ms() - (uint64_t)a->took_ms);
    if (a->boot_id[0])
        strcpy(l->boot_id, a->boot_id);
    if (a->result == CALL_NOT_SENT) {
        answer_note(login_waiter(l), robot_by_id(l->d, l->robot_id), "login", a);
        l->error = ERR_ROBOT_UNREACHABLE;
        snprintf(l->message, sizeof(l->message), "%s", answer_message(a) ? answer_message(a) : "");
        reserve_again(l, false, 0);
        return false;
    }
    enum err failure = answer_failure(a);
    if (failure) {
        answer_note(login_waiter(l), robot_by_id(l->d, l->robot_id), "login", a);
        login_settle(l, failure, answer_message(a));
        return false;
    }
    struct jv *body = jv_parse_mended(a->body->data, a->body->len, &why);
    const char *code = jv_str(jv_get(body, "error"));
    bool ok = false, is_2xx = a->status >= 200 && a->status < 300;
    jv_bool(jv_get(body, "ok"), &ok);
    if (is_full(a->status, body)) {
        full(l);
        jv_free(body);
        return false;
    }
    robots_not_full(l->d, l->robot_id);
    if (a->status == 409 && code && strcmp(code, "stale_epoch") == 0) {
        int64_t theirs = 0;
        jv_int(jv_get(body, "epoch"), &theirs);
        stat_inc(stale_epoch_total);
        tally_fault(l->d, l->robot_id, FAULT_STALE);
        l->error = ERR_ROBOT_ERROR;
        if (++l->n_stale <= STALE_TRIES)
            reserve_again(l, true, theirs > 0 ? (uint64_t)theirs : 0);
        else
            login_fail(l, ERR_ROBOT_ERROR, "The robot refuses every epoch as stale.", PLACE_FREE);
    } else if (is_2xx && ok) {
        is_open = opened(l, body);
    } else if (!is_2xx || jv_type(jv_get(body, "ok")) == JV_BOOL) {
        refused(l, a, body);
    } else {
        tally_fault(l->d, l->robot_id, FAULT_BAD_ANSWER);
        login_settle(l, ERR_ROBOT_BAD_RESPONSE, NULL);
    }
    jv_free(body);
    return is_open;
}

static void robot_answered(void *arg, struct call_answer *a)
{
    struct login *l = arg;
    struct dispatcher *d = l->d;
    struct request *r = login_waiter(l);
    bool is_sent = a->result != CALL_NOT_SENT;
    uint32_t robot_id = l->robot_id;
    if (r)
        r->robot_ms += a->took_ms;
    bool is_open = answer_take(l, a); /* l may be freed */
    tally_login_ended(d, robot_id, is_open, is_sent ? a->took_ms : -1);
}

/* ---- the call ----------------------------------------------------------------------------------------------- */

struct overlay {
    const struct jv *stored;
    bool *uses_stored;
};

static void overlay_look(void *arg, const char *key, struct jv *v)
{
    const struct overlay *o = arg;
    (void)v;
    if (jv_type(jv_get(o->stored, key)) != JV_ABSENT)
        *o->uses_stored = false;
}

/* Refused credentials are not used again unless a client asks for it: three wrong passwords lock an account. */
static bool is_refused_already(struct login *l)
{
    char at[CLOCK_TEXT_BYTES];
    if (!l->item.batch_id || !l->uses_stored || !l->refused.at_ms)
        return false;
    snprintf(l->message, sizeof(l->message),
             "The stored credentials were refused at %s (%s); they are used again when they have changed.",
             clock_text(l->refused.at_ms, at), l->refused.error[0] ? l->refused.error : "no reason given");
    str_copy(l->attempt.error, sizeof(l->attempt.error),
             str_of(l->refused.error)); /* keeps it searchable by that error */
    l->is_refused_before = l->final = true;
    return true;
}

/* Merges stored credentials, then params, then our own fields; later ones win. The caller wipes it. */
static struct jv *login_fields(struct login *l)
{
    enum jv_bad why;
    struct jv *body = NULL;
    struct buf plain = {0};
    if (l->credentials.len && l->d->seal &&
        seal_unwrap(l->d->seal, l->company_id, l->portal, "credentials", l->credentials.data, l->credentials.len,
                    &plain))
        body = jv_parse(plain.data, plain.len, &why);
    buf_wipe(&plain);
    if (jv_type(body) != JV_OBJECT) {
        jv_free(body);
        body = jv_new_object();
    }
    struct jv *params = l->params.len ? jv_parse(l->params.data, l->params.len, &why) : NULL;
    l->uses_stored = jv_len(body) > 0;
    if (jv_type(params) == JV_OBJECT) {
        jv_each(params, overlay_look, &(struct overlay){body, &l->uses_stored});
        jv_merge(body, params);
    }
    jv_wipe(params);
    jv_set_int(body, "company_id", (int64_t)l->company_id);
    jv_set_str(body, "portal", l->portal);
    jv_set_str(body, "job_uid", l->job_uid);
    jv_set_int(body, "epoch", (int64_t)l->epoch);
    return body;
}

/* The robot's call is aborted. The new holder of the lease settles with the robot. When the job is to stop, we
 * settle. */
static void lease_told(struct dispatcher *d, uint64_t job_id, enum lease_news news, void *arg)
{
    struct login *l = arg;
    (void)d, (void)job_id;
    if (news == LEASE_LOST)
        l->held = false;
    else
        l->cancelled = !l->migrating;
    if (!l->call || (news == LEASE_CANCELLED && !l->cancelled))
        return; /* recording the outcome will find out */
    call_stop(l->call);
    l->call = NULL;
    tally_login_ended(l->d, l->robot_id, false, -1);
    if (news == LEASE_LOST)
        login_lost(l);
    else
        login_settle(l, ERR_OUTCOME_UNKNOWN, "The job was asked to stop.");
}

void login_hold(struct login *l)
{
    lease_hold(l->d, l->job_id, &l->lease, lease_told, l);
    l->held = true;
}

static void call_again(void *arg)
{
    login_call(arg);
}

void login_call(struct login *l)
{
    struct dispatcher *d = l->d;
    const struct robot *robot = robot_by_id(d, l->robot_id);
    if (l->cancelled) {
        login_fail(l, ERR_WRONG_STATE, NULL, PLACE_FREE);
        return;
    }
    if (!l->held) {
        login_lost(l);
        return;
    }
    if (!lease_trusted(d, l->job_id, l->lease.token)) { /* the database was slow: the job may no longer be ours */
        leases_renew_soon(d);
        again_soon(l, call_again);
        return;
    }
    l->again = 0;
    if (!robot ||
        robot->verdict == VERDICT_DOWN) { /* it went down since the place was reserved; nothing was sent */
        l->error = robot ? ERR_NO_FREE_WORKER : ERR_ROBOT_UNREACHABLE;
        reserve_again(l, false, 0);
        return;
    }
    struct request *r = login_waiter(l);
    if (r && !bulkhead_login(d, r, robot->id)) { /* nothing was sent */
        l->error = ERR_QUEUE_FULL;
        reserve_again(l, false, 0);
        return;
    }
    size_t len;
    struct jv *fields = login_fields(l);
    if (is_refused_already(l)) {
        jv_wipe(fields);
        stat_inc(credentials_refused_total);
        login_fail(l, ERR_ROBOT_ERROR, l->message, PLACE_FREE);
        return;
    }
    char *text = jv_dump(fields, &len), key[ID_JOB_UID_BYTES + 24];
    strcpy(l->boot_id, robot->boot_id);
    snprintf(key, sizeof(key), "%s.%llu", l->job_uid, (unsigned long long)l->epoch);
    l->asked_ms = clock_ms();
    l->limit_at_ms = l->asked_ms + (uint64_t)l->action->timeout_ms;
    struct call_spec spec = {.method = l->action->method,
                             .base_url = robot->base_url,
                             .robot_id = robot->id,
                             .is_login = true,
                             .is_decoded = true,
                             .path = l->action->path,
                             .body = text,
                             .body_len = len,
                             .idempotency_key = key,
                             .request_id = l->request_id,
                             .traceparent = l->traceparent,
                             .connect_ms = d->conf->timeout_connect_ms,
                             .total_ms = l->action->timeout_ms,
                             .max_bytes = ANSWER_BYTES,
                             .done = robot_answered,
                             .arg = l};
    l->call = call_start(d->robot_http, &spec);
    tally_login_begun(d, robot->id);
    explicit_bzero(text, len);
    free(text);
    jv_wipe(fields);
}

/* ---- another robot, another epoch --------------------------------------------------------------------------- */

static void again_reserved(void *arg, void *op_arg)
{
    struct login *l = arg;
    struct store_reserve_again *op = op_arg;
    enum store_rc rc = op->rc;
    enum reserve_outcome outcome = op->outcome;
    if (rc == STORE_OK && outcome == RESERVE_OK) {
        l->epoch = op->epoch;
        l->robot_id = op->robot_id;
    }
    free(op);
    if (rc == STORE_REFUSED) {
        l->final = true;
        refused_note(l);
        login_fail(l, l->error, l->message, PLACE_FREE);
    } else if (rc != STORE_OK)
        login_fail(l, ERR_DATABASE_UNAVAILABLE, NULL, PLACE_FREE);
    else if (outcome == RESERVE_LOST)
        login_lost(l);
    else if (outcome == RESERVE_NO_PLACE)
        login_fail(l, l->error, l->error == ERR_ROBOT_UNREACHABLE ? l->message : NULL, PLACE_FREE);
    else
        login_call(l);
}

static void reserve_again(struct login *l, bool same_robot, uint64_t above)
{
    struct dispatcher *d = l->d;
    if (!same_robot && l->n_tried < LOGIN_ROBOTS_MAX)
        l->tried[l->n_tried++] = l->robot_id;
    if (l->migrating && !same_robot) { /* a migration waits for its next turn instead */
        login_fail(l, l->error, NULL, PLACE_FREE);
        return;
    }
    struct store_reserve_again *op = xcalloc(1, sizeof(*op));
    op->job_id = l->job_id;
    op->session_ref = l->session_ref;
    op->lease = l->lease;
    op->lease.limit_ms = l->action->timeout_ms;
    op->same_robot_ok = same_robot;
    op->above = above;
    if (!same_robot && l->n_tried < LOGIN_ROBOTS_MAX)
        op->n_candidates = robots_candidates(d, op->candidate, CANDIDATES_MAX, l->tried, l->n_tried);
    store_submit(d->store, store_reserve_again, op, again_reserved, l);
}

/* ---- a queued log-in ---------------------------------------------------------------------------------------- */

static bool params_open(struct login *l, const struct claimed *got)
{
    struct dispatcher *d = l->d;
    if (!got->params.len)
        return true;
    if (!d->seal ||
        !seal_unwrap(d->seal, l->company_id, l->portal, "params", got->params.data, got->params.len, &l->params))
        return false;
    if (got->remember)
        seal_wrap(d->seal, l->company_id, l->portal, "credentials", l->params.data, l->params.len, &l->remember);
    return true;
}

void login_queued(struct dispatcher *d, struct claimed *got, const struct lease *lease)
{
    struct login *l = login_new(d);
    l->item = got->item;
    l->is_running = true;
    l->job_id = got->job_id;
    l->session_ref = got->session_ref;
    l->epoch = got->epoch;
    l->company_id = got->company_id;
    l->robot_id = got->robot_id;
    strcpy(l->portal, got->portal);
    strcpy(l->job_uid, got->job_uid);
    strcpy(l->request_id, got->request_id);
    l->action = action_find(&d->conf->actions, got->action);
    l->lease = *lease;
    l->credentials = got->credentials;
    l->refused = got->refused;
    got->credentials = (struct buf){0};
    l->began_ms = clock_ms();
    l->attempt.queued_ms = (int64_t)got->waited_ms;
    stat_inc(logins_total);
    tally_queued(d, l->company_id, got->waited_ms);
    login_hold(l);
    bool is_open = params_open(l, got);
    buf_free(&got->params);
    if (!l->action || l->action->session != ACTION_CREATE)
        login_fail(l, ERR_VALIDATION_FAILED, "This dispatcher does not know the action.", PLACE_FREE);
    else if (!is_open)
        login_fail(l, ERR_VALIDATION_FAILED, "The params cannot be opened with this dispatcher's seal key.",
                   PLACE_FREE);
    else
        login_call(l);
}
