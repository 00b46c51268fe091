/* SPDX-License-Identifier: MIT */
/* linger.h - closes a connection without losing its last answer. */
#ifndef CHASQUI_BROKER_LINGER_H
#define CHASQUI_BROKER_LINGER_H

#include "broker/broker.h"

struct lingering;
struct lingering *linger_new(struct loop *l);
void linger_destroy(struct lingering **lp);
/* Call before `fd` is closed by its owner. The receiving half is read to its end for a moment, so that a reset
 * does not lose the last answer. */
void linger_close(struct lingering *l, int fd);

#endif
