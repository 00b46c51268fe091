/* SPDX-License-Identifier: MIT */
/* look_back.h - operators look back: what failed, by class, and who did what (the audit trail). */
#ifndef CHASQUI_DISPATCHER_LOOK_BACK_H
#define CHASQUI_DISPATCHER_LOOK_BACK_H

#include "dispatcher/dispatcher.h"

void look_back_start(struct dispatcher *d, struct request *r); /* OPS_AUDIT, OPS_ERRORS, OPS_HISTORY */

#endif
