/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* Log-ins on kept connections: each is sent once, and a robot that closes what is idle harms none. */
#include "tests/unit/robot_fixture.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#define TURNS 20 /* for what needs a moment in which the machine is not too busy */

/* How many connections the robot has had, and requests for /once. */
static void count(int *connections, int *once)
{
    sscanf(get("/connections").body, "%d %d", connections, once);
}

static int connections(void)
{
    return atoi(get("/connections").body);
}

/* When it returns, the connection of the last call has been idle for a time in which a log-in may have it. */
static void settle(void)
{
    uint64_t since;
    do {
        connections();
        since = clock_ms();
        idle(30);
    } while (clock_ms() - since > 250);
}

TEST_WITH(a_login_is_sent_once, set_up, tear_down)
{
    int had = 0, before = 0, now = 0, after = 0;
    count(&had, &before);
    settle();
    struct seen s = login("/once");
    assert_int_equal(s.a.result, CALL_BROKEN);
    assert_false(s.a.garbage);
    assert_string_equal(s.a.why, "reset");
    count(&now, &after);
    assert_int_equal(after, before + 1);
    assert_int_equal(now, had + 1); /* that of the last call: the log-in had the kept one */
}

/* Fills the connections that hold unsent bytes: not a byte more goes on them. Returns how many. */
static int sockets_fill(void)
{
    int n = 0, bytes, least = 1;
    for (int fd = 3; fd < 200; fd++) {
        if (ioctl(fd, SIOCOUTQ, &bytes) != 0 || bytes < 20000)
            continue;
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
        while (send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
            ;
        n++;
    }
    return n;
}

/* curl counts no byte of a request that the socket did not take at the first try. */
TEST_WITH(a_login_behind_a_full_socket_is_sent_once, set_up, tear_down)
{
    static char big[300000];
    int had = 0, before = 0, after = 0, filled = 0;
    memset(big, 'x', sizeof big);
    for (unsigned i = 0; i < TURNS && !filled; i++) {
        struct seen s = {0};
        struct call_spec spec = login_of(&s, "/unread");
        spec.body = big;
        spec.body_len = sizeof big;
        count(&had, &before);
        call_start(http, &spec);
        loop_run(l);
        assert_int_equal(s.a.status, 200);
        filled = sockets_fill();
        idle(30);
        assert_int_equal(login("/once").a.result, CALL_BROKEN);
        count(&had, &after);
        assert_int_equal(after, before + 1);
    }
    assert_int_equal(filled, 1);
}

/* What the robot may have left unread of a refused one is not before the next request. */
TEST_WITH(a_refused_logins_connection_is_not_used_again, set_up, tear_down)
{
    int before = connections();
    settle();
    assert_int_equal(login("/missing").a.status, 404);
    assert_int_equal(connections(), before + 1);
    settle();
    assert_int_equal(login("/ok").a.status, 200);
    assert_int_equal(connections(), before + 1);
}

/* Whether a log-in has a connection of its own after that time. */
static bool is_new_after(unsigned idle_ms)
{
    int before = connections();
    if (idle_ms)
        idle(idle_ms);
    struct seen s = login("/connections");
    assert_int_equal(s.a.result, CALL_ANSWERED);
    return atoi(s.body) == before + 1;
}

/* A robot that closes what is idle leaves no log-in in doubt. */
TEST_WITH(a_login_takes_no_connection_that_may_be_closing, set_up, tear_down)
{
    bool is_new_at_once = false, is_new_soon = true;
    for (unsigned i = 0; i < TURNS && !is_new_at_once; i++)
        is_new_at_once = is_new_after(0);
    assert_true(is_new_at_once);
    for (unsigned i = 0; i < TURNS && is_new_soon; i++)
        is_new_soon = is_new_after(100);
    assert_false(is_new_soon);
    assert_true(is_new_after(600));
}

static void stop_other(void *arg, struct call_answer *a)
{
    (void)a;
    call_stop(((struct seen *)arg)->call);
    loop_stop(l);
}

/* One that was stopped when it was about to be given another connection does not bring the next call to repeat. */
TEST_WITH(a_stopped_login_is_forgotten, set_up, tear_down)
{
    int had = 0, before = 0, after = 0;
    struct seen s = {0}, held = {0};
    struct call_spec login = login_of(&s, "/ok"), bad = spec_of(&s, "POST", "");
    struct call_spec hang = spec_of(&held, "GET", "/hang");
    count(&had, &before);
    bad.url = "ftp://127.0.0.1/";
    bad.done = stop_other;
    call_start(http, &bad);
    s.call = call_start(http, &login);
    loop_run(l);
    assert_int_equal(s.done, 0);
    struct robot_call *first = call_start(http, &hang); /* with the handle of the first */
    login.path = "/once";
    call_start(http, &login);
    loop_run(l);
    call_stop(first);
    count(&had, &after);
    assert_int_equal(after, before + 1);
}

static int sockets_open(void)
{
    int n = 0;
    struct sockaddr_in peer;
    for (int fd = 3; fd < 200; fd++) {
        socklen_t len = sizeof peer;
        n += getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET;
    }
    return n;
}

/* What it did to one connection it may do to the next: closes it early, or under a log-in. Those of log-ins do not
 * gather. */
TEST_WITH(a_robot_that_closes_early_gets_logins_on_new_connections, set_up, tear_down)
{
    for (unsigned i = 0; i < 2; i++) {
        uint64_t took_ms = UINT64_MAX;
        for (unsigned turn = 0; turn < TURNS && took_ms > 700; turn++) { /* later than that is not early */
            tear_down(NULL);
            set_up(NULL);
            settle();
            uint64_t began_ms = clock_ms();
            if (i == 0)
                get("/closes");
            else
                assert_int_equal(login("/once").a.result, CALL_BROKEN);
            idle(200);
            took_ms = clock_ms() - began_ms;
        }
        for (int n = 0; n < 3; n++) {
            settle();
            int before = connections();
            settle();
            struct seen s = login("/connections");
            assert_int_equal(s.a.result, CALL_ANSWERED);
            assert_int_equal(atoi(s.body), before + 1);
        }
        assert_int_equal(sockets_open(), 1);
    }
}

/* A robot that answers a log-in without reading it takes its body for the next request. */
TEST_WITH(what_a_robot_left_unread_harms_no_other_call, set_up, tear_down)
{
    for (unsigned i = 0; i < 4; i++) {
        settle();
        assert_int_equal(login("/left").a.status, 200);
        idle(50);
        struct seen s = i % 2 ? get("/ok") : login("/ok");
        assert_int_equal(s.a.result, CALL_ANSWERED);
        assert_string_equal(s.body, "{\"ok\":true}");
    }
}

static struct loop_fd *reader;

static void bytes_read(void *arg, uint32_t events)
{
    char byte;
    (void)arg, (void)events;
    for (int fd = 3; fd < 200; fd++)
        recv(fd, &byte, 1, MSG_DONTWAIT); /* only the robot's connection is a socket with a byte */
    loop_fd_remove(l, &reader);
}

static void loop_block(void *arg)
{
    (void)arg;
    usleep(100000);
}

/* What came on a connection may have been read by the time at which its event is looked at. */
TEST_WITH(an_event_that_is_over_closes_nothing, set_up, tear_down)
{
    bool is_kept = false;
    int first = eventfd(1, EFD_CLOEXEC);
    for (unsigned i = 0; i < TURNS && !is_kept; i++) {
        struct loop_timer block = {.fn = loop_block};
        tear_down(NULL);
        set_up(NULL);
        assert_int_equal(get("/byte").a.status, 200);
        idle(5); /* its event is not the first one any more */
        reader = loop_fd_add(l, first, EPOLLIN, bytes_read, NULL);
        loop_timer_in(l, &block, 0);
        idle(80);
        settle();
        int before = connections();
        settle();
        is_kept = atoi(login("/connections").body) == before;
    }
    close(first);
    assert_true(is_kept);
}

/* TLS says that it closes: these are no bytes of another answer. */
TEST_WITH(a_farewell_is_no_stray_answer, set_up, tear_down)
{
    uint64_t before = stat_get(robot_stray_answers_total);
    assert_int_equal(get("/farewell").a.status, 200);
    idle(60);
    assert_int_equal(get("/ok").a.status, 200);
    assert_int_equal(stat_get(robot_stray_answers_total), before);
}

TEST_MAIN(server_start, server_stop)
