/* SPDX-License-Identifier: MIT */
/*
 * row_repair.c - looks after jobs whose row in portal_jobs is not what it should be.
 *
 * Owns: when each of three duties is due. Sessions whose row somebody deleted are
 * closed on their robots; what is left of deleted jobs goes; rows that could not be
 * changed are tried again. All of it is safe to repeat, and every dispatcher
 * does it by itself. Never more than a twentieth of one connection's time.
 */
#include "dispatcher/ops/row_repair.h"
#include "dispatcher/session/close.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/store/store_refusal.h"
#include "dispatcher/store/store_rows.h"

#include <stdlib.h>

#define ROWLESS_MS 1000
#define REFUSALS_MS 5000
#define STEP_MS 1000  /* between two steps over the leftovers */
#define PASS_MS 60000 /* between two passes */
#define FAILED_MOST_MS 60000
#define SHARE 20

struct duty {
    uint64_t at_ms;
    unsigned failures; /* in a row */
    bool is_busy;
};

struct row_repair {
    struct duty rowless, refusals, leftovers;
    uint64_t past, cursor;
    unsigned n_closing;
};

/* When a duty is due again: not at once after it failed. */
static void next(struct duty *duty, uint64_t in_ms, enum store_rc rc)
{
    duty->is_busy = false;
    duty->failures = rc == STORE_OK ? 0 : duty->failures + 1;
    if (duty->failures)
        in_ms = in_ms << (duty->failures < 6 ? duty->failures : 6);
    duty->at_ms = clock_ms() + (in_ms < FAILED_MOST_MS ? in_ms : FAILED_MOST_MS);
}

static bool is_due(struct duty *duty)
{
    if (duty->is_busy || clock_ms() < duty->at_ms)
        return false;
    return duty->is_busy = true;
}

/* ---- sessions whose row is gone ----------------------------------------------------------------------------- */

static void rowless_closed(struct dispatcher *d, void *arg, enum err e, const struct session_row *row)
{
    (void)arg;
    d->row_repair->n_closing--;
    if (e)
        return; /* its robot did not confirm it: the next look finds it again */
    stat_inc(sessions_rowless_total);
    log_line(LOG_WARN, "session_rowless", "job", log_i((long long)row->job_id), "company",
             log_i((long long)row->company_id), "why", "its row in portal_jobs is deleted", NULL);
}

static void rowless_found(void *arg, void *op_arg)
{
    struct dispatcher *d = arg;
    struct store_rowless *op = op_arg;
    struct row_repair *r = d->row_repair;
    r->past = op->rc == STORE_OK && op->n == ROWLESS_MAX ? op->row[ROWLESS_MAX - 1].ref : 0;
    for (unsigned i = 0; op->rc == STORE_OK && i < op->n; i++) {
        r->n_closing++;
        close_session(d, &op->row[i], SESSION_CLOSED, "row_deleted", NULL, false, NULL, rowless_closed, NULL);
    }
    next(&r->rowless, op->took_ms * SHARE > ROWLESS_MS ? op->took_ms * SHARE : ROWLESS_MS, op->rc);
    free(op);
}

/* ---- rows that could not be changed ------------------------------------------------------------------------- */

static void refusals_tried(void *arg, void *op_arg)
{
    struct dispatcher *d = arg;
    struct store_refusals *op = op_arg;
    if (op->n_written)
        log_line(LOG_INFO, "refused_rows_written", "n", log_i(op->n_written), NULL);
    next(&d->row_repair->refusals, REFUSALS_MS, op->rc);
    free(op);
}

/* ---- what is left of deleted jobs --------------------------------------------------------------------------- */

static void leftovers_done(void *arg, void *op_arg)
{
    struct dispatcher *d = arg;
    struct store_leftovers *op = op_arg;
    if (op->n)
        log_line(LOG_INFO, "leftovers_deleted", "jobs", log_i(op->n), "why",
                 "their rows in portal_jobs are deleted", NULL);
    d->row_repair->cursor = op->rc == STORE_OK && !op->is_end ? op->cursor : 0;
    next(&d->row_repair->leftovers, op->is_end ? PASS_MS : STEP_MS, op->rc);
    free(op);
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

void row_repair_tick(struct dispatcher *d)
{
    struct row_repair *r = d->row_repair;
    if (d->draining)
        return;
    if (!r->n_closing && d->robots_revision && is_due(&r->rowless)) {
        struct store_rowless *op = xcalloc(1, sizeof(*op));
        op->past = r->past;
        store_submit(d->store, store_rowless, op, rowless_found, d);
    }
    if (is_due(&r->refusals))
        store_submit(d->store, store_refusals, xcalloc(1, sizeof(struct store_refusals)), refusals_tried, d);
    if (is_due(&r->leftovers)) {
        struct store_leftovers *op = xcalloc(1, sizeof(*op));
        op->cursor = r->cursor;
        store_submit(d->store, store_leftovers, op, leftovers_done, d);
    }
}

struct row_repair *row_repair_new(void)
{
    struct row_repair *r = xcalloc(1, sizeof(*r));
    r->leftovers.at_ms = clock_ms() + STEP_MS + id_random_u64() % STEP_MS;
    return r;
}

void row_repair_destroy(struct row_repair **rp)
{
    free(*rp);
    *rp = NULL;
}
