/* SPDX-License-Identifier: MIT */
/* enqueue.h - EXECUTE_QUEUED: a log-in that is put into the queue, and perhaps waited for. */
#ifndef CHASQUI_DISPATCHER_ENQUEUE_H
#define CHASQUI_DISPATCHER_ENQUEUE_H

#include "dispatcher/dispatcher.h"

void enqueue_start(struct dispatcher *d, struct request *r); /* EXECUTE_QUEUED */

#endif
