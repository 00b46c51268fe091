/* SPDX-License-Identifier: MIT */
/* holders.c - a row for each holder that has at least one thing, found by its key. */
#include "broker/holders.h"

#include "common/check.h"
#include "common/map.h"

#include <stdlib.h>

struct holder {
    struct map_node by_key;
    uint64_t n;
};

struct holders {
    uint64_t each_max;
    struct map by_key;
};

struct holders *holders_new(uint64_t each_max)
{
    struct holders *h = xcalloc(1, sizeof *h);
    h->each_max = each_max;
    return h;
}

void holders_destroy(struct holders **hp)
{
    struct holder *one;
    if (!*hp)
        return;
    map_each(&(*hp)->by_key, one, struct holder, by_key)
        free(one);
    map_free(&(*hp)->by_key);
    free(*hp);
    *hp = NULL;
}

static struct holder *holder_find(struct holders *h, uint64_t key)
{
    return map_value(map_find(&h->by_key, key), struct holder, by_key);
}

bool holders_take(struct holders *h, uint64_t key)
{
    struct holder *one = holder_find(h, key);
    if (!one) {
        one = xcalloc(1, sizeof *one);
        map_add(&h->by_key, &one->by_key, key);
    }
    if (one->n >= h->each_max)
        return false;
    one->n++;
    return true;
}

void holders_give(struct holders *h, uint64_t key)
{
    struct holder *one = holder_find(h, key);
    if (!one || --one->n)
        return;
    map_remove(&h->by_key, &one->by_key);
    free(one);
}
