/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/action.h"

#include "common/zpl.h"
#include "tests/unit/test.h"

static struct buf why;
static struct action_table table;

/* Loads `text` as the section's lines; true when nothing was complained about. */
static bool load(const char *text)
{
    buf_clear(&why);
    buf_adds(&why, "");
    action_table_free(&table);
    struct zpl *root = zpl_parse("x.conf", text, strlen(text), &why);
    assert_non_null(root);
    action_table_load(&table, 120000, 30000, "x.conf", zpl_find(root, "actions"), &why);
    zpl_free(root);
    return why.len == 0;
}

static int clean_up(void **state)
{
    (void)state;
    action_table_free(&table);
    buf_free(&why);
    return 0;
}

/* One action of these lines (after its name) is refused with the message. */
static void assert_refused(const char *lines, const char *message)
{
    char text[2048], wanted[512];
    snprintf(text, sizeof text, "actions\n    sunat.echo\n%s", lines);
    snprintf(wanted, sizeof wanted, "x.conf:%s\n", message);
    assert_false(load(text));
    assert_string_equal(why.data, wanted);
}

TEST(test_built_in)
{
    assert_true(load(""));
    assert_int_equal(table.n, 2);
    const struct action *a = action_find(&table, "sunat.menu_sol_login");
    assert_non_null(a);
    assert_string_equal(a->portal, "sunat");
    assert_string_equal(a->method, "POST");
    assert_string_equal(a->path, "/sunat/login");
    assert_int_equal(a->session, ACTION_CREATE);
    assert_int_equal(a->timeout_ms, 120000);
    assert_string_equal(a->final_errors, "bad_credentials,invalid_credentials,account_locked,unknown_company");
    assert_string_equal(a->portal_errors, "portal_unavailable,portal_maintenance,portal_timeout");
    assert_false(action_is_safe(a));
    a = action_find(&table, "sunat.buzon_list");
    assert_string_equal(a->method, "GET");
    assert_string_equal(a->path, "/sunat/buzon/list");
    assert_int_equal(a->session, ACTION_USE);
    assert_int_equal(a->timeout_ms, 30000);
    assert_true(action_is_safe(a));
    assert_null(action_find(&table, "sunat.menu_sol_logi"));
    assert_null(action_find(&table, "SUNAT.menu_sol_login"));
    assert_null(action_find(&table, ""));
}

TEST(test_one_of_the_file)
{
    assert_true(load("actions\n"
                     "    sat-mx.v2.list\n"
                     "        method = GET\n"
                     "        path = /sat/v2/list\n"
                     "        session = use\n"
                     "        timeout_ms = 30000\n"
                     "        final_errors = \"bad_credentials, unknown_company ,x\"\n"
                     "    sunat.menu_sol_login\n"
                     "        timeout_ms = 60000\n"));
    assert_int_equal(table.n, 3);
    const struct action *a = action_find(&table, "sat-mx.v2.list");
    assert_string_equal(a->portal, "sat-mx");
    assert_string_equal(a->method, "GET");
    assert_string_equal(a->path, "/sat/v2/list");
    assert_int_equal(a->session, ACTION_USE);
    assert_int_equal(a->timeout_ms, 30000);
    assert_string_equal(a->final_errors, "bad_credentials,unknown_company,x");
    a = action_find(&table, "sunat.menu_sol_login"); /* the built-in, changed */
    assert_int_equal(a->timeout_ms, 60000);
    assert_string_equal(a->path, "/sunat/login");
    assert_int_equal(a->session, ACTION_CREATE);
    assert_string_equal(a->final_errors, "bad_credentials,invalid_credentials,account_locked,unknown_company");
}

/* What a log-in does not say of its errors is as with the built-in one; an action in a session has none. */
TEST(test_errors)
{
    assert_true(load("actions\n"
                     "    acme.login\n        path = /l\n        session = create\n"
                     "    acme.other\n        path = /o\n        session = create\n        final_errors = locked\n"
                     "        portal_errors = \"down , gone\"\n"
                     "    acme.form\n        path = /f\n        session = use\n        safe = true\n"));
    assert_true(action_is_safe(action_find(&table, "acme.form")));
    assert_string_equal(action_find(&table, "acme.login")->final_errors,
                        "bad_credentials,invalid_credentials,account_locked,unknown_company");
    assert_string_equal(action_find(&table, "acme.login")->portal_errors,
                        "portal_unavailable,portal_maintenance,portal_timeout");
    assert_string_equal(action_find(&table, "acme.other")->final_errors, "locked");
    assert_string_equal(action_find(&table, "acme.other")->portal_errors, "down,gone");
    assert_null(action_find(&table, "acme.form")->final_errors);
    assert_null(action_find(&table, "acme.form")->portal_errors);
}

TEST(test_names)
{
    static const char *const bad[] = {
        "echo",       ".echo",       "sunat.",
        "sun@t.echo", "sun/at.echo", "s.2345678901234567890123456789012345678901234567890123456789012345"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[256];
        snprintf(text, sizeof text, "actions\n    %s\n        path = /x\n        session = use\n", bad[i]);
        assert_false(load(text));
        assert_non_null(strstr(why.data, "x.conf:2: actions."));
        assert_int_equal(table.n, 2);
    }
    assert_false(load("actions\n    a.b = 1\n"));
    assert_string_equal(why.data, "x.conf:2: actions.a.b: an action is a section, not a value\n");
    assert_false(load("actions\n    a.b\n        path = /\n        session = use\n    a.b\n"));
    assert_string_equal(why.data, "x.conf:5: actions.a.b: given twice\n");
}

TEST(test_paths)
{
    static const char *const bad[] = {"x", "", "/a?b", "'/a#b'", "/../x", "/a..b", "'/a b'", "/a\\b", "/\xc3\xb1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[256];
        snprintf(text, sizeof text, "actions\n    a.b\n        session = use\n        path = %s\n", bad[i]);
        assert_false(load(text));
        assert_non_null(strstr(why.data, "x.conf:4: actions.a.b.path: path must"));
    }
    assert_true(load("actions\n    a.b\n        session = use\n        path = /a/b-c_d.e~f%20g\n"));
}

TEST(test_other_keys)
{
    assert_refused("        path = /\n        session = use\n        method = PUT\n",
                   "5: actions.sunat.echo.method: method must be GET or POST");
    assert_refused("        path = /\n        session = maybe\n",
                   "4: actions.sunat.echo.session: session must be create or use");
    assert_refused("        path = /\n        session = use\n        timeout_ms = 99\n",
                   "5: actions.sunat.echo.timeout_ms: timeout_ms must be a decimal integer of 100 to 600000");
    assert_refused("        path = /\n        session = use\n        timeout_ms = 600001\n",
                   "5: actions.sunat.echo.timeout_ms: timeout_ms must be a decimal integer of 100 to 600000");
    assert_refused(
        "        path = /\n        session = use\n        final_errors = a,,b\n",
        "5: actions.sunat.echo.final_errors: final_errors is a comma list of error codes, 1024 bytes at most");
    assert_refused(
        "        path = /\n        session = use\n        portal_errors = a b\n",
        "5: actions.sunat.echo.portal_errors: portal_errors is a comma list of error codes, 1024 bytes at most");
    assert_refused("        path = /\n        session = use\n        url = x\n",
                   "5: actions.sunat.echo.url: unknown key of an action (method, path, session, timeout_ms, "
                   "final_errors, portal_errors, safe)");
    assert_refused("        path = /\n        session = use\n        safe = yes\n",
                   "5: actions.sunat.echo.safe: safe must be true or false");
    assert_refused("        path = /\n        session = use\n        path = /x\n",
                   "5: actions.sunat.echo.path: given twice");
    assert_refused("        path = /\n        session = use\n        method\n",
                   "5: actions.sunat.echo.method: a value is expected (key = value)");
    assert_refused("        session = use\n", "2: actions.sunat.echo: path is missing");
    assert_refused("        path = /\n", "2: actions.sunat.echo: session is missing (create or use)");
    assert_refused("        path = /\n        session = create\n        method = GET\n",
                   "2: actions.sunat.echo: a log-in (session = create) must be a POST");
}

TEST_MAIN(NULL, clean_up)
