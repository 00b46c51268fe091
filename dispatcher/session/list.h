/* SPDX-License-Identifier: MIT */
/* list.h - a session's mailbox, from the robot that holds it. */
#ifndef CHASQUI_DISPATCHER_LIST_H
#define CHASQUI_DISPATCHER_LIST_H

#include "dispatcher/dispatcher.h"

void list_start(struct dispatcher *d, struct request *r);
void list_robot_down(struct dispatcher *d,
                     uint32_t robot_id); /* its lists in flight look their sessions up again */

#endif
