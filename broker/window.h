/* SPDX-License-Identifier: MIT */
/*
 * window.h - the growth of a set of counters in the last minutes: snapshots of them in a ring, one a step. Pure.
 */
#ifndef CHASQUI_WINDOW_H
#define CHASQUI_WINDOW_H

#include <stdint.h>

struct window;

/* A window of `width` counters; it reaches back (slots - 1) steps. `counters` = their initial values, NULL = 0. */
struct window *window_new(unsigned width, unsigned slots, uint64_t step_ms, uint64_t now_ms,
                          const uint64_t *counters);
void window_destroy(struct window **wp);
/* Takes a snapshot when a step has passed since the last one. */
void window_step(struct window *w, uint64_t now_ms, const uint64_t *counters);
/* grown = counters - their values ago_ms ago, or as long ago as is known. Returns the actual span in seconds (at
 * least one step's share: never 0). */
double window_since(const struct window *w, uint64_t now_ms, const uint64_t *counters, uint64_t ago_ms,
                    uint64_t *grown);

#endif
