/* parts: broker */
/* SPDX-License-Identifier: MIT */
#include "broker/window.h"

#include "tests/unit/test.h"

TEST(test_it_grows_from_nothing)
{
    struct window *w = window_new(2, 4, 1000, 5000, NULL);
    uint64_t now[2] = {10, 1}, grown[2];
    assert_true(window_since(w, 5000, now, 60000, grown) == 1.0); /* never divided by nothing */
    assert_true(window_since(w, 7000, now, 60000, grown) == 2.0);
    assert_int_equal(grown[0], 10);
    assert_int_equal(grown[1], 1);
    window_destroy(&w);
    assert_null(w);
}

TEST(test_the_youngest_that_is_old_enough)
{
    struct window *w = window_new(1, 4, 1000, 0, NULL);
    uint64_t grown;
    for (uint64_t t = 500; t <= 10000; t += 500) { /* it grows by 1 in 500 ms */
        uint64_t now = t / 500;
        window_step(w, t, &now);
    }
    uint64_t now = 20;
    assert_true(window_since(w, 10000, &now, 2000, &grown) == 2.0);
    assert_int_equal(grown, 4);
    assert_true(window_since(w, 10000, &now, 1500, &grown) == 2.0);
    assert_true(window_since(w, 10000, &now, 60000, &grown) == 3.0); /* it goes back no further */
    assert_int_equal(grown, 6);
    window_destroy(&w);
}

TEST(test_steps_that_come_too_early_are_none)
{
    struct window *w = window_new(1, 3, 1000, 0, NULL);
    uint64_t now = 7, later = 9, grown;
    window_step(w, 999, &now);
    window_step(w, 1000, &now);
    window_step(w, 1999, &later);
    assert_true(window_since(w, 2000, &later, 1000, &grown) == 1.0);
    assert_int_equal(grown, 2);
    window_destroy(&w);
}

TEST(test_it_begins_where_the_counters_are)
{
    uint64_t began = 1000, now = 1005, grown;
    struct window *w = window_new(1, 3, 1000, 0, &began);
    assert_true(window_since(w, 5000, &now, 60000, &grown) == 5.0);
    assert_int_equal(grown, 5);
    window_destroy(&w);
}

TEST_MAIN(NULL, NULL)
