/* SPDX-License-Identifier: MIT */
/*
 * backoff.h - a robot that reports that it is full gets no log-ins for a while. Pure.
 */
#ifndef CHASQUI_BACKOFF_H
#define CHASQUI_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

struct backoff {       /* zero-initialised: the robot may get log-ins */
    uint64_t until_ms; /* monotonic; 0 = none */
    uint32_t wait_ms;  /* the latest wait; 0 = not full since its last log-in */
    int64_t sessions;  /* the highest count that the robot reported meanwhile, -1 = none */
};

/* The robot answered "full" to a log-in sent at `asked_ms`. The wait is 1 s, then doubles each time, up to 30 s.
 * Answers to log-ins that were in flight when the wait began change nothing. */
void backoff_full(struct backoff *b, uint64_t now_ms, uint64_t asked_ms, int64_t sessions);
/* The robot reported its count (-1 = it did not). Returns whether the wait ended because the count dropped. */
bool backoff_count(struct backoff *b, uint64_t now_ms, int64_t sessions);
/* The robot accepted a log-in. */
void backoff_clear(struct backoff *b);
bool backoff_holds(const struct backoff *b, uint64_t now_ms);

#endif
