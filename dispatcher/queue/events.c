/* SPDX-License-Identifier: MIT */
/*
 * events.c - what is told outside. Owns the calls under way and, while the
 * receiver takes nothing, when it is asked again. An event that fails holds
 * back those of its own job only; but after FAILURES_MAX failures in a row the
 * receiver itself is down: then one call at a time asks whether it is back.
 */
#include "dispatcher/queue/events.h"
#include "dispatcher/robot/robots.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "dispatcher/store/store_events.h"
#include "dispatcher/queue/webhook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SPARE_MS 15000 /* what a try's lease lasts beyond its limit */
#define LOOK_MS 500
#define FAILURES_MAX 3
#define WAIT_MS_MAX 10000

struct telling { /* a call under way */
    struct events *all;
    struct telling *next, **link;
    uint64_t job_id, event_id;
    unsigned part, attempts;
    int64_t age_ms;
    uint8_t token[ID_TOKEN_BYTES];
    char kind[24];
};

struct events {
    struct dispatcher *d;
    uint64_t look_at_ms;
    bool is_busy;         /* a claim is under way */
    unsigned n, failures; /* calls; failures in a row */
    struct telling *first;
    struct troubles troubles; /* at most one of them */
};

static const char duty[] = "events";

/* ---- the end of a try --------------------------------------------------------------------------------------- */

static void ended(void *arg, void *op_)
{
    struct store_event_end *op = op_;
    struct events *e = arg;
    if (op->rc == STORE_OK && !op->lost && !op->is_delivered && op->again_ms < 0) {
        stat_inc(events_given_up_total);
        log_line(LOG_WARN, "event_given_up", "event", op->kind, "id", log_i((long long)op->event_id), "why",
                 op->error, NULL);
    }
    if (op->is_delivered && !e->failures)
        e->look_at_ms = 0; /* the next of its job is due */
    free(op);
}

static void settle(struct events *e, const struct telling *t, const char *why)
{
    struct dispatcher *d = e->d;
    struct store_event_end *op = xcalloc(1, sizeof(*op));
    op->job_id = t->job_id;
    op->event_id = t->event_id;
    op->part = t->part;
    memcpy(op->token, t->token, sizeof(op->token));
    strcpy(op->kind, t->kind);
    strcpy(op->holder, d->name);
    op->is_delivered = !why;
    if (why) {
        snprintf(op->error, sizeof(op->error), "%s", why);
        op->again_ms = webhook_wait_ms(d, t->attempts);
        if (t->age_ms + op->again_ms > (int64_t)d->conf->webhook_give_up_s * 1000)
            op->again_ms = -1;
    }
    store_submit(d->store, store_event_end, op, ended, e);
}

/* How long the receiver is left alone: from a try that failed on, longer and longer. */
static uint64_t pause_ms(const struct events *e)
{
    uint64_t most = (uint64_t)e->d->conf->webhook_backoff_ms
                    << (e->failures < 10 ? e->failures - FAILURES_MAX : 10);
    return most < WAIT_MS_MAX ? most : WAIT_MS_MAX;
}

static void answered(void *arg, struct call_answer *answer)
{
    struct telling *t = arg;
    struct events *e = t->all;
    char error[100];
    const char *why = webhook_wrong(answer, error);
    e->n--;
    if (why) {
        stat_inc(events_failed_total);
        trouble_note(&e->troubles, duty, "events", why, clock_ms());
        if (++e->failures >= FAILURES_MAX)
            e->look_at_ms = clock_ms() + pause_ms(e);
    } else {
        stat_inc(events_delivered_total);
        trouble_over(&e->troubles, duty, clock_ms());
        if (e->failures >= FAILURES_MAX)
            e->look_at_ms = 0;
        e->failures = 0;
    }
    log_line(LOG_DEBUG, why ? "event_failed" : "event_delivered", "event", t->kind, "id",
             log_i((long long)t->event_id), "attempt", log_i(t->attempts), why ? "why" : NULL, why, NULL);
    settle(e, t, why);
    if ((*t->link = t->next))
        t->next->link = t->link;
    free(t);
}

/* ---- a try -------------------------------------------------------------------------------------------------- */

static void tell(struct events *e, struct out_event *event)
{
    struct telling *t = xcalloc(1, sizeof(*t));
    *t = (struct telling){.all = e,
                          .job_id = event->job_id,
                          .event_id = event->event_id,
                          .part = event->part,
                          .attempts = event->attempts,
                          .age_ms = event->age_ms};
    memcpy(t->token, event->token, sizeof(t->token));
    strcpy(t->kind, event->kind);
    if (!event->body.len) { /* it is told as nothing */
        settle(e, t, NULL);
        free(t);
        return;
    }
    if ((t->next = e->first))
        e->first->link = &t->next;
    t->link = &e->first;
    e->first = t;
    e->n++;
    buf_room(&event->body, event->body.len + 4096);
    robots_hide_urls(e->d, event->body.data, event->body.room);
    event->body.len = strlen(event->body.data);
    webhook_post(e->d, e->d->conf->events_url, &event->body, event->delivery, answered, t);
}

static void claimed(void *arg, void *op_)
{
    struct events *e = arg;
    struct store_events_claim *op = op_;
    e->is_busy = false;
    if (op->rc == STORE_OK && op->is_idle &&
        e->failures) { /* another dispatcher told all of it: the receiver is back */
        trouble_over(&e->troubles, duty, clock_ms());
        e->failures = 0;
    }
    for (unsigned i = 0; i < op->n; i++) {
        if (op->rc == STORE_OK && !e->d->draining)
            tell(e, &op->got[i]);
        buf_free(&op->got[i].body);
    }
    if (op->rc == STORE_OK && op->more && e->failures < FAILURES_MAX) {
        e->look_at_ms = 0;
        if (!op->n)
            events_tick(e->d);
    }
    free(op);
}

void events_tick(struct dispatcher *d)
{
    struct events *e = d->events;
    unsigned room = e->failures >= FAILURES_MAX ? 1 : EVENTS_CLAIM_MAX;
    if (!d->conf->events_url || e->is_busy || d->draining || e->n >= room || clock_ms() < e->look_at_ms)
        return;
    struct store_events_claim *op = xcalloc(1, sizeof(*op));
    e->is_busy = true;
    e->look_at_ms = clock_ms() + (e->failures >= FAILURES_MAX ? pause_ms(e) : LOOK_MS);
    op->max = room - e->n;
    op->lease_ms = d->conf->webhook_timeout_ms + SPARE_MS;
    store_submit(d->store, store_events_claim, op, claimed, e);
}

/* ---- start and stop ----------------------------------------------------------------------------------------- */

void events_trouble(const struct dispatcher *d, char text[TROUBLE_TEXT_MAX + 1])
{
    char line[TROUBLE_TEXT_MAX + 1];
    trouble_text(&d->events->troubles, clock_ms(), line);
    if (strlen(text) + strlen(line) <= TROUBLE_TEXT_MAX)
        strcat(text, line);
}

struct events *events_new(struct dispatcher *d)
{
    const char *url = d->conf->events_url, *why = NULL;
    if (url && strncasecmp(url, "https://", 8) != 0 && strncasecmp(url, "http://", 7) != 0)
        why = "events.url must begin with https:// or http://";
    else if (url && !webhook_can_post(d))
        why = "events.url needs webhook.secret_file, which signs events";
    if (why) {
        log_line(LOG_ERROR, "events_refused", "why", why, NULL);
        return NULL;
    }
    struct events *e = xcalloc(1, sizeof(*e));
    e->d = d;
    return e;
}

void events_destroy(struct events **ep)
{
    struct events *e = *ep;
    *ep = NULL;
    if (!e)
        return;
    while (e->first) {
        struct telling *t = e->first;
        e->first = t->next;
        free(t);
    }
    free(e);
}
