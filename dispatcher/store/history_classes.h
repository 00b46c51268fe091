/* SPDX-License-Identifier: MIT */
/*
 * history_classes.h - times that were counted by class, and their quantiles. Pure.
 */
#ifndef CHASQUI_HISTORY_CLASSES_H
#define CHASQUI_HISTORY_CLASSES_H

#include "dispatcher/store/store_history.h"

/* Each class reaches so many times as far as the one before it. */
#define WAIT_TIMES 4
#define ROBOT_TIMES 2

struct classes {
    uint64_t n[HISTORY_CLASSES];
};
uint64_t classes_count(const struct classes *c);
void classes_add(struct classes *to, const struct classes *more);
/* In ms, by straight line within a class; -1 when nothing was counted. */
int64_t classes_quantile(const struct classes *c, unsigned times, unsigned percent);

#endif
