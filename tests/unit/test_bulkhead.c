/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* Bounds by robot, by company and by token: who gets a place, who waits, who is refused. The rest of the dispatcher is played here. */
#include "dispatcher/robot/robots.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"
#include "dispatcher/robot/bulkhead.h"

#include "common/loop.h"
#include "tests/unit/test.h"
#include <unistd.h>

#define WINDOW 16 /* of a broker in a lane: with 50 % a limit is 8 */
#define LIMIT 8

static struct conf conf;
static struct dispatcher d;
static struct robot robots[] = {{.id = 1, .name = "r1"}, {.id = 2, .name = "r2"}};
static int credits[2]; /* given back less taken, by broker */
static unsigned n_refused;

/* ---- what bulkhead.c asks of others ------------------------------------------------------------------------- */

unsigned peers_window(const struct dispatcher *unused)
{
    (void)unused;
    return WINDOW;
}

void peer_finished(struct dispatcher *unused, unsigned peer, enum lane lane)
{
    (void)unused, (void)lane;
    credits[peer]++;
}

void peer_taken(struct dispatcher *unused, unsigned peer, enum lane lane)
{
    (void)unused, (void)lane;
    credits[peer]--;
}

const struct robot *robot_by_id(const struct dispatcher *unused, uint32_t id)
{
    (void)unused;
    return id >= 1 && id <= 2 ? &robots[id - 1] : NULL;
}

void reply_error(struct dispatcher *unused, struct request *r, enum err e, const char *message, struct jv *extra)
{
    (void)message, (void)extra;
    assert_int_equal(e, ERR_QUEUE_FULL);
    n_refused++;
    r->work = r; /* answered */
    bulkhead_leave(unused, r);
}

/* ---- requests ----------------------------------------------------------------------------------------------- */

static struct request requests[100];
static unsigned n_requests, n_turns;
static struct request *last_turn;

static struct request *request_of(unsigned peer, uint64_t company)
{
    struct request *r = &requests[n_requests++];
    *r = (struct request){.peer = peer, .lane = LANE_INTERACTIVE, .company_id = company, .d = &d};
    return r;
}

static void turn(struct dispatcher *unused, struct request *r)
{
    (void)unused;
    n_turns++;
    last_turn = r;
}

static bool call(struct request *r, uint32_t robot)
{
    return bulkhead_call(&d, r, robot, r->company_id, turn);
}

static void stop_due(void *arg)
{
    (void)arg;
    loop_stop(d.loop);
}

static void loop_for(unsigned ms)
{
    struct loop_timer stop = {.fn = stop_due};
    loop_timer_in(d.loop, &stop, ms);
    loop_run(d.loop);
}

static void loop_until_refused(void)
{
    for (unsigned i = 0; i < 200 && !n_refused; i++)
        loop_for(100);
}

static int set_up(void **state)
{
    (void)state;
    conf = (struct conf){.limit_robot_percent = 50,
                         .limit_company_percent = 50,
                         .dispatcher_concurrency = 256,
                         .dispatcher_db_threads = 4};
    memset(&d, 0, sizeof(d));
    memset(credits, 0, sizeof(credits));
    n_requests = n_turns = n_refused = 0;
    last_turn = NULL;
    d.conf = &conf;
    d.loop = loop_new();
    d.bulkheads = bulkheads_new(&d);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bulkheads_destroy(&d.bulkheads);
    loop_destroy(&d.loop);
    return 0;
}

/* ---- tests -------------------------------------------------------------------------------------------------- */

TEST_WITH(test_a_company_fills_its_share_and_no_more, set_up, tear_down)
{
    for (unsigned i = 0; i < LIMIT; i++)
        assert_true(call(request_of(0, 7), 1 + i % 2));
    struct request *waits = request_of(0, 7);
    assert_false(call(waits, 1));
    assert_int_equal(credits[0], 1);        /* what only waits holds no credit */
    assert_true(call(request_of(0, 8), 1)); /* another company passes by */
    char text[BULKHEAD_TEXT_MAX + 1];
    bulkheads_text(&d, text);
    assert_string_equal(text, "company:7:interactive:8:8:1");
    bulkhead_leave(&d, &requests[0]);
    loop_for(20);
    assert_ptr_equal(last_turn, waits);
    assert_int_equal(credits[0], 1); /* one ended; the one that waited took its own again */
}

TEST_WITH(test_a_robot_that_hangs_holds_up_only_its_own, set_up, tear_down)
{
    for (unsigned i = 0; i < LIMIT; i++)
        assert_true(call(request_of(0, 100 + i), 1));
    struct request *waits = request_of(0, 200);
    assert_false(call(waits, 1));
    for (unsigned i = 0; i < LIMIT; i++)
        assert_true(call(request_of(0, 300 + i), 2));
    loop_until_refused(); /* its line did not move for two seconds */
    assert_int_equal(n_refused, 1);
    assert_ptr_equal(waits->work, waits);
    assert_false(call(request_of(0, 201), 1)); /* refused at once now */
    assert_int_equal(n_refused, 2);
}

/* The answers that move the line came meanwhile, and are read next. */
TEST_WITH(test_a_stall_of_our_own_refuses_nobody, set_up, tear_down)
{
    for (unsigned i = 0; i < LIMIT; i++)
        assert_true(call(request_of(0, 100 + i), 1));
    struct request *waits = request_of(0, 200);
    assert_false(call(waits, 1));
    loop_for(1);
    usleep(2600000);
    assert_false(call(request_of(0, 201), 1)); /* comes before the tick */
    loop_for(300);
    assert_int_equal(n_refused, 0);
    bulkhead_leave(&d, &requests[0]);
    loop_for(20);
    assert_ptr_equal(last_turn, waits);
    loop_until_refused(); /* and the other, of a line that stands still while we run */
    assert_int_equal(n_refused, 1);
}

/* The limits hold for each broker's share: a company that fills one broker's does not shut out the callers of the other. */
TEST_WITH(test_two_brokers_have_a_share_each, set_up, tear_down)
{
    struct request *ends = NULL;
    for (unsigned i = 0; i < LIMIT; i++)
        assert_true(call(ends = request_of(0, 7), 1));
    struct request *first = request_of(0, 7);
    assert_false(call(first, 1));
    for (unsigned i = 0; i < LIMIT; i++)
        assert_true(call(request_of(1, 7), 1));
    struct request *second = request_of(1, 7);
    assert_false(call(second, 1));
    assert_int_equal(credits[0], 1);
    assert_int_equal(credits[1], 1);
    bulkhead_leave(&d, ends); /* a place of the first broker's: the one that waits there gets it */
    loop_for(20);
    assert_int_equal(n_turns, 1);
    assert_ptr_equal(last_turn, first);
    assert_non_null(second->line);
    bulkhead_leave(&d, second);      /* its client went */
    assert_int_equal(credits[1], 1); /* given back once */
}

TEST_WITH(test_the_company_that_uses_least_is_next, set_up, tear_down)
{
    for (unsigned i = 0; i < LIMIT - 1; i++)
        assert_true(call(request_of(0, 7), 1));
    assert_true(call(request_of(0, 8), 1));
    struct request *of_many = request_of(0, 7), *of_none = request_of(0, 9);
    assert_false(call(of_many, 1));
    assert_false(call(of_none, 1));
    bulkhead_leave(&d, &requests[LIMIT - 1]);
    loop_for(20);
    assert_ptr_equal(last_turn, of_none);
}

TEST_WITH(test_what_waits_at_the_database_is_bounded_by_company, set_up, tear_down)
{
    struct request *one = request_of(0, 7), *two = request_of(0, 7), *three = request_of(0, 7),
                   *other = request_of(0, 8);
    one->lane = two->lane = three->lane = other->lane = LANE_LOGIN;
    assert_true(bulkhead_database(&d, one, 7, turn));
    assert_true(bulkhead_database(&d, two, 7, turn));
    assert_false(bulkhead_database(&d, three, 7, turn));
    assert_true(bulkhead_database(&d, other, 8, turn));
    bulkhead_database_left(&d, one);
    loop_for(20);
    assert_ptr_equal(last_turn, three);
}

TEST_MAIN(NULL, NULL)
