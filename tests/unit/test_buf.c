/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/buf.h"

#include "tests/unit/test.h"

TEST(test_empty_is_valid)
{
    struct buf b = {0};
    size_t len = 1;
    buf_clear(&b);
    buf_wipe(&b);
    char *s = buf_take(&b, &len);
    assert_non_null(s);
    assert_string_equal(s, "");
    assert_int_equal(len, 0);
    free(s);
    buf_free(&b);
}

TEST(test_adding_grows)
{
    struct buf b = {0};
    for (int i = 0; i < 1000; i++)
        buf_addf(&b, "%d,", i);
    assert_int_equal(b.len, strlen(b.data));
    assert_int_equal(b.len, 3890);
    buf_add(&b, "a\0b", 3);
    buf_adds(&b, "");
    assert_int_equal(b.len, 3893);
    assert_int_equal(b.data[b.len], '\0');
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    buf_free(&b);
    assert_null(b.data);
}

TEST(test_long_format_is_whole)
{
    struct buf b = {0};
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    buf_addf(&b, "<%s>", text);
    assert_int_equal(b.len, sizeof text + 1);
    assert_int_equal(b.data[b.len - 1], '>');
    buf_free(&b);
}

TEST(test_room_is_filled_by_the_caller)
{
    struct buf b = {0};
    size_t len;
    buf_adds(&b, "ab");
    memcpy(buf_room(&b, 3), "cde", 3);
    b.len += 3;
    assert_string_equal(b.data, "abcde");
    memcpy(buf_room(&b, 100), "f", 1);
    b.len += 1;
    char *s = buf_take(&b, &len);
    assert_string_equal(s, "abcdef");
    assert_int_equal(len, 6);
    assert_int_equal(b.len, 0);
    free(s);
}

TEST_MAIN(NULL, NULL)
