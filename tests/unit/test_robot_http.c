/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* Calls to a robot: what is told of its answer, and how a call ends. */
#include "tests/unit/robot_fixture.h"

TEST_WITH(an_answer_is_told_whole, set_up, tear_down)
{
    struct seen s = get("/ok?x=1");
    assert_int_equal(s.a.result, CALL_ANSWERED);
    assert_int_equal(s.a.status, 200);
    assert_string_equal(s.body, "{\"ok\":true}");
    assert_string_equal(s.a.content_type, "application/json; charset=utf-8");
    assert_string_equal(s.a.boot_id, "b00t");
    assert_int_equal(s.a.length, 11);
    assert_int_equal(get("/missing").a.status, 404);
    assert_int_equal(get("/redirect").a.status, 302); /* not followed */
    s = get("/continue");
    assert_string_equal(s.body, "[]");
    assert_string_equal(s.a.content_type, "");
    assert_string_equal(s.a.boot_id, "");
    assert_string_equal(get("/file").a.disposition_name, "ñ.pdf");
}

TEST_WITH(a_base_url_may_have_a_path, set_up, tear_down)
{
    size_t len = strlen(base);
    strcat(base, "/under/here");
    assert_string_equal(get("/a%2fb").body, "/under/here/a%2fb");
    strcpy(base + len, "/and");
    assert_string_equal(get("/here?x=1").body, "/and/here");
    base[len] = 0;
    assert_int_equal(get("/ok").a.status, 200);
}

TEST_WITH(connections_are_kept, set_up, tear_down)
{
    int before = atoi(get("/connections").body);
    for (int i = 0; i < 20; i++)
        assert_int_equal(get("/ok").a.result, CALL_ANSWERED);
    assert_int_equal(atoi(get("/connections").body), before);
}

TEST_WITH(headers_travel, set_up, tear_down)
{
    assert_string_equal(post("/head").body, "key id trace ");
    assert_string_equal(get("/head").body, ""); /* the used handle remembers nothing */
}

/* curl repeats a request whose kept connection turned out to be dead: never a POST. */
TEST_WITH(a_post_is_sent_once, set_up, tear_down)
{
    int connections = 0, before = 0, after = 0;
    sscanf(get("/connections").body, "%d %d", &connections, &before);
    struct seen s = post("/once");
    assert_int_equal(s.a.result, CALL_BROKEN);
    assert_false(s.a.garbage);
    sscanf(get("/connections").body, "%d %d", &connections, &after);
    assert_int_equal(after, before + 1);
}

/* However the first answer ends and whenever the second comes, nobody gets it who did not ask. */
TEST_WITH(a_second_answer_is_nobodys, set_up, tear_down)
{
    static const char *const ends[] = {"length", "chunked", "empty", "204", "304", "100", "404"}, *const when[] = {
                                                                                                      "at-once",
                                                                                                      "split",
                                                                                                      "part",
                                                                                                      "later"};
    unsigned n = 0;
    for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++)
        for (unsigned k = 0; k < sizeof when / sizeof *when; k++)
            for (unsigned looks = 0; looks < 2; looks++) {
                char path[40];
                snprintf(path, sizeof path, "/twice-%s-%s", ends[i], when[k]);
                if (strcmp(when[k], "split") == 0 && strcmp(ends[i], "length") != 0 && strcmp(ends[i], "404") != 0)
                    continue;
                unsigned before = *n_twice;
                struct seen s = get(path);
                assert_null(strstr(s.body, "another"));
                while (*n_twice == before) /* until all of it is sent, however busy the machine */
                    usleep(1000);
                if (looks)
                    idle(30); /* the loop sees the bytes come */
                else
                    usleep(30000); /* they are there when the next request is about to go out */
                s = n++ % 2 ? get("/ok") : login("/ok");
                if (s.a.result != CALL_ANSWERED || strcmp(s.body, "{\"ok\":true}") != 0)
                    fail_msg("after %s (%u): %d %s", path, looks, (int)s.a.result, s.body);
            }
    assert_true(stat_get(robot_stray_answers_total) > 10);
}

/* What cannot be told by time alone is told by the id, where the robot echoes it. */
TEST_WITH(another_requests_answer_is_refused, set_up, tear_down)
{
    assert_string_equal(get("/twice-next").body, "[]");
    struct seen s = get("/ok"); /* is answered with the answer to the one before */
    assert_int_equal(s.a.result, CALL_BROKEN);
    assert_true(s.a.garbage);
    assert_int_equal(s.a.echo, ECHO_OTHER);
    assert_string_equal(get("/ok").body, "{\"ok\":true}");
    s = get("/other-id");
    assert_int_equal(s.a.result, CALL_BROKEN);
    assert_int_equal(s.body_len, 0);
    int before = atoi(get("/connections").body);
    get("/other-id");
    assert_int_equal(atoi(get("/connections").body), before + 1); /* closed */
}

/* What timed out, was cut or stopped leaves no connection behind. */
TEST_WITH(a_broken_calls_connection_is_not_used_again, set_up, tear_down)
{
    static const char *const paths[] = {"/hang", "/begins", "/cut", "/endless"};
    for (unsigned i = 0; i < 4; i++) {
        int before = atoi(get("/connections").body);
        struct seen s = {0};
        struct call_spec spec = spec_of(&s, "GET", paths[i]);
        spec.total_ms = 150;
        call_start(http, &spec);
        loop_run(l);
        assert_int_not_equal(s.a.result, CALL_ANSWERED);
        assert_int_equal(atoi(get("/connections").body), before + 1);
    }
}

TEST_WITH(what_was_never_sent_is_known, set_up, tear_down)
{
    char good[sizeof base];
    strcpy(good, base);
    uint64_t before = stat_get(robot_calls_unreachable_total);
    strcpy(base, "http://127.0.0.1:1");
    assert_int_equal(get("/ok").a.result, CALL_NOT_SENT);
    strcpy(base, "http://robot.invalid");
    connect_ms = 2000; /* a name server may be silent */
    assert_int_equal(get("/ok").a.result, CALL_NOT_SENT);
    strcpy(base, "ftp://127.0.0.1");
    assert_int_equal(get("/ok").a.result, CALL_NOT_SENT);
    strcpy(base, good);
    connect_ms = PATIENCE_MS;
    assert_int_equal(stat_get(robot_calls_unreachable_total), before + 3);
    assert_int_equal(get("/ok").a.result, CALL_ANSWERED);
}

TEST_WITH(what_was_sent_and_broke_is_known, set_up, tear_down)
{
    static const struct {
        const char *path;
        bool garbage;
        int status;
    } all[] = {{"/garbage", true, 0},
               {"/reset", false, 0},
               {"/close", false, 0},
               {"/cut", true, 200},
               {"/cut500", true, 500},
               {"/bad-chunk", true, 200},
               {"/cut-chunk", true, 200},
               {"/endless-headers", true, 200},
               {"/endless-continues", true, 100}};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct seen s = get(all[i].path);
        if (s.a.result != CALL_BROKEN || s.a.garbage != all[i].garbage || s.a.status != all[i].status)
            fail_msg("%s: result=%d garbage=%d status=%d %s", all[i].path, s.a.result, s.a.garbage, s.a.status,
                     s.curl);
    }
    assert_int_equal(get("/ok").a.result, CALL_ANSWERED);
}

TEST_WITH(bodies_are_capped, set_up, tear_down)
{
    assert_int_equal(get("/endless").a.result, CALL_TOO_BIG);
    struct seen s = get("/announces-much");
    assert_int_equal(s.a.result, CALL_TOO_BIG);
    assert_int_equal(s.a.status, 200);
}

/* Of several calls one ends within `most_ms`, however busy the machine; none ends before `least_ms`. */
static struct seen silenced(const char *path, struct call_spec bounds, int64_t least_ms, int64_t most_ms)
{
    struct seen s = {0};
    for (unsigned turn = 0; turn < 10 && (!turn || s.a.took_ms > most_ms); turn++) {
        s = (struct seen){0};
        struct call_spec spec = spec_of(&s, "GET", path);
        spec.total_ms = bounds.total_ms;
        spec.first_byte_ms = bounds.first_byte_ms;
        spec.idle_ms = bounds.idle_ms;
        call_start(http, &spec);
        loop_run(l);
        assert_int_equal(s.a.result, CALL_TIMEOUT);
        assert_true(s.a.took_ms >= least_ms);
    }
    assert_true(s.a.took_ms <= most_ms);
    return s;
}

TEST_WITH(silence_ends, set_up, tear_down)
{
    silenced("/hang", (struct call_spec){.total_ms = 150}, 140, 1000);
    silenced("/hang", (struct call_spec){.first_byte_ms = 120}, 110, 1000);
    struct seen s =
        silenced("/begins", (struct call_spec){.first_byte_ms = PATIENCE_MS, .idle_ms = 100}, 90, 2000);
    assert_int_equal(s.a.status, 200);
}

TEST_WITH(addresses_are_checked, set_up, tear_down)
{
    robot_http_destroy(&http);
    conf.robot_allow_addresses = (char *)(uintptr_t) "10.0.0.0/8, 192.168.1.0/24";
    http = robot_http_new(l, &conf);
    assert_int_equal(get("/ok").a.result, CALL_NOT_SENT);
    robot_http_destroy(&http);
    conf.robot_allow_addresses = (char *)(uintptr_t) "10.0.0.0/8,127.0.0.0/8";
    http = robot_http_new(l, &conf);
    assert_int_equal(get("/ok").a.result, CALL_ANSWERED);
}

/* Whoever let the URL through has judged where it goes; a redirect is an answer like others. */
TEST_WITH(others_are_called_by_their_url, set_up, tear_down)
{
    static const char *const lines[] = {"X-Request-Id: q1", "traceparent: 00-1", NULL};
    char url[100];
    struct seen s = {0};
    assert_int_equal(get("/ok").a.result, CALL_ANSWERED); /* its handle is used again */
    robot_http_destroy(&http);
    conf.robot_allow_addresses = (char *)(uintptr_t) "10.0.0.0/8";
    http = robot_http_new(l, &conf);
    assert_int_equal(get("/ok").a.result, CALL_NOT_SENT);
    uint64_t counted = stat_get(robot_calls_total);
    struct call_spec spec = spec_of(&s, "POST", NULL);
    snprintf(url, sizeof url, "%s/head", base);
    spec.base_url = NULL;
    spec.url = url;
    spec.headers = lines;
    spec.body = "{}";
    spec.body_len = 2;
    call_start(http, &spec);
    loop_run(l);
    assert_int_equal(s.a.result, CALL_ANSWERED);
    assert_string_equal(s.body, "id trace ");
    snprintf(url, sizeof url, "%s/redirect", base);
    call_start(http, &spec);
    loop_run(l);
    assert_int_equal(s.a.status, 302);
    assert_int_equal(stat_get(robot_calls_total), counted);
    assert_int_equal(get("/ok").a.result, CALL_NOT_SENT); /* a robot's again, with the same handle */
}

/* --- streams ------------------------------------------------------------------------------------------------- */

static bool on_head(void *arg, const struct call_answer *head)
{
    struct seen *s = arg;
    assert_int_equal(head->status, 200);
    s->heads++;
    return !s->refuse_head;
}

static void resume(void *arg)
{
    struct seen *s = arg;
    s->pause = false;
    call_resume(s->call);
}

static bool on_data(void *arg, const char *data, size_t len)
{
    struct seen *s = arg;
    assert_false(s->pause);
    assert_int_equal(memcmp(data, "0123456789abcdef" + s->streamed % 16, len < 8 ? len : 1), 0);
    s->streamed += len;
    if (s->stop && s->streamed > 100000) {
        call_stop(s->call);
        loop_timer_in(l, &s->later, 20);
        return true;
    }
    if (s->later.fn && !s->stop && s->streamed % 7 == 0) {
        s->pause = true;
        loop_timer_in(l, &s->later, 3);
    }
    return !s->pause;
}

static struct call_spec stream_of(struct seen *s, const char *path)
{
    struct call_spec spec = spec_of(s, "GET", path);
    spec.total_ms = 0;
    spec.first_byte_ms = spec.idle_ms = PATIENCE_MS;
    spec.on_head = on_head;
    spec.on_data = on_data;
    return spec;
}

TEST_WITH(a_stream_flows_whatever_its_length, set_up, tear_down)
{
    struct seen s = {0};
    struct call_spec spec = stream_of(&s, "/stream");
    call_start(http, &spec);
    loop_run(l);
    assert_int_equal(s.a.result, CALL_ANSWERED);
    assert_int_equal(s.streamed, 16777216);
    assert_int_equal(s.heads, 1);
    assert_int_equal(s.body_len, 0);
}

TEST_WITH(a_full_reader_pauses_it, set_up, tear_down)
{
    struct seen s = {0};
    s.later.fn = resume;
    s.later.arg = &s;
    struct call_spec spec = stream_of(&s, "/stream");
    s.call = call_start(http, &spec);
    loop_run(l);
    assert_int_equal(s.a.result, CALL_ANSWERED);
    assert_int_equal(s.streamed, 16777216);
}

static bool take_and_pause(void *arg, const char *data, size_t len)
{
    struct seen *s = arg;
    (void)data;
    s->streamed += len;
    s->pause = true;
    loop_timer_in(l, &s->later, 1500);
    return false;
}

static void end(void *arg)
{
    (void)arg;
    loop_stop(l);
}

/* A paused call is not the robot's fault, and what comes after the pause ends it even if the socket is quiet. */
TEST_WITH(a_pause_is_not_the_robots_time, set_up, tear_down)
{
    struct seen s = {0};
    struct call_spec spec = stream_of(&s, "/file");
    spec.idle_ms = 60;
    spec.on_data = take_and_pause;
    s.call = call_start(http, &spec);
    s.later.fn = end;
    loop_run(l);
    loop_timer_stop(l, &s.later);
    assert_int_equal(s.streamed, 3);
    if (!s.done) { /* curl may have seen the end in the same read */
        call_resume(s.call);
        loop_run(l);
    }
    assert_int_equal(s.done, 1);
    assert_int_equal(s.a.result, CALL_ANSWERED);
}

TEST_WITH(a_head_can_be_refused, set_up, tear_down)
{
    struct seen s = {.refuse_head = true};
    struct call_spec spec = stream_of(&s, "/ok");
    call_start(http, &spec);
    loop_run(l);
    assert_string_equal(s.body, "{\"ok\":true}");
    s = (struct seen){0};
    spec = stream_of(&s, "/missing"); /* and one that is not 200 is buffered */
    call_start(http, &spec);
    loop_run(l);
    assert_int_equal(s.heads, 0);
    assert_string_equal(s.body, "gone");
}

TEST_WITH(a_stopped_call_says_nothing_more, set_up, tear_down)
{
    struct seen s = {0};
    struct call_spec spec = spec_of(&s, "GET", "/hang");
    call_stop(call_start(http, &spec));
    assert_int_equal(calls_running(http), 0);
    s.stop = true; /* from inside its own callback */
    s.later.fn = end;
    spec = stream_of(&s, "/stream");
    s.call = call_start(http, &spec);
    loop_run(l);
    assert_int_equal(s.done, 0);
    assert_int_equal(calls_running(http), 0);
    assert_in_range(s.streamed, 100000, 16777215);
}

TEST_WITH(running_calls_end_with_it, set_up, tear_down)
{
    struct seen s = {0};
    struct call_spec spec = spec_of(&s, "GET", "/hang");
    for (int i = 0; i < 10; i++)
        call_start(http, &spec);
    s.later.fn = end;
    loop_timer_in(l, &s.later, 30);
    loop_run(l);
    robot_http_destroy(&http);
    assert_int_equal(s.done, 0);
}

TEST_MAIN(server_start, server_stop)
