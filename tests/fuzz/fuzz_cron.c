/* parts: common */
/* SPDX-License-Identifier: MIT */
/* Expressions put together of good and bad pieces, and of any bytes. What is taken has a next
 * time, which matches; what is not says why. */
#include "common/cron.h"

#include "common/check.h"
#include "tests/fuzz/fuzz.h"
#include <time.h>

static const char *const pieces[] = {"*",   "0",    "1",   "5",   "7",   "12",      "23",     "29", "30",
                                     "31",  "59",   "60",  "99",  "100", "-",       "/",      ",",  "*/2",
                                     "1-5", "*/15", "mon", "SUN", "feb", "jan-dec", "@daily", "@",  " ",
                                     "  ",  "\t",   "-1",  "/0",  "000", "x",       "1-31/7"};

/* A value, range, list or step that a field may hold. */
static void field_make(char *out, size_t room, unsigned field)
{
    static const unsigned least[] = {0, 0, 1, 1, 0}, most[] = {59, 23, 31, 12, 7};
    unsigned span = most[field] - least[field] + 1, a = least[field] + pick(span), b = least[field] + pick(span);
    switch (pick(6)) {
    case 0:
        snprintf(out, room, "%u", a);
        return;
    case 1:
        snprintf(out, room, "%u-%u", a < b ? a : b, a < b ? b : a);
        return;
    case 2:
        snprintf(out, room, "%u,%u", a, b);
        return;
    case 3:
        snprintf(out, room, "*/%u", 1 + pick(most[field]));
        return;
    default:
        snprintf(out, room, "*");
    }
}

static void text_make(char out[160])
{
    out[0] = 0;
    if (pick(4) == 0) {
        unsigned len = pick(40);
        for (unsigned i = 0; i < len; i++)
            out[i] = (char)(1 + pick(255));
        out[len] = 0;
        return;
    }
    for (unsigned field = 0; field < 5; field++) {
        if (pick(12))
            field_make(out + strlen(out), 20, field);
        else
            for (unsigned n = 1 + pick(3); n && strlen(out) < 100; n--)
                strcat(out, PICK(pieces));
        strcat(out, " ");
    }
}

static void check_taken(const char *text, const struct cron *c)
{
    int64_t after = (int64_t)(seed >> 33), next = cron_next(c, after);
    struct tm tm;
    time_t t = (time_t)next;
    CHECK(next > after && next % 60 == 0, "%s", text);
    gmtime_r(&t, &tm);
    bool day = c->days >> tm.tm_mday & 1, weekday = c->weekdays >> tm.tm_wday & 1;
    CHECK(c->minutes >> tm.tm_min & 1 && c->hours >> tm.tm_hour & 1 && c->months >> (tm.tm_mon + 1) & 1, "%s",
          text);
    CHECK(c->is_day_star || c->is_weekday_star ? day && weekday : day || weekday, "%s", text);
    struct cron_due due;
    cron_due(c, NULL, after, next + pick(100000), 1 + pick(100000), &due);
    CHECK(due.next_at > next && (due.run_at || due.missed), "%s", text);
}

int main(int argc, char **argv)
{
    unsigned long runs = runs_of(argc, argv), taken = 0;
    for (unsigned long run = 0; run < runs; run++) {
        char text[160];
        const char *why = NULL;
        struct cron c;
        text_make(text);
        if (cron_parse(text, &c, &why)) {
            taken++;
            check_taken(text, &c);
        } else {
            CHECK(why && *why, "%s", text);
        }
    }
    printf("fuzz_cron: %lu expressions, %lu taken\n", runs, taken);
    return taken ? 0 : 1;
}
