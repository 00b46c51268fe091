/* SPDX-License-Identifier: MIT */
/*
 * pace.h - so many log-ins a minute at most, for all dispatchers together: a
 * leaky bucket whose whole state is one time (GCRA, ITU-T I.371). Pure. In no
 * minute more begin than are allowed, and they are spread over it: at most
 * 1 + per_minute / 60 at once.
 */
#ifndef CHASQUI_PACE_H
#define CHASQUI_PACE_H

#include <stdint.h>

/* `due_us`: the state, 0 at first. per_minute >= 1. How many may begin now; 0: *wait_us = until one may. */
unsigned pace_may(uint64_t due_us, unsigned per_minute, uint64_t now_us, uint64_t *wait_us);
/* The state after n began. */
uint64_t pace_take(uint64_t due_us, unsigned per_minute, uint64_t now_us, unsigned n);

#endif
