/* SPDX-License-Identifier: MIT */
/*
 * close.c - closes a session: on its robot, then in the database.
 *
 * While the robot is asked, the row is `closing` under a lease, whichever robot it is.
 *   confirmed (robot_speaks.h)    closed, and the place is free
 *   not confirmed                 active again; nothing has changed
 *   dead robot                    cannot be asked: the session is closed here, keeps its place as close pending, and
 *                                 is fenced before that robot gets new work
 *   silent robot                  the session is kept (an operator may close it as on a dead robot)
 *   robot without DELETE          closed here, and the place fades
 */
#include "dispatcher/session/close.h"
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/robot/robot_answer.h"
#include "dispatcher/robot/robot_calls.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/activity.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/session/lookup.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"
#include "dispatcher/wire/store_reply.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"

#include <stdlib.h>
#include <string.h>

#define HEALTH_MS 2000
#define DOUBT_LOOK_MS 50 /* while it is checked whether the robot restarted */
#define DOUBT_LOOKS 100

struct closing {
    struct dispatcher *d;
    struct session_row row;
    enum session_state to;
    char reason[REASON_ROOM];
    struct actor by; /* its request_id is also used for calls */
    char traceparent[129];
    struct lease lease;
    bool held;
    enum told told;     /* the robot's answer */
    bool is_other_boot; /* the robot has another boot id than the session's */
    struct loop_timer timer;
    unsigned looks;
    enum err error;
    close_done_fn *fn;
    void *arg;
    close_judged_fn *judged; /* the caller records the outcome; NULL = recorded here */
};

static void closing_end(struct closing *c)
{
    if (c->held)
        lease_drop(c->d, c->row.job_id, c->lease.token);
    if (c->fn)
        c->fn(c->d, c->arg, c->error, &c->row);
    free(c);
}

static void recorded(void *arg, void *op_arg)
{
    struct closing *c = arg;
    struct store_close_end *op = op_arg;
    if (op->rc != STORE_OK || op->lost) {
        if (!c->error)
            c->error = op->rc == STORE_REFUSED
                           ? ERR_REFUSED_BY_DATABASE
                           : ERR_DATABASE_UNAVAILABLE; /* its lease expires and the close is repeated */
    } else {
        c->row.state = op->to;
        if (op->to != SESSION_ACTIVE) {
            log_line(LOG_INFO, "session", "job", log_i((long long)c->row.job_id), "to", session_state_name[op->to],
                     "why", op->reason, "request", c->by.request_id, NULL);
            strcpy(c->row.reason, op->reason);
            c->row.since_ms = clock_unix_ms();
            if (op->to == SESSION_CLOSED)
                stat_inc(sessions_closed_total);
            else
                stat_inc(sessions_expired_total);
            peers_event(c->d, "session", c->row.job_id, c->row.company_id, session_state_name[op->to]);
            peers_wake(c->d, "place");
        }
    }
    free(op);
    closing_end(c);
}

static void record(struct closing *c, enum session_state to, enum place_fate place)
{
    if (c->judged) {
        c->judged(c->d, c->arg, c->error, place);
        free(c);
        return;
    }
    struct store_close_end *op = xcalloc(1, sizeof(*op));
    op->job_id = c->row.job_id;
    op->session_ref = c->row.ref;
    memcpy(op->token, c->lease.token, sizeof(op->token));
    op->to = to;
    strcpy(op->reason, c->reason);
    op->place = place;
    op->by = c->by;
    store_submit(c->d->store, store_close_end, op, recorded, c);
}

/* A silent robot's sessions stay unchanged, unless an operator closes one. */
static bool may_leave_behind(const struct closing *c, const struct robot *robot)
{
    return robot->down == DOWN_DEAD || strcmp(c->reason, "closed_by_operator") == 0;
}

static void closed_judge(struct closing *c);

static void closed_look(void *arg)
{
    closed_judge(arg);
}

/* Judges the robot's answer, once it is known whether another boot id was a restart. */
static void closed_judge(struct closing *c)
{
    struct dispatcher *d = c->d;
    const struct robot *robot = robot_by_id(d, c->row.robot_id);
    if (c->is_other_boot && robots_boot_in_doubt(d, c->row.robot_id) && c->looks++ < DOUBT_LOOKS) {
        c->timer.fn = closed_look;
        c->timer.arg = c;
        loop_timer_in(d->loop, &c->timer, DOUBT_LOOK_MS);
        return;
    }
    bool is_doubtful = c->is_other_boot && robot && (robot->is_two || robots_boot_in_doubt(d, robot->id));
    if (!is_doubtful && (c->told == TOLD_YES || c->is_other_boot)) {
        record(c, c->to, PLACE_FREE);
    } else if (!is_doubtful && c->told == TOLD_NOT_SPOKEN) {
        record(c, c->to, PLACE_FADE);
    } else if (robot && robot->last_judged == VERDICT_DOWN && may_leave_behind(c, robot)) {
        record(c, c->to, PLACE_KEEP_PENDING);
    } else {
        c->error = ERR_ROBOT_UNREACHABLE;
        record(c, SESSION_ACTIVE, PLACE_FREE);
    }
}

static void robot_closed(void *arg, struct call_answer *a)
{
    struct closing *c = arg;
    c->is_other_boot = a->boot_id[0] && c->row.boot_id[0] && strcmp(a->boot_id, c->row.boot_id) != 0;
    c->told = robots_told_closed(c->d, c->row.robot_id, a);
    robots_boot_seen(c->d, c->row.robot_id, a->boot_id, clock_ms() - (uint64_t)a->took_ms);
    if (c->told != TOLD_YES && c->told != TOLD_NOT_SPOKEN && !c->is_other_boot)
        answer_note(NULL, robot_by_id(c->d, c->row.robot_id), "close", a);
    closed_judge(c);
}

static void lease_told(struct dispatcher *d, uint64_t job_id, enum lease_news news, void *arg)
{
    (void)d, (void)arg;
    if (news == LEASE_LOST) /* a close is never asked to stop */
        log_line(LOG_WARN, "lease_lost", "job", log_i((long long)job_id), "kind", "close", NULL);
}

static void robot_ask(struct closing *c)
{
    struct dispatcher *d = c->d;
    const struct robot *robot = robot_by_id(d, c->row.robot_id);
    if (!c->judged)
        lease_hold(d, c->row.job_id, &c->lease, lease_told, c);
    c->held = !c->judged;
    if (!robot) { /* registered just now; a removed robot's lease is gone */
        robots_reload(d);
        c->error = ERR_ROBOT_UNREACHABLE;
        record(c, SESSION_ACTIVE, PLACE_FREE);
        return;
    }
    if (!c->row.session_id[0]) {
        record(c, c->to, PLACE_FREE);
        return;
    }
    if (robot->verdict == VERDICT_DOWN && may_leave_behind(c, robot)) {
        record(c, c->to, PLACE_KEEP_PENDING);
        return;
    }
    if (robot->verdict == VERDICT_DOWN) {
        c->error = ERR_ROBOT_SILENT;
        record(c, SESSION_ACTIVE, PLACE_FREE);
        return;
    }
    robot_call_close(d, robot, c->row.session_id, (struct call_ids){c->by.request_id, c->traceparent},
                     robot_closed, c);
}

static void begun(void *arg, void *op_arg)
{
    struct closing *c = arg;
    struct store_close_begin *op = op_arg;
    if (op->rc != STORE_OK) {
        c->error = store_err(op->rc);
    } else if (!op->ok) { /* its state changed: the caller looks at the row */
        c->error = op->is_at_work ? ERR_LOGIN_IN_PROGRESS : ERR_WRONG_STATE;
        if (op->found)
            c->row = op->row;
    }
    bool ok = op->rc == STORE_OK && op->ok;
    free(op);
    if (ok)
        robot_ask(c);
    else
        closing_end(c);
}

void close_session(struct dispatcher *d, const struct session_row *row, enum session_state to, const char *reason,
                   const struct request *actor, bool claimed, const struct lease *lease, close_done_fn *fn,
                   void *arg)
{
    struct closing *c = xcalloc(1, sizeof(*c));
    c->d = d;
    c->row = *row;
    c->to = to;
    strcpy(c->reason, reason);
    c->fn = fn;
    c->arg = arg;
    if (actor) {
        strcpy(c->by.request_id, actor->request_id);
        strcpy(c->traceparent, actor->traceparent);
        if (actor->op == OP_OPS_SESSION_CLOSE || actor->op == OP_SESSION_CLOSE)
            request_actor(actor, &c->by);
    }
    if (claimed) {
        c->lease = *lease;
        robot_ask(c);
        return;
    }
    lease_fill(d, &c->lease, d->conf->timeout_close_ms);
    struct store_close_begin *op = xcalloc(1, sizeof(*op));
    op->session_ref = row->ref;
    op->epoch = row->epoch;
    op->lease = c->lease;
    store_submit(d->store, store_close_begin, op, begun, c);
}

void close_on_robot(struct dispatcher *d, const struct session_row *row, const char *request_id,
                    close_judged_fn *fn, void *arg)
{
    struct closing *c = xcalloc(1, sizeof(*c));
    c->d = d;
    c->row = *row;
    c->to = SESSION_CLOSED;
    strcpy(c->by.request_id, request_id);
    c->judged = fn;
    c->arg = arg;
    robot_ask(c);
}

/* ---- a client or an operator closes ------------------------------------------------------------------------- */

struct close_request {
    uint64_t key;
};

static void client_closed(struct dispatcher *d, void *arg, enum err e, const struct session_row *row)
{
    struct close_request *w = arg;
    struct request *r = request_find(d, w->key);
    free(w);
    if (!r)
        return;
    if (e == ERR_WRONG_STATE && row->state != SESSION_ACTIVE && row->state != SESSION_OPENING) {
        reply_ended(d, r, row);
    } else if (e == ERR_LOGIN_IN_PROGRESS) {
        reply_error(d, r, ERR_WRONG_STATE, "A round of a batch works in this session; cancel its job first.",
                    NULL);
    } else if (e) {
        reply_store_err(
            d, r, e, e == ERR_ROBOT_UNREACHABLE ? "The robot did not confirm the close; nothing changed." : NULL);
    } else {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", true);
        jv_set_str(body, "session_id", row->session_id);
        jv_set_str(body, "state", session_state_name[row->state]);
        reply_jv(d, r, 200, body);
    }
}

static void close_resolved(struct dispatcher *d, struct request *r, enum resolve res,
                           const struct session_row *row)
{
    if (res != RESOLVE_OK) {
        resolve_reply(d, r, res, row);
        return;
    }
    if (!bulkhead_call(d, r, row->robot_id, row->company_id, close_start))
        return;
    struct close_request *w = xcalloc(1, sizeof(*w));
    w->key = r->key;
    close_session(d, row, SESSION_CLOSED,
                  r->op == OP_OPS_SESSION_CLOSE ? "closed_by_operator" : "closed_by_client", r, false, NULL,
                  client_closed, w);
}

void close_start(struct dispatcher *d, struct request *r)
{
    resolve_session(d, r, r->session_id, close_resolved);
}

/* ---- idle --------------------------------------------------------------------------------------------------- */

static void idle_claimed(void *arg, void *op_arg)
{
    struct dispatcher *d = arg;
    struct store_idle_claim *op = op_arg;
    for (unsigned i = 0; i < op->n; i++)
        close_session(d, &op->row[i], SESSION_EXPIRED, "idle", NULL, true, &op->lease, NULL, NULL);
    free(op);
}

void close_idle_tick(struct dispatcher *d)
{
    struct store_idle_claim *op = xcalloc(1, sizeof(*op));
    op->idle_ms = d->conf->session_idle_timeout_s * 1000 + 2 * activity_flush_every_ms(d);
    lease_fill(d, &op->lease, d->conf->timeout_close_ms);
    store_submit(d->store, store_idle_claim, op, idle_claimed, d);
}

/* ---- the robot says 404 ------------------------------------------------------------------------------------- */

struct gone {
    struct dispatcher *d;
    uint64_t key;
    struct session_row row;
    char boot_id[BOOT_ROOM]; /* as reported by /health */
    struct loop_timer timer;
    unsigned looks;
    void (*again)(struct dispatcher *d, struct request *r);
};

static void gone_recorded(void *arg, void *op_arg)
{
    struct gone *g = arg;
    struct store_session_end *op = op_arg;
    struct dispatcher *d = g->d;
    struct request *r = request_find(d, g->key);
    if (op->rc == STORE_OK && op->ok) {
        stat_inc(sessions_expired_total);
        log_line(LOG_INFO, "session", "job", log_i((long long)op->row.job_id), "to", "expired", "why", op->reason,
                 NULL);
        peers_event(d, "session", op->row.job_id, op->row.company_id, "expired");
        peers_wake(d, "place");
    }
    if (r) {
        if (op->rc != STORE_OK)
            reply_store(d, r, op->rc);
        else if (op->ok || !op->found || r->gone_once)
            reply_ended(d, r, &op->row);
        else { /* its state changed meanwhile: once more */
            r->gone_once = true;
            g->again(d, r);
        }
    }
    free(op);
    free(g);
}

static void gone_planned(void *arg, void *op)
{
    struct gone *g = arg;
    struct request *r = request_find(g->d, g->key);
    if (r && !r->gone_once) {
        r->gone_once = true;
        g->again(g->d, r);
    } else if (r) {
        reply_error(g->d, r, ERR_SESSION_MIGRATING, NULL, NULL);
    }
    free(op);
    free(g);
}

static void gone_judge(struct gone *g);

static void gone_look(void *arg)
{
    gone_judge(arg);
}

/* The 404 may be from another process than the session's. Then the session's state is unknown, and it stays. */
static void gone_kept(struct gone *g)
{
    struct request *r = request_find(g->d, g->key);
    if (r)
        reply_error(g->d, r, ERR_ROBOT_SILENT,
                    "Another process than the session's answers under the robot's URL; the session is kept.",
                    NULL);
    free(g);
}

static void gone_judge(struct gone *g)
{
    struct dispatcher *d = g->d;
    const struct robot *robot = robot_by_id(d, g->row.robot_id);
    const char *boot_id = g->boot_id;
    if (robots_boot_in_doubt(d, g->row.robot_id) && g->looks++ < DOUBT_LOOKS) {
        g->timer.fn = gone_look;
        g->timer.arg = g;
        loop_timer_in(d->loop, &g->timer, DOUBT_LOOK_MS);
        return;
    }
    if (g->row.boot_id[0] && robot && (robot->is_two || robots_boot_in_doubt(d, robot->id))) {
        gone_kept(g);
        return;
    }
    if (boot_id[0] && g->row.boot_id[0] && strcmp(boot_id, g->row.boot_id) != 0) {
        /* The robot restarted: the session migrates or is lost, and the look-up waits for that. */
        struct store_migrate_plan *plan = xcalloc(1, sizeof(*plan));
        plan->robot_id = g->row.robot_id;
        strcpy(plan->boot_now, boot_id);
        strcpy(plan->reason, "robot_restarted");
        store_submit(d->store, store_migrate_plan, plan, gone_planned, g);
        return;
    }
    struct store_session_end *op = xcalloc(1, sizeof(*op));
    op->session_ref = g->row.ref;
    op->epoch = g->row.epoch;
    op->to = SESSION_EXPIRED;
    strcpy(op->reason, "robot_404");
    op->place = PLACE_FREE;
    store_submit(d->store, store_session_end, op, gone_recorded, g);
}

static void gone_health(void *arg, struct call_answer *a)
{
    struct gone *g = arg;
    answer_boot(a, g->boot_id);
    robots_boot_seen(g->d, g->row.robot_id, g->boot_id, clock_ms() - (uint64_t)a->took_ms);
    gone_judge(g);
}

void session_gone(struct dispatcher *d, struct request *r, const struct session_row *row,
                  void (*again)(struct dispatcher *d, struct request *r))
{
    const struct robot *robot = robot_by_id(d, row->robot_id);
    if (!robot) { /* removed since it was called: its row shows that now */
        if (r)
            again(d, r);
        return;
    }
    struct gone *g = xcalloc(1, sizeof(*g));
    *g = (struct gone){.d = d, .key = r ? r->key : 0, .row = *row, .again = again};
    robot_call_health(d, robot, HEALTH_MS, false, gone_health, g);
}
