/* queue.c - stands in until the queue is there. */
#include "dispatcher/dispatcher.h"

void queue_wake(struct dispatcher *d)
{
    (void)d;
}

void queue_batch_touched(struct dispatcher *d, uint64_t batch_id)
{
    (void)d, (void)batch_id;
}

void leases_renew_soon(struct dispatcher *d)
{
    (void)d;
}
