/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* attempts.c: a table of a fixed size in which nothing is lost. */
#include "dispatcher/robot/attempts.h"

#include "tests/unit/test.h"

TEST(test_a_robot_that_invents_errors_fills_nothing)
{
    struct attempts *a = attempts_new();
    struct attempt_stats_row rows[ATTEMPT_STATS_MAX];
    char error[20], action[40];
    uint64_t sum = 0;
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(error, sizeof error, "e%u", i);
        snprintf(action, sizeof action, "sunat.a%u", i % 300);
        attempts_count(a, "sunat", i % 2 ? "sunat.login" : action, "refused", error);
    }
    unsigned n = attempts_rows(a, rows);
    assert_in_range(n, 20, ATTEMPT_STATS_MAX);
    for (unsigned i = 0; i < n; i++)
        sum += rows[i].n;
    assert_int_equal(sum, 5000); /* none is lost */
    attempts_destroy(&a);
}

TEST_MAIN(NULL, NULL)
