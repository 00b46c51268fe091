/* SPDX-License-Identifier: MIT */
/* queue_state.h - operators look at the queue, pause and resume it. */
#ifndef CHASQUI_DISPATCHER_QUEUE_STATE_H
#define CHASQUI_DISPATCHER_QUEUE_STATE_H

#include "dispatcher/dispatcher.h"

void queue_state_start(struct dispatcher *d, struct request *r); /* OPS_QUEUE* */

#endif
