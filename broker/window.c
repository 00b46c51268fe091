/* SPDX-License-Identifier: MIT */
/*
 * window.c - a ring of snapshots. A rate is computed from the newest snapshot that is old enough, so that the
 * growth and its time span belong together.
 */
#include "broker/window.h"

#include "common/check.h"
#include <stdlib.h>
#include <string.h>

#define LEAST_MS 1000

struct window {
    unsigned width, slots;
    unsigned n, newest; /* used snapshots, and the index of the newest */
    uint64_t step_ms;
    uint64_t *at_ms;
    uint64_t *counters; /* slots rows of `width` */
};

struct window *window_new(unsigned width, unsigned slots, uint64_t step_ms, uint64_t now_ms,
                          const uint64_t *counters)
{
    struct window *w = xcalloc(1, sizeof *w);
    w->width = width;
    w->slots = slots;
    w->step_ms = step_ms;
    w->at_ms = xcalloc(slots, sizeof *w->at_ms);
    w->counters = xcalloc((size_t)slots * width, sizeof *w->counters);
    w->n = 1;
    w->at_ms[0] = now_ms;
    if (counters)
        memcpy(w->counters, counters, width * sizeof *counters);
    return w;
}

void window_destroy(struct window **wp)
{
    struct window *w = *wp;
    if (!w)
        return;
    *wp = NULL;
    free(w->at_ms);
    free(w->counters);
    free(w);
}

void window_step(struct window *w, uint64_t now_ms, const uint64_t *counters)
{
    if (now_ms < w->at_ms[w->newest] + w->step_ms)
        return;
    w->newest = (w->newest + 1) % w->slots;
    w->n += w->n < w->slots;
    w->at_ms[w->newest] = now_ms;
    memcpy(w->counters + (size_t)w->newest * w->width, counters, w->width * sizeof *counters);
}

double window_since(const struct window *w, uint64_t now_ms, const uint64_t *counters, uint64_t ago_ms,
                    uint64_t *grown)
{
    unsigned at = w->newest;
    for (unsigned i = 1; i < w->n && now_ms < w->at_ms[at] + ago_ms; i++)
        at = (at + w->slots - 1) % w->slots;
    const uint64_t *then = w->counters + (size_t)at * w->width;
    for (unsigned i = 0; i < w->width; i++)
        grown[i] = counters[i] - then[i];
    uint64_t age_ms = now_ms > w->at_ms[at] ? now_ms - w->at_ms[at] : 0;
    return (double)(age_ms > LEAST_MS ? age_ms : LEAST_MS) / 1000;
}
