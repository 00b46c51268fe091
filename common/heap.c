/* SPDX-License-Identifier: MIT */
/* heap.c - binary min-heap; items[1] is the smallest, items[i]'s parent is items[i / 2]. */
#include "common/heap.h"

#include "common/check.h"
#include <stdlib.h>

static void put(struct heap *h, size_t place, struct heap_item *it)
{
    h->items[place] = it;
    it->place = place;
}

/* Moves the hole at `place` up, then down, until `it` fits, and puts it there. */
static void settle(struct heap *h, size_t place, struct heap_item *it)
{
    while (place > 1 && h->items[place / 2]->key > it->key) {
        put(h, place, h->items[place / 2]);
        place /= 2;
    }
    for (size_t child; (child = place * 2) <= h->len; place = child) {
        if (child < h->len && h->items[child + 1]->key < h->items[child]->key)
            child++;
        if (h->items[child]->key >= it->key)
            break;
        put(h, place, h->items[child]);
    }
    put(h, place, it);
}

void heap_set(struct heap *h, struct heap_item *it, uint64_t key)
{
    it->key = key;
    if (it->place) {
        CHECK(it->place <= h->len && h->items[it->place] == it, "place=%zu len=%zu", it->place, h->len);
        settle(h, it->place, it);
        return;
    }
    if (h->len + 1 >= h->room) {
        h->room = h->room ? h->room * 2 : 16;
        h->items = xrealloc(h->items, h->room * sizeof *h->items);
    }
    h->len++;
    settle(h, h->len, it);
}

void heap_remove(struct heap *h, struct heap_item *it)
{
    size_t place = it->place;
    if (!place)
        return;
    CHECK(place <= h->len && h->items[place] == it, "place=%zu len=%zu", place, h->len);
    struct heap_item *last = h->items[h->len--];
    it->place = 0;
    if (last != it)
        settle(h, place, last);
}

struct heap_item *heap_min(const struct heap *h)
{
    return h->len ? h->items[1] : NULL;
}

void heap_free(struct heap *h)
{
    free(h->items); /* the items may be freed already: never touched here */
    *h = (struct heap){0};
}
