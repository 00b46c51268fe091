/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/jv.h"

#include "tests/unit/test.h"

static struct jv *parse(const char *text)
{
    enum jv_bad why;
    struct jv *v = jv_parse(text, strlen(text), &why);
    if (!v)
        print_message("%s: %s\n", text, jv_bad_text(why));
    assert_non_null(v);
    assert_int_equal(why, JV_FINE);
    return v;
}

static void assert_bad(const char *text, size_t len, enum jv_bad wanted)
{
    enum jv_bad why;
    struct jv *v = jv_parse(text, len, &why);
    if (v || why != wanted)
        print_message("%.*s: %s\n", (int)len, text, jv_bad_text(why));
    assert_null(v);
    assert_int_equal(why, wanted);
    jv_free(v);
}

#define BAD(text, wanted) assert_bad(text, sizeof text - 1, wanted)

static void assert_dump(const struct jv *v, const char *wanted)
{
    size_t len;
    char *text = jv_dump(v, &len);
    assert_string_equal(text, wanted);
    assert_int_equal(len, strlen(wanted));
    free(text);
}

TEST(test_reading)
{
    int64_t n = 0;
    bool b = false;
    struct jv *v =
        parse(" {\"s\":\"x\\u00e9\",\"n\":-7,\"r\":1.5,\"t\":true,\"z\":null,\"a\":[1,\"b\",{}],\"o\":{}} ");
    assert_int_equal(jv_type(v), JV_OBJECT);
    assert_int_equal(jv_len(v), 7);
    assert_string_equal(jv_str(jv_get(v, "s")), "x\xc3\xa9");
    assert_int_equal(jv_str_len(jv_get(v, "s")), 3);
    assert_true(jv_int(jv_get(v, "n"), &n) && n == -7);
    assert_int_equal(jv_type(jv_get(v, "r")), JV_REAL);
    assert_false(jv_int(jv_get(v, "r"), &n));
    assert_true(jv_bool(jv_get(v, "t"), &b) && b);
    assert_int_equal(jv_type(jv_get(v, "z")), JV_NULL);
    assert_int_equal(jv_len(jv_get(v, "a")), 3);
    assert_string_equal(jv_str(jv_at(jv_get(v, "a"), 1)), "b");
    assert_null(jv_at(jv_get(v, "a"), 3));
    jv_free(v);
}

TEST(test_absent_is_absent_everywhere)
{
    int64_t n;
    bool b;
    assert_int_equal(jv_type(NULL), JV_ABSENT);
    assert_null(jv_get(NULL, "a"));
    assert_null(jv_str(NULL));
    assert_int_equal(jv_str_len(NULL), 0);
    assert_false(jv_int(NULL, &n));
    assert_false(jv_bool(NULL, &b));
    assert_int_equal(jv_len(NULL), 0);
    assert_null(jv_at(NULL, 0));
    jv_each(NULL, NULL, NULL);
    jv_free(NULL);
    jv_wipe(NULL);
    assert_null(jv_copy(NULL));
    assert_dump(NULL, "null");
    struct jv *v = parse("[\"not an object\"]");
    assert_null(jv_get(v, "a"));
    assert_null(jv_str(v));
    jv_free(v);
}

TEST(test_bad_syntax)
{
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[",
        "{\"a\":1",
        "{\"a\"}",
        "{a:1}",
        "{'a':1}",
        "[1,]",
        "{\"a\":1,}",
        "[,1]",
        "[1 2]",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "0x1",
        "NaN",
        "Infinity",
        "-",
        "tru",
        "True",
        "nul",
        "\"",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"a\nb\"",
        "\"a\tb\"",
        "{}{}",
        "{} x",
        "[1]]",
        "// c\n1",
        "/* c */1",
        "\xef\xbb\xbf{}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_bad(bad[i], strlen(bad[i]), JV_SYNTAX);
    BAD("\"a\0b\"", JV_SYNTAX);
    BAD("{}\0", JV_SYNTAX);
}

TEST(test_bad_utf8)
{
    BAD("\"\xff\"", JV_UTF8);
    BAD("\"\xc3\"", JV_UTF8);
    BAD("\"\xc0\x80\"", JV_UTF8);
    BAD("\"\xed\xa0\x80\"", JV_UTF8);
    BAD("\"\xf4\x90\x80\x80\"", JV_UTF8);
    BAD("{\"\xe9\":1}", JV_UTF8);
}

TEST(test_duplicate_keys)
{
    BAD("{\"a\":1,\"a\":1}", JV_DUPLICATE);
    BAD("{\"a\":1,\"\\u0061\":2}", JV_DUPLICATE);
    BAD("[{\"x\":{\"a\":1,\"b\":2,\"a\":3}}]", JV_DUPLICATE);
    jv_free(parse("{\"a\":1,\"A\":2}"));
}

TEST(test_depth)
{
    char text[300] = "";
    memset(text, '[', 32);
    memset(text + 32, ']', 32);
    jv_free(parse(text));
    memset(text, '[', 33);
    memset(text + 33, ']', 33);
    assert_bad(text, 66, JV_DEEP);
    memset(text, '[', 100);
    assert_bad(text, 100, JV_DEEP);
    char mixed[512] = "";
    for (int i = 0; i < 33; i++)
        strcat(mixed, "{\"a\":");
    assert_bad(mixed, strlen(mixed), JV_DEEP);
    jv_free(
        parse("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[\"]")); /* in strings they do not count */
}

TEST(test_nul_is_told_apart)
{
    BAD("{\"a\":\"x\\u0000y\"}", JV_NUL);
    BAD("[[\"\\u0000\"]]", JV_NUL);
    BAD("{\"a\\u0000\":1}", JV_NUL);
    BAD("\"\\u0000", JV_SYNTAX);
    struct jv *v = parse("\"\\\\u0000\"");
    assert_string_equal(jv_str(v), "\\u0000");
    jv_free(v);
}

TEST(test_numbers_at_the_edge)
{
    int64_t n;
    struct jv *v = parse("[9223372036854775807,-9223372036854775808,0,-0,1.0,1e2]");
    assert_true(jv_int(jv_at(v, 0), &n) && n == INT64_MAX);
    assert_true(jv_int(jv_at(v, 1), &n) && n == INT64_MIN);
    assert_true(jv_int(jv_at(v, 3), &n) && n == 0);
    assert_false(jv_int(jv_at(v, 4), &n));
    assert_false(jv_int(jv_at(v, 5), &n));
    jv_free(v);
}

/* What jansson alone would make of a number is another number, or a refusal. */
TEST(test_numbers_stay_as_they_were_written)
{
    static const char *const texts[] = {
        "[0.1,1e2,1E+2,1.0,-0,-0.0,0.10,100.00,3.141592653589793238462643383279]",
        "{\"a\":12345678901234567890,\"b\":-9223372036854775809,\"c\":[1e999,{\"d\":5e-324}],\"e\":123456789012345678}",
        "{\"say\":\"1e2 \\\"0.1\\\" \\\\u0000 12345678901234567890\",\"n\":0.1,\"\\\"0.1\":0.2}",
        "0.1",
        "12345678901234567890",
        "[\"\\\\\",0.1,\"\\\\\\\"\",1e2]",
    };
    int64_t n;
    double x;
    size_t len;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct jv *v = parse(texts[i]), *copy = jv_copy(v);
        char *text = jv_dump(copy, &len);
        assert_string_equal(text, texts[i]);
        assert_int_equal(len, strlen(text));
        free(text);
        jv_free(copy);
        jv_free(v);
    }
    struct jv *v = parse("[0.1,12345678901234567890,-0,1e999,[0.5]]");
    assert_int_equal(jv_type(jv_at(v, 0)), JV_REAL);
    assert_null(jv_str(jv_at(v, 0)));
    assert_int_equal(jv_str_len(jv_at(v, 0)), 0);
    assert_true(jv_number(jv_at(v, 0), &x) && x > 0.09 && x < 0.11);
    assert_int_equal(jv_type(jv_at(v, 1)), JV_REAL);
    assert_false(jv_int(jv_at(v, 1), &n));
    assert_true(jv_number(jv_at(v, 1), &x) && x > 1e19);
    assert_int_equal(jv_type(jv_at(v, 2)), JV_INT);
    assert_false(jv_number(jv_at(v, 3), &x));
    jv_free(v);
}

TEST(test_what_is_no_number_is_still_refused)
{
    static const char *const texts[] = {"[01.5]",          "[1.]",    "[.5]",    "[1.5e]",    "[--1.5]",
                                        "[+1.5]",          "[1.2.3]", "[1e5e5]", "[1.5x]",    "{1.5:2}",
                                        "{\"a\":1.5 2.5}", "[1.5",    "1.5,",    "[true1.5]", "[0x1.5]",
                                        "[1.5\"a\"]",      "[-]",     "[1e+]"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_bad(texts[i], strlen(texts[i]), JV_SYNTAX);
    BAD("[0.1,\"\\u0000\"]", JV_NUL);
    BAD("[0.1,\"\\u00000.1\"]", JV_NUL);
    BAD("{\"\\u00000.1\":0.1}", JV_NUL);
    BAD("{\"a\":0.1,\"a\":0.2}", JV_DUPLICATE);
    BAD("[0.1,\"\xff\"]", JV_UTF8);
}

static void collect(void *arg, const char *key, struct jv *v)
{
    int64_t n;
    assert_true(jv_int(v, &n));
    strcat(arg, key);
}

TEST(test_writing_keeps_the_order)
{
    char keys[16] = "";
    struct jv *v = jv_new_object(), *list = jv_new_array();
    jv_set_str(v, "z", "a\"b\\\n\x01/\xc3\xa9");
    jv_set_str(v, "none", NULL);
    jv_set_int(v, "n", INT64_MIN);
    jv_set_bool(v, "b", false);
    jv_set_time(v, "at", 1767323045678);
    jv_set_time(v, "never", 0);
    jv_push_str(list, "x");
    jv_push_int(list, 1);
    jv_push(list, jv_new_object());
    jv_push(list, NULL);
    jv_set(v, "list", list);
    jv_set(v, "null", NULL);
    jv_set_strn(v, "part", "abcdef", 3);
    assert_dump(v, "{\"z\":\"a\\\"b\\\\\\n\\u0001/\xc3\xa9\",\"none\":null,\"n\":-9223372036854775808,\"b\":false,"
                   "\"at\":\"2026-01-02T03:04:05.678Z\",\"never\":null,\"list\":[\"x\",1,{},null],\"null\":null,"
                   "\"part\":\"abc\"}");
    jv_free(v);
    v = parse("{\"c\":1,\"a\":2,\"b\":3}");
    jv_each(v, collect, keys);
    assert_string_equal(keys, "cab");
    jv_free(v);
}

TEST(test_bad_utf8_never_loses_a_field)
{
    struct jv *v = jv_new_object();
    jv_set_str(v, "a", "x\xffy");
    jv_set_str(v, "b", "\xc3");
    jv_set_str(v, "c", "\xed\xa0\x80");
    jv_set_strn(v, "d", "p\0q", 3);
    jv_set_str(v, "e", "\xf0\x9f\x99\x82\xf0\x9f");
    jv_set_strn(v, "f", "", 0);
    assert_dump(v,
                "{\"a\":\"x\xef\xbf\xbdy\",\"b\":\"\xef\xbf\xbd\",\"c\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\","
                "\"d\":\"p\xef\xbf\xbdq\",\"e\":\"\xf0\x9f\x99\x82\xef\xbf\xbd\xef\xbf\xbd\",\"f\":\"\"}");
    jv_free(v);
}

TEST(test_merge_and_copy_are_deep)
{
    struct jv *a = parse("{\"x\":1,\"o\":{\"p\":1}}"), *b = parse("{\"x\":2,\"l\":[1],\"o\":{\"q\":2}}");
    struct jv *copy = jv_copy(a);
    jv_merge(a, b);
    jv_push_int(jv_get(b, "l"), 9);
    assert_dump(a, "{\"x\":2,\"o\":{\"q\":2},\"l\":[1]}");
    assert_dump(copy, "{\"x\":1,\"o\":{\"p\":1}}");
    jv_merge(a, NULL);
    jv_free(b);
    assert_dump(a, "{\"x\":2,\"o\":{\"q\":2},\"l\":[1]}");
    jv_free(a);
    jv_free(copy);
}

TEST_MAIN(NULL, NULL)
