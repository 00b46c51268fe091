/* parts: ctl */
/* SPDX-License-Identifier: MIT */
/* test_shown.c - what people see: text from elsewhere, tables that fit, prose that is broken, amounts. */
#include "common/fold.h"
#include "ctl/plain.h"
#include "ctl/progress.h"
#include "ctl/table.h"
#include "tests/unit/test.h"

#include <locale.h>

static void plain_is(const char *text, const char *wanted)
{
    char *plain = plain_text(text);
    assert_string_equal(plain, wanted);
    free(plain);
}

TEST(test_nothing_is_obeyed)
{
    plain_is("", "");
    plain_is("Ñandú, \\n, 日本", "Ñandú, \\n, 日本");
    plain_is("a\nb\r\tc\x1b[2J\x07\x7f", "a\\nb\\r\\tc\\x1b[2J\\x07\\x7f");
    plain_is("\xc2\x9b"
             "31m\xc2\x85",
             "\\x9b31m\\x85");
    plain_is("\xff\xc3", "??"); /* no UTF-8, and a character that is cut */
}

static void json_is(const char *json, const char *wanted)
{
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    plain_json(out, json, strlen(json));
    fclose(out);
    assert_string_equal(text, wanted);
    free(text);
}

TEST(test_json_is_escaped)
{
    json_is("{\"a\":\"ñ\x7f\xc2\x9b\"}", "{\"a\":\"ñ\\u007f\\u009b\"}\n");
    json_is("\"\xc2\"", "\"\xc2\"\n"); /* the end of the text is not passed over */
}

static void table_is(int room, const char *wanted)
{
    static const char *const heads[] = {"ID", "1LEAST", "~WORDS", "2>N", NULL};
    struct table *t = table_new(heads);
    struct buf out = {0};
    table_add(t, "0123456789");
    table_add(t, "x");
    table_add(t, "a long word that may be cut");
    table_add(t, "7");
    table_text(&t, room, &out);
    assert_null(t);
    assert_string_equal(out.data, wanted);
    buf_free(&out);
}

TEST(test_a_table_fits)
{
    table_is(0, "ID          LEAST  WORDS                        N\n"
                "0123456789  x      a long word that may be cut  7\n");
    table_is(40, "ID          LEAST  WORDS               N\n"
                 "0123456789  x      a long word that …  7\n");
    table_is(30, "ID          LEAST  WORDS     N\n"
                 "0123456789  x      a long …  7\n");
    table_is(29, "ID          WORDS           N\n"
                 "0123456789  a long word t…  7\n");
    table_is(22, "ID          WORDS\n"
                 "0123456789  a long wo…\n");
    table_is(10, "ID          WORDS\n"
                 "0123456789  a long …\n"); /* what names the row is whole, whatever that costs */
}

static size_t to_the_bar(const char *text)
{
    return strcspn(text, "|") + strspn(text + strcspn(text, "|"), "|");
}

static void fold_is(const char *text, int indent, int at, fold_word_fn *word, const char *wanted)
{
    char *folded;
    size_t len;
    FILE *out = open_memstream(&folded, &len);
    fold(out, text, indent, at, word);
    fclose(out);
    assert_string_equal(folded, wanted);
    free(folded);
}

TEST(test_prose_is_broken)
{
    fold_is("", 4, 4, NULL, "\n");
    fold_is("a line\nand another  one\n", 4, 4, NULL, "a line and another one\n");
    fold_is("aaaa bbbb cccc", 2, 70, NULL, "aaaa bbbb\n  cccc\n");
    fold_is("aaaa bbbbb", 2, 70, NULL, "aaaa bbbbb\n"); /* eighty columns are used */
    fold_is("ññññ ñññññ", 2, 70, NULL, "ññññ ñññññ\n");
    fold_is("aaaa bbbbbb", 2, 70, NULL, "aaaa\n  bbbbbb\n");
    fold_is("aaaaaaaaaaaa b", 2, 70, NULL, "aaaaaaaaaaaa\n  b\n"); /* too wide wherever it stands */
    fold_is("a b| c d|", 2, 76, to_the_bar, "a b|\n  c d|\n");
}

TEST(test_amounts)
{
    char text[TEXT_AMOUNT];
    assert_string_equal(amount_text(0, "row", text), "0 rows");
    assert_string_equal(amount_text(1, "row", text), "1 row");
    assert_string_equal(amount_text(12345, "item", text), "12,345 items");
}

static int locale_set(void **state)
{
    (void)state;
    return setlocale(LC_CTYPE, "C.UTF-8") ? 0 : -1;
}

TEST_MAIN(locale_set, NULL)
