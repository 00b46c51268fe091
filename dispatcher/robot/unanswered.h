/* SPDX-License-Identifier: MIT */
/* unanswered.h - robots that are healthy but silent: good by their /health, while calls of this dispatcher get no
 * answer. */
#ifndef CHASQUI_DISPATCHER_UNANSWERED_H
#define CHASQUI_DISPATCHER_UNANSWERED_H

#include "dispatcher/dispatcher.h"

struct unanswered *unanswered_new(void);
void unanswered_destroy(struct unanswered **mp);
void unanswered_called(struct dispatcher *d, uint32_t robot_id,
                       const struct call_answer *a); /* a call ended, or was stopped */
void unanswered_tick(struct dispatcher *d);          /* each sweep */

#endif
