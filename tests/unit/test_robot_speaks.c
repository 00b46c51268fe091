/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* What other people's servers answer to paths that they do not know, and what real answers look like. */
#include "dispatcher/robot/robot_speaks.h"

#include "common/jv.h"
#include "tests/unit/test.h"

static struct speaks s;

static struct call_answer *answer(int status, const char *body)
{
    static struct call_answer a;
    static struct buf text;
    buf_clear(&text);
    buf_adds(&text, body);
    a = (struct call_answer){.result = CALL_ANSWERED, .status = status, .body = &text};
    return &a;
}

static enum told list(int status, const char *body)
{
    struct jv *v;
    enum told told = robot_told_list(&s, answer(status, body), &v);
    assert_int_equal(v != NULL, told == TOLD_YES);
    jv_free(v);
    return told;
}

static enum told closed(int status, const char *body)
{
    return robot_told_closed(&s, answer(status, body));
}

static enum told fenced(int status, const char *body)
{
    return robot_told_fenced(&s, answer(status, body), 7);
}

static int set_up(void **state)
{
    (void)state;
    robot_speaks_reset(&s);
    return 0;
}

static const struct {
    int status;
    const char *body;
} unknown_paths[] = {
    {200, "<!doctype html><title>App</title>"},
    {200, "OK"},
    {200, "\"ok\""},
    {200, "[]"},
    {200, "{}"},
    {200, "{\"ok\":true}"},
    {200, ""},
    {204, ""},
    {202, "accepted"},
    {301, ""},
    {302, "<html>log in</html>"},
    {307, ""},
    {401, "{\"error\":\"unauthorized\"}"},
    {401, "{\"ok\":false,\"error\":\"unauthorized\"}"},
    {403, "Forbidden"},
    {404, ""},
    {404, "<html><center>nginx</center></html>"},
    {404, "404: Not Found"},
    {404, "404 page not found\n"},
    {404, "Cannot DELETE /sessions/abc"},
    {404, "{\"detail\":\"Not Found\"}"},
    {404, "{\"ok\":false,\"error\":\"not_found\"}"},
    {404, "{\"message\":\"Route DELETE:/sessions/abc not found\",\"error\":\"Not Found\",\"statusCode\":404}"},
    {404, "{\"message\":\"The route sesame could not be found.\"}"},
    {404, "{\"timestamp\":\"2026-01-01\",\"status\":404,\"error\":\"Not Found\",\"path\":\"/sessions/abc\"}"},
    {405, "{\"detail\":\"Method Not Allowed\"}"},
    {405, "{\"ok\":false,\"error\":\"method_not_allowed\"}"},
    {501, "{\"ok\":false}"},
};

TEST_WITH(what_servers_say_to_unknown_paths_is_believed_of_no_call, set_up, NULL)
{
    for (size_t i = 0; i < sizeof(unknown_paths) / sizeof(*unknown_paths); i++) {
        int status = unknown_paths[i].status;
        const char *body = unknown_paths[i].body;
        robot_speaks_reset(&s);
        if (list(status, body) != TOLD_NOT_SPOKEN || closed(status, body) != TOLD_NOT_SPOKEN ||
            fenced(status, body) != TOLD_NOT_SPOKEN)
            fail_msg("%d %s is believed", status, body);
    }
}

TEST_WITH(an_empty_list_to_everything, set_up, NULL)
{
    assert_int_equal(list(200, "{\"data\":[]}"), TOLD_NOT_SPOKEN);
    assert_int_equal(list(200, "{\"sessions\":null}"), TOLD_NOT_SPOKEN);
    assert_int_equal(list(200, "{\"sessions\":{}}"), TOLD_NOT_SPOKEN);
    assert_int_equal(list(200, "{\"sessions\":[7,null]}"), TOLD_NOT_SPOKEN);
    assert_int_equal(list(200, "{\"sessions\":[{\"session_id\":5}]}"), TOLD_NOT_SPOKEN);
    assert_int_equal(list(200, "{\"sessions\":[{\"session_id\":\"\"}]}"), TOLD_NOT_SPOKEN);
    assert_int_equal(list(200, "{\"sessions\":[{\"session_id\":\"a\"},{\"id\":\"b\"}]}"), TOLD_NOT_SPOKEN);
    assert_int_equal(list(200, "{\"sessions\":[]}"), TOLD_YES); /* whether it is whole is for others to judge */
}

TEST_WITH(each_call_for_itself, set_up, NULL)
{
    assert_int_equal(list(404, "404: Not Found"), TOLD_NOT_SPOKEN);
    assert_int_equal(fenced(404, "404: Not Found"), TOLD_NOT_SPOKEN);
    assert_int_equal(closed(404, "{\"ok\":false,\"error\":\"session_not_found\"}"), TOLD_YES);
    assert_int_equal(closed(200, "{\"ok\":true}"), TOLD_YES);
    assert_int_equal(closed(204, ""), TOLD_YES);
    assert_int_equal(closed(404, "{\"ok\":false,\"error\":\"not_found\"}"), TOLD_YES); /* the call is known now */
    assert_int_equal(s.list.known, 0);
    assert_int_equal(s.fence.known, 0);
    robot_speaks_reset(&s);
    assert_int_equal(list(401, ""), TOLD_NOT_SPOKEN);
    assert_int_equal(fenced(200, "{\"ok\":true,\"epoch\":7,\"ended\":[]}"), TOLD_YES);
    assert_int_equal(fenced(200, "{\"ok\":true}"), TOLD_YES);
}

TEST_WITH(other_words_for_gone, set_up, NULL)
{
    static const char *const gone[] = {"{\"error\":\"Session does not exist\"}", "{\"code\":\"no_such_session\"}",
                                       "{\"message\":\"La sesión no existe\"}",
                                       "{\"detail\":\"unknown session /x\"}"};
    for (size_t i = 0; i < sizeof(gone) / sizeof(*gone); i++) {
        robot_speaks_reset(&s);
        assert_int_equal(closed(404, gone[i]), TOLD_YES);
        assert_int_equal(closed(410, gone[i]), TOLD_YES);
    }
}

TEST_WITH(a_server_that_is_ok_with_everything, set_up, NULL)
{
    assert_int_equal(fenced(200, "{\"ok\":true}"), TOLD_NOTHING); /* not before its list was asked for */
    assert_int_equal(list(200, "{\"ok\":true}"), TOLD_NOT_SPOKEN);
    assert_int_equal(fenced(200, "{\"ok\":true}"), TOLD_NOT_SPOKEN);
    assert_int_equal(closed(200, "{\"ok\":true}"), TOLD_NOT_SPOKEN);
    robot_speaks_reset(&s);
    assert_int_equal(list(200, "<html>"), TOLD_NOT_SPOKEN); /* a page for unknown paths, and a close of its own */
    assert_int_equal(closed(200, "<html>"), TOLD_NOT_SPOKEN);
    assert_int_equal(closed(200, "{\"ok\":true}"), TOLD_YES);
    assert_int_equal(fenced(200, "<html>"), TOLD_NOT_SPOKEN);
}

TEST_WITH(what_is_spoken_is_not_forgotten_at_once, set_up, NULL)
{
    assert_int_equal(list(200, "{\"sessions\":[]}"), TOLD_YES);
    for (int i = 0; i < 4; i++) { /* its proxy, while it restarts */
        assert_int_equal(list(404, "<html>nginx"), TOLD_NOTHING);
        assert_int_equal(closed(404, "<html>nginx"), TOLD_NOTHING);
        assert_int_equal(fenced(302, ""), TOLD_NOTHING);
    }
    assert_int_equal(closed(404, "{\"ok\":false,\"error\":\"not_found\"}"), TOLD_YES);
    assert_int_equal(fenced(302, ""), TOLD_NOT_SPOKEN);
    assert_int_equal(list(404, "<html>nginx"), TOLD_NOT_SPOKEN);
}

TEST_WITH(trouble_says_nothing, set_up, NULL)
{
    static const int statuses[] = {408, 429, 500, 502, 503, 504};
    struct jv *v;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
        assert_int_equal(list(statuses[i], "{\"sessions\":[]}"), TOLD_NOTHING);
        assert_int_equal(closed(statuses[i], "{\"ok\":true}"), TOLD_NOTHING);
        assert_int_equal(fenced(statuses[i], "{\"ok\":true,\"epoch\":9}"), TOLD_NOTHING);
    }
    struct call_answer *a = answer(200, "{\"sessions\":[]}");
    a->result = CALL_TIMEOUT;
    assert_int_equal(robot_told_list(&s, a, &v), TOLD_NOTHING);
    assert_int_equal(robot_told_closed(&s, a), TOLD_NOTHING);
    a->result = CALL_TOO_BIG;
    a->status = 404;
    assert_int_equal(robot_told_closed(&s, a), TOLD_NOT_SPOKEN); /* a page, however long */
    assert_int_equal(closed(200, "{\"ok\":false,\"error\":\"busy\"}"), TOLD_NOTHING);
    assert_int_equal(fenced(422, "{\"ok\":false,\"error\":\"bad_request\"}"), TOLD_NOTHING);
    assert_int_equal(fenced(200, "{\"ok\":true,\"epoch\":6}"), TOLD_NOT_SPOKEN); /* below ours */
}

TEST_MAIN(NULL, NULL)
