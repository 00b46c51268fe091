/* SPDX-License-Identifier: MIT */
/*
 * fairq.h - a bounded queue that is fair between companies: deficit round
 * robin (Shreedhar and Varghese, 1996). Items are intrusive; every operation is
 * O(1). It refuses when it is full, it never drops.
 */
#ifndef CHASQUI_FAIRQ_H
#define CHASQUI_FAIRQ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define FAIRQ_COST_MAX 4 /* also the quantum: each visit of a company can serve any one item */

struct fairq;
struct fairq_flow;

struct fairq_item {          /* zero-initialised; owned by whoever pushes it, not moved while queued */
    struct fairq_flow *flow; /* NULL = not queued */
    TAILQ_ENTRY(fairq_item) in_flow, by_age;
    unsigned cost;
};

struct fairq *fairq_new(uint64_t max_depth);
void fairq_destroy(struct fairq **qp); /* forgets what is queued */

/* To the end of the flow `key`; `cost` 1 to FAIRQ_COST_MAX. false = full. */
bool fairq_push(struct fairq *q, struct fairq_item *it, uint64_t key, unsigned cost);
/* To the front of everything, also beyond the depth: for what was taken out before and came back. */
void fairq_return(struct fairq *q, struct fairq_item *it);
/* The next in turn, taken out; NULL when empty. */
struct fairq_item *fairq_pop(struct fairq *q);
/* Takes out an item that is queued; no-op when it is not. */
void fairq_remove(struct fairq *q, struct fairq_item *it);

uint64_t fairq_depth(const struct fairq *q);
uint64_t fairq_flows(const struct fairq *q);
/* The one that has waited longest; NULL when empty. */
struct fairq_item *fairq_oldest(const struct fairq *q);

#endif
