/* parts: common */
/* SPDX-License-Identifier: MIT */
/* test_text.c - whatever comes in, something storable goes out: fixed cases, then random bytes. */
#include "common/text.h"

#include "common/jv.h"
#include "tests/unit/test.h"

#define FFFD "\xef\xbf\xbd"

static void cleans(const char *in, size_t most, const char *want)
{
    char out[200];
    text_clean(out, sizeof(out), in, strlen(in), most);
    assert_string_equal(out, want);
}

TEST(test_clean)
{
    cleans("Menú SOL", 100, "Menú SOL");
    cleans("a\tb\nc\x7f\x01", 100, "abc");
    cleans("x\xc2\x85y\xc2\xa0z", 100, "xy\xc2\xa0z"); /* C1 goes, the hard space stays */
    cleans("caf\xe9", 100, "caf" FFFD);
    cleans("\xc3", 100, FFFD);
    cleans("\xf0\x9f\x98", 100, FFFD); /* a cut emoji is one replacement */
    cleans("\xf0\x9f\x98\x80", 100, "\xf0\x9f\x98\x80");
    cleans("\xed\xa0\x80", 100, FFFD FFFD FFFD); /* a surrogate */
    cleans("\xc0\x80|\xff|\x80", 100, FFFD FFFD "|" FFFD "|" FFFD);
    cleans("ñandú", 1, "ñ");
    cleans("", 5, "");
    char out[6];
    text_clean(out, sizeof(out), "aaañ", 5, 100);
    assert_string_equal(out, "aaañ");
    text_clean(out, sizeof(out), "aaaañ", 6, 100); /* the character does not fit: not half of it */
    assert_string_equal(out, "aaaa");
    text_clean(out, sizeof(out), "a\0b", 3, 100);
    assert_string_equal(out, "ab");
    text_clean(out, sizeof(out), NULL, 0, 100);
    assert_string_equal(out, "");
}

TEST(test_token)
{
    char a[TEXT_TOKEN_BYTES], b[TEXT_TOKEN_BYTES];
    text_token(a, "boot-1 of r7", 12);
    assert_string_equal(a, "boot-1 of r7");
    text_token(a, "arranque-ñ", strlen("arranque-ñ"));
    assert_true(a[0] == '~' && strlen(a) == 41);
    text_token(b, "arranque-\xf1", 10); /* the same in ISO 8859-1 */
    assert_string_equal(a, b);
    text_token(b, "arranque-ó", strlen("arranque-ó"));
    assert_string_not_equal(a, b);
    static const char *const differ[] = {" x", "x ", "x", "X", "x\t", "~x", "\xff", "\xff\xff"};
    for (unsigned i = 0; i < 8; i++)
        for (unsigned k = 0; k < i; k++) {
            text_token(a, differ[i], strlen(differ[i]));
            text_token(b, differ[k], strlen(differ[k]));
            assert_string_not_equal(a, b);
        }
    char longer[201];
    memset(longer, 'a', 200);
    text_token(a, longer, 200);
    text_token(b, longer, 199);
    assert_string_not_equal(a, b);
    text_token(a, "", 0);
    assert_string_equal(a, "");
    text_token(b, a, strlen(a));
    text_token(a, "~already", 8);
    assert_int_equal(strlen(a), 41); /* nobody can say a hash by himself */
}

static void mends(const char *in, size_t len, const char *want_title)
{
    enum jv_bad why;
    struct jv *v = jv_parse_mended(in, len, &why);
    if (!v)
        fail_msg("%s: %s", in, jv_bad_text(why));
    assert_string_equal(jv_str(jv_get(v, "t")), want_title);
    jv_free(v);
}
#define MENDS(in, want) mends(in, sizeof(in) - 1, want)

TEST(test_json_of_robots)
{
    enum jv_bad why;
    MENDS("{\"t\":\"Men\xfa SOL\"}", "Men" FFFD " SOL");
    MENDS("{\"t\":\"cut \\ud83d\"}", "cut " FFFD); /* JSON.stringify(text.slice(0, n)) */
    MENDS("{\"t\":\"whole \\ud83d\\ude00 low \\ude00\"}", "whole \xf0\x9f\x98\x80 low " FFFD);
    MENDS("{\"t\":\"a\\u0000b\\\\u0000\"}", "ab\\u0000");
    MENDS("{\"t\":\"a\nb\x01"
          "c\td\"}",
          "a bc d");
    MENDS("\xef\xbb\xbf{\"t\":\"bom\"}", "bom");
    MENDS("{\"t\":\"nul \0 byte\"}", "nul  byte");
    MENDS("{\"load\":NaN,\"t\":\"NaN \\\"NaN\",\"x\":[-Infinity,Infinity]}",
          "NaN \"NaN"); /* json.dumps(float("nan")) */
    assert_null(jv_parse_mended("{\"t\":NaNa}", 10, &why));
    assert_null(jv_parse_mended("{\"t\":\"open", 10, &why));
    assert_null(jv_parse_mended("<html>", 6, &why));
    assert_null(jv_parse_mended("{\"t\":1,\"t\":2}", 13, &why));
    assert_null(jv_parse_mended(NULL, 0, &why));
    assert_null(jv_parse_mended("\"\\", 2, &why));
    assert_null(jv_parse_mended("\"\\u", 3, &why));
}

TEST(test_session_ids)
{
    char longest[102];
    memset(longest, 's', 101);
    longest[101] = 0;
    assert_false(text_session_id_ok(longest));
    assert_true(text_session_id_ok(longest + 1));
    static const char *const bad[] = {"", " ", "a b", "a/b", "a?b", "a%62", "ñ", "a\x7f", "x ", ".", ".."};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(text_session_id_ok(bad[i]));
    assert_false(text_session_id_ok(NULL));
}

/* Any bytes: the result is UTF-8 without control characters, within its bounds, and stays as it is when cleaned again. */
TEST(test_any_bytes)
{
    srandom(20260202);
    for (unsigned round = 0; round < 20000; round++) {
        char in[64], out[40], again[40];
        size_t len = (size_t)random() % sizeof(in), room = 1 + (size_t)random() % (sizeof(out) - 1),
               most = (size_t)random() % 30, count = 0;
        for (size_t i = 0; i < len; i++) {
            static const unsigned char likely[] = {0xc3, 0xb1, 0xf0, 0x9f, 0x98, 0x80, 0xed, 0xa0,
                                                   0xe2, 'a',  '\\', '"',  0xc2, 0x85, 0};
            in[i] = (char)(random() % 2 ? likely[(size_t)random() % sizeof(likely)] : random());
        }
        text_clean(out, room, in, len, most);
        size_t n = strlen(out);
        assert_true(n < room);
        for (size_t i = 0, step; i < n; i += step, count++) {
            step = text_char(out + i, n - i);
            assert_true(step && ((unsigned char)out[i] >= 0x20 && out[i] != 0x7f));
            assert_false(step == 2 && (unsigned char)out[i] == 0xc2 && (unsigned char)out[i + 1] < 0xa0);
        }
        assert_true(count <= most);
        text_clean(again, sizeof(again), out, n, most);
        assert_string_equal(again, out);
        enum jv_bad why;
        jv_free(jv_parse_mended(in, len, &why));
        char token[TEXT_TOKEN_BYTES];
        text_token(token, in, len);
        for (const char *p = token; *p; p++)
            assert_true(*p >= 0x20 && *p < 0x7f);
    }
}

TEST_MAIN(NULL, NULL)
