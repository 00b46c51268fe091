/* SPDX-License-Identifier: MIT */
/*
 * portals.c - the portals as this dispatcher knows them. Reports successes, learns the shared state of all
 * dispatchers, and lets held items go.
 *
 * Owns: the successes still to be reported, and each portal's state as last read. The database holds the state
 * that decides (store_portal.h); the states here only show when asking is worthwhile. A fault is reported in the
 * transaction that frees its log-in's place. Therefore a portal that goes down is not tried more often than it
 * takes to detect that. Successes are reported once a second, or at once while one is awaited.
 */
#include "dispatcher/robot/portals.h"
#include "dispatcher/news.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/wire/peer.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

#define TICK_MS 1000
#define SOON_MS 20 /* minimum between two looks, however early the next is wanted */
#define NEWS_PORTALS PORTALS_MAX
#define SYNC_PROBE_US UINT64_C(1000000)

struct portals {
    struct dispatcher *d;
    struct loop_timer timer;
    struct portal_news *news; /* n_news of them */
    unsigned n_news;
    struct portal_state *state; /* as last read */
    unsigned n_states;
    bool is_out, is_again; /* a look is in flight; another one must follow */
};

static void look(struct portals *p);

static void look_in(struct portals *p, uint64_t ms)
{
    loop_timer_in(p->d->loop, &p->timer, ms);
}

static void look_soon(struct portals *p)
{
    if (p->is_out)
        p->is_again = true;
    else
        look(p);
}

static const struct portal_state *state_of(const struct portals *p, const char *portal)
{
    static const struct portal_state none;
    for (unsigned i = 0; i < p->n_states; i++)
        if (strcmp(p->state[i].portal, portal) == 0)
            return &p->state[i];
    return &none;
}

static const struct portal_conf *conf_of(const struct dispatcher *d, const char *portal)
{
    return portal_conf_find(&d->conf->portals, portal);
}

static void robot_count(struct dispatcher *d, const struct robot *r, void *arg)
{
    (void)d;
    *(unsigned *)arg += r->wanted == WANTED_ACTIVE && r->last_judged != VERDICT_DOWN;
}

struct breaker_times portals_times(struct dispatcher *d)
{
    struct breaker_times t = {(uint64_t)d->conf->queue_probe_ms * 1000, SYNC_PROBE_US, 0};
    robots_each(d, robot_count, &t.robots);
    return t;
}

const struct portal_conf *portals_gate(const struct dispatcher *d, const char *portal)
{
    const struct portal_conf *conf = conf_of(d, portal);
    return portal_is_gated(state_of(d->portals, portal), conf) ? conf : NULL;
}

/* ---- telling ------------------------------------------------------------------------------------------------ */

static struct portal_news *news_of(struct portals *p, const char *portal)
{
    for (unsigned i = 0; i < p->n_news; i++)
        if (strcmp(p->news[i].portal, portal) == 0)
            return &p->news[i];
    if (p->n_news == NEWS_PORTALS) /* names of actions: these are few */
        return NULL;
    p->news = xrealloc(p->news, (p->n_news + 1) * sizeof(*p->news));
    struct portal_news *n = &p->news[p->n_news++];
    memset(n, 0, sizeof(*n));
    strcpy(n->portal, portal);
    return n;
}

static void ended_add(struct portal_news *n, const struct portal_ended *e)
{
    if (n->n == NEWS_MAX) {
        memmove(&n->ended[0], &n->ended[1], (NEWS_MAX - 1) * sizeof(n->ended[0]));
        n->n--;
    }
    n->ended[n->n++] = *e;
}

void portals_ended(struct dispatcher *d, const char *portal, enum attempt_outcome outcome,
                   const struct portal_ended *ended)
{
    struct portals *p = d->portals;
    struct portal_news *n = p ? news_of(p, portal) : NULL;
    if (!n)
        return;
    n->count[outcome]++;
    if (!ended || !conf_of(d, portal)->breaker)
        return;
    ended_add(n, ended);
    if (state_of(p, portal)->breaker.state != BREAKER_CLOSED)
        look_soon(p);
}

void portals_soon(struct dispatcher *d, uint64_t wait_us)
{
    struct portals *p = d->portals;
    uint64_t ms = wait_us / 1000 + 1;
    if (p && !p->is_out && ms < TICK_MS)
        look_in(p, ms < SOON_MS ? SOON_MS : ms);
    else if (p && p->is_out && !wait_us)
        p->is_again = true;
}

void portals_look(struct dispatcher *d)
{
    if (d->portals)
        look_soon(d->portals);
}

/* ---- what all know ------------------------------------------------------------------------------------------ */

/* The report failed: it is merged with what arrived meanwhile and sent again. */
static void news_back(struct portals *p, const struct store_portals *op)
{
    for (unsigned i = 0; i < op->n_news; i++) {
        struct portal_news *n = news_of(p, op->news[i].portal);
        for (unsigned k = 0; n && k < op->news[i].n && n->n < NEWS_MAX; k++)
            ended_add(n, &op->news[i].ended[k]);
        for (unsigned k = 0; n && k < OUTCOME_COUNT; k++)
            n->count[k] += op->news[i].count[k];
    }
}

static void change_tell(const struct portal_change *c)
{
    bool is_bad = c->to == BREAKER_TRIPPED;
    stat_add(attempts_given_back_total, c->n_given_back);
    if (c->from == c->to && !c->n_given_back)
        return;
    if (is_bad && c->from != c->to)
        stat_inc(portals_tripped_total);
    log_line(is_bad ? LOG_WARN : LOG_INFO, "portal", "portal", c->portal, "from", breaker_state_name[c->from],
             "to", breaker_state_name[c->to], "why", c->why, "given_back", log_i((long long)c->n_given_back),
             NULL);
}

void portals_told(struct dispatcher *d, const struct portal_change *c)
{
    change_tell(c);
    if (c->n_given_back)
        peers_wake(d, "work");
    portals_look(d);
}

static void looked(void *arg, void *op_arg)
{
    struct portals *p = arg;
    struct store_portals *op = op_arg;
    struct dispatcher *d = p->d;
    bool is_good = op->rc == STORE_OK, is_released = op->n_released > 0;
    p->is_out = false;
    if (is_good) {
        free(p->state);
        p->state = op->portal;
        p->n_states = op->n;
    } else {
        news_back(p, op);
    }
    for (unsigned i = 0; i < op->n_changes; i++) {
        change_tell(&op->change[i]);
        is_released |= op->change[i].n_given_back > 0;
    }
    uint64_t wait_ms =
        is_good && op->wait_us && op->wait_us / 1000 + 1 < TICK_MS ? op->wait_us / 1000 + 1 : TICK_MS;
    free(op->news);
    free(op);
    look_in(p, wait_ms < SOON_MS ? SOON_MS : wait_ms);
    if (is_good && p->is_again) {
        p->is_again = false;
        look(p);
    }
    d->news->work_ready(d);
    if (is_released)
        peers_wake(d, "work");
}

static void look(struct portals *p)
{
    struct dispatcher *d = p->d;
    struct store_portals *op = xcalloc(1, sizeof(*op));
    op->conf = &d->conf->portals;
    op->times = portals_times(d);
    strcpy(op->holder, d->name);
    op->tries = (unsigned)d->conf->queue_max_attempts;
    op->is_releasing = !d->draining;
    op->news = p->news;
    op->n_news = p->n_news;
    p->news = NULL;
    p->n_news = 0;
    p->is_out = true;
    p->is_again = false;
    store_submit(d->store, store_portals, op, looked, p);
}

static void look_due(void *arg)
{
    struct portals *p = arg;
    if (!p->is_out)
        look(p);
}

/* ---- start and stop ----------------------------------------------------------------------------------------- */

struct portals *portals_new(struct dispatcher *d)
{
    struct portals *p = xcalloc(1, sizeof(*p));
    p->d = d;
    p->timer = (struct loop_timer){.fn = look_due, .arg = p};
    look_in(p, 0);
    return p;
}

void portals_destroy(struct portals **pp)
{
    struct portals *p = *pp;
    if (!p)
        return;
    *pp = NULL;
    loop_timer_stop(p->d->loop, &p->timer);
    free(p->news);
    free(p->state);
    free(p);
}
