/* SPDX-License-Identifier: MIT */
/*
 * together.c - what requests of one moment write to the database, many in one transaction: places that executes reserve,
 * outcomes of log-ins that have their session, and Laravel's sessions at their first use.
 *
 * Owns: those that wait, and the groups in flight. What arrives while groups of its kind are in flight waits for one of
 * them to come back, so that groups are as large as the database is busy. Nothing waits for a timer: without a group
 * in flight it is sent at the end of its turn of the loop, by itself if it is the only one. A group that waits for a lock
 * holds up the others for a moment only. One that does not fit with the others of its group is written by itself, so that
 * it ends as if it had come alone. What was not written returns to its owner, who decides. Must never make more wait than
 * requests and log-ins are in flight: each has one op here at most.
 */
#include "dispatcher/store/together.h"
#include "dispatcher/store/store_queue.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

#define OUT_AT_ONCE 2
#define STUCK_MS 50 /* after this a group in flight no longer holds up those that wait */

struct kind {
    const char *duty, *duty_apart;
    store_fn *fn, *apart;
    unsigned most; /* of a group */
};
#define KIND(together, alone, most)                                                                               \
    {                                                                                                             \
#together, #alone, together, alone, most                                                                  \
    }

enum { RESERVE, RECORD, ADOPT, KINDS };
static const struct kind kinds[KINDS] = {[RESERVE] = KIND(store_reserves, store_reserve, RESERVES_MAX),
                                         [RECORD] = KIND(store_logins_done, store_login_done, LOGINS_DONE_MAX),
                                         [ADOPT] = KIND(store_adopts, store_adopt, ADOPTS_MAX)};

struct waiting {
    void *op;
    store_done_fn *done;
    void *arg;
};

struct line { /* those of a kind that wait */
    const struct kind *kind;
    struct store *store;
    struct waiting *waiting;
    unsigned n, room;
    unsigned n_out, n_away; /* groups in flight; ops of them */
    uint64_t sent_ms;       /* time of the latest group */
};

struct group {
    struct line *line;
    struct store_group op;
    struct waiting one[GROUP_MAX];
};

struct together {
    struct loop *loop;
    struct together *next; /* of those left behind */
    struct line line[KINDS];
};

static void group_send(struct line *l);

static void group_done(void *arg, void *op_arg)
{
    struct group *g = arg;
    const struct kind *kind = g->line->kind;
    struct store *store = g->line->store;
    (void)op_arg;
    g->line->n_out--;
    g->line->n_away -= g->op.n;
    group_send(g->line);
    for (unsigned i = 0; i < g->op.n; i++) {
        struct waiting *one = &g->one[i];
        if (g->op.is_apart[i])
            store_submit_duty(store, kind->duty_apart, kind->apart, one->op, one->done, one->arg);
        else
            one->done(one->arg, one->op);
    }
    free(g);
}

/* A second group of a kind has as many ops at least as the first: larger groups cost each of them less. */
static bool may_go(const struct line *l)
{
    if (!l->n || !l->n_out)
        return l->n > 0;
    bool is_second = l->n_out < OUT_AT_ONCE && l->n >= l->n_away;
    return is_second || clock_ms() >= l->sent_ms + STUCK_MS;
}

static void group_send(struct line *l)
{
    if (!may_go(l))
        return;
    struct group *g = xcalloc(1, sizeof(*g));
    g->line = l;
    g->op.n = l->n < l->kind->most ? l->n : l->kind->most;
    for (unsigned i = 0; i < g->op.n; i++) {
        g->one[i] = l->waiting[i];
        g->op.op[i] = l->waiting[i].op;
    }
    l->n -= g->op.n;
    memmove(l->waiting, l->waiting + g->op.n, l->n * sizeof(*l->waiting));
    l->n_out++;
    l->n_away += g->op.n;
    l->sent_ms = clock_ms();
    store_submit_duty(l->store, l->kind->duty, l->kind->fn, &g->op, group_done, g);
}

/* All of one turn of the loop go together. */
static bool before_sleep(void *arg)
{
    struct together *t = arg;
    for (unsigned i = 0; i < KINDS; i++)
        group_send(&t->line[i]);
    return false;
}

static void join(struct together *t, unsigned kind, void *op, store_done_fn *done, void *arg)
{
    struct line *l = &t->line[kind];
    if (l->n == l->room) {
        l->room = l->room ? l->room * 2 : 64;
        l->waiting = xrealloc(l->waiting, l->room * sizeof(*l->waiting));
    }
    l->waiting[l->n++] = (struct waiting){op, done, arg};
    loop_wake(t->loop);
}

void reserve_together(struct together *t, struct store_reserve *op, store_done_fn *done, void *arg)
{
    join(t, RESERVE, op, done, arg);
}

void record_together(struct together *t, struct store_login_done *op, store_done_fn *done, void *arg)
{
    join(t, RECORD, op, done, arg);
}

void adopt_together(struct together *t, struct store_adopt *op, store_done_fn *done, void *arg)
{
    join(t, ADOPT, op, done, arg);
}

struct together *together_new(struct loop *loop, struct store *store)
{
    struct together *t = xcalloc(1, sizeof(*t));
    t->loop = loop;
    for (unsigned i = 0; i < KINDS; i++)
        t->line[i] = (struct line){.kind = &kinds[i], .store = store};
    loop_hook(loop, before_sleep, t);
    return t;
}

/* With ops that waited at the end, whose owners take them back no more. Their memory goes with the process. */
static struct together *left_behind;

void together_destroy(struct together **tp)
{
    struct together *t = *tp;
    bool is_waiting = false;
    if (!t)
        return;
    *tp = NULL;
    loop_unhook(t->loop, before_sleep, t);
    for (unsigned i = 0; i < KINDS; i++)
        is_waiting |= t->line[i].n > 0;
    if (is_waiting) {
        t->next = left_behind;
        left_behind = t;
        return;
    }
    for (unsigned i = 0; i < KINDS; i++)
        free(t->line[i].waiting);
    free(t);
}
