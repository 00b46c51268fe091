/* SPDX-License-Identifier: MIT */
/* silence.h - robots that are down: for how long, and the consequences for their sessions. */
#ifndef CHASQUI_DISPATCHER_SILENCE_H
#define CHASQUI_DISPATCHER_SILENCE_H

#include "dispatcher/dispatcher.h"

struct silences *silences_new(void);
void silences_destroy(struct silences **sp);
void silence_tick(struct dispatcher *d); /* each sweep, and at once when a robot is judged down */
void silence_over(struct dispatcher *d, uint32_t robot_id); /* the robot answers again */

#endif
