/* SPDX-License-Identifier: MIT */
/*
 * names.c - an open-addressing table. Pure. Single names are never removed.
 */
#include "common/names.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

static uint32_t hash_of(const char *s)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    while (*s)
        h = (h ^ (uint8_t)*s++) * 16777619u;
    return h;
}

static struct names_slot *slot_of(const struct names *n, const char *name)
{
    uint32_t i = hash_of(name) & (n->room - 1);
    while (n->slots[i].name && strcmp(n->slots[i].name, name) != 0)
        i = (i + 1) & (n->room - 1);
    return &n->slots[i];
}

static void grow(struct names *n)
{
    struct names bigger = {.n = n->n, .room = n->room ? n->room * 2 : 16};
    bigger.slots = xcalloc(bigger.room, sizeof(*bigger.slots));
    for (uint32_t i = 0; i < n->room; i++)
        if (n->slots[i].name)
            *slot_of(&bigger, n->slots[i].name) = n->slots[i];
    free(n->slots);
    *n = bigger;
}

void names_add(struct names *n, const char *name, uint32_t at)
{
    if ((n->n + 1) * 2 > n->room)
        grow(n);
    struct names_slot *slot = slot_of(n, name);
    CHECK(!slot->name, "%s is there", name);
    *slot = (struct names_slot){name, at};
    n->n++;
}

uint32_t names_find(const struct names *n, const char *name)
{
    struct names_slot *slot = n->room ? slot_of(n, name) : NULL;
    return slot && slot->name ? slot->at : NAMES_NONE;
}

void names_clear(struct names *n)
{
    free(n->slots);
    *n = (struct names){0};
}
