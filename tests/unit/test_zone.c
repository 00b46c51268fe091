/* parts: common */
/* SPDX-License-Identifier: MIT */
/* test_zone.c - zones by offset and by name. */
#include "common/zone.h"

#include "tests/unit/test.h"

static int64_t at(const char *name, int64_t unix_s)
{
    const char *why;
    struct zone *z = zone_new(name, &why);
    if (!z)
        fail_msg("%s: %s", name, why);
    int64_t s = zone_offset_s(z, unix_s);
    zone_destroy(&z);
    return s;
}

TEST(test_offsets)
{
    assert_int_equal(at("UTC", 1790000000), 0);
    assert_int_equal(at("-05:00", 1790000000), -5 * 3600);
    assert_int_equal(at("+05:30", 0), 19800);
}

TEST(test_names)
{
    assert_int_equal(at("America/Lima", 1790000000), -5 * 3600);
    assert_int_equal(at("America/Santiago", 1767225600), -3 * 3600); /* January 2026: summer */
    assert_int_equal(at("America/Santiago", 1782864000), -4 * 3600); /* July 2026 */
    assert_int_equal(at("Europe/Madrid", 1782864000), 2 * 3600);
    assert_int_equal(at("Etc/UTC", 1782864000), 0);
}

TEST(test_what_is_none)
{
    static const char *const bad[] = {"",
                                      "Lima",
                                      "America/Nowhere",
                                      "5",
                                      "-5:00",
                                      "-05:60",
                                      "+15:00",
                                      "../../etc/passwd",
                                      "America/../UTC",
                                      "posixrules/",
                                      "tzdata.zi",
                                      "/etc/localtime"};
    const char *why;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct zone *z = zone_new(bad[i], &why);
        if (z)
            fail_msg("%s was taken", bad[i]);
        assert_non_null(why);
    }
}

TEST_MAIN(NULL, NULL)
