/* SPDX-License-Identifier: MIT */
/* mute.h - robots that are healthy but silent: good by their /health, while calls of this dispatcher get no
 * answer. */
#ifndef CHASQUI_DISPATCHER_MUTE_H
#define CHASQUI_DISPATCHER_MUTE_H

#include "dispatcher/dispatcher.h"

struct mutes *mutes_new(void);
void mutes_destroy(struct mutes **mp);
void mute_called(struct dispatcher *d, uint32_t robot_id,
                 const struct call_answer *a); /* a call ended, or was stopped */
void mute_tick(struct dispatcher *d);          /* each sweep */

#endif
