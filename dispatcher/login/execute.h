/* SPDX-License-Identifier: MIT */
/*
 * execute.h - EXECUTE_LOGIN: a client's log-in from its request to a reserved place, or to an existing session,
 * log-in or answer.
 */
#ifndef CHASQUI_DISPATCHER_EXECUTE_H
#define CHASQUI_DISPATCHER_EXECUTE_H

#include "dispatcher/dispatcher.h"

void login_start(struct dispatcher *d, struct request *r);

#endif
