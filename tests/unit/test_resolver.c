/* parts: common */
/* SPDX-License-Identifier: MIT */
/* Against a getaddrinfo() of our own: a name says how its server behaves. */
#include "common/resolver.h"

#include "common/clock.h"
#include "tests/unit/test.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdatomic.h>
#include <unistd.h>

#define SILENT_MS 30000

static atomic_int n_asked;
static _Atomic(const char *) address = "10.0.0.1";

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    (void)service, (void)hints;
    atomic_fetch_add(&n_asked, 1);
    if (strstr(node, "silent")) {
        usleep(SILENT_MS * 1000);
        return EAI_AGAIN;
    }
    if (strstr(node, "nobody"))
        return EAI_NONAME;
    struct addrinfo *made = calloc(1, sizeof *made);
    struct sockaddr_in *in = calloc(1, sizeof *in);
    in->sin_family = AF_INET;
    inet_pton(AF_INET, atomic_load(&address), &in->sin_addr);
    *made = (struct addrinfo){.ai_family = AF_INET, .ai_addr = (struct sockaddr *)in};
    *out = made;
    return 0;
}

void freeaddrinfo(struct addrinfo *made)
{
    free(made->ai_addr);
    free(made);
}

static struct loop *l;
static struct resolver *r;
static unsigned n_left;

static int set_up(void **state)
{
    (void)state;
    l = loop_new();
    r = resolver_new(l);
    n_asked = n_left = 0;
    address = "10.0.0.1";
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    resolver_destroy(&r);
    loop_destroy(&l);
    return 0;
}

struct asker {
    struct resolver_wait wait;
    char addresses[100], why[100];
    unsigned n;
};

static void came(void *arg, const struct resolved *found, const char *why)
{
    struct asker *a = arg;
    a->n++;
    snprintf(a->addresses, sizeof a->addresses, "%s", found ? found->addresses : "");
    snprintf(a->why, sizeof a->why, "%s", found ? "" : why);
    if (!--n_left)
        loop_stop(l);
}

static void ask(struct asker *a, const char *host, uint64_t within_ms)
{
    a->wait.fn = came;
    a->wait.arg = a;
    n_left++;
    resolver_wait(r, host, within_ms, &a->wait);
}

TEST_WITH(test_addresses_need_nobody, set_up, tear_down)
{
    assert_true(resolver_is_needless("127.0.0.1"));
    assert_true(resolver_is_needless("::1"));
    assert_true(resolver_is_needless("[fe80::1%eth0]"));
    assert_true(resolver_is_needless("localhost"));
    assert_false(resolver_is_needless("robot-7"));
    assert_false(resolver_is_needless("10.0.0.1.example"));
    assert_false(resolver_is_needless(""));
}

TEST_WITH(test_one_look_up_answers_all_and_is_remembered, set_up, tear_down)
{
    struct asker a[3] = {0};
    for (unsigned i = 0; i < 3; i++)
        ask(&a[i], "robot", 5000);
    assert_null(resolver_look(r, "robot"));
    loop_run(l);
    for (unsigned i = 0; i < 3; i++)
        assert_string_equal(a[i].addresses, "10.0.0.1");
    assert_string_equal(resolver_look(r, "robot")->addresses, "10.0.0.1");
    assert_int_equal(n_asked, 1);
}

TEST_WITH(test_a_silent_server_keeps_nobody_else, set_up, tear_down)
{
    struct asker silent[20] = {0}, well = {0};
    uint64_t began = clock_ms();
    for (unsigned i = 0; i < 10; i++) {
        char host[32];
        snprintf(host, sizeof host, "silent-%u", i);
        ask(&silent[i], host, 300);
    }
    ask(&well, "robot", 10000);
    loop_run(l);
    assert_string_equal(well.addresses, "10.0.0.1");
    for (unsigned i = 0; i < 10; i++)
        assert_string_equal(silent[i].why, "the name server does not answer");
    resolver_destroy(&r);              /* nor the end */
    while (atomic_load(&n_asked) < 11) /* the next test counts its own */
        usleep(1000);
    assert_true(clock_ms() < began + SILENT_MS / 2);
}

TEST_WITH(test_a_name_that_is_not_there, set_up, tear_down)
{
    struct asker a = {0};
    ask(&a, "nobody", 5000);
    loop_run(l);
    assert_string_equal(a.addresses, "");
    assert_non_null(strstr(a.why, "not known"));
    assert_null(resolver_look(r, "nobody"));
}

static void stop(void *arg)
{
    (void)arg;
    loop_stop(l);
}

TEST_WITH(test_doubt_finds_the_new_address, set_up, tear_down)
{
    struct asker a = {0};
    struct loop_timer timer = {.fn = stop};
    ask(&a, "robot", 5000);
    loop_run(l);
    uint64_t generation = resolver_look(r, "robot")->generation;
    address = "10.0.0.2";
    for (unsigned i = 0; i < 100 && resolver_look(r, "robot")->generation == generation; i++) {
        resolver_doubt(r, "robot");
        loop_timer_in(l, &timer, 100);
        loop_run(l);
    }
    assert_string_equal(resolver_look(r, "robot")->addresses, "10.0.0.2");
    assert_true(resolver_look(r, "robot")->generation > generation);
    assert_int_equal(n_asked, 2);
}

TEST_WITH(test_who_forgets_hears_nothing, set_up, tear_down)
{
    struct asker a = {0}, b = {0};
    ask(&a, "robot", 5000);
    ask(&b, "robot", 5000);
    resolver_forget(&a.wait);
    resolver_forget(&a.wait);
    n_left--;
    loop_run(l);
    assert_int_equal(a.n, 0);
    assert_int_equal(b.n, 1);
}

TEST_MAIN(NULL, NULL)
