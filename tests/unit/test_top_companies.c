/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
#include "dispatcher/robot/top_companies.h"

#include "tests/unit/test.h"

#define T0 1000000000ull

static const struct company_stats_row *row_of(const struct company_stats_row *rows, unsigned n, uint64_t id)
{
    for (unsigned i = 0; i < n; i++)
        if (rows[i].company_id == id)
            return &rows[i];
    return NULL;
}

TEST(test_sums)
{
    struct top_companies *h = top_companies_new();
    struct company_stats_row rows[COMPANY_STATS_MAX];
    assert_int_equal(top_companies_most(h, T0, rows, COMPANY_STATS_MAX), 0);
    top_companies_waited(h, T0, 7, 100);
    top_companies_waited(h, T0 + 90000, 7, 200);
    top_companies_used(h, T0, 7, 5);
    top_companies_used(h, T0, 8, 6);
    unsigned n = top_companies_most(h, T0 + 90000, rows, COMPANY_STATS_MAX);
    assert_int_equal(n, 2);
    const struct company_stats_row *seven = row_of(rows, n, 7);
    assert_int_equal(seven->waits, 2);
    assert_int_equal(seven->wait_ms, 300);
    assert_int_equal(seven->requests, 1);
    assert_int_equal(row_of(rows, n, 8)->busy_ms, 6);
    top_companies_destroy(&h);
}

TEST(test_what_is_long_ago_does_not_count)
{
    struct top_companies *h = top_companies_new();
    struct company_stats_row rows[4];
    top_companies_waited(h, T0, 7, 100);
    top_companies_waited(h, T0 + TOP_COMPANIES_WINDOW_MS, 7, 1);
    assert_int_equal(top_companies_most(h, T0 + TOP_COMPANIES_WINDOW_MS, rows, 4), 1);
    assert_int_equal(rows[0].wait_ms, 1);
    assert_int_equal(top_companies_most(h, T0 + 3 * TOP_COMPANIES_WINDOW_MS, rows, 4), 0);
    top_companies_destroy(&h);
}

TEST(test_the_most_of_both_are_told)
{
    struct top_companies *h = top_companies_new();
    struct company_stats_row rows[10];
    for (uint64_t id = 1; id <= 100; id++) {
        top_companies_waited(h, T0, id, id);
        top_companies_used(h, T0, id, 1000 - id);
    }
    unsigned n = top_companies_most(h, T0, rows, 10);
    assert_int_equal(n, 10);
    for (uint64_t id = 96; id <= 100; id++)
        assert_non_null(row_of(rows, n, id));
    for (uint64_t id = 1; id <= 5; id++)
        assert_non_null(row_of(rows, n, id));
    top_companies_destroy(&h);
}

/* A hundred thousand companies pass by; the big ones are still there. */
TEST(test_the_big_ones_stay)
{
    struct top_companies *h = top_companies_new();
    struct company_stats_row rows[COMPANY_STATS_MAX];
    for (uint64_t id = 1; id <= 5; id++)
        top_companies_waited(h, T0, id, 1000000 * id);
    for (uint64_t id = 1000; id < 101000; id++)
        top_companies_used(h, T0, id, 3);
    unsigned n = top_companies_most(h, T0, rows, COMPANY_STATS_MAX);
    assert_int_equal(n, COMPANY_STATS_MAX);
    for (uint64_t id = 1; id <= 5; id++)
        assert_int_equal(row_of(rows, n, id)->wait_ms, 1000000 * id);
    top_companies_destroy(&h);
}

TEST_MAIN(NULL, NULL)
