/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/loop.h"

#include "common/clock.h"
#include "tests/unit/test.h"
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct loop *l;

static int set_up(void **state)
{
    (void)state;
    l = loop_new();
    return l ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    loop_destroy(&l);
    return 0;
}

static void stop(void *arg)
{
    (void)arg;
    loop_stop(l);
}

static struct loop_timer ending = {.fn = stop};

/* Runs the loop until a moment after end_soon() is called, so that what must not come has time to come; else for very long. */
static void run_to_the_end(void)
{
    loop_timer_in(l, &ending, 20000);
    loop_run(l);
}

static void end_soon(void)
{
    loop_timer_in(l, &ending, 20);
}

/* --- timers -------------------------------------------------------------------------------------------------- */

struct ticker {
    struct loop_timer timer;
    unsigned ticks, wanted;
    struct ticker *victim;
    char *order, name;
};

static void tick(void *arg)
{
    struct ticker *t = arg;
    assert_false(loop_timer_is_set(&t->timer));
    t->ticks++;
    if (t->order)
        t->order[strlen(t->order)] = t->name;
    if (t->victim)
        loop_timer_stop(l, &t->victim->timer);
    if (t->ticks < t->wanted)
        loop_timer_at(l, &t->timer, loop_now_ms(l)); /* at once, again */
}

static void ticker_init(struct ticker *t, unsigned wanted)
{
    *t = (struct ticker){.wanted = wanted};
    t->timer.fn = tick;
    t->timer.arg = t;
}

TEST_WITH(test_timers_run_in_order, set_up, tear_down)
{
    struct ticker a, b, c, end;
    char order[8] = "";
    ticker_init(&a, 1);
    ticker_init(&b, 1);
    ticker_init(&c, 1);
    ticker_init(&end, 1);
    a.order = b.order = c.order = order;
    a.name = 'a', b.name = 'b', c.name = 'c';
    uint64_t start = clock_ms();
    loop_timer_at(l, &c.timer, start + 30);
    loop_timer_at(l, &a.timer, start + 10);
    loop_timer_in(l, &b.timer, 90);
    loop_timer_at(l, &b.timer, start + 20); /* moved */
    end.timer.fn = stop;
    loop_timer_at(l, &end.timer, start + 40);
    assert_true(loop_timer_is_set(&b.timer));
    loop_run(l);
    assert_string_equal(order, "abc");
    assert_true(clock_ms() - start >= 40);
}

/* Runs between the turns of the busy one. */
static void stop_after_ten(void *arg)
{
    struct ticker *end = arg;
    if (end->victim->ticks > 10)
        loop_stop(l);
    else
        loop_timer_in(l, &end->timer, 1);
}

TEST_WITH(test_timer_that_sets_itself_does_not_hold_the_loop, set_up, tear_down)
{
    struct ticker busy, end;
    ticker_init(&busy, 1000000000);
    end = (struct ticker){.timer = {.fn = stop_after_ten, .arg = &end}, .victim = &busy};
    loop_timer_in(l, &busy.timer, 0);
    loop_timer_in(l, &end.timer, 20);
    loop_run(l);
    assert_true(busy.ticks > 10);
}

TEST_WITH(test_stopped_timer_does_not_run, set_up, tear_down)
{
    struct ticker killer, victim, end;
    ticker_init(&killer, 1);
    ticker_init(&victim, 1);
    killer.victim = &victim;
    end.timer = (struct loop_timer){.fn = stop};
    uint64_t at = clock_ms() + 5;
    loop_timer_at(l, &killer.timer, at);
    loop_timer_at(l, &victim.timer, at + 1);
    loop_timer_at(l, &end.timer, at + 10);
    loop_run(l);
    assert_int_equal(killer.ticks, 1);
    assert_int_equal(victim.ticks, 0);
}

/* --- descriptors --------------------------------------------------------------------------------------------- */

struct watch {
    int fd;
    struct loop_fd *h;
    unsigned calls;
    struct watch *others;
    unsigned n;
};

/* The first to be served removes all others, itself too. */
static void remove_all(void *arg, uint32_t events)
{
    struct watch *w = arg;
    assert_true(events & EPOLLIN);
    w->calls++;
    for (unsigned i = 0; i < w->n; i++)
        loop_fd_remove(l, &w->others[i].h);
    loop_stop(l);
}

TEST_WITH(test_removal_inside_a_callback, set_up, tear_down)
{
    struct watch w[20] = {0};
    unsigned calls = 0;
    for (int i = 0; i < 20; i++) {
        w[i] = (struct watch){.fd = eventfd(1, EFD_CLOEXEC), .others = w, .n = 20};
        w[i].h = loop_fd_add(l, w[i].fd, EPOLLIN, remove_all, &w[i]);
        assert_non_null(w[i].h);
    }
    loop_run(l);
    for (int i = 0; i < 20; i++) {
        calls += w[i].calls;
        assert_null(w[i].h);
        close(w[i].fd);
    }
    assert_int_equal(calls, 1);
    loop_fd_remove(l, &w[0].h); /* nothing there: nothing happens */
}

static void count(void *arg, uint32_t events)
{
    struct watch *w = arg;
    (void)events;
    if (++w->calls == 3) {
        loop_fd_change(l, w->h, 0); /* level-triggered: it would come for ever */
        end_soon();
    }
}

TEST_WITH(test_change, set_up, tear_down)
{
    struct watch w = {.fd = eventfd(1, EFD_CLOEXEC)};
    w.h = loop_fd_add(l, w.fd, EPOLLIN, count, &w);
    run_to_the_end();
    assert_int_equal(w.calls, 3);
    close(w.fd); /* closed before it is removed: allowed to libraries */
    loop_fd_remove(l, &w.h);
}

/* --- hooks --------------------------------------------------------------------------------------------------- */

static unsigned hook_calls, hook_more;

static bool hook(void *arg)
{
    (void)arg;
    hook_calls++;
    if (hook_more && --hook_more)
        return true;
    if (hook_calls == 50)
        end_soon();
    return false;
}

static void wake_twice(void *arg)
{
    (void)arg;
    loop_wake(l);
}

TEST_WITH(test_hook_with_more_is_asked_without_sleep, set_up, tear_down)
{
    struct loop_timer end = {.fn = stop};
    hook_calls = 0;
    hook_more = 50;
    loop_hook(l, hook, NULL);
    run_to_the_end();
    assert_true(hook_calls >= 50 && hook_calls < 60);
    loop_unhook(l, hook, NULL);
    loop_timer_in(l, &end, 5);
    unsigned before = hook_calls;
    loop_run(l);
    assert_int_equal(hook_calls, before);
}

static bool waking_hook(void *arg)
{
    unsigned *calls = arg;
    if (++*calls < 10)
        loop_wake(l);
    else if (*calls == 10)
        end_soon();
    return false;
}

/* What a hook does may be of interest to one that was asked before it. */
TEST_WITH(test_wake_inside_a_hook, set_up, tear_down)
{
    struct loop_timer waker = {.fn = wake_twice};
    unsigned calls = 0;
    loop_hook(l, waking_hook, &calls);
    loop_timer_in(l, &waker, 0);
    run_to_the_end();
    assert_true(calls >= 10 && calls < 20);
}

/* --- signals ------------------------------------------------------------------------------------------------- */

static unsigned stops;

static void on_stop(void *arg)
{
    (void)arg;
    stops++;
}

static void ask_to_stop(void *arg)
{
    (void)arg;
    assert_int_equal(stops, 0);
    kill(getpid(), SIGTERM);
}

static void again(void *arg)
{
    kill(getpid(), SIGINT);
    loop_timer_in(l, arg, 10);
}

TEST_WITH(test_signals, set_up, tear_down)
{
    struct loop_timer first = {.fn = ask_to_stop}, second = {.fn = again, .arg = &second};
    stops = 0;
    loop_on_stop(l, on_stop, NULL);
    kill(getpid(), SIGHUP); /* ignored */
    loop_timer_in(l, &first, 10);
    loop_timer_in(l, &second, 20);
    loop_run(l); /* ended by the second stop signal */
    assert_int_equal(stops, 1);
    kill(getpid(), SIGPIPE); /* ignored */
}

TEST_WITH(test_stop_signal_without_owner_ends, set_up, tear_down)
{
    kill(getpid(), SIGTERM);
    loop_run(l);
}

TEST_WITH(test_now_is_cached_for_a_turn, set_up, tear_down)
{
    struct loop_timer end = {.fn = stop};
    uint64_t before = loop_now_ms(l);
    loop_timer_in(l, &end, 30);
    loop_run(l);
    assert_true(loop_now_ms(l) >= before + 30);
}

TEST_MAIN(NULL, NULL)
