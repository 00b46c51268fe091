/* SPDX-License-Identifier: MIT */
/* handlers.h - see handlers.c */
#ifndef CHASQUI_DISPATCHER_HANDLERS_H
#define CHASQUI_DISPATCHER_HANDLERS_H

#include "dispatcher/dispatcher.h"

void handlers_check(void); /* each operation has one; ends the process if not */
/* Answers r, or sees to it that it is answered later. Questions to the database wait for their token's turn (bulkhead.c). */
void handler_call(struct dispatcher *d, struct request *r);

#endif
