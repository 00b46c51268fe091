/* needs: broker/params.c common/jv.c common/buf.c common/check.c common/clock.c common/action.c common/zpl.c proto/names.c */
#include "broker/params.h"

#include "common/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct query query;
static char text[8192];
static struct jv *errors;
static struct msg_REQUEST request;
static struct action_table actions;

static int set_up(void **state)
{
    (void)state;
    struct buf why = {0};
    request = (struct msg_REQUEST){0};
    action_table_load(&actions, 120000, "test", NULL, &why);
    actions.rows = realloc(actions.rows, 2 * sizeof *actions.rows);
    actions.rows[1] =
        (struct action){.name = strdup("sunat.echo"), .portal = strdup("sunat"), .session = ACTION_USE};
    actions.n = 2;
    buf_free(&why);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    action_table_free(&actions);
    jv_free(errors);
    errors = NULL;
    return 0;
}

static void parse(const char *s)
{
    jv_free(errors);
    errors = NULL;
    snprintf(text, sizeof text, "%s", s);
    query_parse(&query, text, &errors);
}

static bool is_wrong(const char *field)
{
    return jv_len(jv_get(errors, field)) > 0;
}

static void test_query_is_taken_apart(void **state)
{
    (void)state;
    parse("a=1&b=x%20y+z&&c&d=&e=a=b&%66=%2B");
    assert_null(errors);
    assert_true(str_is(*query_get(&query, "a"), "1"));
    assert_true(str_is(*query_get(&query, "b"), "x y z"));
    assert_true(str_is(*query_get(&query, "c"), ""));
    assert_true(str_is(*query_get(&query, "d"), ""));
    assert_true(str_is(*query_get(&query, "e"), "a=b"));
    assert_true(str_is(*query_get(&query, "f"), "+"));
    assert_null(query_get(&query, "g"));
    query_parse(&query, NULL, &errors);
    assert_int_equal(query.n, 0);
}

static void test_a_name_given_twice_is_an_error_of_that_name(void **state)
{
    (void)state;
    parse("page=1&session_id=a&page=1");
    assert_true(is_wrong("page"));
    assert_false(is_wrong("session_id"));
    parse("p%61ge=1&page=2");
    assert_true(is_wrong("page"));
    parse("%ff%01=1&%ff%01=1");
    assert_true(is_wrong("??"));
}

static void test_too_many_parameters_are_refused(void **state)
{
    (void)state;
    char many[512] = "";
    for (int i = 0; i <= QUERY_PAIRS_MAX; i++)
        sprintf(many + strlen(many), "a%d&", i);
    parse(many);
    assert_true(is_wrong("query"));
}

static void test_list_fields(void **state)
{
    (void)state;
    parse("session_id=S-1%3A");
    params_list(&query, &request, &errors);
    assert_null(errors);
    assert_true(str_is(request.session_id, "S-1:"));
    assert_int_equal(request.page, 1);
    parse("session_id=s&page=9223372036854775807");
    params_list(&query, &request, &errors);
    assert_null(errors);
    assert_int_equal(request.page, INT64_MAX);
    static const char *const pages[] = {
        "0", "-1", "+1", "1.0", "", "x", "1x", "%201", "9223372036854775808", "99999999999999999999"};
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        char one[64];
        snprintf(one, sizeof one, "session_id=s&page=%s", pages[i]);
        parse(one);
        params_list(&query, &request, &errors);
        assert_true(is_wrong("page"));
    }
    parse("page=1");
    params_list(&query, &request, &errors);
    assert_true(is_wrong("session_id"));
}

static void test_session_ids_and_file_tokens(void **state)
{
    static const char *const bad[] = {"",    " ",   "a b",  "a/b",  "a\\b",       "a%b",
                                      "a?b", "a#b", "a\nb", "\x7f", "caf\xc3\xa9"};
    char longest[514];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(session_id_ok(str_of(bad[i])));
        assert_false(file_token_ok(str_of(bad[i])));
    }
    assert_false(file_token_ok(STR(".")));
    assert_false(file_token_ok(STR("..")));
    assert_true(file_token_ok(STR("...")));
    assert_true(session_id_ok(STR("aZ09-._~:@!$&'()*+,;=[]|<>\"{}^`")));
    memset(longest, 'a', sizeof longest);
    assert_true(session_id_ok((struct str){longest, 100}));
    assert_false(session_id_ok((struct str){longest, 101}));
    assert_true(file_token_ok((struct str){longest, 512}));
    assert_false(file_token_ok((struct str){longest, 513}));
    parse("session_id=s&file_token=..%2f..%2fetc");
    params_download(&query, &request, &errors);
    assert_true(is_wrong("file_token"));
    parse("session_id=s&file_token=%252f");
    params_download(&query, &request, &errors);
    assert_true(is_wrong("file_token"));
}

static void test_numbers(void **state)
{
    uint64_t n;
    (void)state;
    assert_true(decimal_read(STR("0007"), 1, &n));
    assert_int_equal(n, 7);
    assert_false(decimal_read(STR("0"), 1, &n));
    assert_true(decimal_read(STR("0"), 0, &n));
    assert_true(deadline_read("100", &n) && deadline_read("150000", &n));
    assert_false(deadline_read("99", &n));
    assert_false(deadline_read("150001", &n));
    assert_false(deadline_read("", &n));
    assert_false(deadline_read("1e3", &n));
}

static void test_headers(void **state)
{
    (void)state;
    assert_true(traceparent_ok("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    assert_false(traceparent_ok("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    assert_false(traceparent_ok("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"));
    assert_false(traceparent_ok("00-00000000000000000000000000000000-00f067aa0ba902b7-01"));
    assert_false(traceparent_ok("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"));
    assert_false(traceparent_ok("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"));
    assert_false(traceparent_ok(""));
    assert_true(is_json_type("application/json") && is_json_type("Application/JSON; charset=UTF-8"));
    assert_true(is_json_type("application/json;") && is_json_type("application/json ; charset=\"utf-8\" "));
    assert_false(is_json_type(NULL));
    assert_false(is_json_type("application/jsonx"));
    assert_false(is_json_type("application/json; charset=latin1"));
    assert_false(is_json_type("text/json"));
    assert_true(prefers("respond-async", "respond-async") && prefers("foo, Wait=10", "wait"));
    assert_true(prefers("a;b=c, respond-async;wait=3", "respond-async"));
    assert_false(prefers("return=minimal", "wait"));
    assert_false(prefers("waiting=3", "wait"));
    assert_false(prefers(NULL, "wait"));
}

static const struct action *action;

static void execute(const char *json)
{
    enum jv_bad why;
    static struct jv *body;
    jv_free(errors);
    jv_free(body);
    errors = NULL;
    request = (struct msg_REQUEST){0};
    body = jv_parse(json, strlen(json), &why);
    assert_non_null(body);
    params_execute(body, &actions, &request, &action, &errors);
    if (strcmp(json, "{}") == 0) { /* the last one of a test lets go of it */
        jv_free(body);
        body = NULL;
    }
}

static void test_execute_takes_a_log_in(void **state)
{
    (void)state;
    execute("{\"company_id\":7,\"portal\":\"sunat\",\"action\":\"sunat.menu_sol_login\"}");
    assert_null(errors);
    assert_int_equal(request.company_id, 7);
    assert_int_equal(request.priority, 5);
    assert_false(request.force_new || request.remember);
    assert_int_equal(action->session, ACTION_CREATE);
    execute("{\"company_id\":9223372036854775807,\"portal\":\"sunat\",\"action\":\"sunat.menu_sol_login\","
            "\"params\":{\"clave\":\"x\"},"
            "\"priority\":0,\"force_new\":true,\"remember\":true,\"session_id\":null,\"unknown\":[1]}");
    assert_null(errors);
    assert_true(request.force_new && request.remember);
    assert_int_equal(request.priority, 0);
    execute("{}");
    assert_true(is_wrong("company_id") && is_wrong("portal") && is_wrong("action"));
}

static void test_execute_takes_an_action_in_a_session(void **state)
{
    (void)state;
    execute("{\"company_id\":7,\"portal\":\"sunat\",\"action\":\"sunat.echo\",\"session_id\":\"s-1\"}");
    assert_null(errors);
    assert_true(str_is(request.session_id, "s-1"));
    execute("{\"company_id\":7,\"portal\":\"sunat\",\"action\":\"sunat.echo\"}");
    assert_true(is_wrong("session_id"));
    execute("{\"company_id\":7,\"portal\":\"sunat\",\"action\":\"sunat.menu_sol_login\",\"session_id\":\"s-1\"}");
    assert_true(is_wrong("session_id"));
    execute("{}");
}

static void test_execute_names_each_wrong_field(void **state)
{
    static const struct {
        const char *field, *member;
    } wrong[] = {
        {"company_id", "\"company_id\":0"},
        {"company_id", "\"company_id\":-1"},
        {"company_id", "\"company_id\":\"7\""},
        {"company_id", "\"company_id\":7.0"},
        {"company_id", "\"company_id\":true"},
        {"company_id", "\"company_id\":[7]"},
        {"company_id", "\"company_id\":null"},
        {"portal", "\"portal\":\"SUNAT\""},
        {"portal", "\"portal\":\"other\""},
        {"portal", "\"portal\":\"\""},
        {"portal", "\"portal\":1"},
        {"action", "\"action\":\"sunat.nope\""},
        {"action", "\"action\":\"\""},
        {"action", "\"action\":{}"},
        {"params", "\"params\":[]"},
        {"params", "\"params\":\"x\""},
        {"params.company_id", "\"params\":{\"company_id\":8}"},
        {"params.portal", "\"params\":{\"portal\":\"x\"}"},
        {"params.job_uid", "\"params\":{\"job_uid\":\"x\"}"},
        {"params.epoch", "\"params\":{\"epoch\":null}"},
        {"priority", "\"priority\":10"},
        {"priority", "\"priority\":-1"},
        {"priority", "\"priority\":\"5\""},
        {"priority", "\"priority\":5.5"},
        {"force_new", "\"force_new\":1"},
        {"remember", "\"remember\":\"yes\""},
        {"session_id", "\"session_id\":5"},
        {"session_id", "\"session_id\":\"a b\""},
        {"session_id", "\"session_id\":\"\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        static const char *const good[] = {"\"company_id\":7", "\"portal\":\"sunat\"",
                                           "\"action\":\"sunat.menu_sol_login\""};
        struct buf json = {0};
        buf_addf(&json, "{%s", wrong[i].member);
        for (unsigned k = 0; k < 3; k++)
            if (strncmp(good[k], wrong[i].member, strcspn(good[k], ":") + 1) != 0)
                buf_addf(&json, ",%s", good[k]);
        buf_adds(&json, "}");
        execute(json.data);
        if (!is_wrong(wrong[i].field))
            fail_msg("not wrong: %s", json.data);
        assert_int_equal(jv_len(errors), 1);
        buf_free(&json);
    }
    execute("{}");
}

static void test_operators_fields(void **state)
{
    (void)state;
    parse("state=active&company_id=3&worker=r-1&cursor=0&limit=200");
    params_ops_sessions(&query, &request, &errors);
    assert_null(errors);
    assert_int_equal(request.limit, 200);
    parse("");
    params_ops_sessions(&query, &request, &errors);
    assert_null(errors);
    assert_int_equal(request.limit, 50);
    parse("state=asleep&company_id=0&worker=a%2fb&cursor=-1&limit=201");
    params_ops_sessions(&query, &request, &errors);
    assert_true(is_wrong("state") && is_wrong("company_id") && is_wrong("worker") && is_wrong("cursor") &&
                is_wrong("limit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_query_is_taken_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_name_given_twice_is_an_error_of_that_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_too_many_parameters_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_list_fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_session_ids_and_file_tokens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_execute_takes_a_log_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_execute_takes_an_action_in_a_session, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_execute_names_each_wrong_field, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_operators_fields, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
