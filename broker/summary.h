/* SPDX-License-Identifier: MIT */
/* summary.h - the state of the database, as summarised by a dispatcher. */
#ifndef CHASQUI_BROKER_SUMMARY_H
#define CHASQUI_BROKER_SUMMARY_H

#include "broker/broker.h"
#include "broker/flow.h"

struct summary_view { /* of the durable queue; -1 = unknown */
    bool is_known;
    uint64_t age_ms;
    int64_t depth, oldest_age_ms, scheduled, batches_open;
    int64_t held; /* by pauses and portals; not included in depth */
    bool is_depth_capped, is_paused;
    int64_t refused; /* rows recently refused by the database; -1 = none */
};
struct summary *summary_new(struct broker *b);
void summary_destroy(struct summary **sp);
void summary_tick(struct broker *b);    /* each second */
void summary_watched(struct broker *b); /* a client is watching: ask more often for a while */
void summary_hurry(struct broker *b);   /* something changed that is to be seen at once */
struct summary_view summary_view(const struct broker *b);
/* How the durable queue is now. All that is said of it comes from one of these, so that its numbers agree. */
struct queue_now {
    struct summary_view view;
    bool goes;             /* work waits, and goes on */
    struct flow_pace pace; /* its clear_ms: 0 = nothing waits */
};
struct queue_now summary_now(const struct broker *b);
void summary_refusal(const struct broker *b, char *why, size_t room); /* the reason of the latest refusal */
/* Portals that are down or coming back, and paused parts of the queue. */
typedef void summary_portal_fn(void *arg, const char *name, const char *state, const char *why, int64_t since_ms,
                               int64_t held);
void summary_each_portal(const struct broker *b, summary_portal_fn *fn, void *arg);
struct part_pause {
    const char *portal, *action, *reason; /* NULL = none */
    int64_t batch_id;                     /* 0 = none */
    int64_t held;                         /* by a pause of a whole portal; -1 = not known */
};
void summary_each_pause(const struct broker *b, void (*fn)(void *arg, const struct part_pause *pause), void *arg);
bool summary_holds_portal(const struct broker *b, const char *name); /* all log-ins of the portal are paused */
void summary_pause(const struct broker *b, char *why, size_t room);  /* why an operator paused the queue */
struct jv *summary_queue_jv(const struct broker *b);                 /* the durable queue; NULL = unknown yet */
void summary_metrics(const struct broker *b, struct buf *out);

#endif
