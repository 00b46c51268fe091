/* SPDX-License-Identifier: MIT */
/*
 * heap.h - a binary min-heap of intrusive timers. Each timer knows its place, so moving and removing one costs
 * O(log n).
 */
#ifndef CHASQUI_HEAP_H
#define CHASQUI_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_item {
    uint64_t key; /* smallest first */
    size_t place; /* 1-based index in the heap, 0 = not in it; owned by the heap */
};

struct heap {
    struct heap_item **items; /* [1..len] */
    size_t len, room;
};

void heap_set(struct heap *h, struct heap_item *it, uint64_t key); /* insert or move */
void heap_remove(struct heap *h, struct heap_item *it);            /* no-op when not in it */
struct heap_item *heap_min(const struct heap *h);                  /* NULL when empty */
void heap_free(struct heap *h);

#endif
