/* parts: healthd */
#include "healthd/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void feed(struct judgement *j, const char *probes, const char *want)
{
    for (; *probes; probes++, want++) {
        verdict_take(j, *probes == '+', 3, 2);
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
    assert_true(verdict_take(&j, false, 1, 1));
    assert_int_equal(j.verdict, VERDICT_DOWN);
    assert_true(verdict_take(&j, true, 1, 1));
    assert_int_equal(j.verdict, VERDICT_UP);
    assert_false(verdict_take(&j, true, 1, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_probe_judges),
        cmocka_unit_test(test_down_needs_failures_in_a_row),
        cmocka_unit_test(test_up_again_needs_successes_in_a_row),
        cmocka_unit_test(test_limits_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
