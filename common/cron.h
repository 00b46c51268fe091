/* SPDX-License-Identifier: MIT */
/*
 * cron.h - the times of cron(5), in UTC or a time zone. Five fields (minute, hour, day of the month, month, day of
 * the week), lists, ranges, steps, names, and @daily and the like. As in Vixie's cron, a day matches when either
 * of the two day fields does. If one of them begins with '*', both must match. Pure.
 */
#ifndef CHASQUI_CRON_H
#define CHASQUI_CRON_H

#include "common/zone.h"
#include <stdbool.h>
#include <stdint.h>

#define CRON_TEXT_MAX 100

struct cron { /* one bit for each value that matches */
    uint64_t minutes;
    uint32_t hours, days, months, weekdays; /* days and months from bit 1 on; weekdays: bit 0 is Sunday */
    bool is_day_star, is_weekday_star;      /* the field begins with '*' */
};

/* Returns false with a reason in *why (may be NULL) when the expression is invalid or never matches (31
 * February). */
bool cron_parse(const char *text, struct cron *out, const char **why);
/* The first time after `after_s` (unix seconds); 0 = none within a lifetime. */
int64_t cron_next(const struct cron *c, int64_t after_s);

/* Likewise by the wall clocks of a zone (NULL = UTC). A time that the clocks skip comes later by as much as they
 * skip. A time that they show twice comes once, the first time. An expression for each hour comes both times. */
int64_t cron_next_in(const struct cron *c, const struct zone *z, int64_t after_s);

struct cron_due {
    int64_t run_at;    /* the time to run now; 0 = none */
    int64_t missed_at; /* the first missed time, which will not be run; 0 = none */
    unsigned missed;   /* number of missed times, counted up to CRON_MISSED_MAX */
    int64_t next_at;   /* the first time after now */
};
#define CRON_MISSED_MAX 10000
/* Computes what has become due since `planned_s`, the next time as planned. The latest due time is run if it is
 * less than grace_s late. The times before it are missed. */
void cron_due(const struct cron *c, const struct zone *z, int64_t planned_s, int64_t now_s, int64_t grace_s,
              struct cron_due *out);

#endif
