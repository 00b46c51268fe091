/* SPDX-License-Identifier: MIT */
/* day.h - days and times as people type them, in the zone of TZ: today, yesterday, 2026-01-31, "2026-01-31 06:00". */
#ifndef CHASQUI_CTL_DAY_H
#define CHASQUI_CTL_DAY_H

#include "ctl/ctl.h"

/* --since and --until: such a text becomes the time in UTC that it means, which is told with its zone. A day is when it begins. Any other
 * text stays as it is. */
void day_options(struct ctl *c);

#endif
