/* parts: common */
/* SPDX-License-Identifier: MIT */
/* Texts of JSON's own pieces, and good texts damaged. What is taken must come out as
 * JSON that is taken again and comes out the same. */
#include "common/jv.h"

#include "common/buf.h"
#include "common/check.h"
#include "tests/fuzz/fuzz.h"

static const char *const pieces[] = {
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\"a\"",
    "\"b\":",
    "\"a\":1",
    "true",
    "false",
    "null",
    "0",
    "-0",
    "1",
    "-1",
    "9223372036854775807",
    "9223372036854775808",
    "1.5",
    "1e2",
    "1e999",
    "1E-999",
    "01",
    "\\u0000",
    "\\u0041",
    "\\ud83d\\ude42",
    "\\ud800",
    "\\n",
    "\\",
    "\\x",
    " ",
    "\n",
    "\t",
    "\r",
    "\xc3\xa9",
    "\xff",
    "\xed\xa0\x80",
    "\xc0",
    "\xf0\x9f\x99\x82",
    "{\"company_id\":7,\"params\":{\"user\":\"u\",\"pass\":\"p\"}}",
    "[[[[[[[[[[",
    "]]]]]]]]]]",
    "{\"a\":{\"a\":{\"a\":{\"a\":",
    "}}}}",
    "/",
    "//",
    "'",
    "NaN",
};

static const char sample[] = "{\"ok\":true,\"session_id\":\"s-1\",\"n\":[1,-2,3.25,1e3,\"\\u00e9\\n\",null,false],"
                             "\"o\":{\"a\":{\"b\":{\"c\":[{}]}}},\"t\":\"\xc3\xb1\xf0\x9f\x99\x82\"}";

static void make_pieces(struct buf *b)
{
    for (unsigned n = pick(40); n; n--)
        buf_adds(b, PICK(pieces));
}

static void make_damaged(struct buf *b)
{
    buf_add(b, sample, sizeof sample - 1);
    for (unsigned n = pick(3); n && b->len; n--) {
        unsigned at = pick((unsigned)b->len);
        switch (pick(4)) {
        case 0:
            b->data[at] = (char)pick(256);
            break;
        case 1:
            b->data[at] ^= (char)(1 << pick(8));
            break;
        case 2: /* cut out */
            memmove(b->data + at, b->data + at + 1, b->len - at - 1);
            b->len--;
            break;
        default: /* cut off */
            b->len = at;
        }
    }
}

static void check_taken(const struct jv *v)
{
    enum jv_bad why;
    size_t len, again_len;
    char *text = jv_dump(v, &len);
    struct jv *again = jv_parse(text, len, &why);
    CHECK(again && why == JV_FINE, "%s: %s", jv_bad_text(why), text);
    char *again_text = jv_dump(again, &again_len);
    CHECK(len == again_len && memcmp(text, again_text, len) == 0, "%s != %s", text, again_text);
    free(again_text);
    jv_wipe(again);
    free(text);
}

/* Any bytes as a string value make JSON. */
static void check_written(const struct buf *b)
{
    enum jv_bad why;
    size_t len;
    struct jv *v = jv_new_object();
    jv_set_strn(v, "s", b->data, b->len);
    char *text = jv_dump(v, &len);
    struct jv *again = jv_parse(text, len, &why);
    CHECK(again && jv_str(jv_get(again, "s")), "%s: %s", jv_bad_text(why), text);
    jv_free(again);
    jv_free(v);
    free(text);
}

int main(int argc, char **argv)
{
    unsigned long runs = runs_of(argc, argv), taken = 0;
    for (unsigned long run = 0; run < runs; run++) {
        struct buf b = {0};
        enum jv_bad why;
        buf_adds(&b, "");
        if (pick(2))
            make_pieces(&b);
        else
            make_damaged(&b);
        char *exact = exact_copy(b.data, b.len);
        struct jv *v = jv_parse(exact, b.len, &why);
        free(exact);
        CHECK((v != NULL) == (why == JV_FINE), "why=%d", (int)why);
        if (v) {
            taken++;
            check_taken(v);
        }
        jv_free(v);
        check_written(&b);
        buf_free(&b);
    }
    printf("fuzz_jv: %lu texts, %lu taken\n", runs, taken);
    return taken ? 0 : 1;
}
