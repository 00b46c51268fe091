/* SPDX-License-Identifier: MIT */
/*
 * summary.c - OPS_SUMMARY: the database's contents, in a few numbers.
 *
 * Owns: the last summary, and the requests that wait for the next. However many brokers ask,
 * it is read at most every FRESH_MS, and less often when it takes long: never more
 * than a twentieth of one connection's time.
 */
#include "dispatcher/ops/summary.h"
#include "dispatcher/store/store_summary.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "dispatcher/dispatcher.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdlib.h>

#define FRESH_MS 450 /* brokers ask each second when somebody looks, and sooner after a change */
#define SHARE 20
#define WAITING_MAX 64

struct summaries {
    struct dispatcher *d;
    struct jv *last;                  /* NULL = none */
    uint64_t read_ms, fresh_until_ms; /* read_ms: when the database was asked for the last */
    uint64_t waiting[WAITING_MAX];    /* keys of requests */
    unsigned n_waiting;
    bool is_reading;
};

struct summaries *summaries_new(struct dispatcher *d)
{
    struct summaries *s = xcalloc(1, sizeof(*s));
    s->d = d;
    return s;
}

void summaries_destroy(struct summaries **sp)
{
    if (*sp)
        jv_free((*sp)->last);
    free(*sp);
    *sp = NULL;
}

static void answer(struct summaries *s, struct request *r)
{
    if (!s->last) {
        reply_error(s->d, r, ERR_DATABASE_UNAVAILABLE, NULL, NULL);
        return;
    }
    struct jv *body = jv_copy(s->last);
    jv_set_int(body, "age_ms", (int64_t)(clock_ms() - s->read_ms));
    reply_jv(s->d, r, 200, body);
}

static void read_done(void *arg, void *op_arg)
{
    struct summaries *s = arg;
    struct store_summary *op = op_arg;
    s->is_reading = false;
    jv_free(s->last);
    s->last = op->json;
    if (s->last) {
        s->read_ms = clock_ms() - (uint64_t)op->took_ms;
        uint64_t pause_ms = (uint64_t)op->took_ms * SHARE;
        jv_set_int(s->last, "at_ms", clock_unix_ms());
        jv_set_int(s->last, "kept_back_percent", s->d->conf->queue_interactive_percent);
        jv_set_int(s->last, "migrate_after_ms", s->d->conf->session_migrate_after_s * 1000);
        jv_set_int(s->last, "lost_after_ms", s->d->conf->session_lost_after_s * 1000);
        s->fresh_until_ms = clock_ms() + (pause_ms > FRESH_MS ? pause_ms : FRESH_MS);
    }
    free(op);
    unsigned n = s->n_waiting;
    s->n_waiting = 0;
    for (unsigned i = 0; i < n; i++) {
        struct request *r = request_find(s->d, s->waiting[i]);
        if (r)
            answer(s, r);
    }
}

void summary_start(struct dispatcher *d, struct request *r)
{
    struct summaries *s = d->summaries;
    if (s->last && clock_ms() < s->fresh_until_ms) {
        answer(s, r);
        return;
    }
    if (s->n_waiting == WAITING_MAX) {
        reply_error(d, r, ERR_QUEUE_FULL, NULL, NULL);
        return;
    }
    s->waiting[s->n_waiting++] = r->key;
    if (s->is_reading)
        return;
    s->is_reading = true;
    store_submit(d->store, store_summary, xcalloc(1, sizeof(struct store_summary)), read_done, s);
}
