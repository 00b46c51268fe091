/* SPDX-License-Identifier: MIT */
/* drain.h - sessions leave robots that an operator empties. */
#ifndef CHASQUI_DISPATCHER_DRAIN_H
#define CHASQUI_DISPATCHER_DRAIN_H

#include "dispatcher/dispatcher.h"

struct drains *drains_new(struct dispatcher *d);
void drains_destroy(struct drains **dp);
void drain_tick(struct dispatcher *d); /* each sweep */

#endif
