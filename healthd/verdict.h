/*
 * verdict.h - the judgement of one robot from its probes, with hysteresis.
 * Pure: no I/O, no clock.
 */
#ifndef CHASQUI_VERDICT_H
#define CHASQUI_VERDICT_H

#include "proto/proto.h"

struct judgement { /* zero-initialised: unknown, never probed */
    enum verdict verdict;
    unsigned good, bad; /* probes in a row; at most one of the two is not 0 */
};

/* Takes one probe's outcome; answers whether the verdict changed. down_after and up_after >= 1.
 *   unknown: good -> up, bad -> suspect (down when down_after is 1)
 *   up:      bad -> suspect (down when down_after is 1)
 *   suspect: good -> up; bad in a row >= down_after -> down
 *   down:    good in a row >= up_after -> up */
bool verdict_take(struct judgement *j, bool good, unsigned down_after, unsigned up_after);

#endif
