/* SPDX-License-Identifier: MIT */
/* tokens.h - tokens for operators: OPS_TOKENS, OPS_TOKEN_CREATE, OPS_TOKEN_REVOKE. */
#ifndef CHASQUI_DISPATCHER_TOKENS_H
#define CHASQUI_DISPATCHER_TOKENS_H

#include "dispatcher/dispatcher.h"

void tokens_start(struct dispatcher *d, struct request *r); /* OPS_TOKENS, OPS_TOKEN_CREATE, OPS_TOKEN_REVOKE */

#endif
