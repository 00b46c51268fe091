/* SPDX-License-Identifier: MIT */
/* portals.h - portals, as this dispatcher knows them; see portals.c. */
#ifndef CHASQUI_PORTALS_H
#define CHASQUI_PORTALS_H

#include "dispatcher/dispatcher.h"
#include "dispatcher/store/store_portal.h"

struct portals *portals_new(struct dispatcher *d);
void portals_destroy(struct portals **pp);
/* An attempt of a log-in ended. `ended` = what it tells about the portal, its time is set here; NULL = nothing. */
void portals_ended(struct dispatcher *d, const char *portal, enum attempt_outcome outcome, const struct portal_ended *ended);
/* May the portal hold log-ins back, as far as is known here? What its limits are, else NULL. */
const struct portal_conf *portals_gate(const struct dispatcher *d, const char *portal);
struct breaker_times portals_times(struct dispatcher *d);
/* A fault is not known to the others yet: nothing new is claimed meanwhile. */
bool portals_in_doubt(const struct dispatcher *d);
void portals_soon(struct dispatcher *d, uint64_t wait_us); /* held items may begin then */
void portals_look(struct dispatcher *d);                   /* at once: a pause has ended */

#endif
