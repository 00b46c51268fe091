/* SPDX-License-Identifier: MIT */
/*
 * flow.c - keeps when something began and ended last. Work may end and nothing go on: log-ins that keep their
 * places end one after the other, and what waits begins only when a place is free again.
 */
#include "broker/flow.h"

void flow_told(struct flow *f, uint64_t now_ms, uint64_t begun, uint64_t ended)
{
    if (begun || ended)
        f->active_ms = now_ms;
    if (begun) {
        f->begun_ms = now_ms;
        f->unanswered_ms = 0;
    } else if (ended && !f->unanswered_ms)
        f->unanswered_ms = now_ms;
}

void flow_held(struct flow *f, uint64_t now_ms)
{
    f->held_ms = now_ms;
}

bool flow_goes(const struct flow *f, uint64_t now_ms, bool waits, uint64_t running)
{
    bool is_active = f->active_ms && now_ms < f->active_ms + FLOW_ACTIVE_MS;
    bool is_blocked = f->unanswered_ms && now_ms >= f->unanswered_ms + FLOW_ANSWER_MS;
    return waits && (running || is_active) && !is_blocked;
}

void flow_look(struct flow *f, uint64_t now_ms, bool goes)
{
    if (!goes)
        return;
    if (!f->since_ms || now_ms > f->last_ms + FLOW_GAP_MS)
        f->since_ms = now_ms;
    f->last_ms = now_ms;
}

uint64_t flow_span_ms(const struct flow *f, uint64_t now_ms, bool goes)
{
    uint64_t span_ms = goes && f->since_ms && now_ms <= f->last_ms + FLOW_GAP_MS ? now_ms - f->since_ms : 0;
    return span_ms < FLOW_SPAN_MS ? span_ms : FLOW_SPAN_MS;
}

struct flow_pace flow_pace(uint64_t waiting, uint64_t ended, uint64_t span_ms)
{
    struct flow_pace pace = {ended, (span_ms + 500) / 1000, -1};
    bool is_known = span_ms >= FLOW_SPAN_MS ? ended >= 1 : span_ms >= FLOW_LEAST_MS && ended >= FLOW_LEAST;
    if (is_known) /* of the numbers as they are said, not of finer ones */
        pace.clear_ms = (int64_t)((double)waiting * (double)pace.in_s * 1000 / (double)ended);
    return pace;
}

bool flow_begins(const struct flow *f, uint64_t now_ms, const struct flow_pace *pace)
{
    uint64_t patience_ms = pace->ended ? FLOW_BEGINS * 1000 * pace->in_s / pace->ended : 0;
    if (patience_ms < FLOW_BEGINS_MS)
        patience_ms = FLOW_BEGINS_MS;
    bool is_since_held = !f->held_ms || f->begun_ms >= f->held_ms + FLOW_HELD_MS;
    return f->begun_ms && now_ms < f->begun_ms + patience_ms && is_since_held;
}
