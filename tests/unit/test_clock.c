/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/clock.h"

#include "tests/unit/test.h"
#include <time.h>

static void assert_text(int64_t unix_ms, const char *wanted)
{
    char text[CLOCK_TEXT_BYTES];
    assert_string_equal(clock_text(unix_ms, text), wanted);
}

TEST(test_text)
{
    assert_text(0, "1970-01-01T00:00:00.000Z");
    assert_text(1767323045678, "2026-01-02T03:04:05.678Z");
    assert_text(1709210096007, "2024-02-29T12:34:56.007Z");
    assert_text(-1, "1969-12-31T23:59:59.999Z");
    assert_text(253402300799999, "9999-12-31T23:59:59.999Z");
    assert_text(INT64_MAX, "9999-12-31T23:59:59.999Z");
    assert_text(INT64_MIN, "0000-01-01T00:00:00.000Z");
}

TEST(test_texts_are_read)
{
    static const char *const bad[] = {"",
                                      "2026-01-02",
                                      "2026-01-02T03:04:05",
                                      "2026-01-02T03:04:05+01:00",
                                      "2026-01-02T03:04:05.Z",
                                      "2026-01-02T03:04:05ZZ",
                                      "2026-13-02T03:04:05Z",
                                      "2026-02-29T03:04:05Z",
                                      "2026-01-02T24:00:00Z",
                                      "2026-01-02T03:60:05Z",
                                      "2026-01-02T03:04:60Z",
                                      "2026-00-02T03:04:05Z",
                                      "2026-1-02T03:04:05Z",
                                      "26-01-02T03:04:05Z",
                                      " 2026-01-02T03:04:05Z",
                                      "2026-01-02 03:04:05Z",
                                      "2026-01-02T03:04:05.123456789012345678901234567890123456789012345Z"};
    int64_t ms;
    assert_true(clock_read("2026-01-02T03:04:05.678Z", 24, &ms) && ms == 1767323045678);
    assert_true(clock_read("2024-02-29T12:34:56Z", 20, &ms) && ms == 1709210096000);
    assert_true(clock_read("2024-02-29T12:34:56.0079+00:00", 30, &ms) && ms == 1709210096007);
    assert_true(clock_read("1969-12-31T23:59:59.999-00:00", 29, &ms) && ms == -1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (clock_read(bad[i], strlen(bad[i]), &ms))
            fail_msg("%s", bad[i]);
}

TEST(test_clocks_agree_and_never_go_back)
{
    uint64_t last = clock_us();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_us();
        assert_true(now >= last);
        last = now;
    }
    uint64_t ms = clock_ms();
    assert_in_range(ms, last / 1000, clock_us() / 1000);
    int64_t before_s = time(NULL), unix_s = clock_unix_ms() / 1000, after_s = time(NULL);
    assert_true(unix_s >= before_s - 1 && unix_s <= after_s + 1);
}

TEST_MAIN(NULL, NULL)
