/* SPDX-License-Identifier: MIT */
/*
 * cron.h - the times of cron(5), in UTC or a time zone: five fields (minute, hour, day of the
 * month, month, day of the week), lists, ranges, steps, names, and @daily and
 * its like. As in Vixie's cron a day matches when either of the two day fields
 * does, unless one of them begins with '*': then both must. Pure.
 */
#ifndef CHASQUI_CRON_H
#define CHASQUI_CRON_H

#include "common/zone.h"
#include <stdbool.h>
#include <stdint.h>

#define CRON_TEXT_MAX 100

struct cron { /* a bit for each value that matches */
    uint64_t minutes;
    uint32_t hours, days, months, weekdays; /* days and months from bit 1 on; weekdays: bit 0 is Sunday */
    bool is_day_star, is_weekday_star;      /* the field begins with '*' */
};

/* false with a reason in *why (may be NULL): not such an expression, or one that never comes (31 February). */
bool cron_parse(const char *text, struct cron *out, const char **why);
/* The first time after `after_s` (unix seconds); 0 = none within a lifetime. */
int64_t cron_next(const struct cron *c, int64_t after_s);

/* Likewise by the wall clocks of a zone (NULL = UTC). A time that they skip comes as much later as they go forward; one that they show
 * twice comes once, the first time, unless the expression is for each hour: that goes on as before. */
int64_t cron_next_in(const struct cron *c, const struct zone *z, int64_t after_s);

struct cron_due {
    int64_t run_at;    /* the time that is to be run now; 0 = none */
    int64_t missed_at; /* the first of those that are not run any more; 0 = none */
    unsigned missed;   /* how many those are; counted up to CRON_MISSED_MAX */
    int64_t next_at;   /* the first one after now */
};
#define CRON_MISSED_MAX 10000
/* What has become due since `planned_s`, when that was the next time: the last one is run if it is less than grace_s late;
 * those before it are missed. */
void cron_due(const struct cron *c, const struct zone *z, int64_t planned_s, int64_t now_s, int64_t grace_s,
              struct cron_due *out);

#endif
