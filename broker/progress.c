/* SPDX-License-Identifier: MIT */
/*
 * progress.c - a batch's progress, live.
 *
 * Owns: the latest state of each followed batch, and when to ask for it again: after an EVENT, but at most every
 * ASK_MS; and every QUIET_MS without one, because events may be lost. Followers of the same batch share one
 * question. Each follower was admitted by a dispatcher's answer to its own question; must never admit one without
 * that. A slow follower misses intermediate states: it gets the next state when it has taken the last one.
 */
#include "broker/progress.h"
#include "broker/auth.h"
#include "broker/exchange.h"
#include "broker/flight.h"
#include "broker/reply.h"
#include "broker/sse.h"

#include "common/check.h"
#include "common/map.h"
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define ASK_MS 500
#define QUIET_MS 5000
#define AGAIN_MS 1000        /* after a question without an answer */
#define ANSWER_MS 5000       /* the deadline of a question */
#define TEXT_BYTES_MAX 16384 /* of a batch's text */

struct follower {
    struct watch *watch;
    LIST_ENTRY(follower) of_watch;
    struct sse *sse;
    struct caller caller;
    uint64_t version; /* the version last sent */
};

struct watch { /* a followed batch */
    struct progress *progress;
    struct map_node by_id;
    uint64_t batch_id;
    LIST_HEAD(followers, follower) followers;
    char *text; /* JSON in one line */
    size_t len;
    uint64_t version;
    bool is_over; /* done or cancelled */
    bool is_gone; /* the batch does not exist any more */
    bool is_stale;
    uint64_t asked_at_ms;
    struct caller caller; /* the latest caller that asked */
    struct flight flight;
    struct loop_timer timer;
};

struct progress {
    struct broker *b;
    struct map watches; /* by batch; besides the live one there may be gone ones */
};

/* ---- what it looks like ------------------------------------------------------------------------------------- */

static void fill(void *arg)
{
    struct follower *f = arg;
    struct watch *w = f->watch;
    if (w->is_gone) {
        sse_end(f->sse);
        return;
    }
    if (f->version == w->version)
        return;
    f->version = w->version;
    sse_event(f->sse, "progress", w->text, w->len);
    if (w->is_over) {
        sse_event(f->sse, "done", w->text, w->len);
        sse_end(f->sse);
    }
}

static void fill_all(struct watch *w)
{
    struct follower *f;
    LIST_FOREACH(f, &w->followers, of_watch)
        if (sse_is_empty(f->sse))
            fill(f);
}

/* Returns false when the payload is not an answer to BATCH_GET. */
static bool take_batch(struct watch *w, struct str payload)
{
    enum jv_bad why;
    struct jv *v = jv_parse(payload.p, payload.len, &why), *batch = jv_get(v, "batch");
    const char *status = jv_str(jv_get(batch, "status"));
    size_t len = 0;
    char *text = status ? jv_dump(batch, &len) : NULL;
    if (!text || len > TEXT_BYTES_MAX) {
        free(text);
        jv_free(v);
        return false;
    }
    w->is_over = strcmp(status, "done") == 0 || strcmp(status, "cancelled") == 0;
    jv_free(v);
    if (w->text && len == w->len && memcmp(text, w->text, len) == 0) {
        free(text);
        return true;
    }
    free(w->text);
    w->text = text;
    w->len = len;
    w->version++;
    return true;
}

/* ---- asking ------------------------------------------------------------------------------------------------- */

static void ask_later(struct watch *w, uint64_t at_most_ms)
{
    uint64_t now = loop_now_ms(w->progress->b->loop), at_ms = now + at_most_ms;
    if (w->is_stale && w->asked_at_ms + ASK_MS < at_ms)
        at_ms = w->asked_at_ms + ASK_MS;
    if (w->flight.state == FLIGHT_NONE && !w->is_gone)
        loop_timer_at(w->progress->b->loop, &w->timer, at_ms < now ? now : at_ms);
}

static void ask_replied(void *arg, const struct msg_REPLY *m, struct str payload)
{
    struct watch *w = arg;
    if (str_is(m->error, err_code(ERR_BATCH_NOT_FOUND)))
        w->is_gone = true;
    else if (!m->error.len && !take_batch(w, payload))
        stat_inc(replies_refused_total);
    ask_later(w, m->error.len ? AGAIN_MS : QUIET_MS);
    fill_all(w);
}

static void ask_failed(void *arg, enum err e)
{
    struct watch *w = arg;
    (void)e;
    w->asked_at_ms = loop_now_ms(w->progress->b->loop);
    ask_later(w, AGAIN_MS);
}

static const struct flight_user asker = {.reply = ask_replied, .failed = ask_failed};

static void ask(void *arg)
{
    struct watch *w = arg;
    struct broker *b = w->progress->b;
    w->is_stale = false;
    w->asked_at_ms = loop_now_ms(b->loop);
    caller_drop(&w->caller);
    caller_copy(&w->caller, &LIST_FIRST(&w->followers)->caller);
    w->flight.user = &asker;
    w->flight.arg = w;
    w->flight.op = OP_BATCH_GET;
    w->flight.request = (struct msg_REQUEST){.batch_id = w->batch_id};
    caller_request(&w->caller, &w->flight.request);
    w->flight.fair_key = w->caller.token->id | 1ull << 63;
    w->flight.deadline_at_ms = w->asked_at_ms + ANSWER_MS;
    flight_start(b, &w->flight);
}

/* ---- batches that are followed ------------------------------------------------------------------------------ */

static struct watch *watch_find(const struct progress *p, uint64_t batch_id)
{
    struct map_node *n = map_find(&p->watches, batch_id);
    while (n && map_value(n, struct watch, by_id)->is_gone)
        n = map_find_next(n);
    return map_value(n, struct watch, by_id);
}

static struct watch *watch_new(struct progress *p, uint64_t batch_id)
{
    struct watch *w = xcalloc(1, sizeof *w);
    w->progress = p;
    w->batch_id = batch_id;
    w->timer = (struct loop_timer){.fn = ask, .arg = w};
    map_add(&p->watches, &w->by_id, batch_id);
    return w;
}

static void watch_free(struct watch *w)
{
    map_remove(&w->progress->watches, &w->by_id);
    loop_timer_stop(w->progress->b->loop, &w->timer);
    flight_end(&w->flight);
    caller_drop(&w->caller);
    free(w->text);
    free(w);
}

static void follower_gone(void *arg)
{
    struct follower *f = arg;
    struct watch *w = f->watch;
    LIST_REMOVE(f, of_watch);
    caller_drop(&f->caller);
    free(f);
    if (LIST_EMPTY(&w->followers))
        watch_free(w);
}

static const struct sse_user follower_user = {.refill = fill, .gone = follower_gone};

void progress_follow(struct exchange *x, const struct msg_REPLY *m, struct str payload)
{
    struct progress *p = x->b->progress;
    if (m->error.len) {
        reply_take(x, m, payload);
        return;
    }
    uint64_t batch_id = x->flight.request.batch_id;
    struct watch *w = watch_find(p, batch_id);
    bool is_new = !w;
    if (is_new)
        w = watch_new(p, batch_id);
    if (!take_batch(w, payload)) {
        reply_refuse(x, "no batch");
        if (is_new)
            watch_free(w);
        return;
    }
    struct follower *f = xcalloc(1, sizeof *f);
    f->watch = w;
    caller_take(&f->caller, x);
    LIST_INSERT_HEAD(&w->followers, f, of_watch);
    f->sse = sse_new(x, &follower_user, f);
    fill(f);
    fill_all(w);
    w->asked_at_ms = loop_now_ms(x->b->loop);
    ask_later(w, QUIET_MS);
}

void progress_stale(struct broker *b, uint64_t batch_id)
{
    struct watch *w = watch_find(b->progress, batch_id);
    if (!w || w->is_stale)
        return;
    w->is_stale = true;
    ask_later(w, QUIET_MS);
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

struct progress *progress_new(struct broker *b)
{
    struct progress *p = xcalloc(1, sizeof *p);
    p->b = b;
    return p;
}

void progress_destroy(struct progress **pp)
{
    struct progress *p = *pp;
    if (!p)
        return;
    *pp = NULL;
    CHECK(!p->watches.n, "n=%zu", p->watches.n);
    map_free(&p->watches);
    free(p);
}
