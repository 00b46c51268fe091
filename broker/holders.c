/* SPDX-License-Identifier: MIT */
/* holders.c - a row for each holder that has something, found by a keyed hash: nobody outside chooses the rows. */
#include "broker/holders.h"

#include "common/check.h"

#include <sodium.h>
#include <stdlib.h>

#define BUCKETS 4096

struct holder {
    struct holder *next;
    uint64_t key, n;
};

struct holders {
    uint64_t each_max;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct holder *bucket[BUCKETS];
};

struct holders *holders_new(uint64_t each_max)
{
    struct holders *h = xcalloc(1, sizeof *h);
    h->each_max = each_max;
    randombytes_buf(h->hash_key, sizeof h->hash_key);
    return h;
}

void holders_destroy(struct holders **hp)
{
    for (unsigned i = 0; *hp && i < BUCKETS; i++)
        while ((*hp)->bucket[i]) {
            struct holder *one = (*hp)->bucket[i];
            (*hp)->bucket[i] = one->next;
            free(one);
        }
    free(*hp);
    *hp = NULL;
}

/* Where the row of `key` hangs, or would. */
static struct holder **place_of(struct holders *h, uint64_t key)
{
    uint8_t hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, (const uint8_t *)&key, sizeof key, h->hash_key);
    struct holder **at = &h->bucket[(hash[0] | hash[1] << 8) % BUCKETS];
    while (*at && (*at)->key != key)
        at = &(*at)->next;
    return at;
}

bool holders_take(struct holders *h, uint64_t key)
{
    struct holder **at = place_of(h, key);
    if (!*at) {
        *at = xcalloc(1, sizeof **at);
        (*at)->key = key;
    }
    if ((*at)->n >= h->each_max)
        return false;
    (*at)->n++;
    return true;
}

void holders_give(struct holders *h, uint64_t key)
{
    struct holder **at = place_of(h, key), *one = *at;
    if (!one || --one->n)
        return;
    *at = one->next;
    free(one);
}
