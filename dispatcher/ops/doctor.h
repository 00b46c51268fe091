/* SPDX-License-Identifier: MIT */
/*
 * doctor.h - what only one who can ask the robots knows: does each robot hold what the database says, and no company two sessions?
 * Reads, changes nothing.
 */
#ifndef CHASQUI_DISPATCHER_DOCTOR_H
#define CHASQUI_DISPATCHER_DOCTOR_H

#include "dispatcher/dispatcher.h"

void doctor_start(struct dispatcher *d, struct request *r); /* OPS_DOCTOR */

#endif
