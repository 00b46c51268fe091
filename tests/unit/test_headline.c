/* parts: broker */
/* SPDX-License-Identifier: MIT */
#include "broker/headline.h"

#include "tests/unit/test.h"

static const int *kept_one(struct headline *h)
{
    unsigned at = 0;
    uint64_t ago_ms;
    return headline_kept(h, &at, &ago_ms);
}

TEST(test_a_moment_is_not_said_and_a_gap_is_no_end)
{
    struct headline *h = headline_new(sizeof(int));
    int row = 1, changes = 0;
    bool was = false;
    headline_look(h, 1000);
    assert_false(headline_holds(h, 3, "r1", &row));
    assert_null(kept_one(h));
    /* it comes and goes each two seconds for five minutes: said once, and not again */
    for (uint64_t now = 2000; now < 300000; now += 1000) {
        headline_look(h, now);
        row = (int)now;
        bool is_shown = now / 2000 % 2 == 0 ? headline_holds(h, 3, "r1", &row) : kept_one(h) != NULL;
        changes += is_shown != was;
        was = is_shown;
    }
    assert_true(was && changes == 1);
    /* and it ends after a while, with its last row until then */
    for (uint64_t now = 300000; now <= 300000 + HEADLINE_OFF_MS - 4000; now += 1000) {
        headline_look(h, now);
        assert_non_null(kept_one(h));
        assert_true(*kept_one(h) < 300000);
    }
    headline_look(h, 300000 + HEADLINE_OFF_MS + 1000);
    assert_null(kept_one(h));
    headline_destroy(&h);
    assert_null(h);
}

TEST(test_each_thing_is_its_own)
{
    struct headline *h = headline_new(sizeof(int));
    int row = 7;
    for (uint64_t now = 1000; now <= 6000; now += 1000) {
        headline_look(h, now);
        headline_holds(h, 3, "r1", &row);
    }
    assert_true(headline_holds(h, 3, "r1", &row));
    assert_false(headline_holds(h, 3, "r2", &row));
    assert_false(headline_holds(h, 4, "r1", &row));
    headline_destroy(&h);
}

/* What lingers is said with its numbers of now; without them it is told how long ago it held; what would be untrue goes at once. */
TEST(test_what_lingers)
{
    struct headline *h = headline_new(sizeof(int));
    int row = 7;
    unsigned at = 0;
    uint64_t now, ago_ms;
    for (now = 1000; now <= 6000; now += 1000) {
        headline_look(h, now);
        assert_false(headline_lingers(h, 4, "r1")); /* it never held: its numbers alone are not said */
        headline_holds(h, 3, "r1", &row);
    }
    for (; now <= 6000 + HEADLINE_OFF_MS; now += 1000) {
        headline_look(h, now);
        assert_true(headline_lingers(h, 3, "r1"));
        assert_null(kept_one(h)); /* it is said once */
    }
    headline_look(h, now);
    assert_false(headline_lingers(h, 3, "r1"));
    for (uint64_t until = now + 6000; now <= until; now += 1000) {
        headline_look(h, now);
        headline_holds(h, 3, "r1", &row);
    }
    headline_look(h, now + 2000);
    assert_ptr_not_equal(headline_kept(h, &at, &ago_ms), NULL);
    assert_int_equal(ago_ms, 3000);
    headline_over(h, 3, "r1");
    assert_null(kept_one(h));
    assert_false(headline_lingers(h, 3, "r1"));
    headline_destroy(&h);
}

/* Nobody looked for a while: what held before tells nothing of the time between. */
TEST(test_a_look_that_comes_late_begins_anew)
{
    struct headline *h = headline_new(sizeof(int));
    int row = 7;
    headline_look(h, 1000);
    headline_holds(h, 3, "r1", &row);
    headline_look(h, 1000 + HEADLINE_GAP_MS + 1);
    assert_false(headline_holds(h, 3, "r1", &row));
    headline_destroy(&h);
}

/* More things than are remembered are shown as they are. */
TEST(test_beyond_the_table)
{
    struct headline *h = headline_new(sizeof(int));
    char who[20];
    int row = 1;
    headline_look(h, 1000);
    for (int i = 0; i < HEADLINE_MAX; i++) {
        snprintf(who, sizeof who, "r%d", i);
        assert_false(headline_holds(h, 1, who, &row));
    }
    assert_true(headline_holds(h, 1, "one more", &row));
    headline_destroy(&h);
}

TEST_MAIN(NULL, NULL)
