/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/cron.h"

#include "tests/unit/test.h"
#include <time.h>

static int64_t at(const char *text)
{
    struct tm tm = {0};
    assert_non_null(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
    return timegm(&tm);
}

static struct cron good(const char *text)
{
    struct cron c;
    const char *why = NULL;
    if (!cron_parse(text, &c, &why))
        fail_msg("%s: %s", text, why);
    return c;
}

static void follows(const char *cron, const char *after, const char *wanted)
{
    struct cron c = good(cron);
    char got[32] = "never";
    int64_t next = cron_next(&c, at(after));
    time_t t = (time_t)next;
    if (next)
        strftime(got, sizeof(got), "%Y-%m-%d %H:%M:%S", gmtime(&t));
    if (strcmp(got, wanted) != 0)
        fail_msg("%s after %s: %s, wanted %s", cron, after, got, wanted);
}

static void refused(const char *text, const char *because)
{
    struct cron c;
    const char *why = NULL;
    if (cron_parse(text, &c, &why))
        fail_msg("%s was taken", text);
    assert_non_null(why);
    if (!strstr(why, because))
        fail_msg("%s: %s", text, why);
}

TEST(test_minutes_and_hours)
{
    follows("* * * * *", "2026-01-01 00:00:00", "2026-01-01 00:01:00");
    follows("* * * * *", "2026-01-01 00:00:59", "2026-01-01 00:01:00");
    follows("0 6 * * *", "2026-01-01 05:59:59", "2026-01-01 06:00:00");
    follows("0 6 * * *", "2026-01-01 06:00:00", "2026-01-02 06:00:00"); /* strictly after */
    follows("*/15 * * * *", "2026-01-01 23:45:00", "2026-01-02 00:00:00");
    follows("5-20/5 8 * * *", "2026-01-01 08:10:30", "2026-01-01 08:15:00");
    follows("7,3,59 0 * * *", "2026-01-01 00:03:00", "2026-01-01 00:07:00");
    follows("30 22-23,2 * * *", "2026-12-31 23:30:00", "2027-01-01 02:30:00");
    follows("  0\t6   * *  * ", "2026-01-01 00:00:00", "2026-01-01 06:00:00");
}

TEST(test_days_and_months)
{
    follows("0 0 31 * *", "2026-01-31 00:00:00", "2026-03-31 00:00:00"); /* months without it are passed over */
    follows("0 0 1 jan,JUL *", "2026-01-01 00:00:00", "2026-07-01 00:00:00");
    follows("0 0 28-31 2 *", "2027-02-28 00:00:00", "2028-02-28 00:00:00");
    follows("0 6 * * 1-5", "2026-11-27 06:00:00", "2026-11-30 06:00:00"); /* Friday, Monday */
    follows("0 6 * * sat", "2026-11-25 00:00:00", "2026-11-28 06:00:00");
    follows("0 6 * * 7", "2026-11-25 00:00:00", "2026-11-29 06:00:00"); /* 7 and 0 are Sunday */
    follows("0 6 * * 0", "2026-11-25 00:00:00", "2026-11-29 06:00:00");
    follows("0 6 * * 6-7", "2026-11-28 06:00:00", "2026-11-29 06:00:00");
    follows("0 6 * * mon-wed/2", "2026-11-23 06:00:00", "2026-11-25 06:00:00");
}

TEST(test_leap_days)
{
    follows("0 12 29 2 *", "2026-01-01 00:00:00", "2028-02-29 12:00:00");
    follows("0 12 29 2 *", "2028-02-29 12:00:00", "2032-02-29 12:00:00");
    follows("0 12 29 2 *", "2096-02-29 12:00:00", "2104-02-29 12:00:00");    /* 2100 is none */
    follows("0 0 29 feb */7", "2026-01-01 00:00:00", "2032-02-29 00:00:00"); /* a Sunday */
    follows("59 23 28 2 *", "2028-02-28 23:59:00", "2029-02-28 23:59:00");
}

TEST(test_either_day)
{
    follows("0 0 13 * 5", "2026-11-10 00:00:00", "2026-11-13 00:00:00");  /* the 13th ... */
    follows("0 0 13 * 5", "2026-11-13 00:00:00", "2026-11-20 00:00:00");  /* ... or a Friday */
    follows("0 0 */2 * 5", "2026-11-10 00:00:00", "2026-11-13 00:00:00"); /* begins with a star: both */
    follows("0 0 */2 * 5", "2026-11-13 00:00:00", "2026-11-27 00:00:00");
    follows("0 0 31 2 1", "2026-01-30 00:00:00", "2026-02-02 00:00:00"); /* its Mondays come */
}

TEST(test_shorthands)
{
    follows("@yearly", "2026-01-01 00:00:00", "2027-01-01 00:00:00");
    follows("@annually", "2026-05-01 00:00:00", "2027-01-01 00:00:00");
    follows("@monthly", "2026-05-01 00:00:00", "2026-06-01 00:00:00");
    follows("@weekly", "2026-11-25 00:00:00", "2026-11-29 00:00:00");
    follows("@DAILY", "2026-05-01 00:00:00", "2026-05-02 00:00:00");
    follows("@midnight", "2026-05-01 12:00:00", "2026-05-02 00:00:00");
    follows("@hourly", "2026-05-01 12:30:00", "2026-05-01 13:00:00");
}

TEST(test_what_is_refused)
{
    char longer[CRON_TEXT_MAX + 12] = "";
    refused("", "five fields");
    refused("0 6 * *", "five fields");
    refused("0 6 * * * *", "behind the fifth");
    refused("60 * * * *", "the minute");
    refused("-1 * * * *", "the minute");
    refused("* 24 * * *", "the hour");
    refused("* * 0 * *", "day of the month");
    refused("* * 32 * *", "day of the month");
    refused("* * * 13 *", "the month");
    refused("* * * 0 *", "the month");
    refused("* * * janu *", "the month");
    refused("* * * * 8", "day of the week");
    refused("* * * * fri-mon", "day of the week"); /* ranges do not wrap */
    refused("jan * * * *", "the minute");
    refused("*/0 * * * *", "the minute");
    refused("*/ * * * *", "the minute");
    refused("5/10 * * * *", "the minute"); /* a step needs a range */
    refused("*/100 * * * *", "the minute");
    refused("1,,2 * * * *", "the minute");
    refused("1, * * * *", "the minute");
    refused("1-2-3 * * * *", "the minute");
    refused("000000000001 * * * *", "the minute");
    refused("** * * * *", "the minute");
    refused("0 0 31 2 *", "no month");
    refused("0 0 30 feb *", "no month");
    refused("0 0 31 4,6,9,11 *", "no month");
    refused("0 0 30,31 2 */2", "no month");
    refused("@reboot", "@daily");
    refused("@", "@daily");
    refused("0 6 * * *; rm", "day of the week");
    memset(longer, '1', sizeof(longer) - 1);
    refused(longer, "longer");
}

TEST(test_what_is_due)
{
    struct cron daily = good("0 6 * * *"), each = good("* * * * *");
    struct cron_due due;
    int64_t day = 86400, planned = at("2026-11-25 06:00:00");
    cron_due(&daily, NULL, planned, planned - 1, 3600, &due);
    assert_true(!due.run_at && !due.missed && !due.missed_at && due.next_at == planned);
    cron_due(&daily, NULL, planned, planned, 3600, &due);
    assert_true(due.run_at == planned && !due.missed && due.next_at == planned + day);
    cron_due(&daily, NULL, planned, planned + 3599, 3600, &due);
    assert_true(due.run_at == planned && !due.missed);
    cron_due(&daily, NULL, planned, planned + 3600, 3600, &due);
    assert_true(!due.run_at && due.missed == 1 && due.missed_at == planned && due.next_at == planned + day);
    cron_due(&daily, NULL, planned, planned + 3 * day + 5, 3600, &due); /* down for three days */
    assert_true(due.run_at == planned + 3 * day && due.missed == 3 && due.missed_at == planned &&
                due.next_at == planned + 4 * day);
    cron_due(&each, NULL, planned, planned + 330, 3600, &due); /* run once for all that came */
    assert_true(due.run_at == planned + 300 && due.missed == 5 && due.next_at == planned + 360);
    cron_due(&each, NULL, planned, planned + 100 * day, 3600, &due); /* and no endless walk */
    assert_true(due.run_at == planned + 100 * day && due.missed >= CRON_MISSED_MAX &&
                due.missed < CRON_MISSED_MAX + 61);
}

/* What follows one another by a zone's clocks, in UTC. */
static void zone_follows(const char *zone, const char *text, const char *after, const char *const *wanted)
{
    const char *why;
    struct zone *z = zone_new(zone, &why);
    struct cron c = good(text);
    int64_t now = at(after);
    assert_non_null(z);
    for (; *wanted; wanted++) {
        now = cron_next_in(&c, z, now);
        assert_int_equal(now, at(*wanted));
    }
    zone_destroy(&z);
}
#define FOLLOWS(zone, text, after, ...) zone_follows(zone, text, after, (const char *const[]){__VA_ARGS__, NULL})

/* Santiago goes to summer time on 2026-09-06 00:00 -> 01:00 (UTC-4 -> -3) and back on 2027-04-04 00:00 -> 2027-04-03 23:00. New York on
 * 2026-03-08 02:00 -> 03:00 and back on 2026-11-01 02:00 -> 01:00. */
TEST(test_zones)
{
    FOLLOWS("America/Lima", "0 6 * * *", "2026-05-01 00:00:00", "2026-05-01 11:00:00", "2026-05-02 11:00:00");
    FOLLOWS("-05:00", "0 22 * * 5", "2026-11-25 00:00:00", "2026-11-28 03:00:00");
    FOLLOWS("UTC", "0 6 * * *", "2026-05-01 00:00:00", "2026-05-01 06:00:00");
    FOLLOWS("America/Santiago", "0 7 * * *", "2026-09-04 12:00:00", "2026-09-05 11:00:00", "2026-09-06 10:00:00",
            "2026-09-07 10:00:00");
    FOLLOWS("America/Santiago", "0 7 * * *", "2027-04-02 12:00:00", "2027-04-03 10:00:00", "2027-04-04 11:00:00",
            "2027-04-05 11:00:00");
    /* what the clocks skip comes once, later; what they show twice comes once */
    FOLLOWS("America/Santiago", "30 0 * * *", "2026-09-05 12:00:00", "2026-09-06 04:30:00", "2026-09-07 03:30:00");
    FOLLOWS("America/Santiago", "30 23 * * *", "2027-04-03 12:00:00", "2027-04-04 02:30:00",
            "2027-04-05 03:30:00");
    FOLLOWS("America/New_York", "30 2 * * *", "2026-03-07 12:00:00", "2026-03-08 07:30:00", "2026-03-09 06:30:00");
    FOLLOWS("America/New_York", "30 1 * * *", "2026-10-31 12:00:00", "2026-11-01 05:30:00", "2026-11-02 06:30:00");
    FOLLOWS("America/New_York", "0 2 * * *", "2026-10-31 12:00:00", "2026-11-01 07:00:00", "2026-11-02 07:00:00");
    /* each hour and each half hour go on as before */
    FOLLOWS("America/New_York", "0 * * * *", "2026-11-01 04:30:00", "2026-11-01 05:00:00", "2026-11-01 06:00:00",
            "2026-11-01 07:00:00", "2026-11-01 08:00:00");
    FOLLOWS("America/New_York", "*/30 * * * *", "2026-11-01 05:10:00", "2026-11-01 05:30:00",
            "2026-11-01 06:00:00", "2026-11-01 06:30:00", "2026-11-01 07:00:00");
    FOLLOWS("America/New_York", "0 * * * *", "2026-03-08 06:00:00", "2026-03-08 07:00:00", "2026-03-08 08:00:00");
}

/* Each day of two years, whatever the zone does: once a day, and nothing twice. */
TEST(test_each_day_runs_once)
{
    static const char *const zones[] = {"America/Santiago",    "America/New_York", "Europe/Madrid",
                                        "Australia/Lord_Howe", "America/Lima",     "Asia/Kathmandu"};
    static const char *const times[] = {"30 0 * * *", "0 1 * * *", "30 1 * * *", "0 2 * * *",
                                        "15 2 * * *", "0 3 * * *", "30 23 * * *"};
    for (unsigned i = 0; i < sizeof zones / sizeof *zones; i++)
        for (unsigned k = 0; k < sizeof times / sizeof *times; k++) {
            const char *why;
            struct zone *z = zone_new(zones[i], &why);
            struct cron c = good(times[k]);
            int64_t now = at("2026-01-01 12:00:00"), day = 0;
            assert_non_null(z);
            for (unsigned n = 0; n < 730; n++) {
                int64_t next = cron_next_in(&c, z, now), local_day = (next + zone_offset_s(z, next)) / 86400;
                assert_true(next > now && (!day || local_day == day + 1));
                day = local_day;
                now = next;
            }
            zone_destroy(&z);
        }
}

TEST_MAIN(NULL, NULL)
