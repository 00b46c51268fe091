/* SPDX-License-Identifier: MIT */
/* numbers.h - the format of numbers in the operators' API. */
#ifndef CHASQUI_NUMBERS_H
#define CHASQUI_NUMBERS_H

#include "common/hist.h"
#include "common/jv.h"

#define RATE_MS 60000   /* window of rates */
#define TIMES_MS 300000 /* window of percentiles */
/* A ring of snapshots for both windows: one each 10 s. */
#define SUMS_STEP_MS 10000
#define SUMS_SLOTS 31
#define QUEUE_STEP_MS 1000
#define QUEUE_SLOTS 301

/* The divisor of a rate, for counts that are at most `s` seconds old. At least a minute, so that the first log-in
 * after a start is one a minute and not one a second. */
static inline double rate_span(double s)
{
    return s < RATE_MS / 1000 ? RATE_MS / 1000 : s;
}

/* {"p50","p95","p99","n"}; percentiles are null when nothing was measured. */
struct jv *jv_new_times(const struct hist *h);
/* Sets a measurement; a negative value becomes null. */
void jv_set_number(struct jv *obj, const char *key, double value);
void jv_push_number(struct jv *arr, double value);

#endif
