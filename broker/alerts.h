/* SPDX-License-Identifier: MIT */
/*
 * alerts.h - hands what is wrong to a dispatcher, which tells people; knows of each sentence whether somebody acknowledged or muted it.
 */
#ifndef CHASQUI_BROKER_ALERTS_H
#define CHASQUI_BROKER_ALERTS_H

#include "broker/broker.h"

struct alerts *alerts_new(struct broker *b);
void alerts_destroy(struct alerts **ap);
void alerts_tick(struct broker *b); /* each second */
void alerts_soon(struct broker *b); /* somebody is just acknowledging or muting one: ask anew in a second */
/* What became of a sentence: {id,acked_by,ack_reason,muted_until}; NULL = it is not known to be an alert. The caller frees it. */
struct jv *alerts_of(const struct broker *b, const char *code, const char *who);
/* Each channel that takes nothing. */
typedef void alerts_failing_fn(void *arg, const char *channel, const char *why, int64_t since_ms,
                               int64_t attempts);
void alerts_each_failing(const struct broker *b, alerts_failing_fn *fn, void *arg);

#endif
