/* SPDX-License-Identifier: MIT */
/* feed.h - live changes for operators: each EVENT of the dispatchers, for all companies, and the statistics each
 * second. */
#ifndef CHASQUI_BROKER_FEED_H
#define CHASQUI_BROKER_FEED_H

#include "broker/broker.h"

struct feed *feed_new(void);
void feed_destroy(struct feed **fp);
void feed_follow(struct exchange *x, bool is_counting); /* with statistics, or without */
void feed_tick(struct broker *b);                       /* each second */
/* Sends to all readers; takes ownership of `v`. */
void feed_say(struct broker *b, const char *kind, struct jv *v);
void feed_take(struct broker *b, const struct msg_EVENT *m);

#endif
