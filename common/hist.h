/* SPDX-License-Identifier: MIT */
/*
 * hist.h - a histogram of times: counts in fixed buckets from 1 ms to 300 s. Histograms of several processes can
 * be added, and an earlier one can be subtracted from a later one. Pure.
 */
#ifndef CHASQUI_HIST_H
#define CHASQUI_HIST_H

#include <stdint.h>

#define HIST_BUCKETS 18 /* the last one: longer than every bound */

/* All members are uint64_t, so code that keeps a row of numbers may treat it as an array of them. */
struct hist {
    uint64_t sum_us;
    uint64_t n[HIST_BUCKETS]; /* per bucket, not cumulative */
};

/* Upper bounds of all buckets but the last, in microseconds and in Prometheus's notation (seconds). */
extern const uint64_t hist_bound_us[HIST_BUCKETS - 1];
extern const char *const hist_bound_text[HIST_BUCKETS - 1];

void hist_add(struct hist *h, uint64_t us);
uint64_t hist_count(const struct hist *h);
/* The quantile q (0..1) in seconds: the share q of the times was at most this long. Interpolates linearly between
 * two bounds; 300 beyond the last bound. Negative when nothing was counted. */
double hist_quantile(const struct hist *h, double q);

#endif
