/* SPDX-License-Identifier: MIT */
/* credentials.h - CREDENTIALS_SET and CREDENTIALS_REMOVE. */
#ifndef CHASQUI_DISPATCHER_CREDENTIALS_H
#define CHASQUI_DISPATCHER_CREDENTIALS_H

#include "dispatcher/dispatcher.h"

void credentials_start(struct dispatcher *d, struct request *r); /* CREDENTIALS_SET, CREDENTIALS_REMOVE */

#endif
