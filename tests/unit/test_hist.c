/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/hist.h"

#include "tests/unit/test.h"
#include <math.h>

static bool is_near(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

TEST(test_bounds)
{
    for (unsigned i = 0; i < HIST_BUCKETS - 1; i++) {
        assert_true(is_near(atof(hist_bound_text[i]), (double)hist_bound_us[i] / 1e6));
        assert_true(!i || hist_bound_us[i] > hist_bound_us[i - 1]);
    }
    assert_int_equal(hist_bound_us[HIST_BUCKETS - 2], 300 * 1000000);
}

TEST(test_a_time_is_in_the_bucket_that_bounds_it)
{
    struct hist h = {0};
    hist_add(&h, 0);
    hist_add(&h, 1000);
    hist_add(&h, 1001);
    hist_add(&h, 300000000);
    hist_add(&h, 300000001);
    assert_int_equal(h.n[0], 2);
    assert_int_equal(h.n[1], 1);
    assert_int_equal(h.n[HIST_BUCKETS - 2], 1);
    assert_int_equal(h.n[HIST_BUCKETS - 1], 1);
    assert_int_equal(h.sum_us, 1000 + 1001 + 300000000 + 300000001ull);
    assert_int_equal(hist_count(&h), 5);
}

TEST(test_quantiles)
{
    struct hist h = {0};
    assert_true(hist_quantile(&h, 0.5) < 0);
    for (unsigned i = 0; i < 100; i++)
        hist_add(&h, 7000); /* of 5 to 10 ms */
    assert_true(is_near(hist_quantile(&h, 0), 0.005));
    assert_true(is_near(hist_quantile(&h, 0.5), 0.0075));
    assert_true(is_near(hist_quantile(&h, 1), 0.010));
    hist_add(&h, UINT32_MAX);
    assert_true(is_near(hist_quantile(&h, 1), 300));
}

TEST(test_a_quantile_never_falls_with_q)
{
    struct hist h = {0};
    srand(7);
    for (unsigned i = 0; i < 1000; i++)
        hist_add(&h, (uint64_t)rand() % 10000000);
    for (double q = 0.01; q < 1; q += 0.01)
        assert_true(hist_quantile(&h, q) <= hist_quantile(&h, q + 0.01));
}

TEST_MAIN(NULL, NULL)
