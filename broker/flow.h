/* SPDX-License-Identifier: MIT */
/*
 * flow.h - whether work that waits in the durable queue goes on, how fast, and when all of it will have begun. The
 * headline, the statistics and the alerts take these from one look, so that they agree. Pure.
 */
#ifndef CHASQUI_BROKER_FLOW_H
#define CHASQUI_BROKER_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#define FLOW_ACTIVE_MS 2000 /* something began or ended so lately: the queue is not idle */
/* an end was followed by no beginning for so long: what ends lets nothing begin */
#define FLOW_ANSWER_MS 2000
#define FLOW_GAP_MS 10000 /* a standstill that is longer begins the pace anew */
#define FLOW_SPAN_MS 60000
#define FLOW_LEAST_MS 15000 /* a pace is known after this, with FLOW_LEAST ends ... */
#define FLOW_LEAST 3        /* ... or after FLOW_SPAN_MS with one */

#define FLOW_BEGINS 3       /* an end is told while something begins as often as every so many steps of the pace */
#define FLOW_BEGINS_MS 3000 /* or so often: reports come each second */
#define FLOW_HELD_MS 2000   /* for so long reports tell of what began before work was held back */

struct flow {                          /* zeroed at first */
    uint64_t begun_ms;                 /* when something began last; 0 = never */
    uint64_t active_ms, unanswered_ms; /* unanswered_ms: of the first end since something began; 0 = none */
    uint64_t since_ms, last_ms;        /* it goes on since then; it did so last; 0 = never */
    uint64_t held_ms;                  /* when a pause, or a portal's fault, was seen to begin; 0 = never */
};

/* So many jobs began and ended since the last report. */
void flow_told(struct flow *f, uint64_t now_ms, uint64_t begun, uint64_t ended);
/* A pause, or a portal's fault, holds work back from now on. No end is told until something begins nevertheless: what is held is set
 * aside step by step, and is counted with what waits until then. */
void flow_held(struct flow *f, uint64_t now_ms);
/* `waits`: some work is ready and not held. `running`: jobs under way. Does the work that waits go on? */
bool flow_goes(const struct flow *f, uint64_t now_ms, bool waits, uint64_t running);
/* Remembers what flow_goes() said; at least each few seconds. */
void flow_look(struct flow *f, uint64_t now_ms, bool goes);
/* How far back the pace is to be measured; 0 = not at all. */
uint64_t flow_span_ms(const struct flow *f, uint64_t now_ms, bool goes);

struct flow_pace {
    uint64_t ended;   /* jobs ... */
    uint64_t in_s;    /* ... in the last so many seconds */
    int64_t clear_ms; /* until all that waits has begun, by these numbers; -1 = not known */
};
/* `waiting` jobs wait, and `ended` ended in the last span_ms (flow_span_ms()). */
struct flow_pace flow_pace(uint64_t waiting, uint64_t ended, uint64_t span_ms);
/* Did something begin as lately as that pace lets expect? Else what ends is the last of it, and there is no end to be told. */
bool flow_begins(const struct flow *f, uint64_t now_ms, const struct flow_pace *pace);

#endif
