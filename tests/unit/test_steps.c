/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/steps.h"

#include "common/buf.h"
#include "common/zpl.h"
#include "tests/unit/test.h"

static struct action_table table;
static struct steps steps;
static char why[STEPS_WHY_ROOM];

static int set_up(void **state)
{
    static const char text[] = "actions\n    sunat.submit\n        path = /s\n        session = use\n"
                               "    sat.list\n        path = /l\n        session = use\n";
    struct buf bad = {0};
    (void)state;
    struct zpl *root = zpl_parse("x", text, strlen(text), &bad);
    action_table_load(&table, 120000, 30000, "x", zpl_find(root, "actions"), &bad);
    zpl_free(root);
    return bad.len;
}

static int clean_up(void **state)
{
    (void)state;
    steps_free(&steps);
    action_table_free(&table);
    return 0;
}

static bool reads(const char *text)
{
    enum jv_bad bad;
    steps_free(&steps);
    why[0] = 0;
    struct jv *v = jv_parse(text, strlen(text), &bad);
    bool good = steps_read(v, &table, "sunat", &steps, why);
    jv_free(v);
    if (!good)
        assert_true(steps.n == 0 && !steps.params && !steps.names[0] && why[0]);
    return good;
}

TEST(test_none)
{
    assert_true(reads("null"));
    assert_true(reads("[]"));
    assert_int_equal(steps.n, 0);
    assert_string_equal(steps.names, "");
    assert_int_equal(steps_count(""), 0);
    char name[ACTION_NAME_MAX + 1];
    assert_false(steps_name("", 0, name));
}

TEST(test_some)
{
    char name[ACTION_NAME_MAX + 1];
    int64_t page = 0;
    assert_true(reads(
        "[{\"action\":\"sunat.buzon_list\",\"params\":{\"page\":2}},{\"action\":\"sunat.submit\",\"params\":[]}]"));
    assert_string_equal(steps.names, "sunat.buzon_list,sunat.submit");
    assert_int_equal(steps_count(steps.names), 2);
    assert_true(steps_name(steps.names, 1, name));
    assert_string_equal(name, "sunat.submit");
    assert_false(steps_name(steps.names, 2, name));
    assert_true(jv_int(jv_get(jv_at(steps.params, 0), "page"), &page) && page == 2);
    assert_int_equal(jv_len(jv_at(steps.params, 1)), 0);
    assert_true(reads("[{\"action\":\"sunat.submit\"}]"));
    assert_null(steps.params);
}

TEST(test_refused)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"{}", "must be a list of at most 8 steps"},
        {"\"sunat.submit\"", "must be a list of at most 8 steps"},
        {"[\"sunat.submit\"]", "step 0: must be an object with an action"},
        {"[{\"action\":7}]", "step 0: must be an object with an action"},
        {"[{\"action\":\"sunat.submit\"},{\"action\":\"sunat.no\"}]", "step 1: its action is not known here"},
        {"[{\"action\":\"sunat.menu_sol_login\"}]", "step 0: its action is a log-in, which makes a session"},
        {"[{\"action\":\"sat.list\"}]", "step 0: its action is of another portal"},
        {"[{\"action\":\"sunat.submit\",\"params\":[1]}]", "step 0: its params must be an object"},
        {"[{\"action\":\"sunat.submit\",\"params\":{\"session_id\":\"x\"}}]",
         "step 0: its params hold a name that is set here (session_id, company_id, portal, job_uid, epoch)"},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(reads(bad[i].text));
        assert_string_equal(why, bad[i].why);
    }
}

TEST(test_limits)
{
    struct buf text = {0};
    for (unsigned n = 8; n <= 9; n++) {
        buf_clear(&text);
        for (unsigned i = 0; i < n; i++)
            buf_addf(&text, "%s{\"action\":\"sunat.submit\"}", i ? "," : "[");
        buf_adds(&text, "]");
        assert_int_equal(reads(text.data), n == 8);
    }
    buf_clear(&text);
    buf_adds(&text, "[{\"action\":\"sunat.submit\",\"params\":{\"a\":\"");
    for (unsigned i = 0; i < STEPS_PARAMS_MAX; i++)
        buf_adds(&text, "x");
    buf_adds(&text, "\"}}]");
    assert_false(reads(text.data));
    buf_free(&text);
}

TEST_MAIN(set_up, clean_up)
