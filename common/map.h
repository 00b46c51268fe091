/* SPDX-License-Identifier: MIT */
/*
 * map.h - values found by a number: an id, or a hash of several fields.
 *
 * Intrusive: a value holds a map_node for each map that contains it; the caller keeps owning the value. Several
 * values may have the same key; for a hash the caller compares the fields. Keys are hashed with a secret of this
 * process (SipHash), so that an outsider cannot choose which values share a bucket. Grows with its values. Not
 * thread-safe.
 */
#ifndef CHASQUI_MAP_H
#define CHASQUI_MAP_H

#include <stddef.h>
#include <stdint.h>

struct map_node {
    uint64_t key;
    struct map_node *next; /* in its bucket */
};

struct map { /* zero-initialised = empty */
    struct map_node **bucket;
    size_t n_buckets; /* a power of two, or 0 */
    size_t n;
};

void map_add(struct map *m, struct map_node *node, uint64_t key);
/* The node must be in the map. */
void map_remove(struct map *m, struct map_node *node);
/* The first value with that key, and the next one with the same key; NULL = none. */
struct map_node *map_find(const struct map *m, uint64_t key);
struct map_node *map_find_next(const struct map_node *node);
/* Walks all values, in no order. To remove while walking, use map_each(). */
struct map_node *map_first(const struct map *m);
struct map_node *map_next(const struct map *m, const struct map_node *node);
/* Forgets all values and frees the map's own memory. */
void map_free(struct map *m);
/* Makes a key of several fields: a hash that an outsider cannot choose. */
uint64_t map_hash(const void *fields, size_t len);

/* The value that contains the node as that member; NULL of NULL. */
#define map_value(node, type, member) ((type *)map_value_((node), offsetof(type, member)))
static inline void *map_value_(const struct map_node *node, size_t offset)
{
    return node ? (char *)node - offset : NULL;
}

/* Loops over the values. The body may remove and free the current value, but no other. */
#define map_each(m, v, type, member)                                                                              \
    for (struct map_node *each_ = map_first(m), *each_next_;                                                      \
         each_ && ((each_next_ = map_next((m), each_)), (v) = map_value(each_, type, member), 1);                 \
         each_ = each_next_)

#endif
