/* SPDX-License-Identifier: MIT */
/*
 * lookup.c - from a session id to the session and its robot. The query is in store_session.c.
 *
 * Owns: the waiting look-ups. Those that wait together go to the database as one query.
 *
 * Must stay: the base URL of a call is read from portal_jobs each time; only what else is known of that robot is in
 * memory. A robot that is judged down is not called. One request passes judge() although its robot is down: a close (a caller's if the robot is dead, an
 * operator's also if it is silent). close.c then closes the session without calling the robot.
 *
 * A dead robot's sessions migrate or are lost, and a call waits for that until shortly before its deadline. A silent
 * robot's sessions are kept, and a call is told at once that the robot does not answer.
 *
 * May change: how look-ups are gathered, and how many queries are in flight (two, so that the other database threads
 * stay free for log-ins).
 */
#include "dispatcher/session/lookup.h"
#include "dispatcher/news.h"
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/activity.h"
#include "dispatcher/store/together.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"
#include "dispatcher/wire/store_reply.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

#define QUERIES_AT_ONCE 2 /* the other threads stay free for log-ins */
#define LOOK_AGAIN_MS 250
#define BEFORE_DEADLINE_MS 300
#define ADOPT_TRIES 2

struct wait {
    struct dispatcher *d;
    uint64_t key;
    char session_id[SESSION_ID_ROOM];
    resolve_fn *fn;
    uint64_t asked_ms; /* time of its latest queueing */
    struct loop_timer again;
    struct wait *next;
    bool is_whole;     /* more of the row is wanted than a call needs */
    bool was_told;     /* told: that a client waits for the migration */
    bool was_reloaded; /* the robots were reloaded for it */
    unsigned adoptions;
};

struct batch {
    struct dispatcher *d;
    struct store_lookup op;
    struct wait *wait[LOOKUP_MAX];
    struct batch *next;
};

struct lookups {
    struct dispatcher *d;
    struct wait *first, **last;
    struct wait *sleeping; /* linked by next */
    unsigned n_queries;
    struct batch *spare;
};

static void judge(struct wait *w, struct request *r, struct session_row *row);

static void enqueue(struct lookups *l, struct wait *w)
{
    w->next = NULL;
    w->asked_ms = clock_ms();
    *l->last = w;
    l->last = &w->next;
    loop_wake(l->d->loop);
}

static void wait_free(struct wait *w)
{
    loop_timer_stop(w->d->loop, &w->again);
    free(w);
}

static void tell(struct wait *w, struct request *r, enum resolve res, const struct session_row *row)
{
    struct dispatcher *d = w->d;
    resolve_fn *fn = w->fn;
    wait_free(w);
    if (row) {
        r->job = row->job_id;
        r->counted_company = row->company_id;
    }
    fn(d, r, res, row);
}

/* ---- waiting for what becomes of a session ------------------------------------------------------------------ */

static void look_again(void *arg)
{
    struct wait *w = arg;
    for (struct wait **at = &w->d->lookups->sleeping; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            break;
        }
    enqueue(w->d->lookups, w);
}

void lookups_wake(struct dispatcher *d)
{
    for (struct wait *w; (w = d->lookups->sleeping);) {
        loop_timer_stop(d->loop, &w->again);
        d->lookups->sleeping = w->next;
        enqueue(d->lookups, w);
    }
}

static void sleep_on(struct wait *w, struct request *r, const struct session_row *row)
{
    int64_t left = request_left_ms(w->d, r) - BEFORE_DEADLINE_MS;
    if (left <= 0 || !bulkhead_park(w->d, r)) {
        tell(w, r, RESOLVE_MIGRATING, row);
        return;
    }
    w->next = w->d->lookups->sleeping;
    w->d->lookups->sleeping = w;
    loop_timer_in(w->d->loop, &w->again, (uint64_t)(left < LOOK_AGAIN_MS ? left : LOOK_AGAIN_MS));
}

/* At the first time, reports that a client waits: migration may not be planned yet for a robot that is down. */
static void sleep_on_move(struct wait *w, struct request *r, const struct session_row *row,
                          const struct robot *down)
{
    if (!w->was_told) {
        w->was_told = true;
        if (down)
            w->d->news->robot_changed(w->d, down->id, "robot_down");
        w->d->news->session_wanted(w->d, row->job_id);
    }
    sleep_on(w, r, row);
}

/* ---- Laravel's sessions ------------------------------------------------------------------------------------- */

struct adoption {
    struct wait *w;
    struct store_adopt op;
    struct store_active other;
};

static void superseded(void *arg, void *op)
{
    struct adoption *a = arg;
    struct request *r = request_find(a->w->d, a->w->key);
    struct session_row *row = &a->op.row;
    (void)op;
    row->state = SESSION_LOST;
    strcpy(row->reason, "superseded");
    if (a->other.rc == STORE_OK && a->other.found && a->other.row.ref && a->other.row.state == SESSION_ACTIVE)
        strcpy(row->successor, a->other.row.session_id);
    if (r)
        tell(a->w, r, RESOLVE_ENDED, row);
    else
        wait_free(a->w);
    free(a);
}

static void adopted(void *arg, void *op)
{
    struct adoption *a = arg;
    struct wait *w = a->w;
    struct dispatcher *d = w->d;
    struct request *r = request_find(d, w->key);
    (void)op;
    if (!r) {
        wait_free(w);
    } else if (a->op.rc != STORE_OK) {
        tell(w, r, RESOLVE_DOWN, NULL);
    } else if (a->op.adopted) {
        judge(w, r, &a->op.row);
    } else if (++w->adoptions < ADOPT_TRIES) { /* another dispatcher may just have adopted it */
        enqueue(d->lookups, w);
    } else { /* another session of the company is the live one */
        a->other.company_id = a->op.row.company_id;
        strcpy(a->other.portal, a->op.row.portal);
        a->other.laravel_max_age_ms = 0;
        store_submit(d->store, store_active, &a->other, superseded, a);
        return;
    }
    free(a);
}

static void adopt(struct wait *w, const struct session_row *row, uint32_t robot_id)
{
    struct adoption *a = xcalloc(1, sizeof(*a));
    a->w = w;
    a->op.job_id = row->job_id;
    a->op.company_id = row->company_id;
    strcpy(a->op.portal, row->portal);
    a->op.robot_id = robot_id;
    strcpy(a->op.asked, w->session_id);
    a->op.row = *row;
    adopt_together(w->d->together, &a->op, adopted, a);
}

/* ---- what a row means --------------------------------------------------------------------------------------- */

static const struct robot *robot_of(const struct dispatcher *d, const struct session_row *row)
{
    const struct robot *r = robot_by_id(d, row->robot_id);
    return r && strcmp(r->base_url, row->base_url) == 0 ? r : robot_by_url(d, row->base_url);
}

/* Requests that only read need no robot. A close needs one, but the session need not stay on it. */
static bool is_look(const struct request *r)
{
    return r->op == OP_SESSION_GET || r->op == OP_SESSION_ACTIVE || r->op == OP_SESSION_TOUCH ||
           r->op == OP_OPS_SESSION_MIGRATE;
}

static bool is_close(const struct request *r)
{
    return r->op == OP_SESSION_CLOSE || r->op == OP_OPS_SESSION_CLOSE;
}

static void judge(struct wait *w, struct request *r, struct session_row *row)
{
    struct dispatcher *d = w->d;
    bool is_active = row->state == SESSION_ACTIVE, is_opening = row->state == SESSION_OPENING;
    if (!request_may_see(r, row->company_id)) {
        tell(w, r, RESOLVE_NOT_FOUND, NULL);
        return;
    }
    if (row->state == SESSION_CLOSING &&
        is_close(r)) { /* the robot may not confirm the close; it is then active again */
        sleep_on(w, r, row);
        return;
    }
    if (row->ref && !is_active && !is_opening) { /* closing too: it cannot be used any more */
        tell(w, r, RESOLVE_ENDED, row);
        return;
    }
    if (row->ref && is_look(r)) {
        tell(w, r, RESOLVE_OK, row);
        return;
    }
    if (!d->robots_revision) { /* just started: no robot is known yet */
        sleep_on(w, r, row);
        return;
    }
    if ((row->migrating && !is_close(r)) || (row->ref && is_opening)) {
        sleep_on_move(w, r, row, NULL);
        return;
    }
    const struct robot *robot = robot_of(d, row);
    if (!robot && row->ref && robot_by_id(d, row->robot_id) &&
        !w->was_reloaded) { /* its address has changed since our list was read */
        w->was_reloaded = true;
        robots_reload(d);
        sleep_on(w, r, row);
        return;
    }
    if (!robot && !(row->ref && is_close(r))) {
        tell(w, r, RESOLVE_ROBOT_UNKNOWN, row);
    } else if (!row->ref) {
        adopt(w, row, robot->id);
    } else if (robot && robot->verdict == VERDICT_DOWN && robot->down == DOWN_SILENT &&
               r->op != OP_OPS_SESSION_CLOSE) {
        activity_touch(d, row->ref); /* else it would expire as idle while its company tries to use it */
        tell(w, r, RESOLVE_SILENT, row);
    } else if (robot && robot->verdict == VERDICT_DOWN && !is_close(r)) {
        sleep_on_move(w, r, row, robot);
    } else {
        row->robot_id = robot ? robot->id : 0;
        if (robot)
            strcpy(r->robot, robot->name);
        tell(w, r, RESOLVE_OK, row);
    }
}

/* ---- queries ------------------------------------------------------------------------------------------------ */

static void pump(struct lookups *l);

static void answered(void *arg, void *op)
{
    struct batch *b = arg;
    struct lookups *l = b->d->lookups;
    uint64_t now = clock_ms();
    (void)op;
    l->n_queries--;
    for (unsigned i = 0; i < b->op.n; i++) {
        struct wait *w = b->wait[i];
        struct request *r = request_find(b->d, w->key);
        if (r)
            r->db_ms += (int64_t)(now - w->asked_ms);
        if (!r)
            wait_free(w);
        else if (b->op.rc != STORE_OK)
            tell(w, r, RESOLVE_DOWN, NULL);
        else if (!b->op.found[i])
            tell(w, r, RESOLVE_NOT_FOUND, NULL);
        else
            judge(w, r, &b->op.row[i]);
    }
    b->next = l->spare;
    l->spare = b;
    pump(l);
}

static void pump(struct lookups *l)
{
    while (l->first && l->n_queries < QUERIES_AT_ONCE) {
        struct batch *b = l->spare;
        if (b)
            l->spare = b->next;
        else
            b = xcalloc(1, sizeof(*b));
        b->d = l->d;
        b->op.n = 0;
        b->op.whole = false;
        while (l->first && b->op.n < LOOKUP_MAX) {
            struct wait *w = l->first;
            if (!(l->first = w->next))
                l->last = &l->first;
            b->wait[b->op.n] = w;
            b->op.whole |= w->is_whole;
            strcpy(b->op.asked[b->op.n++], w->session_id);
        }
        l->n_queries++;
        stat_add(lookups_total, b->op.n);
        stat_inc(lookup_queries_total);
        store_submit_prompt(l->d->store, "store_lookup", store_lookup, &b->op, answered, b);
    }
}

/* All look-ups of this turn of the loop go together. */
static bool before_sleep(void *arg)
{
    pump(arg);
    return false;
}

void resolve_session(struct dispatcher *d, struct request *r, const char *session_id, resolve_fn *fn)
{
    struct wait *w = xcalloc(1, sizeof(*w));
    w->d = d;
    w->key = r->key;
    w->fn = fn;
    w->is_whole = is_look(r);
    w->again.fn = look_again;
    w->again.arg = w;
    strcpy(w->session_id, session_id);
    enqueue(d->lookups, w);
}

void resolve_reply(struct dispatcher *d, struct request *r, enum resolve res, const struct session_row *row)
{
    switch (res) {
    case RESOLVE_NOT_FOUND:
        reply_error(d, r, ERR_SESSION_NOT_FOUND, NULL, NULL);
        return;
    case RESOLVE_ENDED:
        reply_ended(d, r, row);
        return;
    case RESOLVE_MIGRATING:
        if (row && row->state == SESSION_CLOSING)
            reply_error(d, r, ERR_WRONG_STATE, "The session is still being closed.", NULL);
        else
            reply_error(d, r, ERR_SESSION_MIGRATING, NULL, NULL);
        return;
    case RESOLVE_ROBOT_UNKNOWN: {
        struct session_row lost = *row;
        lost.state = SESSION_LOST;
        strcpy(lost.reason, "robot_unknown");
        reply_ended(d, r, &lost);
        return;
    }
    case RESOLVE_DOWN:
        reply_store(d, r, store_refusal(d->store) ? STORE_REFUSED : STORE_DOWN);
        return;
    case RESOLVE_SILENT:
        reply_error(d, r, ERR_ROBOT_SILENT, NULL, NULL);
        return;
    case RESOLVE_OK:
        break;
    }
    CHECK(false, "resolved: nothing to refuse");
}

struct lookups *lookups_new(struct dispatcher *d)
{
    struct lookups *l = xcalloc(1, sizeof(*l));
    l->d = d;
    l->last = &l->first;
    loop_hook(d->loop, before_sleep, l);
    return l;
}

void lookups_destroy(struct lookups **lp)
{
    struct lookups *l = *lp;
    if (!l)
        return;
    loop_unhook(l->d->loop, before_sleep, l);
    for (struct wait *w; (w = l->first);) {
        l->first = w->next;
        wait_free(w);
    }
    for (struct wait *w; (w = l->sleeping);) {
        l->sleeping = w->next;
        wait_free(w);
    }
    for (struct batch *b; (b = l->spare);) {
        l->spare = b->next;
        free(b);
    }
    free(l);
    *lp = NULL;
}
