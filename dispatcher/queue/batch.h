/* SPDX-License-Identifier: MIT */
/* batch.h - batches: opened, filled, closed, shown and cancelled for clients. */
#ifndef CHASQUI_DISPATCHER_BATCH_H
#define CHASQUI_DISPATCHER_BATCH_H

#include "dispatcher/dispatcher.h"

void batch_start(struct dispatcher *d, struct request *r); /* BATCH_*, OPS_BATCHES */
struct batches *batches_new(struct dispatcher *d);
void batches_destroy(struct batches **bp);

#endif
