/* SPDX-License-Identifier: MIT */
/* progress.h - a batch's progress, live. */
#ifndef CHASQUI_BROKER_PROGRESS_H
#define CHASQUI_BROKER_PROGRESS_H

#include "broker/broker.h"

struct progress *progress_new(struct broker *b);
void progress_destroy(struct progress **pp);
/* x asked for batch `id`, and m is the answer. Answers x with the batch's events, or with the error. */
void progress_follow(struct exchange *x, const struct msg_REPLY *m, struct str payload);
void progress_stale(struct broker *b, uint64_t batch_id); /* the batch has changed */

#endif
