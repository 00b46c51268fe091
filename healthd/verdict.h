/* SPDX-License-Identifier: MIT */
/*
 * verdict.h - the verdict on one robot, from its probes, with hysteresis. Pure: no I/O, no clock.
 */
#ifndef CHASQUI_VERDICT_H
#define CHASQUI_VERDICT_H

#include "proto/proto.h"

enum probe { PROBE_SICK, PROBE_GOOD, PROBE_REFUSED /* refused: sick, and no process listens at its port */ };

struct judgement { /* zero-initialised: unknown, never probed */
    enum verdict verdict;
    enum down down;     /* DOWN_NOT unless the verdict is down */
    unsigned good, bad; /* consecutive probes; at most one of the two is not 0 */
    unsigned refused;   /* how many of the latest bad probes in a row were refused */
};

/* Takes one probe's outcome. Returns whether the verdict, or how the robot is down, changed. down_after and
 * up_after >= 1.
 *   unknown: good -> up, bad -> suspect (down when down_after is 1)
 *   up:      bad -> suspect (down when down_after is 1)
 *   suspect: good -> up; bad in a row >= down_after -> down
 *   down:    good in a row >= up_after -> up
 * A down robot is dead once the last down_after probes were refused, else silent. A dead robot stays dead until it
 * is up. */
bool verdict_take(struct judgement *j, enum probe probe, unsigned down_after, unsigned up_after);

#endif
