/* SPDX-License-Identifier: MIT */
/* outlier.c - see outlier.h. */
#include "dispatcher/robot/outlier.h"

bool outlier_tells(bool is_cut, int64_t took_ms, int64_t patience_ms)
{
    return took_ms >= (is_cut && patience_ms > OUTLIER_PATIENCE_MS ? patience_ms : OUTLIER_PATIENCE_MS);
}

static bool judge(struct outlier *o, uint64_t now_ms)
{
    bool was_out = o->is_out;
    unsigned bad = o->overdue, all = bad;
    for (unsigned i = 0; i < OUTLIER_LAST && i < o->n; i++)
        if (now_ms < o->at_ms[i] + OUTLIER_MEMORY_MS) {
            all++;
            bad += o->is_bad[i];
        }
    o->bad = bad;
    if (!o->is_out)
        o->is_out = bad >= OUTLIER_BAD && bad * 2 >= all;
    else
        o->is_out = bad > 0 && (o->good_in_row < OUTLIER_GOOD || o->overdue >= OUTLIER_BAD);
    if (was_out && !o->is_out)
        o->n = 0; /* it starts over */
    return o->is_out != was_out;
}

bool outlier_take(struct outlier *o, bool is_answered, uint64_t now_ms)
{
    unsigned at = o->n++ % OUTLIER_LAST;
    o->at_ms[at] = now_ms;
    o->is_bad[at] = !is_answered;
    o->good_in_row = is_answered ? o->good_in_row + 1 : 0;
    return judge(o, now_ms);
}

bool outlier_look(struct outlier *o, unsigned overdue, uint64_t now_ms)
{
    o->overdue = overdue;
    return judge(o, now_ms);
}
