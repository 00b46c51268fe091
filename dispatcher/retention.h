/* SPDX-License-Identifier: MIT */
/* retention.h - deletes what is older than retention.*_days, a little at a time. */
#ifndef CHASQUI_RETENTION_H
#define CHASQUI_RETENTION_H

struct dispatcher;
struct retention;

struct retention *retention_new(void);
void retention_destroy(struct retention **rp);
/* From the sweep: at most one step a second, and a pass over everything every 10 minutes. */
void retention_tick(struct dispatcher *d);

#endif
