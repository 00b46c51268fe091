/* SPDX-License-Identifier: MIT */
/*
 * window.h - what a set of counters grew by in the last minutes: snapshots of
 * them in a ring, one a step. Pure.
 */
#ifndef CHASQUI_WINDOW_H
#define CHASQUI_WINDOW_H

#include <stdint.h>

struct window;

/* Of `width` counters; it goes back (slots - 1) steps. `counters` = what they begin at, NULL = 0. */
struct window *window_new(unsigned width, unsigned slots, uint64_t step_ms, uint64_t now_ms,
                          const uint64_t *counters);
void window_destroy(struct window **wp);
/* Remembers what they are, when a step has passed since the last time. */
void window_step(struct window *w, uint64_t now_ms, const uint64_t *counters);
/* grown = counters - what they were ago_ms ago, or as long ago as is known. Answers how long that really is, in
 * seconds (at least one step's share: never 0). */
double window_since(const struct window *w, uint64_t now_ms, const uint64_t *counters, uint64_t ago_ms,
                    uint64_t *grown);

#endif
