/* SPDX-License-Identifier: MIT */
/* strict.h - the known names of operators' routes. */
#ifndef CHASQUI_BROKER_STRICT_H
#define CHASQUI_BROKER_STRICT_H

#include "broker/broker.h"

/* Adds an error for each name in x's query and body that its operators' route does not know. */
void strict_look(const struct exchange *x, struct jv **errors);

#endif
