/* SPDX-License-Identifier: MIT */
/* health_sub.h - subscribes to healthd, and sends it the robots. */
#ifndef CHASQUI_DISPATCHER_HEALTH_SUB_H
#define CHASQUI_DISPATCHER_HEALTH_SUB_H

#include "dispatcher/dispatcher.h"

struct health_sub *health_sub_new(struct dispatcher *d);
void health_sub_destroy(struct health_sub **hp);
void health_sub_tick(struct dispatcher *d);  /* silence; ROBOTS every 10 s, at once after a new revision */
void health_sub_judge(struct dispatcher *d); /* reports every verdict to robots.c again: its registry changed */

#endif
