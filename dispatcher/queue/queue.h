/* SPDX-License-Identifier: MIT */
/* queue.h - takes queued work from the database and begins it, as far as robots have places. */
#ifndef CHASQUI_DISPATCHER_QUEUE_H
#define CHASQUI_DISPATCHER_QUEUE_H

#include "dispatcher/dispatcher.h"

struct queue *queue_new(struct dispatcher *d);
void queue_destroy(struct queue **qp);
void queue_wake(struct dispatcher *d);                             /* work, or a place, is there */
void queue_due_in(struct dispatcher *d, int64_t ms);               /* something becomes ready then */
void queue_login_ended(struct dispatcher *d);                      /* one that login_queued() began */
void queue_batch_touched(struct dispatcher *d, uint64_t batch_id); /* an item of it ended; 0 = none */

#endif
