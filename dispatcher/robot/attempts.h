/* SPDX-License-Identifier: MIT */
/*
 * attempts.h - how log-in attempts have ended since the start, by portal, action, outcome and the robot's own
 * error, in bounded memory. Pure.
 */
#ifndef CHASQUI_ATTEMPTS_H
#define CHASQUI_ATTEMPTS_H

#include "proto/proto.h"

struct attempts;
struct attempts *attempts_new(void);
void attempts_destroy(struct attempts **ap);
/* Counts one attempt. robot_error "" = the robot named none. When the table is nearly full, a new error counts as
 * "other"; when it is full, everything does. */
void attempts_count(struct attempts *a, const char *portal, const char *action, const char *outcome,
                    const char *robot_error);
/* Returns all rows, oldest first, up to ATTEMPT_STATS_MAX; borrowed until the next count. A row never changes its
 * index. */
unsigned attempts_rows(const struct attempts *a, struct attempt_stats_row *out);

#endif
