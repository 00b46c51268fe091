/* SPDX-License-Identifier: MIT */
/* bulk.h - operators act on all jobs that a filter finds, and look first how many those are. */
#ifndef CHASQUI_DISPATCHER_BULK_H
#define CHASQUI_DISPATCHER_BULK_H

#include "dispatcher/dispatcher.h"

void bulk_start(struct dispatcher *d, struct request *r);

#endif
