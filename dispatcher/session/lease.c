/* SPDX-License-Identifier: MIT */
/*
 * lease.c - the leases that we hold, and the take-over of expired leases of others.
 *
 * Owns: the table of our leases, by job. Must never trust a lease longer than its term, counted from the moment of
 * its request, less a margin. The holder of a lease is notified once when the lease is lost, and once when its job
 * is to stop.
 */
#include "dispatcher/session/lease.h"
#include "dispatcher/news.h"
#include "dispatcher/session/close.h"
#include "dispatcher/wire/peer.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024
#define STALLED_MS 1000 /* a look for expired leases this late means that we stalled */

struct held {
    uint64_t job_id;
    struct lease lease;
    uint64_t trusted_until_ms;
    bool is_cancelled; /* and its holder was notified */
    bool is_missed;    /* the last renewal did not find it */
    lease_told_fn *told;
    void *arg;
    struct held *next;
};

struct leases {
    struct held *by_job[BUCKETS];
    unsigned n;
    bool renewing, rescuing;
    uint64_t renew_at_ms, rescue_at_ms;
};

struct renewal {
    struct dispatcher *d;
    uint64_t asked_ms;
    struct store_renew op;
};

void lease_fill(struct dispatcher *d, struct lease *l, int64_t limit_ms)
{
    id_random(l->token, sizeof(l->token));
    strcpy(l->holder, d->name);
    strcpy(l->boot_id, d->boot_id);
    l->ttl_ms = d->conf->queue_lease_ms;
    l->limit_ms = limit_ms;
    l->asked_ms = clock_ms();
}

static uint64_t term_end(const struct dispatcher *d, uint64_t from_ms)
{
    return from_ms + (uint64_t)(d->conf->queue_lease_ms * 4 / 5); /* a fifth of the term is the margin */
}

/* The link that points to the lease, or the end of its chain. */
static struct held **held_at(struct dispatcher *d, uint64_t job_id, const uint8_t *token)
{
    struct held **at = &d->leases->by_job[job_id % BUCKETS];
    while (*at && ((*at)->job_id != job_id || memcmp((*at)->lease.token, token, ID_TOKEN_BYTES) != 0))
        at = &(*at)->next;
    return at;
}

static void held_remove(struct dispatcher *d, struct held **at)
{
    struct held *h = *at;
    *at = h->next;
    free(h);
    stat_set(leases, --d->leases->n);
}

void lease_hold(struct dispatcher *d, uint64_t job_id, const struct lease *l, lease_told_fn *told, void *arg)
{
    struct held *h = xcalloc(1, sizeof(*h)), **first = &d->leases->by_job[job_id % BUCKETS];
    *h = (struct held){.job_id = job_id,
                       .lease = *l,
                       .trusted_until_ms = term_end(d, l->asked_ms),
                       .told = told,
                       .arg = arg,
                       .next = *first};
    *first = h;
    stat_set(leases, ++d->leases->n);
}

void lease_drop(struct dispatcher *d, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES])
{
    struct held **at = held_at(d, job_id, token);
    if (*at)
        held_remove(d, at);
}

bool lease_trusted(struct dispatcher *d, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES])
{
    struct held *h = *held_at(d, job_id, token);
    return h && clock_ms() < h->trusted_until_ms;
}

/* ---- renewing ----------------------------------------------------------------------------------------------- */

static void news_take(struct dispatcher *d, const struct renewal *w, unsigned i)
{
    struct held **at = held_at(d, w->op.job_id[i], w->op.token[i]), *h = *at;
    if (!h)
        return; /* dropped meanwhile */
    lease_told_fn *told = h->told;
    void *arg = h->arg;
    bool was_missed = h->is_missed;
    h->is_missed = w->op.news[i] == LEASE_LOST;
    switch (w->op.news[i]) {
    case LEASE_HELD:
        h->trusted_until_ms = term_end(d, w->asked_ms);
        return;
    case LEASE_CANCELLED:
        h->trusted_until_ms = term_end(d, w->asked_ms);
        if (h->is_cancelled)
            return;
        h->is_cancelled = true;
        break;
    case LEASE_LOST:
        /* Another database thread may have ended it, with the message of that in flight: look once more. */
        if (!was_missed) {
            leases_renew_soon(d);
            return;
        }
        held_remove(d, at);
        stat_inc(leases_lost_total);
        break;
    }
    if (told)
        told(d, w->op.job_id[i], w->op.news[i], arg);
}

static void renewed(void *arg, void *op_arg)
{
    struct renewal *w = arg;
    struct dispatcher *d = w->d;
    (void)op_arg;
    d->leases->renewing = false;
    for (unsigned i = 0; i < w->op.n && w->op.rc == STORE_OK; i++)
        news_take(d, w, i);
    free(w->op.job_id);
    free(w->op.token);
    free(w->op.news);
    free(w);
}

static int by_job_id(const void *a, const void *b)
{
    const struct held *const *x = a, *const *y = b;
    return (*x)->job_id < (*y)->job_id ? -1 : (*x)->job_id > (*y)->job_id;
}

static void renew(struct dispatcher *d)
{
    struct leases *ls = d->leases;
    struct renewal *w = xcalloc(1, sizeof(*w));
    struct held **sorted = xcalloc(ls->n, sizeof(*sorted));
    w->d = d;
    w->asked_ms = clock_ms();
    strcpy(w->op.holder, d->name);
    strcpy(w->op.boot_id, d->boot_id);
    w->op.ttl_ms = d->conf->queue_lease_ms;
    w->op.job_id = xcalloc(ls->n, sizeof(*w->op.job_id));
    w->op.token = xcalloc(ls->n, sizeof(*w->op.token));
    w->op.news = xcalloc(ls->n, sizeof(*w->op.news));
    for (unsigned i = 0; i < BUCKETS; i++)
        for (struct held *h = ls->by_job[i]; h; h = h->next)
            sorted[w->op.n++] = h;
    qsort(sorted, w->op.n, sizeof(struct held *), by_job_id);
    for (unsigned i = 0; i < w->op.n; i++) {
        w->op.job_id[i] = sorted[i]->job_id;
        memcpy(w->op.token[i], sorted[i]->lease.token, ID_TOKEN_BYTES);
    }
    free(sorted);
    ls->renewing = true;
    store_submit_prompt(d->store, "store_renew", store_renew, &w->op, renewed, w);
}

/* ---- rescue ------------------------------------------------------------------------------------------------- */

static void action_ended(void *arg, void *op)
{
    (void)arg;
    free(op);
}

static void rescue_action(struct dispatcher *d, const struct rescued *job, const struct lease *lease)
{
    struct store_action_end *op = xcalloc(1, sizeof(*op));
    op->job_id = job->job_id;
    memcpy(op->token, lease->token, sizeof(op->token));
    strcpy(op->error, err_code(ERR_OUTCOME_UNKNOWN));
    strcpy(op->message, err_text(ERR_OUTCOME_UNKNOWN));
    store_submit(d->store, store_action_end, op, action_ended, d);
}

static void rescued(void *arg, void *op_arg)
{
    struct dispatcher *d = arg;
    struct store_rescue *op = op_arg;
    d->leases->rescuing = false;
    for (unsigned i = 0; i < op->n; i++) {
        struct rescued *job = &op->job[i];
        stat_inc(rescues_total);
        log_line(LOG_WARN, "rescued", "job", log_i((long long)job->job_id), "kind", lease_kind_name[job->kind],
                 NULL);
        switch (job->kind) {
        case LEASE_ACTION:
            rescue_action(d, job, &op->lease);
            break;
        case LEASE_CLOSE:
            close_session(d, &job->row, SESSION_CLOSED, "rescued", NULL, true, &op->lease, NULL, NULL);
            break;
        case LEASE_LOGIN:
        case LEASE_MIGRATE:
        case LEASE_ROUND:
            d->news->lease_rescued(d, job, &op->lease);
            break;
        }
        buf_wipe(&job->params);
    }
    free(op->job);
    free(op);
}

static void rescue(struct dispatcher *d)
{
    struct store_rescue *op = xcalloc(1, sizeof(*op));
    lease_fill(d, &op->lease, 0);
    op->max = 16;
    d->leases->rescuing = true;
    store_submit(d->store, store_rescue, op, rescued, d);
}

void leases_renew_soon(struct dispatcher *d)
{
    d->leases->renew_at_ms = 0;
    d->news->tick_wanted(d);
}

void leases_rescue_soon(struct dispatcher *d)
{
    d->leases->rescue_at_ms = 0;
    d->news->tick_wanted(d);
}

/* After a stall of our own the leases that we hold seem to have run out: they are renewed before any is rescued, as
 * are those whose log-ins have just been reserved, which a later turn reads. */
static bool was_stalled(struct leases *ls, uint64_t now)
{
    bool is_late = ls->rescue_at_ms && now > ls->rescue_at_ms + STALLED_MS;
    if (is_late)
        ls->rescue_at_ms = 0;
    return is_late;
}

void leases_tick(struct dispatcher *d)
{
    struct leases *ls = d->leases;
    uint64_t now = clock_ms();
    if (ls->n && !ls->renewing && now >= ls->renew_at_ms) {
        ls->renew_at_ms = now + (uint64_t)d->conf->queue_lease_ms / 4;
        renew(d);
    }
    bool knows_robots = d->robots_revision != 0; /* else no robot could be asked for the outcome of a log-in */
    bool may_rescue = !ls->rescuing && !ls->renewing && !d->draining && knows_robots;
    if (may_rescue && now >= ls->rescue_at_ms && !was_stalled(ls, now)) {
        ls->rescue_at_ms = now + (uint64_t)d->conf->session_sweep_ms;
        rescue(d);
    }
}

static void orphans_done(void *arg, void *op_arg)
{
    struct store_leases_expire *op = op_arg;
    (void)arg;
    if (op->n)
        log_line(LOG_INFO, "orphans", "leases", log_i((long long)op->n), "of", op->holder, NULL);
    free(op);
}

static void expire(struct dispatcher *d, bool is_own, store_done_fn *done)
{
    struct store_leases_expire *op = xcalloc(1, sizeof(*op));
    strcpy(op->holder, d->name);
    strcpy(op->boot_id, d->boot_id);
    op->is_own = is_own;
    store_submit(d->store, store_leases_expire, op, done, d);
}

struct leases *leases_new(struct dispatcher *d)
{
    expire(d, false, orphans_done);
    return xcalloc(1, sizeof(struct leases));
}

static void resigned(void *arg, void *op_arg)
{
    struct store_leases_expire *op = op_arg;
    struct dispatcher *d = arg;
    if (op->n)
        peers_wake(d, "rescue");
    free(op);
}

void leases_resign(struct dispatcher *d)
{
    expire(d, true, resigned);
}

void leases_destroy(struct leases **lp)
{
    for (unsigned i = 0; *lp && i < BUCKETS; i++)
        for (struct held *h; (h = (*lp)->by_job[i]);) {
            (*lp)->by_job[i] = h->next;
            free(h);
        }
    free(*lp);
    *lp = NULL;
}
