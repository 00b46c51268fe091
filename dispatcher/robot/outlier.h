/* SPDX-License-Identifier: MIT */
/*
 * outlier.h - decides whether a robot that is healthy by its /health fails to answer calls (outlier ejection).
 * Pure: the latest calls of one robot, and the judgement.
 *
 * A robot is out when OUTLIER_BAD of its last OUTLIER_LAST calls, and at least half of them, got no answer. It is
 * back when OUTLIER_GOOD in a row were answered, or when no bad call younger than OUTLIER_MEMORY_MS is left: it
 * then gets another chance. An overdue call in flight counts as bad for as long as it is overdue.
 */
#ifndef CHASQUI_OUTLIER_H
#define CHASQUI_OUTLIER_H

#include <stdbool.h>
#include <stdint.h>

#define OUTLIER_LAST 10
#define OUTLIER_BAD 5
#define OUTLIER_GOOD 3
#define OUTLIER_MEMORY_MS 60000
#define OUTLIER_OVERDUE_MS 10000 /* for a list or a file in flight */
#define OUTLIER_PATIENCE_MS 1000 /* a call with less time than this proves nothing */

/* Whether a call without an answer counts against the robot. is_cut: it did not break, but its deadline or its
 * caller ended it. A cut call counts only if the robot was late by then (patience_ms), because callers choose
 * their own deadlines. */
bool outlier_tells(bool is_cut, int64_t took_ms, int64_t patience_ms);

struct outlier { /* zero-initialised */
    uint64_t at_ms[OUTLIER_LAST];
    bool is_bad[OUTLIER_LAST];
    unsigned n; /* total number of calls taken; a ring */
    unsigned good_in_row;
    unsigned overdue;
    unsigned bad; /* without an answer, at the last look */
    bool is_out;
};

/* A call has ended. Both functions return whether is_out changed. */
bool outlier_take(struct outlier *o, bool is_answered, uint64_t now_ms);
/* Time has passed; `overdue` calls are overdue. */
bool outlier_look(struct outlier *o, unsigned overdue, uint64_t now_ms);

#endif
