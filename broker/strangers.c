/* SPDX-License-Identifier: MIT */
/*
 * strangers.c - who came first, by address and in all.
 *
 * The eldest gives way, never the newcomer: who is honest sends a request at
 * once and is no stranger while it is worked on, so many silent connections of
 * one address keep nobody out, and a proxy, whose connections come from one
 * address too, loses only what stands idle. Owns one row for each address that
 * has strangers. Rows are found by a keyed hash: nobody outside chooses them.
 */
#include "broker/strangers.h"

#include "common/check.h"
#include <netinet/in.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096

struct stranger_address {
    uint8_t key[16];
    struct stranger_address *next, **link;
    struct stranger *first, *last; /* by before and behind */
    unsigned n;
};

struct strangers {
    unsigned per_address_max;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct stranger *oldest, *youngest;
    uint64_t n;
    struct stranger_address *bucket[BUCKETS];
};

struct strangers *strangers_new(unsigned per_address_max)
{
    struct strangers *s = xcalloc(1, sizeof *s);
    s->per_address_max = per_address_max;
    randombytes_buf(s->hash_key, sizeof s->hash_key);
    return s;
}

void strangers_destroy(struct strangers **sp)
{
    if (*sp)
        CHECK(!(*sp)->n, "n=%llu", (unsigned long long)(*sp)->n);
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
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, key, 16, s->hash_key);
    struct stranger_address **bucket = &s->bucket[(hash[0] | hash[1] << 8) % BUCKETS], *a = *bucket;
    while (a && memcmp(a->key, key, 16) != 0)
        a = a->next;
    if (a)
        return a;
    a = xcalloc(1, sizeof *a);
    memcpy(a->key, key, 16);
    if ((a->next = *bucket))
        a->next->link = &a->next;
    a->link = bucket;
    *bucket = a;
    return a;
}

void strangers_leave(struct strangers *s, struct stranger *one)
{
    struct stranger_address *a = one->at;
    if (!a)
        return;
    *(one->before ? &one->before->behind : &a->first) = one->behind;
    *(one->behind ? &one->behind->before : &a->last) = one->before;
    *(one->older ? &one->older->younger : &s->oldest) = one->younger;
    *(one->younger ? &one->younger->older : &s->youngest) = one->older;
    one->at = NULL;
    s->n--;
    if (--a->n)
        return;
    if ((*a->link = a->next))
        a->next->link = a->link;
    free(a);
}

void *strangers_come(struct strangers *s, struct stranger *one)
{
    struct stranger_address *a = one->at = address_of(s, one->key);
    one->behind = one->younger = NULL;
    one->before = a->last;
    *(a->last ? &a->last->behind : &a->first) = one;
    a->last = one;
    one->older = s->youngest;
    *(s->youngest ? &s->youngest->younger : &s->oldest) = one;
    s->youngest = one;
    s->n++;
    if (++a->n <= s->per_address_max)
        return NULL;
    struct stranger *first = a->first;
    strangers_leave(s, first);
    return first->owner;
}

void *strangers_shed(struct strangers *s)
{
    struct stranger *first = s->oldest;
    if (!first)
        return NULL;
    strangers_leave(s, first);
    return first->owner;
}

uint64_t strangers_count(const struct strangers *s)
{
    return s ? s->n : 0;
}
