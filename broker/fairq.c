/* SPDX-License-Identifier: MIT */
/*
 * fairq.c - flows in a ring, each with its items and its deficit.
 *
 * A flow exists while it has items. The ring's first flow is being served. It gets FAIRQ_COST_MAX when its turn
 * begins and is served while its deficit pays for its next item; then the next flow has its turn. Items returned
 * from a dispatcher that died wait in a flow of their own, which is served first.
 */
#include "broker/fairq.h"

#include "common/check.h"
#include "common/map.h"

#include <stdlib.h>

TAILQ_HEAD(fairq_items, fairq_item);

struct fairq_flow {
    struct map_node by_key;
    unsigned deficit;
    struct fairq_items items; /* in order of arrival */
    TAILQ_ENTRY(fairq_flow) in_ring;
};

struct fairq {
    uint64_t max_depth, depth;
    TAILQ_HEAD(fairq_ring, fairq_flow) ring; /* its first flow is being served */
    struct map flows;                        /* the ring's flows */
    struct fairq_flow returned;              /* not in the ring */
    struct fairq_items by_age;               /* oldest first */
};

struct fairq *fairq_new(uint64_t max_depth)
{
    struct fairq *q = xcalloc(1, sizeof *q);
    q->max_depth = max_depth;
    TAILQ_INIT(&q->ring);
    TAILQ_INIT(&q->returned.items);
    TAILQ_INIT(&q->by_age);
    return q;
}

/* Finds the flow of the key. A new flow is added last. */
static struct fairq_flow *flow_of(struct fairq *q, uint64_t key)
{
    struct fairq_flow *f = map_value(map_find(&q->flows, key), struct fairq_flow, by_key);
    if (f)
        return f;
    f = xcalloc(1, sizeof *f);
    f->deficit = TAILQ_EMPTY(&q->ring) ? FAIRQ_COST_MAX : 0;
    TAILQ_INIT(&f->items);
    TAILQ_INSERT_TAIL(&q->ring, f, in_ring);
    map_add(&q->flows, &f->by_key, key);
    return f;
}

static void turn_begin(struct fairq *q)
{
    if (!TAILQ_EMPTY(&q->ring))
        TAILQ_FIRST(&q->ring)->deficit += FAIRQ_COST_MAX;
}

static void turn_pass(struct fairq *q)
{
    struct fairq_flow *f = TAILQ_FIRST(&q->ring);
    TAILQ_REMOVE(&q->ring, f, in_ring);
    TAILQ_INSERT_TAIL(&q->ring, f, in_ring);
    turn_begin(q);
}

static void flow_end(struct fairq *q, struct fairq_flow *f)
{
    bool is_its_turn = f == TAILQ_FIRST(&q->ring);
    TAILQ_REMOVE(&q->ring, f, in_ring);
    map_remove(&q->flows, &f->by_key);
    free(f);
    if (is_its_turn)
        turn_begin(q);
}

static void item_link(struct fairq *q, struct fairq_flow *f, struct fairq_item *it)
{
    it->flow = f;
    TAILQ_INSERT_TAIL(&f->items, it, in_flow);
    q->depth++;
}

bool fairq_push(struct fairq *q, struct fairq_item *it, uint64_t key, unsigned cost)
{
    CHECK(!it->flow && cost >= 1 && cost <= FAIRQ_COST_MAX, "cost=%u", cost);
    if (q->depth >= q->max_depth)
        return false;
    it->cost = cost;
    item_link(q, flow_of(q, key), it);
    TAILQ_INSERT_TAIL(&q->by_age, it, by_age);
    return true;
}

void fairq_return(struct fairq *q, struct fairq_item *it)
{
    CHECK(!it->flow, "cost=%u", it->cost);
    item_link(q, &q->returned, it);
    TAILQ_INSERT_HEAD(&q->by_age, it, by_age);
}

void fairq_remove(struct fairq *q, struct fairq_item *it)
{
    struct fairq_flow *f = it->flow;
    if (!f)
        return;
    TAILQ_REMOVE(&f->items, it, in_flow);
    TAILQ_REMOVE(&q->by_age, it, by_age);
    it->flow = NULL;
    q->depth--;
    if (TAILQ_EMPTY(&f->items) && f != &q->returned)
        flow_end(q, f);
}

struct fairq_item *fairq_pop(struct fairq *q)
{
    struct fairq_item *it = TAILQ_FIRST(&q->returned.items);
    if (!it) {
        struct fairq_flow *f = TAILQ_FIRST(&q->ring);
        if (f && TAILQ_FIRST(&f->items)->cost > f->deficit) {
            turn_pass(q);
            f = TAILQ_FIRST(&q->ring);
        }
        if (!f)
            return NULL;
        it = TAILQ_FIRST(&f->items);
        f->deficit -= it->cost;
    }
    fairq_remove(q, it);
    return it;
}

uint64_t fairq_depth(const struct fairq *q)
{
    return q->depth;
}

uint64_t fairq_flows(const struct fairq *q)
{
    return q->flows.n;
}

struct fairq_item *fairq_oldest(const struct fairq *q)
{
    return TAILQ_FIRST(&q->by_age);
}

void fairq_destroy(struct fairq **qp)
{
    struct fairq *q = *qp;
    if (!q)
        return;
    *qp = NULL;
    struct fairq_flow *f;
    map_each(&q->flows, f, struct fairq_flow, by_key)
        free(f);
    map_free(&q->flows);
    free(q);
}
