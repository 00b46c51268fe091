/* parts: broker */
/* SPDX-License-Identifier: MIT */
#include "broker/strangers.h"

#include "tests/unit/test.h"
#include <arpa/inet.h>
#include <netinet/in.h>

#define NOW UINT64_C(1000000)

static void from(struct stranger *one, const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        stranger_from(one, (struct sockaddr *)&in, one);
    else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
        stranger_from(one, (struct sockaddr *)&in6, one);
}

static void all_from(struct stranger *one, unsigned n, const char *text)
{
    for (unsigned i = 0; i < n; i++)
        from(&one[i], text);
}

static struct stranger *has_left;
static unsigned n_asked, n_stay;

/* The first n_stay that are asked stay. */
static bool leaves(void *owner)
{
    if (n_asked++ < n_stay)
        return false;
    has_left = owner;
    return true;
}

static struct stranger *come(struct strangers *s, struct stranger *one, uint64_t now_ms)
{
    has_left = NULL;
    n_asked = 0;
    strangers_come(s, one, now_ms, leaves);
    return has_left;
}

static struct stranger *shed(struct strangers *s)
{
    has_left = NULL;
    n_asked = 0;
    bool has_shed = strangers_shed(s, leaves);
    assert_int_equal(has_shed, has_left != NULL);
    return has_left;
}

static void sweep(struct strangers *s, uint64_t now_ms)
{
    n_asked = 0;
    strangers_sweep(s, now_ms, leaves);
}

TEST(test_the_eldest_of_an_address_gives_way)
{
    struct strangers *s = strangers_new(2, 0);
    struct stranger one[5];
    all_from(one, 4, "10.0.0.1");
    from(&one[4], "10.0.0.2");
    assert_null(come(s, &one[0], NOW));
    assert_null(come(s, &one[4], NOW));
    assert_null(come(s, &one[1], NOW));
    assert_ptr_equal(come(s, &one[2], NOW), &one[0]);
    strangers_leave(s, &one[0]); /* has left already */
    strangers_leave(s, &one[1]);
    assert_null(come(s, &one[1], NOW));
    assert_ptr_equal(come(s, &one[3], NOW), &one[2]);
    n_stay = 1;
    assert_ptr_equal(come(s, &one[0], NOW), &one[3]); /* the oldest is asking: it stays where it is */
    n_stay = 0;
    assert_ptr_equal(come(s, &one[3], NOW), &one[1]);
    strangers_leave(s, &one[0]);
    assert_int_equal(strangers_count(s), 2);
    n_stay = 1;
    assert_ptr_equal(shed(s), &one[3]);
    assert_null(shed(s));
    n_stay = 0;
    assert_ptr_equal(shed(s), &one[4]);
    assert_null(shed(s));
    strangers_destroy(&s);
}

TEST(test_a_network_of_ipv6_is_one_address)
{
    struct strangers *s = strangers_new(1, 0);
    struct stranger one[5];
    static const char *const text[] = {"2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1", "10.0.0.1",
                                       "::ffff:10.0.0.1"};
    for (unsigned i = 0; i < 5; i++)
        from(&one[i], text[i]);
    assert_null(come(s, &one[0], NOW));
    assert_ptr_equal(come(s, &one[1], NOW), &one[0]);
    assert_null(come(s, &one[2], NOW));
    assert_null(come(s, &one[3], NOW));
    assert_ptr_equal(come(s, &one[4], NOW), &one[3]);
    while (shed(s))
        ;
    strangers_destroy(&s);
}

TEST(test_thousands_come_and_go)
{
    enum { N = 20000 };
    struct strangers *s = strangers_new(3, 0);
    struct stranger *one = calloc(N, sizeof *one);
    char text[32];
    unsigned n_cut = 0;
    for (unsigned i = 0; i < N; i++) {
        snprintf(text, sizeof text, "10.%u.%u.1", i % 7, i % 211);
        from(&one[i], text);
        n_cut += come(s, &one[i], NOW) != NULL;
        if (i % 3 == 0)
            strangers_leave(s, &one[rand() % (int)(i + 1)]);
    }
    assert_true(n_cut > N / 3 && strangers_count(s) <= 3 * 7 * 211);
    for (unsigned i = 0; i < N; i++)
        strangers_leave(s, &one[i]);
    assert_int_equal(strangers_count(s), 0);
    strangers_destroy(&s);
    free(one);
}

/* One moment's connections of a proxy: twice as many are let in, and those that have asked nothing a moment later go. */
TEST(test_young_ones_may_be_more)
{
    struct strangers *s = strangers_new(2, 1000);
    struct stranger one[7];
    all_from(one, 7, "10.0.0.1");
    from(&one[5], "10.0.0.9");
    for (unsigned i = 0; i < 4; i++)
        assert_null(come(s, &one[i], NOW + i));
    assert_null(come(s, &one[5], NOW + 4));
    assert_ptr_equal(come(s, &one[4], NOW + 5), &one[0]);
    sweep(s, NOW + 1000); /* one[1] is young still */
    assert_int_equal(strangers_count(s), 5);
    n_stay = 2;
    sweep(s, NOW + 9000); /* the two oldest are asking: no others leave instead */
    assert_int_equal(strangers_count(s), 5);
    assert_int_equal(n_asked, 2);
    n_stay = 0;
    sweep(s, NOW + 1002);
    assert_int_equal(strangers_count(s), 3);
    assert_null(one[1].at);
    assert_null(one[2].at);
    assert_ptr_equal(come(s, &one[6], NOW + 1003), &one[3]); /* the oldest is no longer young */
    sweep(s, NOW + 9000);
    assert_int_equal(strangers_count(s), 3);
    assert_int_equal(n_asked, 0);
    sweep(NULL, NOW);
    while (shed(s))
        ;
    strangers_destroy(&s);
}

TEST_MAIN(NULL, NULL)
