/* SPDX-License-Identifier: MIT */
/*
 * outcome.c - writes the outcomes of log-ins that have their session to the database, many in one transaction.
 *
 * Owns: the waiting outcomes. At most two transactions of many are in flight; outcomes that arrive meanwhile are
 * gathered. None waits for a timer: without a transaction in flight an outcome is written at the end of its turn of
 * the loop. One that does not fit with the others is written by itself. An outcome that was not recorded returns to its
 * log-in, which submits it again: the session is on the robot and must never be forgotten.
 */
#include "dispatcher/login/outcome.h"
#include "dispatcher/login/login.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

#define OUT_AT_ONCE 2

struct waiting {
    struct store_login_done *op;
    store_done_fn *done;
    void *arg;
};

struct group {
    struct dispatcher *d;
    struct store_logins_done op;
    struct waiting one[LOGINS_DONE_MAX];
};

struct outcomes {
    struct waiting *waiting;
    unsigned n, room, n_out;
};

static void send_group(struct dispatcher *d);

static void group_done(void *arg, void *op_arg)
{
    struct group *g = arg;
    struct dispatcher *d = g->d;
    (void)op_arg;
    d->outcomes->n_out--;
    send_group(d);
    for (unsigned i = 0; i < g->op.n; i++)
        if (g->op.is_apart[i])
            store_submit(d->store, store_login_done, g->one[i].op, g->one[i].done, g->one[i].arg);
        else
            g->one[i].done(g->one[i].arg, g->one[i].op);
    free(g);
}

static void send_group(struct dispatcher *d)
{
    struct outcomes *o = d->outcomes;
    if (!o->n || o->n_out >= OUT_AT_ONCE)
        return;
    struct group *g = xcalloc(1, sizeof(*g));
    g->d = d;
    g->op.n = o->n < LOGINS_DONE_MAX ? o->n : LOGINS_DONE_MAX;
    for (unsigned i = 0; i < g->op.n; i++) {
        g->one[i] = o->waiting[i];
        g->op.op[i] = o->waiting[i].op;
    }
    o->n -= g->op.n;
    memmove(o->waiting, o->waiting + g->op.n, o->n * sizeof(*o->waiting));
    o->n_out++;
    store_submit(d->store, store_logins_done, &g->op, group_done, g);
}

/* All outcomes of one turn of the loop go together. */
static bool before_sleep(void *arg)
{
    struct dispatcher *d = arg;
    send_group(d);
    return false;
}

void outcome_record(struct dispatcher *d, struct store_login_done *op, store_done_fn *done, void *arg)
{
    struct outcomes *o = d->outcomes;
    if (o->n == o->room) {
        o->room = o->room ? o->room * 2 : 64;
        o->waiting = xrealloc(o->waiting, o->room * sizeof(*o->waiting));
    }
    o->waiting[o->n++] = (struct waiting){op, done, arg};
    loop_wake(d->loop);
}

struct outcomes *outcomes_new(struct dispatcher *d)
{
    loop_hook(d->loop, before_sleep, d);
    return xcalloc(1, sizeof(struct outcomes));
}

void outcomes_destroy(struct dispatcher *d)
{
    if (!d->outcomes)
        return;
    loop_unhook(d->loop, before_sleep, d);
    free(d->outcomes->waiting);
    free(d->outcomes);
    d->outcomes = NULL;
}
