/* SPDX-License-Identifier: MIT */
/* cron.c - reads cron expressions, and finds their times by walking months, then days. */
#include "common/cron.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define YEARS_AHEAD 60 /* 29 February on a given weekday may take 40 */
#define DAY_S 86400
#define EACH_HOUR 0xffffffu /* hours 0 to 23 */

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

static const struct {
    const char *bad; /* the error text for a field that cannot be read */
    unsigned least, most;
    const char *names; /* three letters each, from `least` on; NULL = none */
} fields[FIELDS] = {
    {"the minute must be 0 to 59, or *, a list, a range or a step of them", 0, 59, NULL},
    {"the hour must be 0 to 23, or *, a list, a range or a step of them", 0, 23, NULL},
    {"the day of the month must be 1 to 31, or *, a list, a range or a step of them", 1, 31, NULL},
    {"the month must be 1 to 12 or jan to dec, or *, a list, a range or a step of them", 1, 12,
     "janfebmaraprmayjunjulaugsepoctnovdec"},
    {"the day of the week must be 0 to 7 or sun to sat, or *, a list, a range or a step of them", 0, 7,
     "sunmontuewedthufrisat"},
};

static const struct {
    const char *name, *means;
} shorthands[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"},
};

/* ---- reading ------------------------------------------------------------------------------------------------ */

/* Reads a number or a name; *at advances past it. */
static bool value_read(const char **at, unsigned field, unsigned *out)
{
    const char *s = *at, *names = fields[field].names;
    unsigned digits = 0;
    *out = 0;
    while (digits < 3 && isdigit((unsigned char)s[digits]))
        *out = *out * 10 + (unsigned)(s[digits++] - '0');
    if (digits) {
        *at = s + digits;
        return digits < 3 && *out >= fields[field].least && *out <= fields[field].most;
    }
    for (unsigned i = 0; names && names[3 * i]; i++)
        if (strncasecmp(s, names + 3 * i, 3) == 0) {
            *out = fields[field].least + i;
            *at = s + 3;
            return true;
        }
    return false;
}

/* Reads "*", "A" or "A-B"; the first and the last may be followed by "/STEP". */
static bool range_read(const char **at, unsigned field, uint64_t *bits)
{
    unsigned from = fields[field].least, to = fields[field].most, step = 1;
    bool is_range = true;
    if (**at == '*') {
        ++*at;
    } else {
        if (!value_read(at, field, &from))
            return false;
        to = from;
        is_range = **at == '-';
        if (is_range && (++*at, !value_read(at, field, &to) || to < from))
            return false;
    }
    if (**at == '/') {
        char *end;
        if (!is_range || !isdigit((unsigned char)*++*at))
            return false;
        unsigned long n = strtoul(*at, &end, 10);
        if (!n || n > fields[field].most || end - *at > 2)
            return false;
        step = (unsigned)n;
        *at = end;
    }
    for (unsigned i = from; i <= to; i += step)
        *bits |= UINT64_C(1) << i;
    return true;
}

static bool field_read(const char **at, unsigned field, uint64_t *bits)
{
    *bits = 0;
    do {
        if (!range_read(at, field, bits))
            return false;
    } while (**at == ',' && ++*at);
    return **at == '\0' || isblank((unsigned char)**at);
}

static unsigned month_days(int64_t year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && is_leap);
}

/* Whether the expression can ever match: some month has the day of the month, or the weekday alone can match. */
static bool comes_ever(const struct cron *c)
{
    if (!c->is_day_star && !c->is_weekday_star)
        return true;
    for (unsigned month = 1; month <= 12; month++)
        if (c->months >> month & 1 && c->days & ((UINT64_C(2) << month_days(2000, month)) - 1))
            return true;
    return false;
}

bool cron_parse(const char *text, struct cron *out, const char **why)
{
    static const char *unused;
    uint64_t bits[FIELDS];
    bool stars[FIELDS];
    why = why ? why : &unused;
    *why = NULL;
    if (strlen(text) > CRON_TEXT_MAX) {
        *why = "it is longer than 100 characters";
        return false;
    }
    if (*text == '@') {
        unsigned i = 0, n = sizeof(shorthands) / sizeof(*shorthands);
        while (i < n && strcasecmp(text, shorthands[i].name) != 0)
            i++;
        if (i == n) {
            *why = "there are @yearly, @monthly, @weekly, @daily and @hourly";
            return false;
        }
        text = shorthands[i].means;
    }
    for (unsigned i = 0; i < FIELDS; i++) {
        text += strspn(text, " \t");
        stars[i] = *text == '*';
        if (!*text)
            *why = "five fields are needed: minute, hour, day of the month, month, day of the week";
        else if (!field_read(&text, i, &bits[i]))
            *why = fields[i].bad;
        if (*why)
            return false;
    }
    text += strspn(text, " \t");
    if (*text) {
        *why = "there is something behind the fifth field";
        return false;
    }
    *out = (struct cron){.minutes = bits[MINUTE],
                         .hours = (uint32_t)bits[HOUR],
                         .days = (uint32_t)bits[DAY],
                         .months = (uint32_t)bits[MONTH],
                         .weekdays = (uint32_t)((bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7f),
                         .is_day_star = stars[DAY],
                         .is_weekday_star = stars[WEEKDAY]};
    if (!comes_ever(out))
        *why = "no month of it has such a day";
    return !*why;
}

/* ---- finding ------------------------------------------------------------------------------------------------ */

/* Converts a date to days since 1970-01-01, and back. Howard Hinnant, "chrono-compatible low-level date
 * algorithms". */
static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = year / 400, of_era = year % 400;
    int64_t of_year = (153 * (int64_t)(month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = days / 146097, of_era = days % 146097;
    int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * years + years / 4 - years / 100), shifted = (5 * of_year + 2) / 153;
    *day = (unsigned)(of_year - (153 * shifted + 2) / 5 + 1);
    *month = (unsigned)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = years + era * 400 + (*month <= 2);
}

static bool is_day(const struct cron *c, int64_t days, unsigned day)
{
    bool by_day = c->days >> day & 1,
         by_weekday = c->weekdays >> (days + 4) % 7 & 1; /* 1970-01-01 was a Thursday */
    return c->is_day_star || c->is_weekday_star ? by_day && by_weekday : by_day || by_weekday;
}

/* Finds the first matching minute of a day from `minute` on; -1 = none. */
static int minute_find(const struct cron *c, unsigned minute)
{
    for (unsigned hour = minute / 60, at = minute % 60; hour < 24; hour++, at = 0) {
        uint64_t left = c->hours >> hour & 1 ? c->minutes >> at : 0;
        if (left)
            return (int)(hour * 60 + at) + __builtin_ctzll(left);
    }
    return -1;
}

int64_t cron_next(const struct cron *c, int64_t after_s)
{
    int64_t from = after_s < 0 ? 0 : (after_s / 60 + 1) * 60, year, last;
    unsigned month, day, minute = (unsigned)(from % DAY_S / 60);
    date_of(from / DAY_S, &year, &month, &day);
    for (last = year + YEARS_AHEAD; year <= last; day = 1, minute = 0) {
        for (unsigned most = month_days(year, month); c->months >> month & 1 && day <= most; day++, minute = 0) {
            int64_t days = days_of(year, month, day);
            int found = is_day(c, days, day) ? minute_find(c, minute) : -1;
            if (found >= 0)
                return days * DAY_S + found * 60;
        }
        month = month % 12 + 1;
        year += month == 1;
    }
    return 0;
}

/* The first moment at which the zone's clocks show `wall_s` (as if that were UTC). If the clocks skip it, the
 * moment is later by as much as they skip. */
static int64_t moment_of(const struct zone *z, int64_t wall_s)
{
    int64_t before = zone_offset_s(z, wall_s - DAY_S), behind = zone_offset_s(z, wall_s + DAY_S);
    int64_t early = wall_s - (before > behind ? before : behind),
            late = wall_s - (before > behind ? behind : before);
    if (early + zone_offset_s(z, early) == wall_s)
        return early;
    return late + zone_offset_s(z, late) == wall_s ? late : wall_s - before;
}

/* The clocks may show an hour for the second time before next_s. Finds the first match, minute by minute. */
static int64_t hourly_again(const struct cron *c, const struct zone *z, int64_t after_s, int64_t next_s)
{
    for (int64_t t = (after_s / 60 + 1) * 60; t < next_s; t += 60) {
        int64_t wall_s = t + zone_offset_s(z, t);
        if (cron_next(c, wall_s - 60) == wall_s)
            return t;
    }
    return next_s;
}

int64_t cron_next_in(const struct cron *c, const struct zone *z, int64_t after_s)
{
    if (!z)
        return cron_next(c, after_s);
    int64_t wall_s = after_s + zone_offset_s(z, after_s), next_s = 0;
    do {
        wall_s = cron_next(c, wall_s);
        next_s = wall_s ? moment_of(z, wall_s) : 0;
    } while (wall_s && next_s <= after_s);
    bool is_near = next_s - after_s <= DAY_S / 4;
    return c->hours == EACH_HOUR && is_near ? hourly_again(c, z, after_s, next_s) : next_s;
}

void cron_due(const struct cron *c, const struct zone *z, int64_t planned_s, int64_t now_s, int64_t grace_s,
              struct cron_due *out)
{
    int64_t last = 0, at = planned_s, late = now_s - grace_s; /* a time at or before `late` is too late */
    *out = (struct cron_due){0};
    while (at && at <= now_s) {
        out->missed += last != 0;
        last = at;
        at = cron_next_in(c, z, out->missed >= CRON_MISSED_MAX && at < late ? late : at);
    }
    out->next_at = at;
    if (last > late)
        out->run_at = last;
    else
        out->missed += last != 0;
    out->missed_at = out->missed ? planned_s : 0;
}
