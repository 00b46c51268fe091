/* SPDX-License-Identifier: MIT */
/*
 * settle.c - finds out whether the robot opened a session, for log-ins with an unknown outcome.
 *
 * A robot that knows epochs is fenced: after its 200 nothing at or below the epoch runs or can start. When our
 * side died (a rescue), its session list is read first, and an existing session is kept. A robot without fence is
 * waited out until the action's time limit. An unreachable robot keeps its place as close pending. A robot merely
 * not known here yet proves nothing. Until the end place and live row stay, so that no other log-in of the company
 * begins.
 */
#include "dispatcher/login/settle.h"
#include "dispatcher/login/login.h"
#include "dispatcher/robot/robot_calls.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_MS 300
#define PATIENCE_MS 30000 /* after the action's time limit */
#define WAITER_MS 300     /* before its deadline a waiter is answered */

static unsigned n_running;

static void settle_step(void *arg);

unsigned settles_running(const struct dispatcher *d)
{
    (void)d;
    return n_running;
}

static void settled(struct login *l, enum place_fate place)
{
    n_running--;
    l->place = place;
    login_failed(l);
}

/* The robot holds the session under the boot of its answer. A later boot has lost it. */
static void found(struct login *l, const char *session_id, const char *boot_id)
{
    n_running--;
    stat_inc(settled_found_total);
    if (boot_id[0])
        strcpy(l->boot_id, boot_id);
    str_copy(l->session_id, sizeof(l->session_id), str_of(session_id));
    login_succeeded(l);
}

static bool robot_is_new(const struct login *l, const struct call_answer *a)
{
    return a->boot_id[0] && l->boot_id[0] && strcmp(a->boot_id, l->boot_id) != 0;
}

/* Looks again after a moment, and answers a waiter in time. */
static void settle_again(struct login *l, uint64_t in_ms)
{
    struct dispatcher *d = l->d;
    struct request *r = l->request_key ? request_find(d, l->request_key) : NULL;
    if (r) {
        int64_t left = request_left_ms(d, r) - WAITER_MS;
        if (left <= 0)
            login_tell_waiter(l, l->error);
        else if ((uint64_t)left < in_ms)
            in_ms = (uint64_t)left;
    }
    l->timer.fn = settle_step;
    l->timer.arg = l;
    loop_timer_in(d->loop, &l->timer, in_ms);
}

/* The robot did not answer: retries, unless it is down or patience is exhausted. */
static void unreachable(struct login *l, const struct call_answer *a, const char *call)
{
    const struct robot *robot = robot_by_id(l->d, l->robot_id);
    answer_note(NULL, robot, call, a);
    l->tries++;
    if (robot && (robot->last_judged == VERDICT_DOWN || clock_ms() > l->limit_at_ms + PATIENCE_MS))
        settled(l, PLACE_KEEP_PENDING);
    else
        settle_again(l, AGAIN_MS * (l->tries < 10 ? l->tries : 10));
}

/* ---- fence -------------------------------------------------------------------------------------------------- */

static void wait_out(struct login *l)
{
    uint64_t now = clock_ms();
    if (now >= l->limit_at_ms)
        settled(l, PLACE_FADE);
    else
        settle_again(l, l->limit_at_ms - now);
}

static void fence_answered(void *arg, struct call_answer *a)
{
    struct login *l = arg;
    enum told told = robots_told_fenced(l->d, l->robot_id, a, l->epoch);
    if (told == TOLD_YES || robot_is_new(l, a))
        settled(l, PLACE_FREE);
    else if (told == TOLD_NOT_SPOKEN)
        wait_out(l);
    else
        unreachable(l, a, "fence");
}

static void fence(struct login *l, const struct robot *robot)
{
    robot_call_fence(l->d, robot, l->company_id, l->portal, l->epoch,
                     (struct call_ids){l->request_id, l->traceparent}, fence_answered, l);
}

/* ---- the robot's list --------------------------------------------------------------------------------------- */

static const struct jv *entry_of(const struct jv *list, const struct login *l)
{
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *e = jv_at(list, i);
        const char *uid = jv_str(jv_get(e, "job_uid"));
        int64_t epoch = -1;
        jv_int(jv_get(e, "epoch"), &epoch);
        if (uid && strcmp(uid, l->job_uid) == 0 && epoch == (int64_t)l->epoch)
            return e;
    }
    return NULL;
}

static void list_answered(void *arg, struct call_answer *a)
{
    struct login *l = arg;
    const struct robot *robot = robot_by_id(l->d, l->robot_id);
    struct jv *body;
    enum told told = robots_told_list(l->d, l->robot_id, a, &body);
    if (robot_is_new(l, a)) {
        jv_free(body);
        settled(l, PLACE_FREE);
        return;
    }
    if (told == TOLD_NOTHING || !robot) {
        jv_free(body);
        unreachable(l, a, "sessions");
        return;
    }
    const struct jv *entry = entry_of(jv_get(body, "sessions"), l);
    const char *state = jv_str(jv_get(entry, "state")), *id = jv_str(jv_get(entry, "session_id"));
    if (entry && state && strcmp(state, "active") == 0 && text_session_id_ok(id))
        found(l, id, a->boot_id);
    else if (entry && clock_ms() < l->limit_at_ms)
        settle_again(l, AGAIN_MS);
    else
        fence(l, robot);
    jv_free(body);
}

static void list_ask(struct login *l, const struct robot *robot)
{
    robot_call_list(l->d, robot, (struct call_ids){l->request_id, l->traceparent}, list_answered, l);
}

static void settle_step(void *arg)
{
    struct login *l = arg;
    const struct robot *robot = robot_by_id(l->d, l->robot_id);
    struct request *r = l->request_key ? request_find(l->d, l->request_key) : NULL;
    if (r && request_left_ms(l->d, r) <= WAITER_MS)
        login_tell_waiter(l, l->error);
    if (!l->held) {
        n_running--;
        login_lost(l);
    } else if (!lease_trusted(l->d, l->job_id,
                              l->lease.token)) { /* our fence would end the next holder's session */
        leases_renew_soon(l->d);
        settle_again(l, AGAIN_MS);
    } else if (!robot) { /* registered just now; a removed robot's lease is gone */
        robots_reload(l->d);
        settle_again(l, AGAIN_MS);
    } else if (l->error == ERR_NO_DISPATCHER && !l->cancelled && robot->speaks.list.known != 0)
        list_ask(l, robot);
    else if (robot->speaks.fence.known != 0)
        fence(l, robot);
    else
        wait_out(l);
}

void login_settle(struct login *l, enum err error, const char *message)
{
    l->error = error;
    if (message != l->message)
        snprintf(l->message, sizeof(l->message), "%s", message ? message : "");
    n_running++;
    stat_inc(settles_total);
    log_line(LOG_WARN, "settle", "job", log_i((long long)l->job_id), "request", l->request_id, "why",
             err_code(error), NULL);
    settle_step(l);
}

void settle_login(struct dispatcher *d, struct settle_in *in)
{
    struct login *l = login_new(d);
    l->job_id = in->job_id;
    l->session_ref = in->session_ref;
    l->epoch = in->epoch;
    l->company_id = in->company_id;
    l->robot_id = in->robot_id;
    l->migrating = in->migrating;
    l->item = in->item;
    l->cancelled = in->cancelled;
    strcpy(l->portal, in->portal);
    strcpy(l->job_uid, in->job_uid);
    strcpy(l->boot_id, in->boot_id);
    l->lease = in->lease;
    l->remember = in->remember;
    l->attempt.queued_ms = l->attempt.robot_ms = -1; /* known only to the dispatcher that began it */
    l->limit_at_ms = clock_ms() + (in->limit_left_ms > 0 ? (uint64_t)in->limit_left_ms : 0);
    login_hold(l);
    login_settle(l, in->error, in->message);
    free(in);
}

struct settle_in *settle_in_of(const struct rescued *job, const struct lease *lease)
{
    struct settle_in *in = xcalloc(1, sizeof(*in));
    in->job_id = job->job_id;
    in->session_ref = job->row.ref;
    in->epoch = job->row.epoch;
    in->company_id = job->row.company_id;
    in->robot_id = job->row.robot_id;
    strcpy(in->portal, job->row.portal);
    strcpy(in->job_uid, job->job_uid);
    in->lease = *lease;
    in->limit_left_ms = job->limit_left_ms;
    in->error = ERR_NO_DISPATCHER;
    return in;
}

void settle_rescued(struct dispatcher *d, struct rescued *job, const struct lease *lease)
{
    struct settle_in *in = settle_in_of(job, lease);
    in->item = job->item;
    in->cancelled = job->cancelled;
    strcpy(in->message, "The dispatcher died before the robot answered; nothing runs; log in again.");
    if (job->remember && d->seal && job->params.len) {
        struct buf plain = {0};
        if (seal_unwrap(d->seal, job->row.company_id, job->row.portal, "params", job->params.data, job->params.len,
                        &plain))
            seal_wrap(d->seal, job->row.company_id, job->row.portal, "credentials", plain.data, plain.len,
                      &in->remember);
        buf_wipe(&plain);
    }
    settle_login(d, in);
}
