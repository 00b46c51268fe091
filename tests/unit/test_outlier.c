/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
#include "dispatcher/robot/outlier.h"

#include "tests/unit/test.h"

/* '+' answered, '-' not; a call each 100 ms. Answers the time. */
static uint64_t feed(struct outlier *o, const char *calls, uint64_t now)
{
    for (; *calls; calls++, now += 100)
        outlier_take(o, *calls == '+', now);
    return now;
}

TEST(test_half_of_the_last_ten)
{
    struct outlier a = {0}, b = {0}, c = {0};
    feed(&a, "----", 1000);
    assert_false(a.is_out);
    feed(&a, "-", 1400);
    assert_true(a.is_out);
    feed(&b, "++++++++----", 1000);
    assert_false(b.is_out);
    feed(&b, "-", 3000);
    assert_true(b.is_out);
    feed(&c, "+-++-++-++-++-++-++-++-++-+", 1000); /* one in three is not enough */
    assert_false(c.is_out);
}

TEST(test_what_its_caller_cut_tells_nothing)
{
    assert_false(outlier_tells(true, 1100, 30000)); /* a deadline just over a second */
    assert_false(outlier_tells(true, 9999, 30000));
    assert_false(outlier_tells(true, 15000, 30000)); /* an action that its configuration gives half a minute */
    assert_true(outlier_tells(true, 10000, 10000));  /* overdue */
    assert_true(outlier_tells(true, 4000, 4000));    /* all that it is given */
    assert_false(outlier_tells(true, 300, 200));
    assert_true(outlier_tells(false, 1100, 30000)); /* it broke */
    assert_false(outlier_tells(false, 900, 30000));
}

TEST(test_it_comes_back_by_answers)
{
    struct outlier o = {0};
    uint64_t now = feed(&o, "-----", 1000);
    now = feed(&o, "++-++", now);
    assert_true(o.is_out);
    feed(&o, "+", now);
    assert_false(o.is_out);
    feed(&o, "----", now); /* what was before is forgotten */
    assert_false(o.is_out);
}

TEST(test_it_comes_back_by_itself_when_nobody_calls)
{
    struct outlier o = {0};
    uint64_t now = feed(&o, "-----", 1000);
    assert_false(outlier_look(&o, 0, now + 1000));
    assert_true(o.is_out);
    assert_true(outlier_look(&o, 0, now + OUTLIER_MEMORY_MS));
    assert_false(o.is_out);
}

TEST(test_calls_that_are_overdue_count_while_they_are)
{
    struct outlier o = {0};
    assert_false(outlier_look(&o, 4, 1000));
    assert_true(outlier_look(&o, 5, 2000));
    assert_int_equal(o.bad, 5);
    assert_true(outlier_look(&o, 0, 3000)); /* they were answered after all */
    assert_false(o.is_out);
    feed(&o, "+++++++", 4000);
    assert_false(outlier_look(&o, 5, 5000)); /* 5 of 12 */
    assert_true(outlier_look(&o, 200, 6000));
}

TEST_MAIN(NULL, NULL)
