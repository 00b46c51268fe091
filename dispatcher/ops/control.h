/* SPDX-License-Identifier: MIT */
/* control.h - the lane `control`: sessions as rows, the operators' lists. */
#ifndef CHASQUI_DISPATCHER_CONTROL_H
#define CHASQUI_DISPATCHER_CONTROL_H

#include "dispatcher/dispatcher.h"

void control_start(struct dispatcher *d, struct request *r); /* tokens, session queries, ops lists */

#endif
