/* parts: broker */
/* SPDX-License-Identifier: MIT */
#include "broker/ratelimit.h"

#include "tests/unit/test.h"

TEST(test_counts_down_and_refuses)
{
    struct ratelimit *r = ratelimit_new();
    struct rate rate = ratelimit_look(r, 5, 3, 1000);
    assert_true(rate.is_on);
    assert_int_equal(rate.remaining, 3);
    for (uint64_t left = 3; left--;) {
        assert_true(ratelimit_take(r, 5, 3, 1000, &rate));
        assert_int_equal(rate.remaining, left);
    }
    assert_false(ratelimit_take(r, 5, 3, 31000, &rate));
    assert_int_equal(rate.remaining, 0);
    assert_int_equal(rate.left_ms, 30000);
    assert_int_equal(ratelimit_look(r, 6, 3, 1000).remaining, 3);
    ratelimit_destroy(&r);
    assert_null(r);
}

TEST(test_a_window_begins_with_its_first_request)
{
    struct ratelimit *r = ratelimit_new();
    struct rate rate;
    assert_true(ratelimit_take(r, 1, 1, 5000, &rate));
    assert_false(ratelimit_take(r, 1, 1, 5000 + RATELIMIT_WINDOW_MS - 1, &rate));
    assert_int_equal(rate.left_ms, 1);
    assert_true(ratelimit_take(r, 1, 1, 5000 + RATELIMIT_WINDOW_MS, &rate));
    assert_int_equal(rate.left_ms, RATELIMIT_WINDOW_MS);
    ratelimit_destroy(&r);
}

TEST(test_off_is_off)
{
    struct ratelimit *r = ratelimit_new();
    struct rate rate;
    for (int i = 0; i < 100; i++)
        assert_true(ratelimit_take(r, 1, 0, 5000, &rate));
    assert_false(rate.is_on);
    ratelimit_destroy(&r);
}

TEST(test_a_lowered_limit_counts_at_once)
{
    struct ratelimit *r = ratelimit_new();
    struct rate rate;
    for (int i = 0; i < 10; i++)
        assert_true(ratelimit_take(r, 1, 100, 5000, &rate));
    assert_false(ratelimit_take(r, 1, 5, 5000, &rate));
    assert_int_equal(rate.remaining, 0);
    assert_true(ratelimit_take(r, 1, 100, 5000, &rate));
    assert_int_equal(rate.remaining, 89);
    ratelimit_destroy(&r);
}

TEST(test_many_tokens_keep_their_own_counts)
{
    struct ratelimit *r = ratelimit_new();
    struct rate rate;
    for (uint64_t round = 1; round <= 3; round++)
        for (uint64_t id = 1; id <= 5000; id++) {
            assert_true(ratelimit_take(r, id * 977, 10, 1000 + id, &rate));
            assert_int_equal(rate.remaining, 10 - round);
        }
    for (uint64_t id = 1; id <= 5000; id++) /* a minute later all begin anew */
        assert_int_equal(ratelimit_look(r, id * 977, 10, 1000 + id + RATELIMIT_WINDOW_MS).remaining, 10);
    for (uint64_t id = 20000; id < 20100; id++)
        assert_true(ratelimit_take(r, id, 10, 200000, &rate));
    ratelimit_destroy(&r);
}

TEST_MAIN(NULL, NULL)
