/* SPDX-License-Identifier: MIT */
/* sweep.h - the tick that does every timed duty. */
#ifndef CHASQUI_DISPATCHER_SWEEP_H
#define CHASQUI_DISPATCHER_SWEEP_H

#include "dispatcher/dispatcher.h"

struct sweep *sweep_new(struct dispatcher *d);
void sweep_destroy(struct sweep **sp);
void sweep_soon(struct dispatcher *d);

#endif
