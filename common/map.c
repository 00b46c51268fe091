/* SPDX-License-Identifier: MIT */
/* map.c - a hash table with chains. It grows by four when it holds twice as many values as buckets. Owns its
 * table. See map.h. */
#include "common/map.h"

#include "common/check.h"
#include "common/id.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#define FIRST_BUCKETS 64

static uint8_t secret[crypto_shorthash_KEYBYTES];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void secret_make(void)
{
    id_random(secret, sizeof secret);
}

uint64_t map_hash(const void *fields, size_t len)
{
    uint64_t hash;
    pthread_once(&secret_once, secret_make);
    crypto_shorthash((uint8_t *)&hash, fields, len, secret);
    return hash;
}

static size_t bucket_of(uint64_t key, size_t n_buckets)
{
    return map_hash(&key, sizeof key) & (n_buckets - 1);
}

static void grow(struct map *m)
{
    size_t n = m->n_buckets ? m->n_buckets * 4 : FIRST_BUCKETS;
    struct map_node **bucket = xcalloc(n, sizeof(*bucket));
    for (size_t i = 0; i < m->n_buckets; i++)
        for (struct map_node *node = m->bucket[i], *next; node; node = next) {
            struct map_node **at = &bucket[bucket_of(node->key, n)];
            next = node->next;
            node->next = *at;
            *at = node;
        }
    free(m->bucket);
    m->bucket = bucket;
    m->n_buckets = n;
}

void map_add(struct map *m, struct map_node *node, uint64_t key)
{
    if (m->n++ >= m->n_buckets * 2)
        grow(m);
    struct map_node **at = &m->bucket[bucket_of(key, m->n_buckets)];
    node->key = key;
    node->next = *at;
    *at = node;
}

void map_remove(struct map *m, struct map_node *node)
{
    struct map_node **at = &m->bucket[bucket_of(node->key, m->n_buckets)];
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    node->next = NULL;
    m->n--;
}

struct map_node *map_find(const struct map *m, uint64_t key)
{
    struct map_node *node = m->n ? m->bucket[bucket_of(key, m->n_buckets)] : NULL;
    while (node && node->key != key)
        node = node->next;
    return node;
}

struct map_node *map_find_next(const struct map_node *node)
{
    struct map_node *next = node->next;
    while (next && next->key != node->key)
        next = next->next;
    return next;
}

static struct map_node *first_from(const struct map *m, size_t i)
{
    while (i < m->n_buckets && !m->bucket[i])
        i++;
    return i < m->n_buckets ? m->bucket[i] : NULL;
}

struct map_node *map_first(const struct map *m)
{
    return m->n ? first_from(m, 0) : NULL;
}

struct map_node *map_next(const struct map *m, const struct map_node *node)
{
    return node->next ? node->next : first_from(m, bucket_of(node->key, m->n_buckets) + 1);
}

void map_free(struct map *m)
{
    free(m->bucket);
    *m = (struct map){0};
}
