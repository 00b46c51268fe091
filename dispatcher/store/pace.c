/* SPDX-License-Identifier: MIT */
/* pace.c - so many log-ins a minute. See pace.h. */
#include "dispatcher/store/pace.h"

/* A second longer than a minute: what reaches the portal a little early is still not one too many. */
#define MINUTE_US (61 * UINT64_C(1000000))

static unsigned at_once(unsigned per_minute)
{
    return 1 + per_minute / 60;
}

/* From one to the next. A full bucket and those of the minute behind it are per_minute together. */
static uint64_t step_us(unsigned per_minute)
{
    unsigned spread = per_minute - at_once(per_minute) + 1;
    return MINUTE_US / (spread ? spread : 1);
}

unsigned pace_may(uint64_t due_us, unsigned per_minute, uint64_t now_us, uint64_t *wait_us)
{
    uint64_t step = step_us(per_minute), from = due_us > now_us ? due_us : now_us,
             end = now_us + step * at_once(per_minute);
    unsigned n = end > from ? (unsigned)((end - from) / step) : 0;
    *wait_us = n ? 0 : from + step - end;
    return n;
}

uint64_t pace_take(uint64_t due_us, unsigned per_minute, uint64_t now_us, unsigned n)
{
    return (due_us > now_us ? due_us : now_us) + n * step_us(per_minute);
}
