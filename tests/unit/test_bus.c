/* parts: common */
/* SPDX-License-Identifier: MIT */
/* The bus between two roles of one process: plain, then with CURVE, then under noise. */
#include "common/bus.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include "common/stat.h"
#include "tests/unit/test.h"
#include <arpa/inet.h>
#include <czmq.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 60000

/* What the two sides saw. */
struct scene {
    struct loop *loop;
    char dir[64]; /* of keys; "" = none */
    struct bus *server, *client;
    struct bus_sock *router, *dealer;
    char last_role[32], last_text[64];
    char peer[BUS_PEER_MAX];
    size_t peer_len;
    struct bus_kept *kept; /* of the latest message, if is_keeping and it could be kept */
    const char *kept_data;
    size_t kept_len;
    bool is_keeping;
    unsigned server_got, client_got, links_up, links_down, subscriptions, failed_echoes;
    bool is_echoing;
};

static struct loop_timer patience, tick;
static bool is_late;
static bool (*wanted)(struct scene *);

static void give_up(void *arg)
{
    is_late = true;
    loop_stop(arg);
}

static void look(struct scene *sc)
{
    if (wanted && wanted(sc))
        loop_stop(sc->loop);
}

/* For what changes without a callback (counters). */
static void look_again(void *arg)
{
    struct scene *sc = arg;
    look(sc);
    loop_timer_in(sc->loop, &tick, 5);
}

/* Turns the loop until cond holds; false when it does not within limit_ms. */
static bool run_until(struct scene *sc, bool (*cond)(struct scene *), unsigned limit_ms)
{
    is_late = false;
    wanted = cond;
    patience.fn = give_up;
    patience.arg = sc->loop;
    loop_timer_in(sc->loop, &patience, limit_ms);
    tick.fn = look_again;
    tick.arg = sc;
    loop_timer_in(sc->loop, &tick, 0);
    loop_run(sc->loop);
    loop_timer_stop(sc->loop, &patience);
    loop_timer_stop(sc->loop, &tick);
    wanted = NULL;
    return !is_late;
}

static struct bus_frame text_frame(const char *s)
{
    return (struct bus_frame){s, strlen(s)};
}

static void on_server(void *arg, const void *peer, size_t peer_len, const char *role,
                      const struct bus_frame *frames, unsigned n)
{
    struct scene *sc = arg;
    sc->server_got++;
    snprintf(sc->last_role, sizeof sc->last_role, "%s", role);
    snprintf(sc->last_text, sizeof sc->last_text, "%.*s", (int)frames[n - 1].len,
             (const char *)frames[n - 1].data);
    memcpy(sc->peer, peer, peer_len);
    sc->peer_len = peer_len;
    if (sc->is_keeping) {
        bus_kept_free(&sc->kept);
        sc->kept_data = frames[n - 1].data;
        sc->kept_len = frames[n - 1].len;
        sc->kept = bus_keep(sc->server, frames[n - 1].data);
        assert_null(bus_keep(sc->server, (const char *)frames[n - 1].data + 1));
    }
    if (sc->is_echoing && bus_send(sc->router, peer, peer_len, frames, n) != 0)
        sc->failed_echoes++;
    look(sc);
}

static void on_client(void *arg, const void *peer, size_t peer_len, const char *role,
                      const struct bus_frame *frames, unsigned n)
{
    struct scene *sc = arg;
    assert_null(peer);
    assert_int_equal(peer_len, 0);
    sc->client_got++;
    snprintf(sc->last_role, sizeof sc->last_role, "%s", role);
    snprintf(sc->last_text, sizeof sc->last_text, "%.*s", (int)frames[n - 1].len,
             (const char *)frames[n - 1].data);
    look(sc);
}

static void on_link(void *arg, bool is_up)
{
    struct scene *sc = arg;
    if (is_up)
        sc->links_up++;
    else
        sc->links_down++;
    look(sc);
}

static bool is_up(struct scene *sc)
{
    return sc->links_up > 0;
}

static bool is_down(struct scene *sc)
{
    return sc->links_down > 0;
}

static bool server_has_one(struct scene *sc)
{
    return sc->server_got > 0;
}

static bool client_has_one(struct scene *sc)
{
    return sc->client_got > 0;
}

static bool is_subscribed(struct scene *sc)
{
    return sc->subscriptions > 0;
}

static bool never(struct scene *sc)
{
    (void)sc;
    return false;
}

/* --- keys ---------------------------------------------------------------------------------------------------- */

static void make_key(const char *dir, const char *role, const char *allow_as, const char *metadata_role)
{
    char path[128];
    zcert_t *cert = zcert_new();
    assert_non_null(cert);
    if (metadata_role)
        zcert_set_meta(cert, "role", "%s", metadata_role);
    snprintf(path, sizeof path, "%s/%s.key", dir, role);
    assert_int_equal(zcert_save(cert, path), 0);
    if (allow_as) {
        snprintf(path, sizeof path, "%s/allow/%s.key", dir, allow_as);
        assert_int_equal(zcert_save_public(cert, path), 0);
    }
    zcert_destroy(&cert);
}

static void make_dir(struct scene *sc)
{
    char path[96];
    strcpy(sc->dir, "/tmp/test_bus.XXXXXX");
    assert_non_null(mkdtemp(sc->dir));
    snprintf(path, sizeof path, "%s/allow", sc->dir);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void remove_dir(const char *dir)
{
    static const char *const names[] = {"broker.key",
                                        "broker.key_secret",
                                        "dispatcher.key",
                                        "healthd.key",
                                        "dispatcher.key_secret",
                                        "healthd.key_secret",
                                        "allow/ctl.key",
                                        "allow/dispatcher-one.key",
                                        "allow/dispatcher.key",
                                        "allow/robot.key",
                                        "allow"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        remove(path);
    }
    assert_int_equal(rmdir(dir), 0);
}

/* --- the scene ----------------------------------------------------------------------------------------------- */

static struct bus *new_bus(struct scene *sc, enum conf_owner role)
{
    struct conf conf = {.role = role, .curve_dir = sc->dir[0] ? sc->dir : NULL};
    struct bus *b = bus_new(sc->loop, &conf);
    assert_non_null(b);
    return b;
}

static int set_up(void **state)
{
    struct scene *sc = calloc(1, sizeof *sc);
    log_open("test_bus", LOG_ERROR);
    sc->loop = loop_new();
    memset(&stat_own, 0, sizeof stat_own);
    *state = sc;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *sc = *state;
    bus_destroy(&sc->client);
    bus_destroy(&sc->server);
    loop_destroy(&sc->loop);
    if (sc->dir[0])
        remove_dir(sc->dir);
    free(sc);
    return 0;
}

static void start_server(struct scene *sc)
{
    sc->server = new_bus(sc, CONF_BROKER);
    sc->router = bus_bind(sc->server, BUS_ROUTER, "tcp://127.0.0.1:*", on_server, sc);
    assert_non_null(sc->router);
    assert_null(strchr(bus_endpoint(sc->router), '*'));
}

static void start_client(struct scene *sc)
{
    sc->client = new_bus(sc, CONF_DISPATCHER);
    sc->dealer = bus_connect(sc->client, BUS_DEALER, bus_endpoint(sc->router), "broker", on_client, sc);
    assert_non_null(sc->dealer);
    bus_on_link(sc->dealer, on_link, sc);
}

static int send_text(struct bus_sock *s, const char *text)
{
    struct bus_frame f[] = {text_frame("head"), text_frame(text)};
    return bus_send(s, NULL, 0, f, 2);
}

/* --- plain --------------------------------------------------------------------------------------------------- */

static void start_pair(struct scene *sc)
{
    start_server(sc);
    start_client(sc);
    assert_true(run_until(sc, is_up, PATIENCE_MS));
}

TEST_WITH(test_round_trip_without_curve, set_up, tear_down)
{
    struct scene *sc = *state;
    start_pair(sc);
    sc->is_echoing = true;
    assert_int_equal(send_text(sc->dealer, "hello"), 0);
    assert_true(run_until(sc, client_has_one, PATIENCE_MS));
    assert_string_equal(sc->last_text, "hello");
    assert_string_equal(sc->last_role, "");
    assert_true(bus_peer_is(sc->server, "", "dispatcher"));
    assert_int_equal(stat_get(bus_messages_in_total), 2);
    assert_int_equal(stat_get(bus_messages_out_total), 2);
}

TEST_WITH(test_unknown_peer_is_unreachable, set_up, tear_down)
{
    struct scene *sc = *state;
    start_server(sc);
    struct bus_frame f = text_frame("x");
    assert_int_equal(bus_send(sc->router, "nobody", 6, &f, 1), -EHOSTUNREACH);
    start_client(sc);
    assert_true(run_until(sc, is_up, PATIENCE_MS));
    assert_int_equal(send_text(sc->dealer, "hello"), 0);
    assert_true(run_until(sc, server_has_one, PATIENCE_MS));
    assert_int_equal(bus_send(sc->router, sc->peer, sc->peer_len, &f, 1), 0);
    bus_on_link(sc->router, on_link, sc);
    bus_close(&sc->dealer);
    assert_true(run_until(sc, is_down, PATIENCE_MS));
    assert_int_equal(bus_send(sc->router, sc->peer, sc->peer_len, &f, 1), -EHOSTUNREACH);
}

TEST_WITH(test_dealer_without_connection_refuses, set_up, tear_down)
{
    struct scene *sc = *state;
    start_pair(sc);
    assert_int_equal(send_text(sc->dealer, "one"), 0);
    assert_true(run_until(sc, server_has_one, PATIENCE_MS));
    bus_close(&sc->router);
    assert_true(run_until(sc, is_down, PATIENCE_MS));
    assert_int_equal(send_text(sc->dealer, "two"), -EAGAIN);
    /* A payload that was not taken is still ours, and one that was is libzmq's. */
    char *payload = xstrdup("payload");
    struct bus_frame f[] = {text_frame("head"), text_frame(payload)};
    assert_int_equal(bus_send_take(sc->dealer, NULL, 0, f, 2), -EAGAIN);
    assert_int_equal(bus_send_take(sc->dealer, NULL, 0, f + 1, 1), -EAGAIN);
    assert_string_equal(payload, "payload");
    free(payload);
}

static bool has_a_hundred(struct scene *sc)
{
    return sc->server_got >= 100;
}

TEST_WITH(test_payloads_are_taken_over, set_up, tear_down)
{
    struct scene *sc = *state;
    start_pair(sc);
    for (int i = 0; i < 100; i++) {
        size_t len = (size_t)i * 10000 + 1;
        char *payload = xcalloc(len, 1);
        struct bus_frame f[] = {text_frame("head"), {payload, len}};
        assert_int_equal(bus_send_take(sc->dealer, NULL, 0, f, 2), 0);
    }
    assert_true(run_until(sc, has_a_hundred, PATIENCE_MS));
}

static bool has_one(struct scene *sc)
{
    return sc->server_got >= 1;
}

TEST_WITH(test_a_large_frame_is_kept_without_a_copy, set_up, tear_down)
{
    struct scene *sc = *state;
    start_pair(sc);
    assert_null(bus_keep(sc->server, "no message is being delivered"));
    sc->is_keeping = true;
    char *payload = xmalloc(300000);
    memset(payload, 'k', 300000);
    struct bus_frame f[] = {text_frame("head"), {payload, 300000}};
    assert_int_equal(bus_send_take(sc->dealer, NULL, 0, f, 2), 0);
    assert_true(run_until(sc, has_one, PATIENCE_MS));
    assert_non_null(sc->kept);
    assert_int_equal(sc->kept_len, 300000);
    assert_true(sc->kept_data[0] == 'k' && memcmp(sc->kept_data, sc->kept_data + 1, 299999) == 0);
    sc->server_got = 0;
    assert_int_equal(send_text(sc->dealer, "small"), 0);
    assert_true(run_until(sc, has_one, PATIENCE_MS));
    assert_null(sc->kept);
    sc->is_keeping = false;
}

static bool has_malformed(struct scene *sc)
{
    (void)sc;
    return stat_get(bus_malformed_total) >= 1;
}

/* Our own sends cannot break the rule, a raw socket of another implementation can. */
TEST_WITH(test_too_many_frames_are_dropped, set_up, tear_down)
{
    struct scene *sc = *state;
    start_server(sc);
    zsock_t *raw = zsock_new(ZMQ_DEALER);
    assert_int_equal(zsock_connect(raw, "%s", bus_endpoint(sc->router)), 0);
    zmsg_t *msg = zmsg_new();
    for (int i = 0; i < 30; i++)
        zmsg_addstr(msg, "x");
    zmsg_send(&msg, raw);
    assert_true(run_until(sc, has_malformed, PATIENCE_MS));
    assert_int_equal(sc->server_got, 0);
    zstr_send(raw, "good");
    assert_true(run_until(sc, server_has_one, PATIENCE_MS));
    assert_string_equal(sc->last_text, "good");
    zsock_destroy(&raw);
}

static void on_subscription(void *arg, const void *peer, size_t peer_len, const char *role,
                            const struct bus_frame *frames, unsigned n)
{
    struct scene *sc = arg;
    (void)peer;
    (void)peer_len;
    (void)role;
    assert_int_equal(n, 1);
    assert_int_equal(frames[0].len, 1);
    if (((const char *)frames[0].data)[0] == 1)
        sc->subscriptions++;
    struct bus_frame f[] = {text_frame("full"), text_frame("state")};
    assert_int_equal(bus_send(sc->router, NULL, 0, f, 2), 0);
    look(sc);
}

static bool is_subscribed_twice(struct scene *sc)
{
    return sc->subscriptions == 2;
}

TEST_WITH(test_each_subscription_arrives, set_up, tear_down)
{
    struct scene *sc = *state;
    sc->server = new_bus(sc, CONF_HEALTHD);
    sc->router = bus_bind(sc->server, BUS_XPUB, "tcp://127.0.0.1:*", on_subscription, sc);
    assert_non_null(sc->router);
    char *unheard = xstrdup("nobody listens: dropped, and freed");
    struct bus_frame f = text_frame(unheard);
    assert_int_equal(bus_send_take(sc->router, NULL, 0, &f, 1), 0);
    sc->client = new_bus(sc, CONF_DISPATCHER);
    sc->dealer = bus_connect(sc->client, BUS_SUB, bus_endpoint(sc->router), "healthd", on_client, sc);
    assert_true(run_until(sc, is_subscribed, PATIENCE_MS));
    assert_true(run_until(sc, client_has_one, PATIENCE_MS));
    assert_string_equal(sc->last_text, "state");
    struct bus_sock *second = bus_connect(sc->client, BUS_SUB, bus_endpoint(sc->router), "healthd", on_client, sc);
    assert_true(run_until(sc, is_subscribed_twice, PATIENCE_MS));
    bus_close(&second);
}

/* --- CURVE --------------------------------------------------------------------------------------------------- */

static void make_keys(struct scene *sc, const char *allow_as, const char *metadata_role)
{
    make_dir(sc);
    make_key(sc->dir, "broker", NULL, NULL);
    make_key(sc->dir, "dispatcher", allow_as, metadata_role);
}

TEST_WITH(test_curve_round_trip_with_role, set_up, tear_down)
{
    struct scene *sc = *state;
    make_keys(sc, "dispatcher-one", NULL);
    start_pair(sc);
    assert_int_equal(send_text(sc->dealer, "hello"), 0);
    assert_true(run_until(sc, server_has_one, PATIENCE_MS));
    assert_string_equal(sc->last_role, "dispatcher");
    assert_true(bus_peer_is(sc->server, sc->last_role, "dispatcher"));
    assert_false(bus_peer_is(sc->server, sc->last_role, "healthd"));
    assert_false(bus_peer_is(sc->server, "", "dispatcher"));
    struct bus_frame f = text_frame("back");
    assert_int_equal(bus_send(sc->router, sc->peer, sc->peer_len, &f, 1), 0);
    assert_true(run_until(sc, client_has_one, PATIENCE_MS));
    assert_string_equal(sc->last_role, "broker");
    assert_int_equal(stat_get(bus_refused_total), 0);
}

TEST_WITH(test_role_of_metadata_wins, set_up, tear_down)
{
    struct scene *sc = *state;
    make_keys(sc, "robot", "healthd");
    start_pair(sc);
    assert_int_equal(send_text(sc->dealer, "hello"), 0);
    assert_true(run_until(sc, server_has_one, PATIENCE_MS));
    assert_string_equal(sc->last_role, "healthd");
}

static bool is_refused(struct scene *sc)
{
    (void)sc;
    return stat_get(bus_refused_total) > 0;
}

TEST_WITH(test_unknown_key_is_refused_until_allowed, set_up, tear_down)
{
    struct scene *sc = *state;
    make_keys(sc, NULL, NULL);
    start_server(sc);
    start_client(sc);
    assert_true(run_until(sc, is_refused, PATIENCE_MS));
    assert_int_equal(sc->links_up, 0);
    assert_int_equal(send_text(sc->dealer, "let me in"), -EAGAIN);

    char from[128], to[128];
    snprintf(from, sizeof from, "%s/dispatcher.key", sc->dir);
    snprintf(to, sizeof to, "%s/allow/dispatcher.key", sc->dir);
    assert_int_equal(link(from, to), 0);
    assert_true(run_until(sc, is_up, PATIENCE_MS)); /* re-read within 5 s, reconnect within 2 */
    assert_int_equal(send_text(sc->dealer, "thank you"), 0);
    assert_true(run_until(sc, server_has_one, PATIENCE_MS));

    /* And a removed key's next connection is refused again. */
    assert_int_equal(unlink(to), 0);
    uint64_t until = clock_ms() + PATIENCE_MS;
    while (clock_ms() < until) { /* re-read within 2 s */
        bus_close(&sc->dealer);
        memset(&stat_own, 0, sizeof stat_own);
        sc->links_up = 0;
        sc->dealer = bus_connect(sc->client, BUS_DEALER, bus_endpoint(sc->router), "broker", on_client, sc);
        bus_on_link(sc->dealer, on_link, sc);
        if (run_until(sc, is_refused, 300))
            break;
    }
    assert_true(is_refused(sc));
    assert_int_equal(sc->links_up, 0);
}

TEST_WITH(test_client_without_curve_is_not_heard, set_up, tear_down)
{
    struct scene *sc = *state;
    make_keys(sc, "dispatcher", NULL);
    start_server(sc);
    zsock_t *raw = zsock_new(ZMQ_DEALER);
    assert_int_equal(zsock_connect(raw, "%s", bus_endpoint(sc->router)), 0);
    zstr_send(raw, "plain");
    assert_false(run_until(sc, never, 300));
    assert_int_equal(sc->server_got, 0);
    zsock_destroy(&raw);
}

TEST_WITH(test_wrong_server_is_not_trusted, set_up, tear_down)
{
    struct scene *sc = *state;
    make_keys(sc, "dispatcher", NULL);
    make_key(sc->dir, "healthd", NULL, NULL);
    start_server(sc);
    sc->client = new_bus(sc, CONF_DISPATCHER);
    sc->dealer = bus_connect(sc->client, BUS_DEALER, bus_endpoint(sc->router), "healthd", on_client, sc);
    bus_on_link(sc->dealer, on_link, sc);
    assert_false(run_until(sc, is_up, 300));
    assert_int_equal(send_text(sc->dealer, "secret"), -EAGAIN);
}

/* --- noise --------------------------------------------------------------------------------------------------- */

struct noise {
    struct scene *scene;
    struct loop_timer timer;
    int fds[8];
    unsigned bytes, connections;
    uint64_t random;
};

static uint64_t noise_next(struct noise *n)
{
    n->random ^= n->random << 13;
    n->random ^= n->random >> 7;
    n->random ^= n->random << 17;
    return n->random;
}

/* Some begin with a proper ZMTP 3.1 greeting, so that the noise reaches the handshake's parser. */
static void noise_due(void *arg)
{
    static const char greeting[64] = "\xff\0\0\0\0\0\0\0\1\x7f\3\1CURVE";
    struct noise *n = arg;
    const char *port = strrchr(bus_endpoint(n->scene->router), ':') + 1;
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (unsigned i = 0; i < 8; i++) {
        if (n->fds[i] >= 0 && noise_next(n) % 3 == 0) {
            close(n->fds[i]);
            n->fds[i] = -1;
        }
        if (n->fds[i] < 0) {
            n->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            assert_int_equal(connect(n->fds[i], (struct sockaddr *)&to, sizeof to), 0);
            n->connections++;
            if (noise_next(n) % 2)
                send(n->fds[i], greeting, sizeof greeting, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        char bytes[512];
        size_t len = noise_next(n) % sizeof bytes;
        for (size_t j = 0; j < len; j++)
            bytes[j] = (char)noise_next(n);
        ssize_t sent = send(n->fds[i], bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        n->bytes += sent > 0 ? (unsigned)sent : 0;
    }
    loop_timer_in(n->scene->loop, &n->timer, 2);
}

static bool has_three_hundred(struct scene *sc)
{
    static unsigned sent;
    if (sc->client_got >= 300) {
        sent = 0;
        return true;
    }
    if (sc->client_got >= sent) { /* one at a time: a round trip each */
        assert_int_equal(send_text(sc->dealer, "still served"), 0);
        sent++;
    }
    return false;
}

static void serve_under_noise(struct scene *sc)
{
    start_server(sc);
    bus_on_link(sc->router, NULL, NULL);
    start_client(sc);
    sc->is_echoing = true;
    assert_true(run_until(sc, is_up, PATIENCE_MS));
    struct noise n = {.scene = sc, .fds = {-1, -1, -1, -1, -1, -1, -1, -1}, .random = 88172645463325252u};
    n.timer.fn = noise_due;
    n.timer.arg = &n;
    noise_due(&n);
    for (int round = 0; round < 10; round++) {
        sc->client_got = 0;
        assert_true(run_until(sc, has_three_hundred, PATIENCE_MS));
        assert_false(run_until(sc, never, 20));
    }
    loop_timer_stop(sc->loop, &n.timer);
    for (unsigned i = 0; i < 8; i++)
        close(n.fds[i]);
    assert_true(n.connections > 20 && n.bytes > 10000);
    assert_int_equal(sc->links_down, 0);
    assert_int_equal(sc->failed_echoes, 0);
    assert_int_equal(sc->server_got, 3000); /* no noise passed for a message */
    assert_string_equal(sc->last_text, "still served");
}

TEST_WITH(test_noise_on_the_port_without_curve, set_up, tear_down)
{
    serve_under_noise(*state);
}

TEST_WITH(test_noise_on_the_port_with_curve, set_up, tear_down)
{
    struct scene *sc = *state;
    make_keys(sc, "dispatcher", NULL);
    serve_under_noise(sc);
}

/* --- failures to start --------------------------------------------------------------------------------------- */

TEST_WITH(test_bad_endpoints_and_keys_are_told, set_up, tear_down)
{
    struct scene *sc = *state;
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC), saved = dup(STDERR_FILENO);
    dup2(quiet, STDERR_FILENO);
    start_server(sc);
    assert_null(bus_bind(sc->server, BUS_ROUTER, bus_endpoint(sc->router), on_server, sc));
    assert_null(bus_bind(sc->server, BUS_ROUTER, "nonsense", on_server, sc));
    assert_null(bus_connect(sc->server, BUS_DEALER, "tcp://", "broker", on_client, sc));
    make_dir(sc);
    struct conf conf = {.role = CONF_DISPATCHER, .curve_dir = sc->dir};
    assert_null(bus_new(sc->loop, &conf));
    make_key(sc->dir, "dispatcher", NULL, NULL);
    struct bus *b = bus_new(sc->loop, &conf);
    assert_non_null(b);
    assert_null(bus_connect(b, BUS_DEALER, bus_endpoint(sc->router), "broker", on_client, sc));
    bus_destroy(&b);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(quiet);
}

TEST_MAIN(NULL, NULL)
