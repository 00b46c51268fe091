/* SPDX-License-Identifier: MIT */
/* day.c - days and times as people type them, in the zone of TZ. */
#include "ctl/day.h"

#include "ctl/plain.h"

#include "common/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* false: it is none, or no such day or time is on the calendar. */
static bool read_local(const char *text, struct tm *out)
{
    time_t now = time(NULL);
    struct tm tm = {.tm_isdst = -1}, want;
    int end = -1;
    localtime_r(&now, out);
    if (strcmp(text, "today") == 0 || strcmp(text, "yesterday") == 0) {
        tm.tm_year = out->tm_year;
        tm.tm_mon = out->tm_mon;
        tm.tm_mday = out->tm_mday - (*text == 'y');
        *out = tm;
        return true;
    }
    bool has_time = strlen(text) == 16;
    if (has_time ? sscanf(text, "%4d-%2d-%2d%*1[ ]%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
                          &tm.tm_min, &end) < 5
                 : sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &end) < 3)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    want = *out = tm;
    return end == (has_time ? 16 : 10) && !text[end] && mktime(&tm) != -1 && tm.tm_mday == want.tm_mday &&
           tm.tm_mon == want.tm_mon && want.tm_hour < 24 && want.tm_min < 60;
}

static void option_read(struct ctl *c, enum option_id id, char utc[CLOCK_TEXT_BYTES])
{
    const char *text = args_value(&c->args, id);
    char local[60];
    struct tm tm;
    time_t at;
    if (!text || !read_local(text, &tm) || (at = mktime(&tm)) == -1)
        return;
    clock_text((int64_t)at * 1000, utc);
    strftime(local, sizeof(local), "%Y-%m-%d %H:%M %z (%Z)", &tm);
    plain_line(stderr, "--%s %s is %s", option_table[id].name, text, local);
    c->args.value[id][0] = utc;
}

void day_options(struct ctl *c)
{
    option_read(c, OPT_SINCE, c->args.since);
    option_read(c, OPT_UNTIL, c->args.until);
}
