/* SPDX-License-Identifier: MIT */
/*
 * alerts.h - passes what is wrong to a dispatcher, which notifies people. Knows for each sentence whether it is
 * acknowledged or muted.
 */
#ifndef CHASQUI_BROKER_ALERTS_H
#define CHASQUI_BROKER_ALERTS_H

#include "broker/broker.h"

struct alerts *alerts_new(struct broker *b);
void alerts_destroy(struct alerts **ap);
void alerts_tick(struct broker *b); /* each second */
void alerts_soon(struct broker *b); /* an alert is being acknowledged or muted: ask again in a second */
/* The state of a sentence: {id,acked_by,ack_reason,muted_until}; NULL = it is not known as an alert. The caller
 * frees it. */
struct jv *alerts_of(const struct broker *b, const char *code, const char *who);
/* Gives the open ones of a dispatcher's list the text of now: a row was written when it was said last. */
void alerts_now(const struct broker *b, struct jv *list);
/* Called for each channel that delivers nothing. */
typedef void alerts_failing_fn(void *arg, const char *channel, const char *why, int64_t since_ms,
                               int64_t attempts);
void alerts_each_failing(const struct broker *b, alerts_failing_fn *fn, void *arg);

#endif
