/* SPDX-License-Identifier: MIT */
/* action.h - an action inside a session. */
#ifndef CHASQUI_DISPATCHER_ACTION_H
#define CHASQUI_DISPATCHER_ACTION_H

#include "dispatcher/dispatcher.h"

void action_start(struct dispatcher *d, struct request *r);

#endif
