/* SPDX-License-Identifier: MIT */
/* numbers.h - how numbers look in the operators' API. */
#ifndef CHASQUI_NUMBERS_H
#define CHASQUI_NUMBERS_H

#include "common/hist.h"
#include "common/jv.h"

#define RATE_MS 60000   /* rates are of this last time */
#define TIMES_MS 300000 /* percentiles too */
/* A ring of snapshots for both: one each 10 s. */
#define SUMS_STEP_MS 10000
#define SUMS_SLOTS 31

/* What a rate is divided by, of counts that are `s` seconds old or younger: a minute at least, so that the first log-in after a start is
 * one a minute and not one a second. */
static inline double rate_span(double s)
{
    return s < RATE_MS / 1000 ? RATE_MS / 1000 : s;
}

/* {"p50","p95","p99","n"}; null percentiles when nothing was measured. */
struct jv *jv_new_times(const struct hist *h);
/* A measurement; negative = null. */
void jv_set_number(struct jv *obj, const char *key, double value);
void jv_push_number(struct jv *arr, double value);

#endif
