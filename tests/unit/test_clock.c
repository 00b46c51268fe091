/* needs: common/clock.c */
#include "common/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>
#include <cmocka.h>

static void assert_text(int64_t unix_ms, const char *wanted)
{
    char text[CLOCK_TEXT_BYTES];
    assert_string_equal(clock_text(unix_ms, text), wanted);
}

static void test_text(void **state)
{
    (void)state;
    assert_text(0, "1970-01-01T00:00:00.000Z");
    assert_text(1767323045678, "2026-01-02T03:04:05.678Z");
    assert_text(1709210096007, "2024-02-29T12:34:56.007Z");
    assert_text(-1, "1969-12-31T23:59:59.999Z");
    assert_text(253402300799999, "9999-12-31T23:59:59.999Z");
    assert_text(INT64_MAX, "9999-12-31T23:59:59.999Z");
    assert_text(INT64_MIN, "0000-01-01T00:00:00.000Z");
}

static void test_clocks_agree_and_never_go_back(void **state)
{
    (void)state;
    uint64_t last = clock_us();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_us();
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_ms() >= last / 1000 && clock_ms() <= last / 1000 + 1000);
    assert_true(clock_unix_ms() / 1000 - time(NULL) <= 1 && clock_unix_ms() / 1000 - time(NULL) >= -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_clocks_agree_and_never_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
