/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* Which addresses a robot may have. */
#include "dispatcher/robot/networks.h"

#include "tests/unit/test.h"
#include <arpa/inet.h>
#include <netinet/in.h>

static bool holds(const char *list, const char *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct networks *n = networks_new(list);
    bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
    if (!is_v4)
        assert_int_equal(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    bool held = networks_hold(n, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6);
    networks_destroy(&n);
    return held;
}

TEST(networks)
{
    assert_true(holds(NULL, "8.8.8.8"));
    assert_true(holds("", "::1"));
    assert_true(holds("10.0.0.0/8", "10.255.0.1"));
    assert_false(holds("10.0.0.0/8", "11.0.0.1"));
    assert_true(holds("10.0.0.128/25", "10.0.0.129"));
    assert_false(holds("10.0.0.128/25", "10.0.0.127"));
    assert_true(holds("192.168.1.7", "192.168.1.7"));
    assert_false(holds("192.168.1.7", "192.168.1.8"));
    assert_true(holds("fd00::/8", "fd12::1"));
    assert_false(holds("fd00::/8", "fe80::1"));
    assert_true(holds("10.0.0.0/8", "::ffff:10.0.0.1"));
    assert_false(holds("10.0.0.0/8", "::ffff:11.0.0.1"));
    assert_true(holds("0.0.0.0/0", "1.2.3.4"));
    assert_false(holds("0.0.0.0/0", "fd12::1"));
    assert_false(holds("10.0.0.0/33", "10.0.0.1"));
    assert_false(holds("nonsense, 10.0.0.0/, 10.0.0.0/8x", "10.0.0.1"));
}

TEST_MAIN(NULL, NULL)
