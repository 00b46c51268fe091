/* SPDX-License-Identifier: MIT */
/* refused.h - stored credentials that robots refused, for operators to see and to lift: OPS_REFUSED,
 * OPS_REFUSED_LIFT. */
#ifndef CHASQUI_DISPATCHER_REFUSED_H
#define CHASQUI_DISPATCHER_REFUSED_H

#include "dispatcher/dispatcher.h"

void refused_start(struct dispatcher *d, struct request *r); /* OPS_REFUSED, OPS_REFUSED_LIFT */

#endif
