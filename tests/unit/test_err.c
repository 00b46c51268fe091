/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/err.h"

#include "tests/unit/test.h"

TEST(test_rows_are_whole_and_codes_unique)
{
    for (int e = 0; e < ERR_COUNT; e++) {
        const char *code = err_code((enum err)e);
        assert_true(code && strlen(code) > 0 && strspn(code, "abcdefghijklmnopqrstuvwxyz_") == strlen(code));
        assert_true(strlen(err_text((enum err)e)) > 0);
        int http = err_http((enum err)e);
        assert_int_equal(err_from_answer(code, (unsigned)strlen(code), (unsigned)http), e);
        assert_string_equal(err_code(err_from_code(code, (unsigned)strlen(code))), code);
        assert_true(e == ERR_OK ? http == 200 : http >= 400 && http < 600);
        assert_true((err_retry_after_s((enum err)e) > 0) == (http == 503));
    }
}

TEST(test_unknown_codes)
{
    assert_int_equal(err_from_code("no_such_code", 12), ERR_COUNT);
    assert_int_equal(err_from_code("", 0), ERR_COUNT);
    assert_int_equal(err_from_code("queue_fullx", 10), ERR_QUEUE_FULL);
    assert_int_equal(err_from_code("queue_full", 9), ERR_COUNT);
    assert_int_equal(err_from_code("robot_unreachable", 17), ERR_ROBOT_UNREACHABLE);
    assert_int_equal(err_from_answer("robot_unreachable", 17, 503), ERR_ROBOT_SILENT);
    assert_int_equal(err_from_answer("robot_unreachable", 17, 0), ERR_ROBOT_UNREACHABLE);
}

/* A sample of the contract, so that an edit of the table is noticed. */
TEST(test_statuses_of_the_contract)
{
    assert_int_equal(err_http(ERR_SESSION_EXPIRED), 410);
    assert_int_equal(err_http(ERR_LOGIN_IN_PROGRESS), 409);
    assert_int_equal(err_http(ERR_OUTCOME_UNKNOWN), 502);
    assert_int_equal(err_http(ERR_DEADLINE_EXCEEDED), 504);
    assert_int_equal(err_http(ERR_HEADERS_TOO_LARGE), 431);
    assert_string_equal(err_text(ERR_UNAUTHENTICATED), "Unauthenticated.");
}

TEST_MAIN(NULL, NULL)
