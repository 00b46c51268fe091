/* parts: broker */
/* SPDX-License-Identifier: MIT */
#include "broker/flow.h"

#include "tests/unit/test.h"

#define NOW UINT64_C(1000000)

/* Every combination of: does work wait, does some run, when did something begin, when did something end. */
TEST(test_it_goes_while_what_ends_lets_something_begin)
{
    static const uint64_t ago_ms[] = {0 /* never */, 500, 1999, 2000, 60000};
    for (unsigned waits = 0; waits < 2; waits++)
        for (unsigned running = 0; running < 2; running++)
            for (unsigned b = 0; b < 5; b++)
                for (unsigned e = 0; e < 5; e++) {
                    struct flow f = {0};
                    uint64_t begun = ago_ms[b], ended = ago_ms[e];
                    for (uint64_t at = 60000; at; at--) { /* in their order */
                        if (at == begun || at == ended)
                            flow_told(&f, NOW - at, at == begun, at == ended);
                    }
                    bool is_active = (begun && begun < FLOW_ACTIVE_MS) || (ended && ended < FLOW_ACTIVE_MS);
                    bool is_blocked = ended >= FLOW_ANSWER_MS && (!begun || begun > ended);
                    assert_int_equal(flow_goes(&f, NOW, waits, running),
                                     waits && (running || is_active) && !is_blocked);
                }
}

TEST(test_places_that_are_filled_end_it_at_once)
{
    struct flow f = {0};
    uint64_t now = NOW;
    for (; now < NOW + 60000; now += 500) { /* rounds: each end lets one begin */
        flow_told(&f, now, 1, 1);
        flow_look(&f, now, flow_goes(&f, now, true, 4));
    }
    assert_true(flow_span_ms(&f, now, true) > 59000);
    for (uint64_t filled = now; now < filled + 20000; now += 500) { /* log-ins that keep their places end */
        flow_told(&f, now, 0, 1);
        bool goes = flow_goes(&f, now, true, 4);
        assert_int_equal(goes, now < filled + FLOW_ANSWER_MS);
        flow_look(&f, now, goes);
    }
    assert_int_equal(flow_span_ms(&f, now, false), 0);
    flow_told(&f, now, 1, 0); /* a place is free again: the pace is one of now on */
    assert_true(flow_goes(&f, now, true, 4));
    flow_look(&f, now, true);
    assert_int_equal(flow_span_ms(&f, now, true), 0);
    flow_look(&f, now + 1000, true);
    assert_int_equal(flow_span_ms(&f, now + 1000, true), 1000);
}

/* A moment without anything does not begin the pace anew; a longer one does. */
TEST(test_the_span)
{
    struct flow f = {0};
    assert_int_equal(flow_span_ms(&f, NOW, true), 0);
    for (uint64_t now = NOW; now <= NOW + 90000; now += 1000)
        flow_look(&f, now, now % 9000 != 0);
    assert_int_equal(flow_span_ms(&f, NOW + 90000, true), FLOW_SPAN_MS);
    flow_look(&f, NOW + 90000 + FLOW_GAP_MS + 2000, true);
    assert_int_equal(flow_span_ms(&f, NOW + 90000 + FLOW_GAP_MS + 2000, true), 0);
}

TEST(test_an_end_follows_from_the_numbers_beside_it)
{
    static const struct {
        uint64_t waiting, ended, span_ms;
        int64_t clear_ms;
    } rows[] = {
        {275, 72, 60000, 229166}, {275, 72, 60400, 229166}, {1, 1, 60000, 60000}, {275, 0, 60000, -1},
        {275, 2, 59000, -1},      {275, 3, 15000, 1375000}, {275, 3, 14999, -1},  {275, 72, 0, -1},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct flow_pace pace = flow_pace(rows[i].waiting, rows[i].ended, rows[i].span_ms);
        assert_int_equal(pace.clear_ms, rows[i].clear_ms);
        assert_int_equal(pace.ended, rows[i].ended);
        if (pace.clear_ms >= 0)
            assert_int_equal(pace.clear_ms, rows[i].waiting * pace.in_s * 1000 / pace.ended);
    }
}

/* What ends goes on for a while when nothing may begin any more: paused, or no robot answers. */
TEST(test_an_end_is_told_while_something_begins)
{
    static const struct {
        uint64_t ended, in_s, patience_ms;
    } rows[] = {{0, 0, FLOW_BEGINS_MS}, {60, 15, FLOW_BEGINS_MS}, {72, 60, FLOW_BEGINS_MS}, {4, 60, 45000}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct flow f = {0};
        struct flow_pace pace = {rows[i].ended, rows[i].in_s, 1000};
        assert_false(flow_begins(&f, NOW, &pace));
        flow_told(&f, NOW, 1, 0);
        flow_told(&f, NOW + 1000, 0, 1);
        assert_true(flow_begins(&f, NOW + rows[i].patience_ms - 1, &pace));
        assert_false(flow_begins(&f, NOW + rows[i].patience_ms, &pace));
    }
}

/* Its items still count with what waits, and reports tell of what began before. */
TEST(test_no_end_is_told_of_what_a_pause_holds)
{
    struct flow f = {0};
    struct flow_pace pace = {4, 60, 1000}; /* slow: 45 s without a beginning are nothing */
    flow_told(&f, NOW, 1, 0);
    assert_true(flow_begins(&f, NOW + 10000, &pace));
    flow_held(&f, NOW + 10000);
    assert_false(flow_begins(&f, NOW + 10000, &pace));
    flow_told(&f, NOW + 10000 + FLOW_HELD_MS - 1, 1, 0);
    assert_false(flow_begins(&f, NOW + 10000 + FLOW_HELD_MS - 1, &pace));
    flow_told(&f, NOW + 10000 + FLOW_HELD_MS, 1, 0); /* of another portal */
    assert_true(flow_begins(&f, NOW + 10000 + FLOW_HELD_MS, &pace));
}

TEST_MAIN(NULL, NULL)
