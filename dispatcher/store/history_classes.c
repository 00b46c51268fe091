/* SPDX-License-Identifier: MIT */
/* history_classes.c - times that were counted by class, and their quantiles. Pure. */
#include "dispatcher/store/history_classes.h"

/* Upper bounds of the classes; the last one has none, and counts as if it went on so. */
static int64_t bound_ms(unsigned i, unsigned times)
{
    int64_t upto = 250;
    while (i--)
        upto *= times;
    return upto;
}

uint64_t classes_count(const struct classes *c)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < HISTORY_CLASSES; i++)
        n += c->n[i];
    return n;
}

int64_t classes_quantile(const struct classes *c, unsigned times, unsigned percent)
{
    uint64_t want = (classes_count(c) * percent + 99) / 100, seen = 0;
    for (unsigned i = 0; i < HISTORY_CLASSES; i++) {
        if (c->n[i] && seen + c->n[i] >= want) {
            int64_t from = i ? bound_ms(i - 1, times) : 0;
            return from + (bound_ms(i, times) - from) * (int64_t)(want - seen) / (int64_t)c->n[i];
        }
        seen += c->n[i];
    }
    return -1;
}

void classes_add(struct classes *to, const struct classes *more)
{
    for (unsigned i = 0; i < HISTORY_CLASSES; i++)
        to->n[i] += more->n[i];
}
