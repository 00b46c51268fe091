/* verdict.c - see verdict.h. */
#include "healthd/verdict.h"

bool verdict_take(struct judgement *j, bool good, unsigned down_after, unsigned up_after)
{
    enum verdict before = j->verdict;
    j->good = good ? j->good + 1 : 0;
    j->bad = good ? 0 : j->bad + 1;
    if (!good && before != VERDICT_DOWN)
        j->verdict = j->bad >= down_after ? VERDICT_DOWN : VERDICT_SUSPECT;
    else if (good && (before != VERDICT_DOWN || j->good >= up_after))
        j->verdict = VERDICT_UP;
    return j->verdict != before;
}
