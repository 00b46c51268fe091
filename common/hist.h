/* SPDX-License-Identifier: MIT */
/*
 * hist.h - a histogram of times: counts in fixed buckets from 1 ms to 300 s, so
 * that those of several processes can be added and one moment's taken from
 * another's. Pure.
 */
#ifndef CHASQUI_HIST_H
#define CHASQUI_HIST_H

#include <stdint.h>

#define HIST_BUCKETS 18 /* the last one: longer than every bound */

/* All members are uint64_t: whoever keeps numbers beside each other may treat it as an array of them. */
struct hist {
    uint64_t sum_us;
    uint64_t n[HIST_BUCKETS]; /* in each bucket alone, not up to it */
};

/* Upper bounds of all buckets but the last, in microseconds and as Prometheus writes them (seconds). */
extern const uint64_t hist_bound_us[HIST_BUCKETS - 1];
extern const char *const hist_bound_text[HIST_BUCKETS - 1];

void hist_add(struct hist *h, uint64_t us);
uint64_t hist_count(const struct hist *h);
/* The time that a share q (0..1) of them did not take longer than, in seconds; between two bounds by straight
 * line, 300 beyond the last one. Negative when nothing was counted. */
double hist_quantile(const struct hist *h, double q);

#endif
