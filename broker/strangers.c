/* SPDX-License-Identifier: MIT */
/*
 * strangers.c - the order of arrival of connections, by address and overall.
 *
 * The oldest connection is evicted, never the newest. An honest client sends a request at once and is not a
 * stranger while the request is in flight. So many silent connections from one address shut no other client out. A
 * proxy, whose connections share one address too, loses only idle ones. Owns one row for each address that has
 * strangers.
 */
#include "broker/strangers.h"

#include "common/check.h"
#include "common/map.h"
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define ASKED_MAX 8 /* when one must leave */

TAILQ_HEAD(stranger_list, stranger);

struct stranger_address {
    struct map_node by_key; /* key: a hash of `key` */
    uint8_t key[16];
    struct stranger_list list;
    unsigned n, n_stay; /* n_stay: at the sweep of swept_ms */
    uint64_t swept_ms;
};

struct strangers {
    unsigned per_address_max, young_ms;
    struct stranger_list all;
    uint64_t n;
    struct map addresses;
};

struct strangers *strangers_new(unsigned per_address_max, unsigned young_ms)
{
    struct strangers *s = xcalloc(1, sizeof *s);
    s->per_address_max = per_address_max;
    s->young_ms = young_ms;
    TAILQ_INIT(&s->all);
    return s;
}

void strangers_destroy(struct strangers **sp)
{
    if (!*sp)
        return;
    CHECK(!(*sp)->n, "n=%llu", (unsigned long long)(*sp)->n);
    map_free(&(*sp)->addresses);
    free(*sp);
    *sp = NULL;
}

void stranger_from(struct stranger *one, const struct sockaddr *address, void *owner)
{
    *one = (struct stranger){.owner = owner};
    if (address->sa_family == AF_INET) {
        memset(one->key + 10, 0xff, 2);
        memcpy(one->key + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
        memcpy(one->key, in6, IN6_IS_ADDR_V4MAPPED(in6) ? 16 : 8);
    }
}

void stranger_owned_by(struct stranger *one, uint64_t key)
{
    CHECK(!one->at, "key=%llu", (unsigned long long)key);
    memset(one->key, 0, sizeof one->key);
    memcpy(one->key, &key, sizeof key);
}

static struct stranger_address *address_of(struct strangers *s, const uint8_t *key)
{
    uint64_t hash = map_hash(key, 16);
    struct stranger_address *a;
    for (struct map_node *n = map_find(&s->addresses, hash); n; n = map_find_next(n)) {
        a = map_value(n, struct stranger_address, by_key);
        if (memcmp(a->key, key, 16) == 0)
            return a;
    }
    a = xcalloc(1, sizeof *a);
    memcpy(a->key, key, 16);
    TAILQ_INIT(&a->list);
    map_add(&s->addresses, &a->by_key, hash);
    return a;
}

void strangers_leave(struct strangers *s, struct stranger *one)
{
    struct stranger_address *a = one->at;
    if (!a)
        return;
    TAILQ_REMOVE(&a->list, one, of_address);
    TAILQ_REMOVE(&s->all, one, of_all);
    one->at = NULL;
    s->n--;
    if (--a->n)
        return;
    map_remove(&s->addresses, &a->by_key);
    free(a);
}

static bool is_young(const struct strangers *s, const struct stranger *one, uint64_t now_ms)
{
    return now_ms < one->since_ms + s->young_ms;
}

/* The oldest of an address, or of all, of whom `leaves` is true. `come` has just come. */
static bool one_leaves(struct strangers *s, const struct stranger_address *a, const struct stranger *come,
                       stranger_leaves_fn *leaves)
{
    struct stranger *one = TAILQ_FIRST(a ? &a->list : &s->all);
    for (unsigned i = 0; one && one != come && i < ASKED_MAX; i++) {
        if (leaves(one->owner)) {
            strangers_leave(s, one);
            return true;
        }
        one = a ? TAILQ_NEXT(one, of_address) : TAILQ_NEXT(one, of_all);
    }
    return false;
}

void strangers_come(struct strangers *s, struct stranger *one, uint64_t now_ms, stranger_leaves_fn *leaves)
{
    struct stranger_address *a = one->at = address_of(s, one->key);
    one->since_ms = now_ms;
    TAILQ_INSERT_TAIL(&a->list, one, of_address);
    TAILQ_INSERT_TAIL(&s->all, one, of_all);
    s->n++;
    unsigned over = ++a->n > s->per_address_max ? a->n - s->per_address_max : 0;
    if (over && (over > s->per_address_max || !is_young(s, TAILQ_FIRST(&a->list), now_ms)))
        one_leaves(s, a, one, leaves);
}

bool strangers_shed(struct strangers *s, stranger_leaves_fn *leaves)
{
    return one_leaves(s, NULL, NULL, leaves);
}

void strangers_sweep(struct strangers *s, uint64_t now_ms, stranger_leaves_fn *leaves)
{
    struct stranger *one = s ? TAILQ_FIRST(&s->all) : NULL, *next;
    for (; one && !is_young(s, one, now_ms); one = next) {
        struct stranger_address *a = one->at;
        next = TAILQ_NEXT(one, of_all);
        if (a->swept_ms != now_ms)
            a->n_stay = 0;
        a->swept_ms = now_ms;
        if (a->n <= s->per_address_max + a->n_stay)
            continue;
        if (leaves(one->owner))
            strangers_leave(s, one);
        else
            a->n_stay++; /* it leaves the list by itself: no younger one leaves instead */
    }
}

uint64_t strangers_count(const struct strangers *s)
{
    return s ? s->n : 0;
}
