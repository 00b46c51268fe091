/* SPDX-License-Identifier: MIT */
/* zone.h - how far a time zone is from UTC at a moment: "UTC", "-05:00", or a name of the system's tzdata (RFC 8536). */
#ifndef CHASQUI_ZONE_H
#define CHASQUI_ZONE_H

#include <stdbool.h>
#include <stdint.h>

struct zone; /* opaque */

/* NULL with a reason in *why when it is none of these. */
struct zone *zone_new(const char *name, const char **why);
void zone_destroy(struct zone **zp);
/* Seconds east of UTC at that moment (unix time). Behind the last change that its file knows, as after that one. */
int64_t zone_offset_s(const struct zone *z, int64_t unix_s);

#endif
