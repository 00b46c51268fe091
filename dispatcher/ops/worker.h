/* SPDX-License-Identifier: MIT */
/* worker.h - operators add robots and change what was said of them. */
#ifndef CHASQUI_DISPATCHER_WORKER_H
#define CHASQUI_DISPATCHER_WORKER_H

#include "dispatcher/dispatcher.h"

void worker_start(struct dispatcher *d, struct request *r); /* OPS_WORKER_ADD, OPS_WORKER_SET */

#endif
