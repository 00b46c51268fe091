/* parts: broker */
/* SPDX-License-Identifier: MIT */
#include "broker/strangers.h"

#include "tests/unit/test.h"
#include <arpa/inet.h>
#include <netinet/in.h>

static void from(struct stranger *one, const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        stranger_from(one, (struct sockaddr *)&in, one);
    else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
        stranger_from(one, (struct sockaddr *)&in6, one);
}

TEST(test_the_eldest_of_an_address_gives_way)
{
    struct strangers *s = strangers_new(2);
    struct stranger one[5];
    for (unsigned i = 0; i < 4; i++)
        from(&one[i], "10.0.0.1");
    from(&one[4], "10.0.0.2");
    assert_null(strangers_come(s, &one[0]));
    assert_null(strangers_come(s, &one[4]));
    assert_null(strangers_come(s, &one[1]));
    assert_ptr_equal(strangers_come(s, &one[2]), &one[0]);
    strangers_leave(s, &one[0]); /* has left already */
    strangers_leave(s, &one[1]);
    assert_null(strangers_come(s, &one[1]));
    assert_ptr_equal(strangers_come(s, &one[3]), &one[2]);
    strangers_return(s, &one[2]); /* spared: it is the newest now, and one too many */
    assert_int_equal(strangers_count(s), 4);
    strangers_leave(s, &one[2]);
    assert_int_equal(strangers_count(s), 3);
    assert_ptr_equal(strangers_shed(s), &one[4]);
    assert_ptr_equal(strangers_shed(s), &one[1]);
    assert_ptr_equal(strangers_shed(s), &one[3]);
    assert_null(strangers_shed(s));
    strangers_destroy(&s);
}

TEST(test_a_network_of_ipv6_is_one_address)
{
    struct strangers *s = strangers_new(1);
    struct stranger one[5];
    static const char *const text[] = {"2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1", "10.0.0.1",
                                       "::ffff:10.0.0.1"};
    for (unsigned i = 0; i < 5; i++)
        from(&one[i], text[i]);
    assert_null(strangers_come(s, &one[0]));
    assert_ptr_equal(strangers_come(s, &one[1]), &one[0]);
    assert_null(strangers_come(s, &one[2]));
    assert_null(strangers_come(s, &one[3]));
    assert_ptr_equal(strangers_come(s, &one[4]), &one[3]);
    while (strangers_shed(s))
        ;
    strangers_destroy(&s);
}

TEST(test_thousands_come_and_go)
{
    enum { N = 20000 };
    struct strangers *s = strangers_new(3);
    struct stranger *one = calloc(N, sizeof *one);
    char text[32];
    unsigned n_cut = 0;
    for (unsigned i = 0; i < N; i++) {
        snprintf(text, sizeof text, "10.%u.%u.1", i % 7, i % 211);
        from(&one[i], text);
        n_cut += strangers_come(s, &one[i]) != NULL;
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

TEST_MAIN(NULL, NULL)
