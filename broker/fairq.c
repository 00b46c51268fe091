/* SPDX-License-Identifier: MIT */
/*
 * fairq.c - flows in a ring, each with its items and its deficit.
 *
 * A flow exists while it has items. The ring's first flow is the one being
 * served: it gets FAIRQ_COST_MAX when its turn begins and is served while its
 * deficit pays for its next item; then the turn passes on. What came back from
 * a dispatcher that died waits in a flow of its own that is served first.
 */
#include "broker/fairq.h"

#include "common/check.h"
#include <stddef.h>
#include <stdlib.h>

#define FIRST_BUCKETS 256

struct fairq_flow {
    uint64_t key;
    unsigned deficit;
    struct fairq_item *first, *last;
    struct fairq_flow *prev, *next; /* the ring */
    struct fairq_flow *chain;       /* in its bucket, or among the spare ones */
};

struct fairq {
    uint64_t max_depth, depth, n_flows;
    struct fairq_flow *turn;    /* the flow being served, NULL = all flows are empty */
    struct fairq_flow returned; /* not in the ring */
    struct fairq_item *oldest, *youngest;
    struct fairq_flow **buckets;
    uint64_t n_buckets; /* a power of two */
    struct fairq_flow *spare;
};

struct fairq *fairq_new(uint64_t max_depth)
{
    struct fairq *q = xcalloc(1, sizeof *q);
    q->max_depth = max_depth;
    q->n_buckets = FIRST_BUCKETS;
    q->buckets = xcalloc(q->n_buckets, sizeof *q->buckets);
    return q;
}

static uint64_t bucket_of(uint64_t key, uint64_t n)
{
    key *= 0x9e3779b97f4a7c15u; /* Fibonacci hashing: the high bits are the mixed ones */
    return (key >> 32) & (n - 1);
}

static void buckets_grow(struct fairq *q)
{
    uint64_t n = q->n_buckets * 4;
    struct fairq_flow **buckets = xcalloc(n, sizeof *buckets);
    for (uint64_t i = 0; i < q->n_buckets; i++)
        for (struct fairq_flow *f = q->buckets[i], *next; f; f = next) {
            next = f->chain;
            f->chain = buckets[bucket_of(f->key, n)];
            buckets[bucket_of(f->key, n)] = f;
        }
    free(q->buckets);
    q->buckets = buckets;
    q->n_buckets = n;
}

/* The flow of the key; a new one is served last. */
static struct fairq_flow *flow_of(struct fairq *q, uint64_t key)
{
    struct fairq_flow *f = q->buckets[bucket_of(key, q->n_buckets)];
    while (f && f->key != key)
        f = f->chain;
    if (f)
        return f;
    if (q->n_flows >= q->n_buckets)
        buckets_grow(q);
    f = q->spare;
    if (f)
        q->spare = f->chain;
    else
        f = xmalloc(sizeof *f);
    *f = (struct fairq_flow){.key = key, .chain = q->buckets[bucket_of(key, q->n_buckets)]};
    q->buckets[bucket_of(key, q->n_buckets)] = f;
    q->n_flows++;
    if (q->turn) {
        f->next = q->turn;
        f->prev = q->turn->prev;
        f->prev->next = f->next->prev = f;
    } else {
        q->turn = f->prev = f->next = f;
        f->deficit = FAIRQ_COST_MAX;
    }
    return f;
}

static void turn_pass(struct fairq *q)
{
    q->turn = q->turn->next;
    q->turn->deficit += FAIRQ_COST_MAX;
}

static void flow_end(struct fairq *q, struct fairq_flow *f)
{
    struct fairq_flow **at = &q->buckets[bucket_of(f->key, q->n_buckets)];
    while (*at != f)
        at = &(*at)->chain;
    *at = f->chain;
    if (f->next == f) {
        q->turn = NULL;
    } else {
        if (q->turn == f)
            turn_pass(q);
        f->prev->next = f->next;
        f->next->prev = f->prev;
    }
    q->n_flows--;
    f->chain = q->spare;
    q->spare = f;
}

static void item_link(struct fairq *q, struct fairq_flow *f, struct fairq_item *it)
{
    it->flow = f;
    it->next = NULL;
    it->prev = f->last;
    *(f->last ? &f->last->next : &f->first) = it;
    f->last = it;
    q->depth++;
}

static void by_age_link(struct fairq *q, struct fairq_item *it, bool is_oldest)
{
    it->older = is_oldest ? NULL : q->youngest;
    it->younger = is_oldest ? q->oldest : NULL;
    *(it->older ? &it->older->younger : &q->oldest) = it;
    *(it->younger ? &it->younger->older : &q->youngest) = it;
}

bool fairq_push(struct fairq *q, struct fairq_item *it, uint64_t key, unsigned cost)
{
    CHECK(!it->flow && cost >= 1 && cost <= FAIRQ_COST_MAX, "cost=%u", cost);
    if (q->depth >= q->max_depth)
        return false;
    it->cost = cost;
    item_link(q, flow_of(q, key), it);
    by_age_link(q, it, false);
    return true;
}

void fairq_return(struct fairq *q, struct fairq_item *it)
{
    CHECK(!it->flow, "cost=%u", it->cost);
    item_link(q, &q->returned, it);
    by_age_link(q, it, true);
}

void fairq_remove(struct fairq *q, struct fairq_item *it)
{
    struct fairq_flow *f = it->flow;
    if (!f)
        return;
    *(it->prev ? &it->prev->next : &f->first) = it->next;
    *(it->next ? &it->next->prev : &f->last) = it->prev;
    *(it->older ? &it->older->younger : &q->oldest) = it->younger;
    *(it->younger ? &it->younger->older : &q->youngest) = it->older;
    it->flow = NULL;
    q->depth--;
    if (!f->first && f != &q->returned)
        flow_end(q, f);
}

struct fairq_item *fairq_pop(struct fairq *q)
{
    struct fairq_item *it = q->returned.first;
    if (!it) {
        if (!q->turn)
            return NULL;
        if (q->turn->first->cost > q->turn->deficit)
            turn_pass(q);
        it = q->turn->first;
        q->turn->deficit -= it->cost;
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
    return q->n_flows;
}

struct fairq_item *fairq_oldest(const struct fairq *q)
{
    return q->oldest;
}

void fairq_destroy(struct fairq **qp)
{
    struct fairq *q = *qp;
    if (!q)
        return;
    *qp = NULL;
    for (uint64_t i = 0; i < q->n_buckets; i++)
        for (struct fairq_flow *f = q->buckets[i], *next; f; f = next) {
            next = f->chain;
            free(f);
        }
    for (struct fairq_flow *f = q->spare, *next; f; f = next) {
        next = f->chain;
        free(f);
    }
    free(q->buckets);
    free(q);
}
