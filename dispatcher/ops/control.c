/* SPDX-License-Identifier: MIT */
/*
 * control.c - the lane `control`: sessions as rows, the operators' lists.
 * Answers from the database alone, plus verdicts; calls no robot.
 */
#include "dispatcher/ops/control.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/activity.h"
#include "dispatcher/session/lookup.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- sessions ----------------------------------------------------------------------------------------------- */

static void session_reply(struct dispatcher *d, struct request *r, const struct session_row *row)
{
    const struct robot *robot = robot_by_id(d, row->robot_id);
    if (!robot && row->base_url[0])
        robot = robot_by_url(d, row->base_url);
    reply_jv(d, r, 200, session_jv(row, robot ? robot->name : NULL));
}

static void session_resolved(struct dispatcher *d, struct request *r, enum resolve res,
                             const struct session_row *row)
{
    if (res == RESOLVE_OK)
        session_reply(d, r, row);
    else
        resolve_reply(d, r, res, row);
}

static void session_touched(struct dispatcher *d, struct request *r, enum resolve res,
                            const struct session_row *row)
{
    if (res == RESOLVE_OK && row->ref) {
        struct session_row used = *row;
        used.activity_ms = clock_unix_ms();
        activity_touch(d, row->ref);
        session_reply(d, r, &used);
        return;
    }
    session_resolved(d, r, res, row);
}

static void adopted(struct dispatcher *d, struct request *r, enum resolve res, const struct session_row *row)
{
    if (res == RESOLVE_OK)
        session_reply(d, r, row);
    else if (res == RESOLVE_DOWN)
        reply_error(d, r, ERR_DATABASE_UNAVAILABLE, NULL, NULL);
    else
        reply_error(d, r, ERR_SESSION_NOT_FOUND, NULL, NULL);
}

static void active_done(void *arg, void *op_arg)
{
    struct store_active *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    bool is_live = op->row.state == SESSION_ACTIVE || op->row.migrating; /* its id works, or will in a moment */
    if (r && op->found && op->row.ref && is_live)
        session_reply(d, r, &op->row);
    else if (r && op->found && !op->row.ref)
        resolve_session(d, r, op->row.session_id, adopted);
    else if (r)
        reply_error(d, r, ERR_SESSION_NOT_FOUND, NULL, NULL);
    free(op);
}

static void active_start(struct dispatcher *d, struct request *r)
{
    struct store_active *op = xcalloc(1, sizeof(*op));
    op->company_id = r->company_id;
    strcpy(op->portal, r->portal);
    op->laravel_max_age_ms = d->conf->session_idle_timeout_s * 1000;
    store_submit(d->store, store_active, op, active_done, asked_new(d, r));
}

/* ---- operators ---------------------------------------------------------------------------------------------- */

static void sessions_done(void *arg, void *op_arg)
{
    struct store_sessions *op = op_arg;
    asked_json(arg, op->rc, ERR_OK, &op->json);
    free(op);
}

static void sessions_start(struct dispatcher *d, struct request *r)
{
    struct store_sessions *op = xcalloc(1, sizeof(*op));
    snprintf(op->state, sizeof(op->state), "%.20s", r->state);
    op->company_id = r->company_id;
    strcpy(op->worker, r->worker);
    strcpy(op->session_id, r->session_id);
    op->cursor = r->cursor;
    op->limit = r->limit;
    store_submit(d->store, store_sessions, op, sessions_done, asked_new(d, r));
}

static void set_count(struct jv *w, const char *key, int64_t n)
{
    if (n < 0)
        jv_set(w, key, NULL);
    else
        jv_set_int(w, key, n);
}

/* What this process knows beside the database: healthd's verdict and the robot's own numbers. */
static void worker_judged(struct jv *w, const struct robot *robot)
{
    const char *why = "";
    jv_set_str(w, "verdict", verdict_name[robot ? robot_verdict(robot, &why) : VERDICT_UNKNOWN]);
    jv_set_str(w, "last_judged", verdict_name[robot ? robot->last_judged : VERDICT_UNKNOWN]);
    jv_set_str(w, "down_as", robot && robot->down ? down_name[robot->down] : NULL);
    jv_set_time(w, "since", robot ? robot->since_ms : 0);
    jv_set_str(w, "why", *why ? why : NULL);
    set_count(w, "robot_sessions", robot ? robot->sessions : -1);
    set_count(w, "robot_capacity", robot ? robot->capacity : -1);
}

/* Until when the sessions on a silent robot wait for it. */
static void worker_waits(const struct dispatcher *d, struct jv *w)
{
    int64_t silent_ms, now_ms = clock_unix_ms();
    bool is_silent = jv_int(jv_get(w, "silent_ms"), &silent_ms);
    jv_set_time(w, "migrate_at", is_silent ? now_ms + d->conf->session_migrate_after_s * 1000 - silent_ms : 0);
    jv_set_time(w, "lost_at", is_silent ? now_ms + d->conf->session_lost_after_s * 1000 - silent_ms : 0);
}

static void workers_done(void *arg, void *op_arg)
{
    struct store_workers *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    enum jv_bad why;
    struct jv *list = r ? jv_parse(op->json.data, op->json.len, &why) : NULL;
    if (r) {
        struct jv *body = jv_new_object();
        for (size_t i = 0; i < jv_len(list); i++) {
            struct jv *w = jv_at(list, i);
            const struct robot *robot = robot_by_name(d, jv_str(jv_get(w, "name")));
            worker_judged(w, robot);
            worker_waits(d, w);
        }
        jv_set_bool(body, "ok", true);
        jv_set(body, "workers", list);
        reply_jv(d, r, 200, body);
    }
    buf_free(&op->json);
    free(op);
}

static void workers_start(struct dispatcher *d, struct request *r)
{
    store_submit(d->store, store_workers, xcalloc(1, sizeof(struct store_workers)), workers_done, asked_new(d, r));
}

static void want_done(void *arg, void *op_arg)
{
    struct store_robot_want *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    if (r && op->found && *op->refused) {
        reply_error(d, r, ERR_WRONG_STATE, op->refused, NULL);
    } else if (r && op->found) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", true);
        jv_set_str(body, "worker", op->name);
        jv_set_str(body, "wanted", wanted_name[op->wanted]);
        robots_reload(d);
        reply_jv(d, r, 200, body);
    } else if (r) {
        reply_error(d, r, ERR_NOT_FOUND, "There is no such worker.", NULL);
    }
    free(op);
}

static void want_start(struct dispatcher *d, struct request *r)
{
    struct store_robot_want *op = xcalloc(1, sizeof(*op));
    strcpy(op->name, r->worker);
    op->wanted = strcmp(r->state, "draining") == 0   ? WANTED_DRAINING
                 : strcmp(r->state, "disabled") == 0 ? WANTED_DISABLED
                                                     : WANTED_ACTIVE;
    op->force = r->force_new;
    request_actor(r, &op->by);
    strcpy(op->detail, r->reason);
    op->deadline_in_ms = (int64_t)r->for_ms;
    store_submit(d->store, store_robot_want, op, want_done, asked_new(d, r));
}

void control_start(struct dispatcher *d, struct request *r)
{
    switch ((int)r->op) {
    case OP_SESSION_ACTIVE:
        active_start(d, r);
        return;
    case OP_SESSION_GET:
        resolve_session(d, r, r->session_id, session_resolved);
        return;
    case OP_SESSION_TOUCH:
        resolve_session(d, r, r->session_id, session_touched);
        return;
    case OP_OPS_SESSIONS:
        sessions_start(d, r);
        return;
    case OP_OPS_WORKERS:
        workers_start(d, r);
        return;
    case OP_OPS_WORKER_WANT:
        want_start(d, r);
        return;
    default:
        CHECK(false, "op %d is not for control", (int)r->op);
    }
}
