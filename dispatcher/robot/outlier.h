/* SPDX-License-Identifier: MIT */
/*
 * outlier.h - is a robot healthy by its /health, but does not answer calls?
 * Pure: the last calls of one robot, and the judgement (outlier ejection).
 *
 * Of the last OUTLIER_LAST calls OUTLIER_BAD, and at least half, went without an
 * answer: it is out. It is back when OUTLIER_GOOD in a row were answered, or
 * when no bad one is left that is younger than OUTLIER_MEMORY_MS: then it may show again what it does.
 * A call under way that is overdue counts as a bad one as long as it is.
 */
#ifndef CHASQUI_OUTLIER_H
#define CHASQUI_OUTLIER_H

#include <stdbool.h>
#include <stdint.h>

#define OUTLIER_LAST 10
#define OUTLIER_BAD 5
#define OUTLIER_GOOD 3
#define OUTLIER_MEMORY_MS 60000
#define OUTLIER_OVERDUE_MS 10000 /* of a list or a file under way */
#define OUTLIER_PATIENCE_MS 1000 /* a call that had less time than this shows nothing */

/* Does a call without an answer tell something about the robot? is_cut: it did not break, its time or its caller ended it. Then it tells
 * something only if its robot was late by then (patience_ms): callers choose their own deadlines. */
bool outlier_tells(bool is_cut, int64_t took_ms, int64_t patience_ms);

struct outlier { /* zero-initialised */
    uint64_t at_ms[OUTLIER_LAST];
    bool is_bad[OUTLIER_LAST];
    unsigned n; /* calls taken, ever; a ring */
    unsigned good_in_row;
    unsigned overdue;
    unsigned bad; /* without an answer, at the last look */
    bool is_out;
};

/* A call ended. Both answer whether is_out changed. */
bool outlier_take(struct outlier *o, bool is_answered, uint64_t now_ms);
/* Time passed; so many calls are overdue. */
bool outlier_look(struct outlier *o, unsigned overdue, uint64_t now_ms);

#endif
