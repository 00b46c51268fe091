/* SPDX-License-Identifier: MIT */
/*
 * backoff.h - a robot that says it is full is not asked again for a while. Pure.
 */
#ifndef CHASQUI_BACKOFF_H
#define CHASQUI_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

struct backoff {       /* zero-initialised: the robot may be asked */
    uint64_t until_ms; /* monotonic; 0 = none */
    uint32_t wait_ms;  /* the last wait; 0 = the robot was not full since its last log-in */
    int64_t sessions;  /* the highest count the robot reported meanwhile, -1 = none */
};

/* The robot said that it is full, to a log-in sent at `asked_ms`. The wait is 1 s, then twice as long each time, 30 s at most. Answers to log-ins
 * that were under way when the wait began change nothing. */
void backoff_full(struct backoff *b, uint64_t now_ms, uint64_t asked_ms, int64_t sessions);
/* The robot reported its count (-1 = it did not). Answers whether the wait ended because the count dropped. */
bool backoff_count(struct backoff *b, uint64_t now_ms, int64_t sessions);
/* The robot took a log-in. */
void backoff_clear(struct backoff *b);
bool backoff_holds(const struct backoff *b, uint64_t now_ms);

#endif
