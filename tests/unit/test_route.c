/* parts: broker */
/* SPDX-License-Identifier: MIT */
#include "broker/route.h"

#include "broker/exchange.h"
#include "tests/unit/test.h"

#define HANDLER(name)                                                                                             \
    void name(struct exchange *x)                                                                                 \
    {                                                                                                             \
        (void)x;                                                                                                  \
    }
HANDLER(app_list)
HANDLER(app_download)
HANDLER(app_execute)
HANDLER(app_session_active)
HANDLER(app_session_get)
HANDLER(app_session_close)
HANDLER(app_job_get)
HANDLER(ops_healthz)
HANDLER(ops_readyz)
HANDLER(ops_metrics)
HANDLER(dashboard_page)
HANDLER(dashboard_file)
HANDLER(web_login)
HANDLER(web_logout)
HANDLER(web_me)
HANDLER(ops_stats)
HANDLER(ops_dispatchers)
HANDLER(ops_workers)
HANDLER(ops_sessions)
HANDLER(ops_doctor)
HANDLER(ops_worker_drain)
HANDLER(ops_worker_add)
HANDLER(ops_worker_set)
HANDLER(ops_worker_disable)
HANDLER(ops_worker_enable)
HANDLER(ops_errors)
HANDLER(ops_history)
HANDLER(ops_alerts)
HANDLER(ops_alert_ack)
HANDLER(ops_alert_mute)
HANDLER(ops_alert_unmute)
HANDLER(ops_alerts_test)
HANDLER(ops_token_use)
HANDLER(ops_worker_resume)
HANDLER(ops_session_close)
HANDLER(ops_session_migrate)
HANDLER(app_jobs)
HANDLER(app_job_cancel)
HANDLER(app_batch_create)
HANDLER(app_batch_get)
HANDLER(app_batch_cancel)
HANDLER(app_batch_items)
HANDLER(app_batch_events)
HANDLER(app_batch_results)
HANDLER(app_item_results)
HANDLER(ops_jobs)
HANDLER(ops_job_get)
HANDLER(ops_job_why)
HANDLER(ops_job_retry)
HANDLER(ops_job_cancel)
HANDLER(ops_batches)
HANDLER(ops_audit)
HANDLER(ops_events)
HANDLER(ops_queue)
HANDLER(ops_portals)
HANDLER(ops_queue_pause)
HANDLER(ops_queue_resume)
HANDLER(ops_jobs_bulk)
HANDLER(ops_batch_cancel)
HANDLER(app_session_touch)
HANDLER(openapi_get)
HANDLER(app_robot_pass)
HANDLER(app_credentials_set)
HANDLER(app_credentials_remove)
HANDLER(ops_tokens)
HANDLER(ops_token_create)
HANDLER(ops_token_revoke)
HANDLER(ops_company)
HANDLER(ops_schedules)
HANDLER(ops_schedule_run)
HANDLER(ops_schedule_enable)
HANDLER(ops_schedule_disable)
HANDLER(ops_refused)
HANDLER(ops_refused_lift)
HANDLER(ops_batch_get)
HANDLER(ops_batch_items)
HANDLER(ops_batch_priority)

static const struct {
    enum listener listener;
    const char *method, *path;
    unsigned ability;
    const char *doc;
} rows[] = {
#define ROUTE(listener, method, path, ability, counts, takes, handler, doc) {listener, method, path, ability, doc},
#include "broker/routes.def"
#undef ROUTE
};

#define OPENAPI "/api/v1/openapi.json"

static const struct route *route;
static struct str arg;
static char allow[ROUTE_ALLOW_BYTES];

static enum route_match find(enum listener l, const char *method, const char *path)
{
    route = NULL;
    return route_find(l, method, path, &route, &arg, allow);
}

TEST(test_every_row_is_found_and_documented)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[128];
        const char *hole = strstr(rows[i].path, "{}"), *rest = strstr(rows[i].path, "{*}");
        bool is_any = strcmp(rows[i].method, "ANY") == 0;
        if (rest)
            snprintf(path, sizeof path, "%.*sa-b", (int)(rest - rows[i].path), rows[i].path);
        else if (hole)
            snprintf(path, sizeof path, "%.*sa-b%s", (int)(hole - rows[i].path), rows[i].path, hole + 2);
        else
            snprintf(path, sizeof path, "%s", rows[i].path);
        const char *method = is_any ? "PATCH" : rows[i].method;
        assert_int_equal(find(rows[i].listener, method, path), ROUTE_FOUND);
        assert_string_equal(route->path, rows[i].path);
        assert_string_equal(route->method, rows[i].method);
        const char *second = hole ? strstr(hole + 2, "{}") : NULL; /* it stands for itself */
        char wanted[64];
        snprintf(wanted, sizeof wanted, "a-b%.*s", second ? (int)(second - hole) : 0, hole ? hole + 2 : "");
        assert_true(str_is(arg, hole ? wanted : rest ? "a-b" : ""));
        assert_true(strlen(rows[i].doc) > 10);
        if (strcmp(rows[i].path, OPENAPI) == 0)
            continue; /* it is there at both */
        assert_int_equal(find(rows[i].listener == LISTENER_APP ? LISTENER_OPS : LISTENER_APP, method, path),
                         ROUTE_NO_PATH);
    }
}

TEST(test_paths_under_api_need_a_token)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool is_api = strncmp(rows[i].path, "/api/", 5) == 0;
        if (strcmp(rows[i].path, OPENAPI) == 0) /* it describes, and tells of nobody */
            continue;
        assert_int_equal(rows[i].ability != ABILITY_NONE, is_api);
        if (rows[i].listener == LISTENER_APP)
            assert_int_equal(rows[i].ability, ABILITY_APP);
        else if (is_api)
            assert_int_equal(rows[i].ability, strcmp(rows[i].method, "GET") == 0 ? ABILITY_OPS_READ : ABILITY_OPS);
    }
}

TEST(test_other_paths_are_not)
{
    static const char *const paths[] = {
        "/",
        "",
        "/api",
        "/api/v1/app/",
        "/api/v1/app/buzon/list/",
        "/api/v1/app/buzon",
        "//api/v1/app/buzon/list",
        "/api/v1/app/sessions/",
        "/api/v1/app/sessions//",
        "/api/v1/app/sessions/a/b",
        "/API/v1/app/buzon/list",
        "/api/v1/app/buzon/list2",
        "/api/v1/app/%62uzon/list",
        "/api/v1/app/../app/buzon/list",
        "/healthz",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_int_equal(find(LISTENER_APP, "GET", paths[i]), ROUTE_NO_PATH);
}

TEST(test_other_methods_are_told_which_there_are)
{
    assert_int_equal(find(LISTENER_APP, "POST", "/api/v1/app/buzon/list"), ROUTE_NO_METHOD);
    assert_string_equal(allow, "GET, HEAD, OPTIONS");
    assert_int_equal(find(LISTENER_APP, "get", "/api/v1/app/jobs/12"), ROUTE_NO_METHOD);
    assert_string_equal(allow, "GET, HEAD, DELETE, OPTIONS");
    assert_int_equal(find(LISTENER_APP, "OPTIONS", "/api/v1/app/sessions/x"), ROUTE_OPTIONS);
    assert_string_equal(allow, "GET, HEAD, DELETE, OPTIONS");
    assert_int_equal(find(LISTENER_APP, "OPTIONS", "/nothing"), ROUTE_NO_PATH);
}

TEST(test_head_is_get_where_get_is)
{
    assert_int_equal(find(LISTENER_OPS, "HEAD", "/readyz"), ROUTE_FOUND);
    assert_string_equal(route->path, "/readyz");
    assert_int_equal(find(LISTENER_APP, "HEAD", "/api/v1/app/jobs/execute"), ROUTE_NO_METHOD);
    assert_string_equal(allow, "POST, OPTIONS");
}

TEST(test_any_method_and_the_rest_of_a_path)
{
    assert_int_equal(find(LISTENER_APP, "DELETE", "/api/v1/app/robot/a/../b%2f//"), ROUTE_FOUND);
    assert_true(str_is(arg, "a/../b%2f//"));
    assert_int_equal(find(LISTENER_APP, "HEAD", "/api/v1/app/robot/a"), ROUTE_FOUND);
    assert_int_equal(find(LISTENER_APP, "ANY", "/api/v1/app/robot/a"), ROUTE_NO_METHOD);
    assert_int_equal(find(LISTENER_APP, "TRACE", "/api/v1/app/robot/a"), ROUTE_NO_METHOD);
    assert_string_equal(allow, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    assert_int_equal(find(LISTENER_APP, "GET", "/api/v1/app/robot/"), ROUTE_NO_PATH);
    assert_int_equal(find(LISTENER_APP, "GET", "/api/v1/app/robot"), ROUTE_NO_PATH);
}

TEST(test_a_literal_path_is_never_a_variable)
{
    assert_int_equal(find(LISTENER_APP, "GET", "/api/v1/app/sessions/active"), ROUTE_FOUND);
    assert_string_equal(route->path, "/api/v1/app/sessions/active");
    assert_int_equal(find(LISTENER_APP, "DELETE", "/api/v1/app/sessions/active"), ROUTE_NO_METHOD);
    assert_int_equal(find(LISTENER_APP, "GET", "/api/v1/app/jobs/execute"), ROUTE_NO_METHOD);
    assert_string_equal(allow, "POST, OPTIONS");
}

TEST_MAIN(NULL, NULL)
