/* SPDX-License-Identifier: MIT */
/*
 * attempts.h - chasqui_attempts_total: how log-in attempts ended, summed over all dispatchers, with a bounded set
 * of labels. Pure.
 */
#ifndef CHASQUI_BROKER_ATTEMPTS_H
#define CHASQUI_BROKER_ATTEMPTS_H

#include "common/buf.h"
#include "proto/proto.h"

#define ATTEMPTS_NAMED 20 /* robots' errors with a label of their own; the others are "other" */

struct attempt_sums;
struct attempt_sums *attempt_sums_new(void);
void attempt_sums_destroy(struct attempt_sums **ap);
/* Takes a dispatcher's counts since its start. Counts from before its first message to us are not added. Must be
 * well-formed. */
void attempt_sums_told(struct attempt_sums *a, const char *dispatcher, const char *boot_id, struct str payload);
void attempt_sums_metrics(const struct attempt_sums *a, struct buf *out);

#endif
