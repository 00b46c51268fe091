/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/boots.h"
#include "common/jv.h"
#include "tests/unit/test.h"

TEST(test_a_restart_is_taken_and_late_news_of_the_old_one_are_stale)
{
    struct boots b = {0};
    assert_int_equal(boots_see(&b, "a", 0, 1), BOOT_SAME);
    assert_int_equal(boots_see(&b, "b", 10, 11), BOOT_NEW);
    assert_int_equal(boots_see(&b, "b", 12, 13), BOOT_NEW);  /* until it is taken */
    assert_int_equal(boots_see(&b, "a", 10, 14), BOOT_SAME); /* asked before b was seen */
    boots_take(&b, "b", 15);
    assert_string_equal(b.now, "b");
    assert_int_equal(boots_see(&b, "a", 10, 16), BOOT_STALE);
    assert_int_equal(boots_see(&b, "b", 16, 17), BOOT_SAME);
    assert_false(boots_are_two(&b, 17));
}

TEST(test_an_old_one_that_comes_back_is_a_second_process)
{
    struct boots b = {0};
    boots_see(&b, "a", 0, 1);
    boots_see(&b, "b", 10, 11);
    boots_take(&b, "b", 12);
    assert_int_equal(boots_see(&b, "a", 11, 13), BOOT_TWO);
    assert_true(boots_are_two(&b, 13));
    assert_string_equal(b.now, "b");
    for (uint64_t t = 1000; t < 100000; t += 2000) { /* nothing new as they alternate */
        assert_int_equal(boots_see(&b, "b", t, t), BOOT_SAME);
        assert_int_equal(boots_see(&b, "a", t + 1000, t + 1000), BOOT_SAME);
        assert_true(boots_are_two(&b, t + 1000));
    }
}

TEST(test_before_it_is_taken_the_known_one_answers_again)
{
    struct boots b = {0};
    boots_see(&b, "a", 0, 1);
    assert_int_equal(boots_see(&b, "b", 10, 11), BOOT_NEW);
    assert_int_equal(boots_see(&b, "a", 11, 12), BOOT_TWO);
    assert_string_equal(b.now, "a");
    assert_string_equal(b.other, "b");
    assert_int_equal(boots_see(&b, "b", 13, 14), BOOT_SAME);
}

TEST(test_one_of_two_goes)
{
    struct boots b = {0};
    boots_see(&b, "a", 0, 1);
    boots_see(&b, "b", 10, 11);
    boots_see(&b, "a", 12, 13);
    /* The second one goes: nothing to do. */
    assert_int_equal(boots_see(&b, "a", 40000, 40000), BOOT_SAME);
    assert_false(boots_are_two(&b, 40000 + BOOTS_TWO_MS));
    /* The first one goes: as if it had restarted. */
    assert_int_equal(boots_see(&b, "b", 50000, 50000), BOOT_TWO);
    assert_int_equal(boots_see(&b, "b", 60000, 60000), BOOT_SAME);
    assert_int_equal(boots_see(&b, "b", 50000 + BOOTS_TWO_MS, 50000 + BOOTS_TWO_MS), BOOT_NEW);
    boots_take(&b, "b", 50001 + BOOTS_TWO_MS);
    assert_false(boots_are_two(&b, 50001 + BOOTS_TWO_MS));
    assert_string_equal(b.now, "b");
}

TEST(test_many_restarts_and_odd_ids)
{
    struct boots b = {0};
    char id[2] = "A";
    for (uint64_t t = 0; t < 60; t++, id[0]++) {
        boots_see(&b, id, t * 10, t * 10);
        boots_take(&b, id, t * 10 + 1);
    }
    assert_false(boots_are_two(&b, 600));
    assert_int_equal(boots_see(&b, "", 600, 600), BOOT_SAME);
    char longest[200];
    for (unsigned i = 0; i < sizeof(longest) - 1; i++)
        longest[i] = 'x';
    longest[sizeof(longest) - 1] = 0;
    assert_int_equal(boots_see(&b, longest, 600, 600), BOOT_SAME);
}

/* In a body, or in a header; as a text, or as a number that stays as it was written. */
TEST(test_a_boot_id_is_read)
{
    static const struct {
        const char *health, *header, *is;
    } rows[] = {
        {"{\"boot_id\":\"b1\"}", "h1", "b1"},
        {"{\"ok\":true}", "h1", "h1"},
        {"{\"boot_id\":17}", "", "17"},
        {"{\"boot_id\":1732850000.10}", "", "1732850000.10"},
        {"{\"boot_id\":123456789012345678901234567890}", "x", "123456789012345678901234567890"},
        {"{\"boot_id\":true}", "h1", "h1"},
        {"{\"boot_id\":null}", "", ""},
        {"{\"boot_id\":[1]}", "h1", "h1"},
        {"[]", "h1", "h1"},
        {"no JSON", "h1", "h1"},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char out[BOOT_ROOM];
        enum jv_bad why;
        struct jv *health = jv_parse_mended(rows[i].health, strlen(rows[i].health), &why);
        boot_id_read(health, rows[i].header, out);
        assert_string_equal(out, rows[i].is);
        jv_free(health);
    }
}

TEST_MAIN(NULL, NULL)
