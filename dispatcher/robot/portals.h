/* SPDX-License-Identifier: MIT */
/* portals.h - portals, as this dispatcher knows them; see portals.c. */
#ifndef CHASQUI_PORTALS_H
#define CHASQUI_PORTALS_H

#include "dispatcher/dispatcher.h"
#include "dispatcher/store/store_portal.h"

struct portals *portals_new(struct dispatcher *d);
void portals_destroy(struct portals **pp);
/* A log-in attempt has ended. `ended` = its success, as far as it concerns the portal; NULL = none. */
void portals_ended(struct dispatcher *d, const char *portal, enum attempt_outcome outcome,
                   const struct portal_ended *ended);
/* A fault was reported, in the transaction that freed its place. `c` is the effect on the breaker. */
void portals_told(struct dispatcher *d, const struct portal_change *c);
/* Whether the portal may hold log-ins back, as far as is known here. Returns its limits, else NULL. */
const struct portal_conf *portals_gate(const struct dispatcher *d, const char *portal);
struct breaker_times portals_times(struct dispatcher *d);
void portals_soon(struct dispatcher *d, uint64_t wait_us); /* held items may begin then */
void portals_look(struct dispatcher *d);                   /* looks at once: a pause has ended */

#endif
