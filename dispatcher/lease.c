/*
 * lease.c - the leases we hold, and taking over those that others let run out.
 *
 * Owns: the list of our leases. Must never trust one longer than its term counted
 * from the moment it was asked for, less a margin. A lease that is lost tells its holder once.
 */
#include "dispatcher/dispatcher.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

struct held {
    uint64_t job_id;
    struct lease lease;
    uint64_t trusted_until_ms;
    void (*lost)(struct dispatcher *d, uint64_t job_id, void *arg);
    void *arg;
    struct held *next;
};

struct leases {
    struct held *first;
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
}

static uint64_t term_end(const struct dispatcher *d, uint64_t from_ms)
{
    return from_ms + (uint64_t)(d->conf->queue_lease_ms * 4 / 5); /* a fifth of the term is margin */
}

static struct held *find(struct dispatcher *d, uint64_t job_id)
{
    struct held *h = d->leases->first;
    while (h && h->job_id != job_id)
        h = h->next;
    return h;
}

void lease_hold(struct dispatcher *d, uint64_t job_id, const struct lease *l,
                void (*lost)(struct dispatcher *d, uint64_t job_id, void *arg), void *arg)
{
    struct held *h = xcalloc(1, sizeof(*h));
    *h = (struct held){.job_id = job_id, .lease = *l, .trusted_until_ms = term_end(d, clock_ms()), .lost = lost, .arg = arg,
                       .next = d->leases->first};
    d->leases->first = h;
    stat_set(leases, ++d->leases->n);
}

void lease_drop(struct dispatcher *d, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES])
{
    for (struct held **at = &d->leases->first, *h; (h = *at); at = &h->next)
        if (h->job_id == job_id && memcmp(h->lease.token, token, ID_TOKEN_BYTES) == 0) {
            *at = h->next;
            free(h);
            stat_set(leases, --d->leases->n);
            return;
        }
}

bool lease_trusted(struct dispatcher *d, uint64_t job_id)
{
    struct held *h = find(d, job_id);
    return h && clock_ms() < h->trusted_until_ms;
}

/* ---- renewing -------------------------------------------------------------------------------------------------------- */

static void renewed(void *arg, void *op_arg)
{
    struct renewal *w = arg;
    struct dispatcher *d = w->d;
    (void)op_arg;
    d->leases->renewing = false;
    for (unsigned i = 0; i < w->op.n && w->op.rc == STORE_OK; i++)
        for (struct held **at = &d->leases->first, *h; (h = *at); at = &h->next)
            if (h->job_id == w->op.job_id[i] && memcmp(h->lease.token, w->op.token[i], ID_TOKEN_BYTES) == 0) {
                if (!w->op.lost[i]) {
                    h->trusted_until_ms = term_end(d, w->asked_ms);
                    break;
                }
                *at = h->next;
                stat_set(leases, --d->leases->n);
                stat_inc(leases_lost_total);
                if (h->lost)
                    h->lost(d, h->job_id, h->arg);
                free(h);
                break;
            }
    free(w->op.job_id);
    free(w->op.token);
    free(w->op.lost);
    free(w);
}

static void renew(struct dispatcher *d)
{
    struct leases *ls = d->leases;
    struct renewal *w = xcalloc(1, sizeof(*w));
    w->d = d;
    w->asked_ms = clock_ms();
    strcpy(w->op.holder, d->name);
    strcpy(w->op.boot_id, d->boot_id);
    w->op.ttl_ms = d->conf->queue_lease_ms;
    w->op.job_id = xcalloc(ls->n, sizeof(*w->op.job_id));
    w->op.token = xcalloc(ls->n, sizeof(*w->op.token));
    w->op.lost = xcalloc(ls->n, sizeof(*w->op.lost));
    for (struct held *h = ls->first; h; h = h->next) {
        w->op.job_id[w->op.n] = h->job_id;
        memcpy(w->op.token[w->op.n++], h->lease.token, ID_TOKEN_BYTES);
    }
    ls->renewing = true;
    store_submit(d->store, store_renew, &w->op, renewed, w);
}

/* ---- rescue ---------------------------------------------------------------------------------------------------------- */

static void action_ended(void *arg, void *op)
{
    (void)arg;
    free(op);
}

static void rescue_login(struct dispatcher *d, struct rescued *job, const struct lease *lease)
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
    strcpy(in->message, "The dispatcher died before the robot answered; nothing runs; log in again.");
    if (job->remember && d->seal && job->params.len) {
        struct buf plain = {0};
        if (seal_unwrap(d->seal, job->row.company_id, job->row.portal, "params", job->params.data, job->params.len, &plain))
            seal_wrap(d->seal, job->row.company_id, job->row.portal, "credentials", plain.data, plain.len, &in->remember);
        buf_wipe(&plain);
    }
    settle_login(d, in);
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
        static const char *const kinds[] = {"login", "action", "close", "migrate"};
        stat_inc(rescues_total);
        log_line(LOG_WARN, "rescued", "job", log_i((long long)job->job_id), "kind", kinds[job->kind], NULL);
        switch (job->kind) {
        case LEASE_LOGIN:
            rescue_login(d, job, &op->lease);
            break;
        case LEASE_ACTION:
            rescue_action(d, job, &op->lease);
            break;
        case LEASE_CLOSE:
            close_session(d, &job->row, SESSION_CLOSED, "rescued", NULL, true, &op->lease, NULL, NULL);
            break;
        case LEASE_MIGRATE:
            migrate_resume(d, job, &op->lease);
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

void leases_tick(struct dispatcher *d)
{
    struct leases *ls = d->leases;
    uint64_t now = clock_ms();
    if (ls->n && !ls->renewing && now >= ls->renew_at_ms) {
        ls->renew_at_ms = now + (uint64_t)d->conf->queue_lease_ms / 4;
        renew(d);
    }
    if (!ls->rescuing && !d->draining && now >= ls->rescue_at_ms) {
        ls->rescue_at_ms = now + (uint64_t)d->conf->session_sweep_ms;
        rescue(d);
    }
}

static void orphans_done(void *arg, void *op_arg)
{
    struct store_orphans *op = op_arg;
    (void)arg;
    if (op->n)
        log_line(LOG_INFO, "orphans", "leases", log_i((long long)op->n), "of", op->holder, NULL);
    free(op);
}

struct leases *leases_new(struct dispatcher *d)
{
    struct store_orphans *op = xcalloc(1, sizeof(*op));
    strcpy(op->holder, d->name);
    strcpy(op->boot_id, d->boot_id);
    store_submit(d->store, store_orphans, op, orphans_done, d);
    return xcalloc(1, sizeof(struct leases));
}

void leases_destroy(struct leases **lp)
{
    for (struct held *h; *lp && (h = (*lp)->first);) {
        (*lp)->first = h->next;
        free(h);
    }
    free(*lp);
    *lp = NULL;
}
