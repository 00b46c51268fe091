/* SPDX-License-Identifier: MIT */
/* hist.c - times in buckets. The wire and Prometheus depend on the bounds: changing one falsifies old numbers. */
#include "common/hist.h"

const uint64_t hist_bound_us[HIST_BUCKETS - 1] = {
    1000,    2500,    5000,    10000,    25000,    50000,    100000,    250000,    500000,
    1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 120000000, 300000000,
};
const char *const hist_bound_text[HIST_BUCKETS - 1] = {
    "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5",
    "1",     "2.5",    "5",     "10",   "30",    "60",   "120", "300",
};

void hist_add(struct hist *h, uint64_t us)
{
    unsigned i = 0;
    while (i < HIST_BUCKETS - 1 && us > hist_bound_us[i])
        i++;
    h->n[i]++;
    h->sum_us += us;
}

uint64_t hist_count(const struct hist *h)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        count += h->n[i];
    return count;
}

double hist_quantile(const struct hist *h, double q)
{
    double rank = q * (double)hist_count(h), below = 0;
    unsigned i = 0;
    if (!hist_count(h))
        return -1;
    while (i < HIST_BUCKETS - 1 && (!h->n[i] || below + (double)h->n[i] < rank))
        below += (double)h->n[i++];
    if (i == HIST_BUCKETS - 1)
        return (double)hist_bound_us[i - 1] / 1e6;
    double from = i ? (double)hist_bound_us[i - 1] : 0, to = (double)hist_bound_us[i];
    return (from + (to - from) * (rank - below) / (double)h->n[i]) / 1e6;
}
