/* parts: healthd */
/* SPDX-License-Identifier: MIT */
#include "healthd/verdict.h"

#include "tests/unit/test.h"

static enum probe probe_of(char c)
{
    return c == '+' ? PROBE_GOOD : c == 'x' ? PROBE_REFUSED : PROBE_SICK;
}

static void feed(struct judgement *j, const char *probes, const char *want)
{
    for (; *probes; probes++, want++) {
        verdict_take(j, probe_of(*probes), 3, 2);
        assert_int_equal("?USD"[j->verdict], *want);
    }
}

TEST(test_first_probe_judges)
{
    struct judgement a = {0}, b = {0};
    feed(&a, "+", "U");
    feed(&b, "-", "S");
}

TEST(test_down_needs_failures_in_a_row)
{
    struct judgement j = {0};
    feed(&j, "+--+--+---", "USSUSSUSSD");
}

TEST(test_up_again_needs_successes_in_a_row)
{
    struct judgement j = {0};
    feed(&j, "---+-+-++", "SSDDDDDDU");
}

TEST(test_limits_of_one)
{
    struct judgement j = {0};
    assert_true(verdict_take(&j, PROBE_SICK, 1, 1));
    assert_int_equal(j.verdict, VERDICT_DOWN);
    assert_true(verdict_take(&j, PROBE_GOOD, 1, 1));
    assert_int_equal(j.verdict, VERDICT_UP);
    assert_false(verdict_take(&j, PROBE_GOOD, 1, 1));
}

/* How a robot is down after each probe: '.' not, 'd' dead, 's' silent. */
static void feed_down(const char *probes, const char *want)
{
    struct judgement j = {0};
    for (; *probes; probes++, want++) {
        verdict_take(&j, probe_of(*probes), 3, 2);
        assert_int_equal(".ds"[j.down], *want);
    }
}

TEST(test_dead_is_refused_in_a_row)
{
    feed_down("+xxx", "...d");
    feed_down("+---", "...s");
    feed_down("xx-", "..s");       /* at first perhaps a restart, then it hangs */
    feed_down("--xxx", "..ssd");   /* it hung, and was killed */
    feed_down("xxx---", "..dddd"); /* its host is gone too */
    feed_down("xxx+-+x++", "..dddddd.");
    feed_down("+x+x+xx+", "........");
}

TEST(test_a_change_of_how_it_is_down_is_a_change)
{
    struct judgement j = {0};
    for (unsigned i = 0; i < 3; i++)
        verdict_take(&j, PROBE_SICK, 3, 2);
    assert_false(verdict_take(&j, PROBE_REFUSED, 3, 2));
    assert_false(verdict_take(&j, PROBE_REFUSED, 3, 2));
    assert_true(verdict_take(&j, PROBE_REFUSED, 3, 2));
    assert_false(verdict_take(&j, PROBE_SICK, 3, 2));
    assert_int_equal(j.verdict, VERDICT_DOWN);
    assert_int_equal(j.down, DOWN_DEAD);
}

TEST_MAIN(NULL, NULL)
