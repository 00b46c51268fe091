/* SPDX-License-Identifier: MIT */
/*
 * fairq.h - a bounded queue that is fair between companies: deficit round robin (Shreedhar and Varghese, 1996).
 * Items are intrusive; every operation is O(1). A full queue refuses new items and never drops one.
 */
#ifndef CHASQUI_FAIRQ_H
#define CHASQUI_FAIRQ_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define FAIRQ_COST_MAX 4 /* also the quantum: any one item can be served at each visit of a company */

struct fairq;
struct fairq_flow;

struct fairq_item {          /* zero-initialised; owned by the caller, must not move while queued */
    struct fairq_flow *flow; /* NULL = not queued */
    TAILQ_ENTRY(fairq_item) in_flow, by_age;
    unsigned cost;
};

struct fairq *fairq_new(uint64_t max_depth);
void fairq_destroy(struct fairq **qp); /* forgets the queued items */

/* Appends to the flow `key`; `cost` 1 to FAIRQ_COST_MAX. false = full. */
bool fairq_push(struct fairq *q, struct fairq_item *it, uint64_t key, unsigned cost);
/* Puts an item in front of all others, even beyond the depth: for an item that was popped before and came back. */
void fairq_return(struct fairq *q, struct fairq_item *it);
/* Removes and returns the next item in turn; NULL when empty. */
struct fairq_item *fairq_pop(struct fairq *q);
/* Removes a queued item; no-op when it is not queued. */
void fairq_remove(struct fairq *q, struct fairq_item *it);

uint64_t fairq_depth(const struct fairq *q);
uint64_t fairq_flows(const struct fairq *q);
/* The item that has waited longest; NULL when empty. */
struct fairq_item *fairq_oldest(const struct fairq *q);

#endif
