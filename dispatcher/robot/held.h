/* SPDX-License-Identifier: MIT */
/* held.h - how many places of each robot are held, as this dispatcher counted lately: by this a log-in chooses its robot. */
#ifndef CHASQUI_DISPATCHER_HELD_H
#define CHASQUI_DISPATCHER_HELD_H

#include "dispatcher/dispatcher.h"

struct helds *helds_new(struct dispatcher *d);
void helds_destroy(struct dispatcher *d);
/* Log-ins choose among these: what is known of their places is written in, and counted anew when it is old. */
void helds_write(struct dispatcher *d, struct candidate *c, unsigned n);

#endif
