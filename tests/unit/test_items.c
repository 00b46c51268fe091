/* parts: broker */
/* SPDX-License-Identifier: MIT */
#include "broker/items.h"

#include "tests/unit/test.h"

static struct judging judging;
static struct jv *about;
static enum jv_bad why;

/* The verdict on a body; JUDGED_BAD with `why` also when it is no object. */
static enum judged judge(const char *body)
{
    struct buf text = {0};
    judging_end(&judging);
    judging = (struct judging){0};
    jv_free(about);
    why = JV_FINE;
    buf_adds(&text, body);
    about = judging_begin(&judging, &text, &why);
    assert_null(text.data);
    return jv_type(about) == JV_OBJECT ? judging_go(&judging, UINT64_MAX, &why) : JUDGED_BAD;
}

static int tear_down(void **state)
{
    (void)state;
    judging_end(&judging);
    jv_free(about);
    about = NULL;
    return 0;
}

static void assert_lines(const char *body, const char *lines)
{
    if (judge(body) != JUDGED_GOOD)
        fail_msg("bad: %s", body);
    assert_string_equal(judging.lines.data ? judging.lines.data : "", lines);
}

TEST_WITH(test_items_become_lines, NULL, tear_down)
{
    assert_lines("{\"items\":[{\"a\":1},{\"b\":[2,{}]}],\"portal\":\"x\"}", "{\"a\":1}\n{\"b\":[2,{}]}\n");
    assert_string_equal(jv_str(jv_get(about, "portal")), "x");
    assert_int_equal(jv_type(jv_get(about, "items")), JV_ARRAY);
    assert_lines(" { \"x\" : {\"items\":[9]} , \"items\" : [ 1 ,\n \"a,]\\\"}\" , null,\ttrue ,-1.5 ] } \n",
                 "1\n\"a,]\\\"}\"\nnull\ntrue\n-1.5\n");
    assert_lines("{\"items\":[\n  {\n    \"a\": \"\\n\"\n  }\n]}", "{\"a\":\"\\n\"}\n");
    assert_lines("{\"items\":[[],[[]],{}]}", "[]\n[[]]\n{}\n");
    assert_lines("{\"\\u0069tems\":[1,2]}", "1\n2\n"); /* a key with escapes */
    assert_lines("{\"items\\\\\":[1],\"items\":[2]}", "2\n");
}

TEST_WITH(test_bodies_without_items, NULL, tear_down)
{
    assert_lines("{}", "");
    assert_lines("{\"items\":[]}", "");
    assert_lines("{\"items\":[ \n ]}", "");
    assert_lines("{\"items\":{\"a\":[1]}}", "");
    assert_lines("{\"items\":\"[1]\"}", "");
    assert_lines("{\"items\":7,\"x\":[1]}", "");
    assert_lines("{\"x\":{\"items\":[1]}}", "");
}

TEST_WITH(test_bodies_that_are_no_json, NULL, tear_down)
{
    static const struct {
        const char *body;
        enum jv_bad why;
    } bad[] = {
        {"", JV_SYNTAX},
        {"{", JV_SYNTAX},
        {"[]", JV_FINE},
        {"7", JV_FINE},
        {"{\"items\":[1]", JV_SYNTAX},
        {"{\"items\":[1", JV_SYNTAX},
        {"{\"items\":[\"a", JV_SYNTAX},
        {"{\"items\":[\"a\\", JV_SYNTAX},
        {"{\"items\":[1]}x", JV_SYNTAX},
        {"{\"items\":[1],}", JV_SYNTAX},
        {"{\"items\":[1],\"x\"}", JV_SYNTAX},
        {"{\"items\":[1,]}", JV_SYNTAX},
        {"{\"items\":[,1]}", JV_SYNTAX},
        {"{\"items\":[1,,2]}", JV_SYNTAX},
        {"{\"items\":[1 2]}", JV_SYNTAX},
        {"{\"items\":[{} {}]}", JV_SYNTAX},
        {"{\"items\":[{]}]}", JV_SYNTAX},
        {"{\"items\":[01]}", JV_SYNTAX},
        {"{\"items\":[nul]}", JV_SYNTAX},
        {"{\"items\":[1}}", JV_SYNTAX},
        {"{\"items\":[\"\n\"]}", JV_SYNTAX},
        {"{\"items\":[\"\xff\"]}", JV_UTF8},
        {"{\"items\":[{\"a\":1,\"a\":2}]}", JV_DUPLICATE},
        {"{\"items\":[1],\"items\":[2]}", JV_DUPLICATE},
        {"{\"items\":[1],\"\\u0069tems\":[2]}", JV_DUPLICATE},
        {"{\"x\":1,\"items\":[1],\"x\":2}", JV_DUPLICATE},
        {"{\"items\":[\"\\u0000\"]}", JV_NUL},
        {"{\"x\":\"\\u0000\",\"items\":[1]}", JV_NUL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (judge(bad[i].body) != JUDGED_BAD || why != bad[i].why)
            fail_msg("%s: %s", bad[i].body, jv_bad_text(why));
}

TEST_WITH(test_depth, NULL, tear_down)
{
    for (unsigned depth = 29; depth <= 32; depth++) {
        struct buf body = {0};
        buf_adds(&body, "{\"items\":[0,");
        for (unsigned i = 0; i < depth; i++)
            buf_adds(&body, "[");
        for (unsigned i = 0; i < depth; i++)
            buf_adds(&body, "]");
        buf_adds(&body, "]}");
        assert_int_equal(judge(body.data), depth <= 30 ? JUDGED_GOOD : JUDGED_BAD);
        buf_free(&body);
    }
    assert_int_equal(why, JV_DEEP);
}

TEST_WITH(test_slices, NULL, tear_down)
{
    struct buf body = {0};
    unsigned slices = 1;
    buf_adds(&body, "{\"items\":[0");
    for (int i = 1; i < 5000; i++)
        buf_addf(&body, ",%d", i);
    buf_adds(&body, "]}");
    judging_end(&judging);
    judging = (struct judging){0};
    about = judging_begin(&judging, &body, &why);
    while (judging_go(&judging, 0, &why) == JUDGED_MORE)
        slices++;
    assert_int_equal(slices, 5001); /* one each when there is no time */
    unsigned lines = 0;
    for (size_t i = 0; i < judging.lines.len; i++)
        lines += judging.lines.data[i] == '\n';
    assert_int_equal(lines, 5000);
}

/* Whatever is cut off a good body, nothing behind it is read (ASan) and it is bad. */
TEST_WITH(test_cut_anywhere, NULL, tear_down)
{
    static const char whole[] =
        "{\"portal\":\"s\",\"items\":[{\"a\":\"b\\\"c\"},[1,2.5e3],null],\"x\":{\"items\":[]}}";
    for (size_t len = 0; len < sizeof whole - 1; len++) {
        char *cut = malloc(len + 1);
        memcpy(cut, whole, len);
        cut[len] = '\0';
        assert_int_equal(judge(cut), JUDGED_BAD);
        free(cut);
        size_t from, to;
        char *exact = malloc(len ? len : 1);
        memcpy(exact, whole, len);
        items_find(exact, len, &from, &to);
        free(exact);
    }
    assert_int_equal(judge(whole), JUDGED_GOOD);
}

TEST_MAIN(NULL, NULL)
