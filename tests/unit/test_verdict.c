/* parts: healthd */
/* SPDX-License-Identifier: MIT */
#include "healthd/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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

static void test_first_probe_judges(void **state)
{
    struct judgement a = {0}, b = {0};
    (void)state;
    feed(&a, "+", "U");
    feed(&b, "-", "S");
}

static void test_down_needs_failures_in_a_row(void **state)
{
    struct judgement j = {0};
    (void)state;
    feed(&j, "+--+--+---", "USSUSSUSSD");
}

static void test_up_again_needs_successes_in_a_row(void **state)
{
    struct judgement j = {0};
    (void)state;
    feed(&j, "---+-+-++", "SSDDDDDDU");
}

static void test_limits_of_one(void **state)
{
    struct judgement j = {0};
    (void)state;
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

static void test_dead_is_refused_in_a_row(void **state)
{
    (void)state;
    feed_down("+xxx", "...d");
    feed_down("+---", "...s");
    feed_down("xx-", "..s");       /* at first perhaps a restart, then it hangs */
    feed_down("--xxx", "..ssd");   /* it hung, and was killed */
    feed_down("xxx---", "..dddd"); /* its host is gone too */
    feed_down("xxx+-+x++", "..dddddd.");
    feed_down("+x+x+xx+", "........");
}

static void test_a_change_of_how_it_is_down_is_a_change(void **state)
{
    struct judgement j = {0};
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        verdict_take(&j, PROBE_SICK, 3, 2);
    assert_false(verdict_take(&j, PROBE_REFUSED, 3, 2));
    assert_false(verdict_take(&j, PROBE_REFUSED, 3, 2));
    assert_true(verdict_take(&j, PROBE_REFUSED, 3, 2));
    assert_false(verdict_take(&j, PROBE_SICK, 3, 2));
    assert_int_equal(j.verdict, VERDICT_DOWN);
    assert_int_equal(j.down, DOWN_DEAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_probe_judges),
        cmocka_unit_test(test_down_needs_failures_in_a_row),
        cmocka_unit_test(test_up_again_needs_successes_in_a_row),
        cmocka_unit_test(test_limits_of_one),
        cmocka_unit_test(test_dead_is_refused_in_a_row),
        cmocka_unit_test(test_a_change_of_how_it_is_down_is_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
