/*
 * lookup.c - from a session id to the session and its robot.
 *
 * Owns: the look-ups that wait, and the note of which sessions were used.
 * Look-ups that wait together go to the database as one query. Must never
 * answer from memory: the robot of a call is read from portal_jobs each time.
 * A session that migrates is waited for until shortly before the deadline.
 */
#include "dispatcher/dispatcher.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

#define QUERIES_AT_ONCE 2 /* the other threads stay free for log-ins */
#define LOOK_AGAIN_MS 250
#define BEFORE_DEADLINE_MS 300

struct wait {
    struct dispatcher *d;
    uint64_t key;
    char session_id[SESSION_ID_ROOM];
    resolve_fn *fn;
    struct loop_timer again;
    struct wait *next;
    bool told_urgent;
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
    struct wait *sleeping; /* waiting for a migration; by next */
    unsigned n, n_queries;
    struct batch *spare;
};

static void pump(struct lookups *l);

static void enqueue(struct lookups *l, struct wait *w)
{
    w->next = NULL;
    *l->last = w;
    l->last = &w->next;
    l->n++;
}

static void wait_free(struct wait *w)
{
    loop_timer_stop(w->d->loop, &w->again);
    free(w);
}

static void look_again(void *arg)
{
    struct wait *w = arg;
    for (struct wait **at = &w->d->lookups->sleeping; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            break;
        }
    enqueue(w->d->lookups, w);
    loop_wake(w->d->loop);
}

static void tell(struct wait *w, struct request *r, enum resolve res, const struct session_row *row)
{
    struct dispatcher *d = w->d;
    resolve_fn *fn = w->fn;
    wait_free(w);
    fn(d, r, res, row);
}

/* The session is on its way to another robot: look again soon, give up shortly before the deadline. */
static void sleep_on(struct wait *w, struct request *r, const struct session_row *row)
{
    int64_t left = request_left_ms(w->d, r) - BEFORE_DEADLINE_MS;
    if (left <= 0) {
        tell(w, r, RESOLVE_MIGRATING, row);
        return;
    }
    if (!w->told_urgent) {
        w->told_urgent = true;
        migrate_urgent(w->d, row->job_id);
    }
    w->next = w->d->lookups->sleeping;
    w->d->lookups->sleeping = w;
    loop_timer_in(w->d->loop, &w->again, (uint64_t)(left < LOOK_AGAIN_MS ? left : LOOK_AGAIN_MS));
}

static void adopted(void *arg, void *op_arg)
{
    struct wait *w = arg;
    struct store_adopt *op = op_arg;
    struct request *r = request_find(w->d, w->key);
    if (!r)
        wait_free(w);
    else if (op->rc != STORE_OK)
        tell(w, r, RESOLVE_DOWN, NULL);
    else if (op->adopted)
        tell(w, r, RESOLVE_OK, &op->row);
    else if (w->told_urgent) /* tried twice: another session of the company is the live one */
        tell(w, r, RESOLVE_ENDED, &op->row);
    else {
        w->told_urgent = true; /* somebody else may have adopted it just now */
        enqueue(w->d->lookups, w);
        loop_wake(w->d->loop);
    }
    free(op);
}

static void adopt(struct wait *w, const struct session_row *row, uint32_t robot_id)
{
    struct store_adopt *op = xcalloc(1, sizeof(*op));
    op->job_id = row->job_id;
    op->robot_id = robot_id;
    strcpy(op->asked, w->session_id);
    op->row = *row;
    op->row.state = SESSION_LOST;
    strcpy(op->row.reason, "superseded");
    store_submit(w->d->store, store_adopt, op, adopted, w);
}

static const struct robot *robot_of(const struct dispatcher *d, const struct session_row *row)
{
    const struct robot *r = robot_by_id(d, row->robot_id);
    return r && strcmp(r->base_url, row->base_url) == 0 ? r : robot_by_url(d, row->base_url);
}

static void judge(struct wait *w, struct request *r, bool found, struct session_row *row)
{
    struct dispatcher *d = w->d;
    if (!found || !request_may_see(r, row->company_id)) {
        tell(w, r, RESOLVE_NOT_FOUND, NULL);
        return;
    }
    if (row->ref && row->state != SESSION_OPENING && row->state != SESSION_ACTIVE) {
        tell(w, r, RESOLVE_ENDED, row);
        return;
    }
    if (row->migrating || (row->ref && row->state == SESSION_OPENING)) {
        sleep_on(w, r, row);
        return;
    }
    const struct robot *robot = robot_of(d, row);
    if (!robot) {
        tell(w, r, RESOLVE_ROBOT_UNKNOWN, row);
        return;
    }
    if (!row->ref) {
        adopt(w, row, robot->id);
        return;
    }
    if (robot->verdict == VERDICT_DOWN) {
        migrate_robot_changed(d, robot->id, "robot_down");
        sleep_on(w, r, row);
        return;
    }
    row->robot_id = robot->id;
    tell(w, r, RESOLVE_OK, row);
}

static void answered(void *arg, void *op_arg)
{
    struct batch *b = arg;
    struct lookups *l = b->d->lookups;
    (void)op_arg;
    l->n_queries--;
    for (unsigned i = 0; i < b->op.n; i++) {
        struct wait *w = b->wait[i];
        struct request *r = request_find(b->d, w->key);
        if (!r)
            wait_free(w);
        else if (b->op.rc != STORE_OK)
            tell(w, r, RESOLVE_DOWN, NULL);
        else
            judge(w, r, b->op.found[i], &b->op.row[i]);
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
        while (l->first && b->op.n < LOOKUP_MAX) {
            struct wait *w = l->first;
            if (!(l->first = w->next))
                l->last = &l->first;
            l->n--;
            b->wait[b->op.n] = w;
            strcpy(b->op.asked[b->op.n++], w->session_id);
        }
        l->n_queries++;
        stat_add(lookups_total, b->op.n);
        stat_inc(lookup_queries_total);
        store_submit(l->d->store, store_lookup, &b->op, answered, b);
    }
}

/* All look-ups that came in this turn of the loop go together. */
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
    w->again.fn = look_again;
    w->again.arg = w;
    strcpy(w->session_id, session_id);
    enqueue(d->lookups, w);
    loop_wake(d->loop);
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
        reply_error(d, r, ERR_DATABASE_UNAVAILABLE, NULL, NULL);
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
