/* SPDX-License-Identifier: MIT */
/*
 * migrate.c - moves sessions away from robots that are down, restarted, or to be left at an operator's request.
 *
 * Owns: nothing that must survive. The database lists the sessions that must move, and any dispatcher may move
 * them. Planning is idempotent, so every dispatcher may plan when it sees a robot change. Must never log in a
 * session whose row it did not claim.
 */
#include "dispatcher/login/migrate.h"
#include "dispatcher/login/login.h"
#include "dispatcher/login/settle.h"
#include "dispatcher/robot/robot_calls.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/session/lookup.h"
#include "dispatcher/session/reconcile.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"
#include "dispatcher/wire/store_reply.h"

#include "common/check.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLAIM_AT_ONCE 8

struct migrations {
    bool claiming, again;
    unsigned skip; /* rows to skip at the next claim */
};

struct plan {
    struct dispatcher *d;
    struct store_migrate_plan op;
};

struct migrations *migrations_new(struct dispatcher *d)
{
    (void)d;
    return xcalloc(1, sizeof(struct migrations));
}

void migrations_destroy(struct migrations **mp)
{
    free(*mp);
    *mp = NULL;
}

/* ---- plan --------------------------------------------------------------------------------------------------- */

/* Whether it was planned because the robot was judged down. Such a plan is dropped when the robot answers
 * again. */
static bool is_by_verdict(const char *reason)
{
    return strcmp(reason, "robot_down") == 0 || strcmp(reason, "robot_silent") == 0;
}

static void planned(void *arg, void *op_arg)
{
    struct plan *p = arg;
    struct dispatcher *d = p->d;
    (void)op_arg;
    stat_add(migrations_planned_total, p->op.planned);
    stat_add(sessions_lost_total, p->op.lost);
    if (p->op.planned || p->op.lost)
        log_line(LOG_WARN, "migrations_planned", "robot",
                 robot_by_id(d, p->op.robot_id) ? robot_by_id(d, p->op.robot_id)->name : "", "why", p->op.reason,
                 "planned", log_i(p->op.planned), "lost", log_i(p->op.lost), NULL);
    if (p->op.rc == STORE_OK && p->op.more) {
        store_submit(d->store, store_migrate_plan, &p->op, planned, p);
        return;
    }
    const struct robot *robot = robot_by_id(d, p->op.robot_id);
    if (p->op.planned && robot && robot->verdict == VERDICT_UP && is_by_verdict(p->op.reason)) {
        migrate_robot_changed(
            d, robot->id,
            "robot_up"); /* it has recovered meanwhile: the plan may have been written after the recovery */
    } else if (p->op.planned) {
        migrate_tick(d);
        peers_wake(d, "migrations");
    }
    free(p);
}

static void unplanned(void *arg, void *op)
{
    (void)arg;
    free(op);
}

void migrate_robot_changed(struct dispatcher *d, uint32_t robot_id, const char *reason)
{
    const struct robot *robot = robot_by_id(d, robot_id);
    if (!robot)
        return;
    if (strcmp(reason, "robot_up") == 0) {
        struct store_migrate_unplan *op = xcalloc(1, sizeof(*op));
        op->robot_id = robot_id;
        store_submit(d->store, store_migrate_unplan, op, unplanned, d);
        return;
    }
    struct plan *p = xcalloc(1, sizeof(*p));
    p->d = d;
    p->op.robot_id = robot_id;
    strcpy(p->op.reason, reason);
    if (strcmp(reason, "robot_restarted") == 0)
        strcpy(p->op.boot_now, robot->boot_id);
    store_submit(d->store, store_migrate_plan, &p->op, planned, p);
}

void migrate_stored_away(struct dispatcher *d, uint32_t robot_id)
{
    struct plan *p = xcalloc(1, sizeof(*p));
    p->d = d;
    p->op.robot_id = robot_id;
    p->op.is_only_stored = true;
    strcpy(p->op.reason, "robot_silent");
    store_submit(d->store, store_migrate_plan, &p->op, planned, p);
}

static void urgent_told(void *arg, void *op)
{
    free(op);
    migrate_tick(arg);
}

void migrate_urgent(struct dispatcher *d, uint64_t job_id)
{
    struct store_migrate_urgent *op = xcalloc(1, sizeof(*op));
    op->job_id = job_id;
    store_submit(d->store, store_migrate_urgent, op, urgent_told, d);
}

/* ---- claim and log in --------------------------------------------------------------------------------------- */

static void old_close(struct login *l);
static void old_unended(struct login *l, const struct call_answer *a);

static void old_fenced(void *arg, struct call_answer *a)
{
    struct login *l = arg;
    enum told told = robots_told_fenced(l->d, l->old_robot_id, a, l->old_epoch);
    if (told == TOLD_YES)
        abandoned_free(l->d, l->old_ref);
    if (told == TOLD_NOT_SPOKEN)
        old_close(l);
    else if (told == TOLD_YES)
        login_call(l);
    else
        old_unended(l, a);
}

static void old_unended(struct login *l, const struct call_answer *a)
{
    answer_note(NULL, robot_by_id(l->d, l->old_robot_id), "fence", a);
    l->error = ERR_ROBOT_UNREACHABLE;
    l->place = PLACE_FREE;
    reconcile_robot(l->d, l->old_robot_id);
    login_failed(l);
}

static void old_closed(void *arg, struct call_answer *a)
{
    struct login *l = arg;
    enum told told = robots_told_closed(l->d, l->old_robot_id, a);
    if (told == TOLD_YES)
        abandoned_free(l->d, l->old_ref);
    if (told == TOLD_NOTHING)
        old_unended(l, a);
    else
        login_call(l); /* a robot that supports neither call: best effort */
}

/* Without a fence the session itself is closed, if its id is known. */
static void old_close(struct login *l)
{
    struct dispatcher *d = l->d;
    const struct robot *robot = robot_by_id(d, l->old_robot_id);
    if (!robot || !l->old_session_id[0] || robot->speaks.close.known == 0) {
        login_call(l);
        return;
    }
    robot_call_close(d, robot, l->old_session_id, (struct call_ids){0}, old_closed, l);
}

/* The old robot is reachable: its session ends before the next log-in, so that two sessions never overlap. */
static void old_fence(struct login *l, const struct robot *robot, const struct session_row *old)
{
    l->old_robot_id = robot->id;
    l->old_ref = old->ref;
    l->old_epoch = old->epoch;
    strcpy(l->old_session_id, old->session_id);
    if (robot->speaks.fence.known == 0) {
        old_close(l);
        return;
    }
    robot_call_fence(l->d, robot, l->company_id, l->portal, old->epoch, (struct call_ids){0}, old_fenced, l);
}

static void begin(struct dispatcher *d, struct migrate_claimed *got, const struct lease *lease)
{
    const struct robot *old = got->old.ref ? robot_by_id(d, got->old.robot_id) : NULL;
    struct login *l = login_new(d);
    l->job_id = got->job_id;
    l->session_ref = got->session_ref;
    l->epoch = got->epoch;
    l->company_id = got->company_id;
    l->robot_id = got->robot_id;
    l->migrating = true;
    l->attempts = got->attempts;
    strcpy(l->portal, got->portal);
    strcpy(l->job_uid, got->job_uid);
    l->action = action_find(&d->conf->actions, got->action);
    l->lease = *lease;
    l->credentials = got->credentials;
    got->credentials = (struct buf){0};
    if (l->action && l->action->session == ACTION_CREATE && l->credentials.len && d->seal) {
        login_hold(l);
        if (got->old.ref && !old) { /* not known here yet: its session cannot be ended */
            robots_reload(d);
            login_fail(l, ERR_ROBOT_UNREACHABLE, NULL, PLACE_FREE);
        } else if (old && old->last_judged != VERDICT_DOWN)
            old_fence(l, old, &got->old);
        else
            login_call(l);
        return;
    }
    l->error = ERR_SESSION_LOST;
    l->final = true;
    snprintf(l->message, sizeof(l->message),
             "The session cannot be opened again: no stored credentials, key or action.");
    login_failed(l);
}

static void claimed(void *arg, void *op_arg)
{
    struct dispatcher *d = arg;
    struct store_migrate_claim *op = op_arg;
    d->migrations->claiming = false;
    d->migrations->skip = op->skip;
    stat_add(sessions_lost_total, op->timed_out);
    for (unsigned i = 0; i < op->n; i++)
        begin(d, &op->got[i], &op->lease);
    for (unsigned i = 0; i < 16; i++)
        buf_free(&op->got[i].credentials);
    bool more = d->migrations->again || (op->rc == STORE_OK && op->n == op->max);
    d->migrations->again = false;
    free(op);
    if (more)
        migrate_tick(d);
}

void migrate_tick(struct dispatcher *d)
{
    if (d->draining)
        return;
    if (d->migrations->claiming) {
        d->migrations->again = true;
        return;
    }
    struct store_migrate_claim *op = xcalloc(1, sizeof(*op));
    lease_fill(d, &op->lease, d->conf->timeout_login_ms);
    op->timeout_ms = d->conf->session_migrate_timeout_s * 1000;
    op->lost_after_ms = d->conf->session_lost_after_s * 1000;
    op->max = CLAIM_AT_ONCE;
    op->skip = d->migrations->skip;
    op->n_candidates = robots_candidates(d, op->candidate, CANDIDATES_MAX, NULL, 0);
    d->migrations->claiming = true;
    store_submit(d->store, store_migrate_claim, op, claimed, d);
}

void migrate_resume(struct dispatcher *d, struct rescued *job, const struct lease *lease)
{
    struct settle_in *in = settle_in_of(job, lease);
    in->migrating = true;
    settle_login(d, in);
}

/* ---- an operator moves a session ---------------------------------------------------------------------------- */

struct wish {
    struct dispatcher *d;
    uint64_t key;
    char session_id[SESSION_ID_ROOM];
    struct store_migrate_plan op;
};

static void wished(void *arg, void *op_arg)
{
    struct wish *w = arg;
    struct dispatcher *d = w->d;
    struct request *r = request_find(d, w->key);
    (void)op_arg;
    stat_add(migrations_planned_total, w->op.planned);
    if (r && w->op.rc != STORE_OK) {
        reply_store(d, r, w->op.rc);
    } else if (r && !w->op.planned) {
        reply_error(d, r, ERR_WRONG_STATE,
                    "The session cannot move: it has no stored credentials, or is moving already.", NULL);
    } else if (r) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", true);
        jv_set_str(body, "session_id", w->session_id);
        jv_set_str(body, "state", "migrating");
        reply_jv(d, r, 202, body);
    }
    migrate_tick(d);
    free(w);
}

static void migrate_resolved(struct dispatcher *d, struct request *r, enum resolve res,
                             const struct session_row *row)
{
    if (res != RESOLVE_OK) {
        resolve_reply(d, r, res, row);
        return;
    }
    struct wish *w = xcalloc(1, sizeof(*w));
    w->d = d;
    w->key = r->key;
    strcpy(w->session_id, row->session_id);
    w->op.session_ref = row->ref;
    w->op.robot_id = row->robot_id;
    strcpy(w->op.reason, "operator");
    request_actor(r, &w->op.by);
    store_submit(d->store, store_migrate_plan, &w->op, wished, w);
}

void migrate_start(struct dispatcher *d, struct request *r)
{
    resolve_session(d, r, r->session_id, migrate_resolved);
}
