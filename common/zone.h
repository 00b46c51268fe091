/* SPDX-License-Identifier: MIT */
/* zone.h - the UTC offset of a time zone at a moment. Zones: "UTC", "-05:00", or a name of the system's tzdata
 * (RFC 8536). */
#ifndef CHASQUI_ZONE_H
#define CHASQUI_ZONE_H

#include <stdbool.h>
#include <stdint.h>

struct zone; /* opaque */

/* Returns NULL with a reason in *why when the name is none of these. */
struct zone *zone_new(const char *name, const char **why);
void zone_destroy(struct zone **zp);
/* Seconds east of UTC at that moment (unix time). After the last change in the zone's file, the offset of that
 * change applies. */
int64_t zone_offset_s(const struct zone *z, int64_t unix_s);

#endif
