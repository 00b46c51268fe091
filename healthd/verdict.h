/* SPDX-License-Identifier: MIT */
/*
 * verdict.h - the judgement of one robot from its probes, with hysteresis.
 * Pure: no I/O, no clock.
 */
#ifndef CHASQUI_VERDICT_H
#define CHASQUI_VERDICT_H

#include "proto/proto.h"

enum probe { PROBE_SICK, PROBE_GOOD, PROBE_REFUSED /* sick: its port refuses or resets, no process is there */ };

struct judgement { /* zero-initialised: unknown, never probed */
    enum verdict verdict;
    enum down down;     /* DOWN_NOT unless the verdict is down */
    unsigned good, bad; /* probes in a row; at most one of the two is not 0 */
    unsigned refused;   /* of the bad ones, the last ones in a row */
};

/* Takes one probe's outcome; answers whether the verdict, or how the robot is down, changed. down_after and up_after >= 1.
 *   unknown: good -> up, bad -> suspect (down when down_after is 1)
 *   up:      bad -> suspect (down when down_after is 1)
 *   suspect: good -> up; bad in a row >= down_after -> down
 *   down:    good in a row >= up_after -> up
 * Down is dead once the last down_after probes were refused, else silent; a dead robot stays dead until it is up. */
bool verdict_take(struct judgement *j, enum probe probe, unsigned down_after, unsigned up_after);

#endif
