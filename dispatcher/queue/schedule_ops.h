/* SPDX-License-Identifier: MIT */
/* schedule_ops.h - operators look at schedules, run one now, let one rest: OPS_SCHEDULES, OPS_SCHEDULE_SET. */
#ifndef CHASQUI_DISPATCHER_SCHEDULE_OPS_H
#define CHASQUI_DISPATCHER_SCHEDULE_OPS_H

#include "dispatcher/dispatcher.h"

void schedules_start(struct dispatcher *d, struct request *r); /* OPS_SCHEDULES, OPS_SCHEDULE_SET */

#endif
