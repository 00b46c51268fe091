/* parts: broker */
/* SPDX-License-Identifier: MIT */
#include "broker/params.h"

#include "common/buf.h"
#include "tests/unit/test.h"

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
    action_table_load(&actions, 120000, 30000, "test", NULL, &why);
    actions.rows = realloc(actions.rows, (actions.n + 1) * sizeof *actions.rows);
    actions.rows[actions.n++] =
        (struct action){.name = strdup("sunat.echo"), .portal = strdup("sunat"), .session = ACTION_USE};
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

TEST_WITH(test_query_is_taken_apart, set_up, tear_down)
{
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

TEST_WITH(test_a_name_given_twice_is_an_error_of_that_name, set_up, tear_down)
{
    parse("page=1&session_id=a&page=1");
    assert_true(is_wrong("page"));
    assert_false(is_wrong("session_id"));
    parse("p%61ge=1&page=2");
    assert_true(is_wrong("page"));
    parse("%ff%01=1&%ff%01=1");
    assert_true(is_wrong("??"));
}

TEST_WITH(test_too_many_parameters_are_refused, set_up, tear_down)
{
    char many[512] = "";
    for (int i = 0; i <= QUERY_PAIRS_MAX; i++)
        sprintf(many + strlen(many), "a%d&", i);
    parse(many);
    assert_true(is_wrong("query"));
}

TEST_WITH(test_list_fields, set_up, tear_down)
{
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

TEST_WITH(test_session_ids_and_file_tokens, set_up, tear_down)
{
    static const char *const bad[] = {"",    " ",   "a b",  "a/b",  "a\\b",       "a%b",
                                      "a?b", "a#b", "a\nb", "\x7f", "caf\xc3\xa9"};
    char longest[514];
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

TEST_WITH(test_numbers, set_up, tear_down)
{
    uint64_t n;
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

TEST_WITH(test_headers, set_up, tear_down)
{
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
    assert_true(is_json_type("application/json;charset=utf8") && is_json_type("application/json; charset='UTF8'"));
    assert_true(is_json_type("application/json; profile=\"x\"; charset=Utf-8") &&
                is_json_type("application/json; charset=us-ascii"));
    assert_false(is_json_type("application/json; a=b; charset=utf-16") ||
                 is_json_type("application/json charset=utf-8"));
    assert_true(is_ndjson_type("application/ndjson") && is_ndjson_type("application/jsonl; charset=utf8"));
    assert_false(is_ndjson_type("application/jsonlines") || is_ndjson_type("application/ndjsonx"));
    assert_int_equal(utf8_mark("\xef\xbb\xbf{}", 5), 3);
    assert_int_equal(utf8_mark("\xef\xbb", 2) + utf8_mark("{}", 2) + utf8_mark(NULL, 0), 0);
    assert_true(is_ndjson_type("application/x-ndjson") && is_ndjson_type("Application/X-NDJSON; charset=utf-8"));
    assert_false(is_ndjson_type("application/json") || is_ndjson_type("application/x-ndjson; charset=latin1"));
    assert_false(is_ndjson_type("application/x-ndjsonp") || is_ndjson_type(NULL));
}

static struct prefer preferred(const char *first, const char *second)
{
    struct prefer p = {0};
    prefer_read(&p, first);
    if (second)
        prefer_read(&p, second);
    return p;
}

TEST_WITH(test_prefer, set_up, tear_down)
{
    static const char *const async[] = {"respond-async",
                                        "Respond-Async",
                                        "respond-async; x=y",
                                        "foo, respond-async",
                                        "a;b=c, respond-async;wait=3",
                                        "a=\"x, y\" , respond-async",
                                        ",,respond-async,",
                                        "respond-async=\"\""};
    static const char *const neither[] = {"",
                                          "return=minimal",
                                          "waiting=3",
                                          "a=\"respond-async\"",
                                          "a;respond-async",
                                          "a; wait=3",
                                          "respond-async-x",
                                          "=",
                                          "\"wait=3",
                                          "\"wait=3\""};
    static const char *const good[] = {"wait=10",        "Wait = 10", "wait=\"10\"",
                                       "foo, wait=10;x", "wait=010",  "wait=10, wait=x"};
    static const char *const bad[] = {"wait",     "wait=",    "wait=-1",
                                      "wait=1.5", "wait=121", "wait=abc",
                                      "wait=1 0", "wait=\"x", "wait=99999999999999999999"};
    for (size_t i = 0; i < sizeof async / sizeof async[0]; i++) {
        struct prefer p = preferred(async[i], NULL);
        if (!p.is_async || p.has_wait || p.is_bad)
            fail_msg("%s", async[i]);
    }
    for (size_t i = 0; i < sizeof neither / sizeof neither[0]; i++) {
        struct prefer p = preferred(neither[i], NULL);
        if (p.is_async || p.has_wait || p.is_bad)
            fail_msg("%s", neither[i]);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct prefer p = preferred(good[i], NULL);
        if (p.is_async || !p.has_wait || p.is_bad || p.wait_s != 10)
            fail_msg("%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (!preferred(bad[i], NULL).is_bad && strcmp(bad[i], "wait=1 0") != 0)
            fail_msg("%s", bad[i]);
    struct prefer both = preferred("respond-async", "wait=120");
    assert_true(both.is_async && both.has_wait && both.wait_s == 120);
    both = preferred("respond-async, wait=0", "wait=5");
    assert_true(both.is_async && both.has_wait && both.wait_s == 0 && !both.is_bad);
}

TEST_WITH(test_idempotency_keys, set_up, tear_down)
{
    char longest[257];
    memset(longest, 'k', sizeof longest);
    assert_true(idempotency_key_ok(STR("a")) && idempotency_key_ok(STR("\"8e03978e-40d5\" ~!")));
    assert_true(idempotency_key_ok((struct str){longest, 255}));
    assert_false(idempotency_key_ok((struct str){longest, 256}) || idempotency_key_ok(STR("")));
    assert_false(idempotency_key_ok(STR("a\tb")) || idempotency_key_ok(STR("caf\xc3\xa9")) ||
                 idempotency_key_ok(STR("\x7f")));
}

TEST_WITH(test_callback_urls, set_up, tear_down)
{
    static const char allow[] = "https://hooks.example, http://127.0.0.1: ,https://a.example/v1/";
    static const char *const good[] = {"https://hooks.example", "https://hooks.example/x?y=1",
                                       "https://hooks.example?x", "http://127.0.0.1:9000/done",
                                       "https://a.example/v1/x"};
    static const char *const bad[] = {"",
                                      "hooks.example",
                                      "ftp://hooks.example/",
                                      "HTTPS://hooks.example/",
                                      "https://hooks.example.org/",
                                      "https://hooks.example:8443/",
                                      "https://hooks.examples/",
                                      "https://hooks.example@evil.example/",
                                      "https://hooks.example:x@evil.example/",
                                      "http://127.0.0.1:1@evil.example/",
                                      "http://127.0.0.1:1\\@evil.example/",
                                      "https://a.example/v2/",
                                      "https://a.example/v1/../v2/",
                                      "https://a.example/v1/%2e%2E/v2/",
                                      "https://a.example/v1",
                                      "https://hooks.example/#x",
                                      "https://hooks.example/a b",
                                      "https://hooks.example/\xc3\xb1",
                                      "https://hooks.example/\n"};
    char longest[502] = "https://hooks.example/";
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!callback_url_ok(str_of(good[i]), allow))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (callback_url_ok(str_of(bad[i]), allow))
            fail_msg("%s", bad[i]);
    assert_false(callback_url_ok(STR("https://hooks.example/"), NULL));
    assert_false(callback_url_ok(STR("https://hooks.example/"), ""));
    memset(longest + 22, 'x', 479);
    assert_true(callback_url_ok((struct str){longest, 500}, allow));
    assert_false(callback_url_ok((struct str){longest, 501}, allow));
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

TEST_WITH(test_execute_takes_a_log_in, set_up, tear_down)
{
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

TEST_WITH(test_execute_takes_an_action_in_a_session, set_up, tear_down)
{
    execute("{\"company_id\":7,\"portal\":\"sunat\",\"action\":\"sunat.echo\",\"session_id\":\"s-1\"}");
    assert_null(errors);
    assert_true(str_is(request.session_id, "s-1"));
    execute("{\"company_id\":7,\"portal\":\"sunat\",\"action\":\"sunat.echo\"}");
    assert_true(is_wrong("session_id"));
    execute("{\"company_id\":7,\"portal\":\"sunat\",\"action\":\"sunat.menu_sol_login\",\"session_id\":\"s-1\"}");
    assert_true(is_wrong("session_id"));
    execute("{}");
}

TEST_WITH(test_execute_names_each_wrong_field, set_up, tear_down)
{
    static const struct {
        const char *field, *member;
    } wrong[] = {
        {"company_id", "\"company_id\":0"},
        {"company_id", "\"company_id\":-1"},
        {"company_id", "\"company_id\":\"7x\""},
        {"company_id", "\"company_id\":\"\""},
        {"company_id", "\"company_id\":\"0\""},
        {"company_id", "\"company_id\":\"-7\""},
        {"company_id", "\"company_id\":\"9223372036854775808\""},
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
        {"params", "\"params\":[1]"},
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

TEST_WITH(test_operators_fields, set_up, tear_down)
{
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

TEST_WITH(test_lists_of_jobs, set_up, tear_down)
{
    parse("status=retrying&portal=sunat&company_id=3&batch_id=8&cursor=9&limit=10&worker=r1&search=a%20%c3%b1");
    request = (struct msg_REQUEST){0};
    params_ops_jobs(&query, &request, &errors);
    assert_null(errors);
    assert_true(str_is(request.state, "retrying") && str_is(request.portal, "sunat") &&
                str_is(request.worker, "r1"));
    assert_true(str_is(request.search, "a \xc3\xb1"));
    assert_int_equal(request.batch_id, 8);
    request = (struct msg_REQUEST){0};
    params_jobs(&query, &request, &errors);
    assert_true(!request.search.len && !request.worker.len && request.cursor == 9 && request.limit == 10);
    parse("status=open&portal=X&company_id=0&batch_id=x&cursor=-1&limit=0&worker=a%2fb&search=%ff");
    params_ops_jobs(&query, &request, &errors);
    assert_int_equal(jv_len(errors), 8);
    parse("status=open&limit=1");
    params_batches(&query, &request, &errors);
    assert_null(errors);
    params_items(&query, &request, &errors);
    assert_true(is_wrong("status"));
    parse("search=");
    params_audit(&query, &request, &errors);
    assert_null(errors);
}

#define NOW_MS 1767225600000 /* 2026-01-01 */

static struct jv *body;

static void body_is(const char *json)
{
    enum jv_bad why;
    jv_free(errors);
    jv_free(body);
    errors = NULL;
    request = (struct msg_REQUEST){0};
    body = *json ? jv_parse(json, strlen(json), &why) : NULL;
    assert_true(body || !*json);
}

TEST_WITH(test_times_of_jobs, set_up, tear_down)
{
    static const char *const bad[] = {"2026-01-31",
                                      "2026-02-30T00:00:00Z",
                                      "2026-01-31T06:00:00",
                                      "2026-01-31T06:00:00-05:00",
                                      "2027-01-02T00:00:01Z",
                                      "now",
                                      "",
                                      "2026-01-31T06:00:00.Z"};
    char json[128];
    body_is("{\"available_at\":\"2026-01-31T06:00:00.25Z\"}");
    params_available(body, NOW_MS, &request, &errors);
    assert_null(errors);
    assert_int_equal(request.available_at_ms, 1769839200250);
    body_is("{\"available_at\":\"2025-12-31T23:59:59+00:00\"}");
    params_available(body, NOW_MS, &request, &errors);
    assert_true(!errors && request.available_at_ms == NOW_MS - 1000); /* the database says whether it has passed */
    body_is("{\"available_at\":null}");
    request.available_at_ms = 0;
    params_available(body, NOW_MS, &request, &errors);
    assert_null(errors);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(json, sizeof json, "{\"available_at\":\"%s\"}", bad[i]);
        body_is(json);
        params_available(body, NOW_MS, &request, &errors);
        if (!is_wrong("available_at"))
            fail_msg("%s", bad[i]);
    }
    body_is("{\"available_at\":1767225600}");
    params_available(body, NOW_MS, &request, &errors);
    assert_true(is_wrong("available_at"));
    body_is("");
}

TEST_WITH(test_what_a_batch_is, set_up, tear_down)
{
    static const char allow[] = "https://hooks.example/";
    body_is(
        "{\"portal\":\"sunat\",\"action\":\"sunat.menu_sol_login\",\"callback_url\":\"https://hooks.example/x\","
        "\"priority\":9,\"available_at\":\"2026-01-31T06:00:00Z\",\"items\":5}");
    params_batch(body, &actions, allow, NOW_MS, &request, &errors);
    assert_null(errors);
    assert_true(str_is(request.callback_url, "https://hooks.example/x") && request.priority == 9);
    body_is(
        "{\"portal\":\"sunat\",\"action\":\"sunat.echo\",\"callback_url\":\"https://x.example/\",\"priority\":\"9\"}");
    params_batch(body, &actions, allow, NOW_MS, &request, &errors);
    assert_true(is_wrong("action") && is_wrong("callback_url") && is_wrong("priority"));
    assert_int_equal(jv_len(errors), 3);
    body_is("{\"callback_url\":7}");
    params_batch(body, &actions, allow, NOW_MS, &request, &errors);
    assert_true(is_wrong("action") && is_wrong("portal") && is_wrong("callback_url"));
    body_is("");
    parse("portal=sunat&action=sunat.menu_sol_login&priority=0&callback_url=https%3A%2F%2Fhooks.example%2F");
    body = params_batch_query(&query);
    request = (struct msg_REQUEST){0};
    params_batch(body, &actions, allow, NOW_MS, &request, &errors);
    assert_null(errors);
    assert_true(str_is(request.action, "sunat.menu_sol_login") && request.priority == 0);
    body_is("");
    parse("portal=sunat&action=sunat.menu_sol_login&priority=x");
    body = params_batch_query(&query);
    params_batch(body, &actions, allow, NOW_MS, &request, &errors);
    assert_true(is_wrong("priority") && jv_len(errors) == 1);
    body_is("");
}

TEST_WITH(test_pauses, set_up, tear_down)
{
    body_is("{\"reason\":\"x\"}");
    params_pause(body, NOW_MS, &request, &errors);
    assert_true(!errors && !request.until_ms);
    body_is("{\"reason\":\"x\",\"expires_s\":60}");
    params_pause(body, NOW_MS, &request, &errors);
    assert_true(!errors && !request.until_ms && request.for_ms == 60000);
    body_is("{\"reason\":\"x\",\"for_s\":61}");
    params_pause(body, NOW_MS, &request, &errors);
    assert_true(!errors && request.for_ms == 61000);
    body_is("{\"reason\":\"x\",\"until\":\"2026-01-01T00:00:01Z\"}");
    params_pause(body, NOW_MS, &request, &errors);
    assert_true(!errors && request.until_ms == NOW_MS + 1000);
    body_is("{\"until\":\"2025-12-30T00:00:00Z\"}");
    params_pause(body, NOW_MS, &request, &errors);
    assert_true(is_wrong("reason") && is_wrong("until"));
    body_is("{\"reason\":5,\"expires_s\":0}");
    params_pause(body, NOW_MS, &request, &errors);
    assert_true(is_wrong("reason") && is_wrong("expires_s"));
    body_is("{\"reason\":\"x\",\"expires_s\":1,\"until\":\"2026-01-01T00:00:01Z\"}");
    params_pause(body, NOW_MS, &request, &errors);
    assert_true(is_wrong("until"));
    body_is("");
}

TEST_MAIN(NULL, NULL)
