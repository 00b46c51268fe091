/* SPDX-License-Identifier: MIT */
/*
 * attempts.h - chasqui_attempts_total: how attempts of log-ins ended, of all
 * dispatchers together, with labels of which there are never many. Pure.
 */
#ifndef CHASQUI_BROKER_ATTEMPTS_H
#define CHASQUI_BROKER_ATTEMPTS_H

#include "common/buf.h"
#include "proto/proto.h"

#define ATTEMPTS_NAMED 20 /* robots' errors that have a label of their own; the others are "other" */

struct attempt_sums;
struct attempt_sums *attempt_sums_new(void);
void attempt_sums_destroy(struct attempt_sums **ap);
/* What a dispatcher counted since it started; what it had counted before it was heard first is not added. Well-formed. */
void attempt_sums_told(struct attempt_sums *a, const char *dispatcher, const char *boot_id, struct str payload);
void attempt_sums_metrics(const struct attempt_sums *a, struct buf *out);

#endif
