/* SPDX-License-Identifier: MIT */
/*
 * schedule.h - recurring batches: at each time of a schedule one dispatcher
 * makes a batch of its items.
 */
#ifndef CHASQUI_SCHEDULE_H
#define CHASQUI_SCHEDULE_H

struct dispatcher;
struct schedules;

struct schedules *schedules_new(struct dispatcher *d);
void schedules_destroy(struct schedules **sp);
/* From the sweep: looks when the next time has come, and every 10 s for schedules that were added or changed. */
void schedule_tick(struct dispatcher *d);
/* A batch was made and is to be filled. */
void schedule_soon(struct dispatcher *d);

#endif
