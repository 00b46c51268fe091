/* SPDX-License-Identifier: MIT */
/*
 * retention.c - passes over what may be too old. Owns where a pass is. Every
 * dispatcher does this by itself: rows that another one has locked are passed
 * over, so they help and do not hinder each other. A step that failed is made
 * again a second later, and later each time.
 */
#include "dispatcher/retention.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/store/store_retention.h"

#include <stdlib.h>
#include <string.h>

#define STEP_MS 1000
#define PASS_MS 600000
#define FIRST_MS 3000 /* after the start, and as much again at random */
#define DAY_S 86400
#define KEY_S DAY_S /* an Idempotency-Key is kept for 24 h */

struct retention {
    uint64_t at_ms;
    enum prune_what what;
    uint64_t cursor;
    uint64_t pruned;   /* in this pass */
    unsigned failures; /* steps in a row */
    bool is_busy;
};

static int64_t older_s(const struct conf *conf, enum prune_what what)
{
    switch (what) {
    case PRUNE_JOBS:
    case PRUNE_BATCHES:
    case PRUNE_RUNS:
        return conf->retention_jobs_days * DAY_S;
    case PRUNE_EVENTS:
    case PRUNE_MINUTES:
        return conf->retention_events_days * DAY_S;
    case PRUNE_HISTORY:
        return conf->retention_history_days * DAY_S;
    case PRUNE_RESULTS:
        return conf->retention_results_days * DAY_S;
    case PRUNE_AUDIT:
        return conf->retention_audit_days * DAY_S;
    case PRUNE_KEYS:
    case PRUNE_COUNT:
        break;
    }
    return KEY_S;
}

static void pass_end(struct retention *r)
{
    if (r->pruned)
        log_line(LOG_INFO, "pruned", "rows", log_i((long long)r->pruned), NULL);
    r->what = 0;
    r->pruned = 0;
    r->at_ms = clock_ms() + PASS_MS;
}

static void stepped(void *arg, void *op_)
{
    struct retention *r = arg;
    struct store_prune *op = op_;
    r->is_busy = false;
    r->at_ms = clock_ms() + STEP_MS;
    if (op->rc != STORE_OK) { /* the next try comes later each time, until the next pass would */
        uint64_t wait_ms = (uint64_t)STEP_MS << (r->failures < 10 ? r->failures : 10);
        r->at_ms = clock_ms() + (wait_ms < PASS_MS ? wait_ms : PASS_MS);
        stat_inc(prunes_failed_total);
        if (r->failures++ == 3)
            log_line(LOG_WARN, "retention", "to", "failing", "step", log_i(op->what), NULL);
    } else {
        r->failures = 0;
        stat_add(pruned_total, op->n);
        r->pruned += op->n;
        r->cursor = op->is_end ? 0 : op->cursor;
        r->what += op->is_end;
        if (r->what == PRUNE_COUNT)
            pass_end(r);
    }
    free(op);
}

void retention_tick(struct dispatcher *d)
{
    struct retention *r = d->retention;
    if (r->is_busy || d->draining || clock_ms() < r->at_ms)
        return;
    struct store_prune *op = xcalloc(1, sizeof(*op));
    op->what = r->what;
    op->cursor = r->cursor;
    op->older_s = older_s(d->conf, r->what);
    op->deletes_rows = strcmp(d->conf->retention_portal_jobs, "delete") == 0;
    r->is_busy = true;
    store_submit(d->store, store_prune, op, stepped, r);
}

struct retention *retention_new(void)
{
    struct retention *r = xcalloc(1, sizeof(*r));
    r->at_ms = clock_ms() + FIRST_MS + id_random_u64() % FIRST_MS;
    return r;
}

void retention_destroy(struct retention **rp)
{
    free(*rp);
    *rp = NULL;
}
