/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
#include "dispatcher/store/breaker.h"
#include "dispatcher/store/pace.h"
#include "tests/unit/test.h"

#define S UINT64_C(1000000)
#define T0 (UINT64_C(1700000000) * S)

static struct breaker_times times = {30 * S, S, 1};
static uint64_t now, job;

/* Attempts a tenth of a second apart: a letter is the robot; capital = well, small = a fault of the portal, with ! behind it one of the
 * robot's own. */
static void feed(struct breaker *b, const char *attempts)
{
    for (; *attempts; attempts++) {
        bool is_well = *attempts >= 'A' && *attempts <= 'Z', is_robot = attempts[1] == '!';
        struct breaker_attempt a = {now,
                                    ++job,
                                    (uint32_t)(*attempts | 32),
                                    (uint8_t)(is_well    ? BREAKER_WELL
                                              : is_robot ? BREAKER_ROBOT
                                                         : BREAKER_PORTAL),
                                    1,
                                    0};
        breaker_ended(b, &times, &a, is_well ? NULL : is_robot ? "crashed" : "portal_unavailable", now);
        now += S / 10;
        attempts += is_robot;
    }
}

static int begin(void **state)
{
    (void)state;
    now = T0;
    job = 0;
    return 0;
}

static unsigned may(const struct breaker *b, unsigned opening)
{
    uint64_t wait_us;
    return breaker_may(b, opening, now, &wait_us);
}

TEST_WITH(test_trips_at_eight_of_ten, begin, NULL)
{
    struct breaker a = {0}, b = {0}, c = {0}, d = {0};
    feed(&a, "AB"
             "abababa");
    assert_int_equal(a.state, BREAKER_DOUBTFUL);
    feed(&a, "b");
    assert_int_equal(a.state, BREAKER_TRIPPED);
    assert_string_equal(a.why, "portal_unavailable");
    feed(&b, "ababababa"); /* nine attempts are not enough */
    assert_int_equal(b.state, BREAKER_DOUBTFUL);
    feed(&b, "b");
    assert_int_equal(b.state, BREAKER_TRIPPED);
    feed(&c, "abaBaAabAbaBabAab"); /* every third one well */
    assert_int_not_equal(c.state, BREAKER_TRIPPED);
    feed(&d, "abababa");
    now += 60 * S; /* those are a minute old */
    feed(&d, "bab");
    assert_int_not_equal(d.state, BREAKER_TRIPPED);
}

TEST_WITH(test_a_robot_alone_trips_nothing, begin, NULL)
{
    struct breaker alone = {0}, failing = {0}, two = {0}, only = {0}, fast = {0}, early = {0};
    feed(&alone, "Baaaaaaaaaa");                     /* the others do well: it is the robot's way to the portal */
    assert_int_equal(alone.state, BREAKER_DOUBTFUL); /* for a moment */
    now += S;
    breaker_tick(&alone, now);
    assert_int_equal(alone.state, BREAKER_CLOSED);
    feed(&alone, "aaaa");
    assert_int_equal(may(&alone, 200), BREAKER_ANY);
    feed(&failing, "a!a!a!a!a!a!a!a!a!a!a!");
    assert_int_equal(failing.state, BREAKER_CLOSED);
    feed(&two, "a!a!a!a!a!a!a!a!a!b!");
    assert_int_equal(two.state, BREAKER_TRIPPED);
    assert_string_equal(two.why, "crashed");
    feed(&only, "aaaaaaaaaa"); /* the only robot, and it names the portal */
    assert_int_equal(only.state, BREAKER_TRIPPED);
    times.robots = 2; /* the other one has told nothing yet */
    feed(&early, "aaaaaaaaaaaa");
    assert_int_equal(early.state, BREAKER_DOUBTFUL);
    assert_int_equal(may(&early, 0), 1);
    now += 10 * S;
    feed(&early, "a");
    assert_int_equal(early.state, BREAKER_TRIPPED);
    times.robots = 1;
    feed(&fast, "B");
    for (unsigned i = 0; i < 100; i++) { /* it fails so fast that the others' successes are far behind */
        feed(&fast, "a");
        now -= S / 20;
    }
    breaker_tick(&fast, now);
    assert_int_equal(fast.state, BREAKER_CLOSED);
}

TEST_WITH(test_doubt_lets_no_more_through_than_it_takes, begin, NULL)
{
    struct breaker b = {0};
    feed(&b, "ABABABABAB");
    assert_int_equal(may(&b, 50), BREAKER_ANY);
    feed(&b, "a");
    assert_int_equal(b.state, BREAKER_DOUBTFUL);
    assert_int_equal(may(&b, 0), 7);
    assert_int_equal(may(&b, 7), 0);
    feed(&b, "bab");
    assert_int_equal(may(&b, 1), 3);
    feed(&b, "B");
    assert_int_equal(b.state, BREAKER_CLOSED);
    feed(&b, "b");
    assert_int_equal(b.state, BREAKER_DOUBTFUL);
    assert_false(breaker_tick(&b, now));
    now += 61 * S;
    assert_true(breaker_tick(&b, now));
    assert_int_equal(b.state, BREAKER_CLOSED);
}

TEST_WITH(test_what_is_told_late_is_no_news, begin, NULL)
{
    struct breaker b = {0};
    struct breaker_attempt late = {T0 + S / 20, 99, 'c', BREAKER_WELL, TAKEN, 0};
    feed(&b, "ABa");
    assert_int_equal(b.state, BREAKER_DOUBTFUL);
    breaker_ended(&b, &times, &late, NULL, now);
    assert_int_equal(b.state, BREAKER_DOUBTFUL); /* it ended well before the fault */
    feed(&b, "bababab");
    assert_int_equal(b.state, BREAKER_TRIPPED);
    breaker_ended(&b, &times, &late, NULL, now);
    assert_int_equal(b.state, BREAKER_TRIPPED);
}

TEST_WITH(test_what_was_under_way_is_no_news, begin, NULL)
{
    struct breaker b = {0};
    feed(&b, "ABa");
    struct breaker_attempt older = {now, 98, 'c', BREAKER_WELL, TAKEN, 5000},
                           newer = {now, 99, 'c', BREAKER_WELL, TAKEN, 0};
    breaker_ended(&b, &times, &older, NULL, now);
    assert_int_equal(b.state, BREAKER_DOUBTFUL); /* it was let in before the portal went down */
    breaker_ended(&b, &times, &newer, NULL, now);
    assert_int_equal(b.state, BREAKER_CLOSED);
    feed(&b, "abababab");
    assert_int_equal(b.state, BREAKER_TRIPPED);
    older.at_us = now;
    breaker_ended(&b, &times, &older, NULL, now);
    assert_int_equal(b.state, BREAKER_TRIPPED);
}

static void trip(struct breaker *b)
{
    feed(b, "ABabababab");
    assert_int_equal(b->state, BREAKER_TRIPPED);
}

TEST_WITH(test_one_probe_each_half_minute, begin, NULL)
{
    struct breaker b = {0};
    uint64_t wait_us;
    unsigned probes = 0;
    trip(&b);
    assert_int_equal(breaker_may(&b, 0, now, &wait_us), 0);
    assert_in_range(wait_us, 29 * S, 30 * S);
    for (unsigned s = 0; s < 120; s++, now += S)
        if (may(&b, 0)) {
            probes++;
            breaker_begun(&b, &times, 1, now);
            assert_int_equal(may(&b, 0), 0);
            feed(&b, "a");
            now -= S / 10;
        }
    assert_int_equal(probes, 3);
    assert_int_equal(b.state, BREAKER_TRIPPED);
    assert_in_range(now - b.since_us, 115 * S, 125 * S); /* probes that fail do not make it younger */
}

TEST_WITH(test_who_waits_may_probe_once_a_second, begin, NULL)
{
    struct breaker b = {0};
    uint64_t wait_us;
    unsigned let = 0;
    assert_true(breaker_may_sync(&b, now, &wait_us));
    trip(&b);
    for (unsigned i = 0; i < 50; i++, now += S / 10)
        if (breaker_may_sync(&b, now, &wait_us)) {
            let++;
            breaker_begun_sync(&b, &times, now);
            assert_false(breaker_may_sync(&b, now, &wait_us));
            assert_int_equal(wait_us, S);
        }
    assert_in_range(let, 4, 5);
}

/* Begins what may begin, which ends well at once. */
static unsigned second_well(struct breaker *b)
{
    unsigned begun = 0;
    for (unsigned i = 0; i < 10 && b->state == BREAKER_RETURNING; i++, now += S / 10) {
        unsigned n = may(b, 0);
        breaker_begun(b, &times, n, now);
        begun += n;
        for (; n; n--) {
            feed(b, "A");
            now -= S / 10;
        }
    }
    return begun;
}

TEST_WITH(test_it_comes_back_slowly, begin, NULL)
{
    struct breaker b = {0};
    trip(&b);
    now += 31 * S;
    breaker_begun(&b, &times, 1, now);
    feed(&b, "A");
    now -= S / 10;
    assert_int_equal(b.state, BREAKER_RETURNING);
    for (unsigned want = 1; want <= BREAKER_RATE_MOST; want *= 2)
        assert_int_equal(second_well(&b), want);
    breaker_tick(&b, now);
    assert_int_equal(b.state, BREAKER_CLOSED);
}

TEST_WITH(test_slow_log_ins_make_it_no_faster, begin, NULL)
{
    struct breaker b = {0};
    unsigned begun = 0;
    trip(&b);
    now += 31 * S;
    feed(&b, "A");
    for (unsigned s = 0; s < 5; s++, now += S) { /* nothing has ended yet: one a second */
        unsigned n = may(&b, begun);
        assert_int_equal(n, 1);
        breaker_begun(&b, &times, n, now);
        begun += n;
    }
    feed(&b, "A");
    now += S;
    breaker_begun(&b, &times, 1, now);
    assert_int_equal(b.rate, 2);
}

TEST_WITH(test_it_goes_down_again, begin, NULL)
{
    struct breaker b = {0};
    trip(&b);
    now += 31 * S;
    feed(&b, "Aa");
    assert_int_equal(b.state, BREAKER_RETURNING); /* one of two may have been under way */
    feed(&b, "b");
    assert_int_equal(b.state, BREAKER_TRIPPED);
    assert_int_equal(may(&b, 0), 0);
    now += 31 * S;
    feed(&b, "A");
    now += 120 * S; /* nothing waits for it */
    breaker_tick(&b, now);
    assert_int_equal(b.state, BREAKER_CLOSED);
}

TEST_WITH(test_attempts_are_given_back_once, begin, NULL)
{
    struct breaker b = {0}, old = {0};
    struct breaker_attempt jobs[BREAKER_RECENT];
    feed(&b, "ABabab");
    assert_int_equal(breaker_give_back(&b, now, jobs, BREAKER_RECENT), 0);
    feed(&b, "abab");
    assert_int_equal(breaker_give_back(&b, now, jobs, BREAKER_RECENT), 8);
    assert_int_equal(jobs[0].job_id, 3);
    assert_int_equal(jobs[7].job_id, 10);
    assert_int_equal(breaker_give_back(&b, now, jobs, BREAKER_RECENT), 0);
    feed(&old, "aB");
    now += 3600 * S;
    trip(&old);
    assert_int_equal(breaker_give_back(&old, now, jobs, BREAKER_RECENT), 8); /* not that of an hour ago */
}

TEST_WITH(test_as_bytes, begin, NULL)
{
    struct breaker b = {0}, c = {0};
    uint8_t bytes[BREAKER_BYTES], again[BREAKER_BYTES];
    for (unsigned i = 0; i < 10; i++)
        feed(&b, "Aab!C");
    size_t len = breaker_pack(&b, bytes);
    assert_int_equal(len, BREAKER_BYTES);
    breaker_unpack(&c, bytes, len);
    assert_int_equal(c.n, b.n);
    assert_int_equal(c.recent[0].job_id, b.recent[0].job_id);
    assert_int_equal(c.recent[c.n - 1].at_us, b.recent[b.n - 1].at_us);
    assert_int_equal(breaker_pack(&c, again), len);
    assert_memory_equal(again, bytes, len);
    memset(bytes, 0xff, sizeof(bytes));
    breaker_unpack(&c, bytes, sizeof(bytes) - 3);
    assert_int_equal(c.n, 0);
    breaker_unpack(&c, NULL, 5);
    assert_int_equal(c.n, 0);
}

/* ---- pace --------------------------------------------------------------------------------------------------- */

/* Whatever is asked at whatever times: in no minute more than that, and as many as may be over an hour. */
static void pace_holds(unsigned per_minute, uint64_t every_us, unsigned least_percent)
{
    static uint64_t begun[100000];
    uint64_t due_us = 0, wait_us;
    unsigned n = 0, from = 0, most = 0;
    for (now = T0; now < T0 + 3600 * S; now += every_us) {
        unsigned let = pace_may(due_us, per_minute, now, &wait_us);
        if (!let)
            assert_true(pace_may(due_us, per_minute, now + wait_us, &(uint64_t){0}) >= 1);
        due_us = pace_take(due_us, per_minute, now, let);
        while (let--)
            begun[n++] = now;
        while (n && begun[from] + 60 * S <= begun[n - 1])
            from++;
        if (n - from > most)
            most = n - from;
    }
    assert_true(most <= per_minute);
    assert_true(n >= per_minute * 60 * least_percent / 100);
}

TEST_WITH(test_pace, begin, NULL)
{
    static const unsigned rates[] = {1, 2, 3, 7, 59, 60, 61, 100, 120, 600, 1200};
    for (unsigned i = 0; i < sizeof(rates) / sizeof(*rates); i++)
        pace_holds(rates[i], S / 10, 88);
    pace_holds(30, S, 60); /* asked seldom */
    assert_int_equal(pace_may(0, 600, T0, &(uint64_t){0}), 11);
    assert_int_equal(pace_may(pace_take(0, 1, T0, 1), 1, T0 + 60 * S, &(uint64_t){0}), 0);
}

TEST_MAIN(NULL, NULL)
