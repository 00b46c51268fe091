/* SPDX-License-Identifier: MIT */
/* linger.h - closing without losing the last answer. */
#ifndef CHASQUI_BROKER_LINGER_H
#define CHASQUI_BROKER_LINGER_H

#include "broker/broker.h"

struct lingering;
struct lingering *linger_new(struct loop *l);
void linger_destroy(struct lingering **lp);
/* `fd` will be closed by its owner after this: its other half is read to the end for a moment, so that the last
 * answer is not lost in a reset. */
void linger_close(struct lingering *l, int fd);

#endif
