/* SPDX-License-Identifier: MIT */
/* numbers.c - the format of numbers in the operators' API. */
#include "broker/numbers.h"

void jv_set_number(struct jv *obj, const char *key, double value)
{
    if (value < 0)
        jv_set(obj, key, NULL);
    else
        jv_set_real(obj, key, value);
}

void jv_push_number(struct jv *arr, double value)
{
    jv_push(arr, value < 0 ? NULL : jv_new_real(value));
}

struct jv *jv_new_times(const struct hist *h)
{
    struct jv *times = jv_new_object();
    jv_set_number(times, "p50", hist_quantile(h, 0.50));
    jv_set_number(times, "p95", hist_quantile(h, 0.95));
    jv_set_number(times, "p99", hist_quantile(h, 0.99));
    jv_set_int(times, "n", (int64_t)hist_count(h));
    return times;
}
