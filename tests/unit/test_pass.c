/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
#include "dispatcher/wire/request.h"
#include "dispatcher/wire/pass.h"
#include "tests/unit/test.h"

static char login[] = "/sunat/login", echo[] = "/sunat/echo";
static struct action rows[] = {{.path = login, .session = ACTION_CREATE}, {.path = echo, .session = ACTION_USE}};
static const struct action_table actions = {rows, 2};

static bool ok(const char *list, const char *path)
{
    return pass_path_ok(list, &actions, path);
}

TEST(test_paths_of_the_list_and_below)
{
    assert_true(ok("/sunat/rhe", "sunat/rhe"));
    assert_true(ok(" x , sunat/rhe/ ", "sunat/rhe/emitir/7"));
    assert_true(ok("/sunat/rhe", "sunat/rhe/"));
    assert_true(ok("/sunat/rhe", "sunat/rhe/a.b/..c/...;v=1/%C3%B1/a%20b+c"));
    assert_true(ok("/sunat/a b", "sunat/a%20b/c"));
    assert_true(ok("/", "anything/at/all"));
    assert_false(ok("/sunat/rhe", "sunat/rhe2"));
    assert_false(ok("/sunat/rhe", "sunat/rh"));
    assert_false(ok("/sunat/rhe", "sunat"));
    assert_false(ok("/sunat/rhe", "Sunat/rhe"));
    assert_false(ok("/sunat/rhe", "other/sunat/rhe"));
    assert_false(ok("", "sunat"));
    assert_false(ok(" , ,", "sunat"));
    assert_false(ok(NULL, "sunat"));
}

TEST(test_what_leaves_a_path_or_could)
{
    static const char *const bad[] = {
        "sunat/..",          "sunat/../x",
        "sunat/./x",         "../x",
        "sunat/%2e%2e/x",    "sunat/.%2E/x",
        "sunat/%252e%252e",  "sunat/%25252e./x",
        "sunat/a%2fb",       "sunat/a%2Fb",
        "sunat/a%252fb",     "sunat/a%5cb",
        "sunat/a\\b",        "sunat/..;/x",
        "sunat/..;a=1/x",    "sunat/;/x",
        "sunat/%2e%2e%3b/x", "sunat//x",
        "/sunat/x",          "http://other/sunat",
        "//other/x",         "sunat/a%0d%0ab",
        "sunat/%00",         "sunat/%7f",
        "sunat/%2",          "",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0] - 2; i++)
        assert_false(ok("/", bad[i]));
    assert_true(ok("/", "sunat/%2")); /* the gate has refused it already; nothing is decoded */
    assert_false(ok("/", ""));
}

TEST(test_sessions_are_ours)
{
    assert_false(ok("/", "sessions"));
    assert_false(ok("/", "sessions/s-1"));
    assert_false(ok("/", "Sessions/fence"));
    assert_false(ok("/", "%73essions/s-1"));
    assert_false(ok("/", "sunat/login"));
    assert_false(ok("/", "sunat/login/"));
    assert_false(ok("/", "sunat/LOGIN"));
    static const char *const same[] = {
        "sunat/login;x=1", "sunat/login%3Bx", "sunat/login;/x",  "sunat/login.json",   "sunat/login%2ejson",
        "sunat/login%20",  "sunat/login.",    "sunat/login!",    "sessions;x=1/fence", "sessions.json",
        "sessions%3b/s-1", "Sessions%20/s-1", "sunat/login%2520"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        if (ok("/", same[i]))
            fail_msg("%s was let through", same[i]);
    assert_true(ok("/", "sunat/login-history"));
    assert_true(ok("/", "sunat/login_2/x"));
    assert_true(ok("/", "sunat/echo;v=1"));
    assert_true(ok("/", "sunat/echo"));
    assert_true(ok("/", "sunat/logins"));
    assert_true(ok("/", "sessions2"));
}

static struct msg_REQUEST request(const char *method, const char *path, const char *query)
{
    return (struct msg_REQUEST){
        .method = str_of(method), .path = str_of(path), .query = str_of(query), .accept = STR("text/plain")};
}

TEST(test_what_goes_on)
{
    struct msg_REQUEST m = request("PATCH", "sunat/rhe/%C3%B1", "a=1&b=%26");
    struct buf target = {0};
    struct pass *p = pass_new(&m);
    pass_target(p, "s 1", &target);
    assert_string_equal(target.data, "/sunat/rhe/%C3%B1?session_id=s%201&a=1&b=%26");
    assert_string_equal(p->method, "PATCH");
    assert_string_equal(p->header[0], "Accept: text/plain");
    assert_null(p->header[1]);
    pass_free(p);
    buf_free(&target);
}

TEST(test_what_no_broker_may_send)
{
    struct msg_REQUEST bad[] = {request("TRACE", "a", ""), request("", "a", ""),
                                request("GET ", "a", ""),  request("GET", "a b", ""),
                                request("GET", "a?b", ""), request("GET", "a", "b\r\nc"),
                                request("GET", "a#b", ""), request("GET", "a", "b#")};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_null(pass_new(&bad[i]));
    struct msg_REQUEST m = request("GET", "a", "");
    m.accept = STR("x\nHost: y");
    assert_null(pass_new(&m));
}

TEST_MAIN(NULL, NULL)
