/* SPDX-License-Identifier: MIT */
/*
 * verdict.c - judges a robot up, suspect or down by its probes. The table of verdicts is in verdict.h. probe.c calls
 * verdict_take() at the end of each probe.
 *
 * Must stay: this file does no I/O and reads no clock. May change: the table of verdicts, together with its test
 * (tests/unit/test_verdict.c). The numbers of probes after which a verdict changes are configuration.
 */
#include "healthd/verdict.h"

bool verdict_take(struct judgement *j, enum probe probe, unsigned down_after, unsigned up_after)
{
    struct judgement before = *j;
    bool good = probe == PROBE_GOOD;
    j->good = good ? j->good + 1 : 0;
    j->bad = good ? 0 : j->bad + 1;
    j->refused = probe == PROBE_REFUSED ? j->refused + 1 : 0;
    if (!good && before.verdict != VERDICT_DOWN)
        j->verdict = j->bad >= down_after ? VERDICT_DOWN : VERDICT_SUSPECT;
    else if (good && (before.verdict != VERDICT_DOWN || j->good >= up_after))
        j->verdict = VERDICT_UP;
    if (j->verdict != VERDICT_DOWN)
        j->down = DOWN_NOT;
    else if (j->refused >= down_after)
        j->down = DOWN_DEAD;
    else if (j->down == DOWN_NOT)
        j->down = DOWN_SILENT;
    return j->verdict != before.verdict || j->down != before.down;
}
