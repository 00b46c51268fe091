/* SPDX-License-Identifier: MIT */
/* sse.h - answers made of server-sent events (WHATWG HTML 9.2), pulled by HTTP like a stream. */
#ifndef CHASQUI_BROKER_SSE_H
#define CHASQUI_BROKER_SSE_H

#include "broker/broker.h"

struct sse_user {
    void (*refill)(void *arg); /* all events were read: more may be sent. May be NULL */
    void (*gone)(void *arg);   /* its client has left, or its end was read; s is freed after this */
};
struct live *live_new(struct broker *b);
void live_destroy(struct live **lp); /* after http_destroy() */
void live_quiesce(struct broker *b); /* ends all of them */
void live_stats(const struct broker *b);
/* Answers x with events. */
struct sse *sse_new(struct exchange *x, const struct sse_user *user, void *arg);
/* Sends an event. Returns false when there is no room; it was then not sent. `data` is one line. */
bool sse_event(struct sse *s, const char *name, const char *data, size_t len);
bool sse_is_empty(const struct sse *s); /* all events were read */
void sse_end(struct sse *s);            /* ends it once all events were read */
void sse_leave(struct exchange *x);     /* x ends */

#endif
