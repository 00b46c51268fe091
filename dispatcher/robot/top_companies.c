/* SPDX-License-Identifier: MIT */
/*
 * top_companies.c - the companies that wait most and use most. An open-addressing table of at most COMPANIES_MAX
 * companies. When it is full a new company evicts the smallest of a few, so the largest stay. A sum may lack a company's
 * counts from before an eviction.
 */
#include "dispatcher/robot/top_companies.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

#define SLICES 5
#define SLICE_MS (TOP_COMPANIES_WINDOW_MS / SLICES)
#define COMPANIES_MAX 4096
#define LOOKED_AT 8 /* candidates for eviction */
#define BUCKETS (2 * COMPANIES_MAX)

struct slice {
    uint64_t number; /* its time / SLICE_MS */
    uint64_t waits, wait_ms, requests, busy_ms;
};

struct company {
    uint64_t id;
    struct slice slice[SLICES];
    uint32_t next; /* next in its bucket; index + 1, 0 = none */
};

struct top_companies {
    struct company company[COMPANIES_MAX];
    uint32_t bucket[BUCKETS]; /* index + 1 */
    unsigned n, hand;
};

/* Written in full, so that its megabyte is resident from the start instead of growing with each new company. */
struct top_companies *top_companies_new(void)
{
    struct top_companies *h = xmalloc(sizeof(*h));
    memset(h, 0, sizeof(*h));
    return h;
}

void top_companies_destroy(struct top_companies **hp)
{
    free(*hp);
    *hp = NULL;
}

static uint32_t *bucket_of(struct top_companies *h, uint64_t id)
{
    return &h->bucket[(id * 0x9e3779b97f4a7c15ull >> 32) % BUCKETS];
}

static struct company_stats_row sum_of(const struct company *c, uint64_t now_ms)
{
    struct company_stats_row sum = {.company_id = c->id};
    uint64_t number = now_ms / SLICE_MS;
    for (unsigned i = 0; i < SLICES; i++) {
        const struct slice *s = &c->slice[i];
        if (s->number + SLICES <= number)
            continue;
        sum.waits += s->waits;
        sum.wait_ms += s->wait_ms;
        sum.requests += s->requests;
        sum.busy_ms += s->busy_ms;
    }
    return sum;
}

static void take_out(struct top_companies *h, unsigned at)
{
    uint32_t *link = bucket_of(h, h->company[at].id);
    while (*link != at + 1)
        link = &h->company[*link - 1].next;
    *link = h->company[at].next;
}

/* The index of the smallest of the next few. */
static unsigned smallest(struct top_companies *h, uint64_t now_ms)
{
    unsigned best = h->hand;
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < LOOKED_AT; i++, h->hand = (h->hand + 1) % COMPANIES_MAX) {
        struct company_stats_row sum = sum_of(&h->company[h->hand], now_ms);
        if (sum.wait_ms + sum.busy_ms < least) {
            least = sum.wait_ms + sum.busy_ms;
            best = h->hand;
        }
    }
    return best;
}

static struct slice *slice_of(struct top_companies *h, uint64_t now_ms, uint64_t id)
{
    uint32_t *bucket = bucket_of(h, id), at = *bucket;
    while (at && h->company[at - 1].id != id)
        at = h->company[at - 1].next;
    if (!at) {
        unsigned place = h->n < COMPANIES_MAX ? h->n++ : smallest(h, now_ms);
        struct company *c = &h->company[place];
        if (c->id)
            take_out(h, place);
        memset(c, 0, sizeof(*c));
        c->id = id;
        c->next = *bucket;
        *bucket = at = place + 1;
    }
    uint64_t number = now_ms / SLICE_MS;
    struct slice *s = &h->company[at - 1].slice[number % SLICES];
    if (s->number != number)
        *s = (struct slice){.number = number};
    return s;
}

void top_companies_waited(struct top_companies *h, uint64_t now_ms, uint64_t company_id, uint64_t ms)
{
    struct slice *s = slice_of(h, now_ms, company_id);
    s->waits++;
    s->wait_ms += ms;
}

void top_companies_used(struct top_companies *h, uint64_t now_ms, uint64_t company_id, uint64_t ms)
{
    struct slice *s = slice_of(h, now_ms, company_id);
    s->requests++;
    s->busy_ms += ms;
}

static int by_wait(const void *a, const void *b)
{
    uint64_t x = ((const struct company_stats_row *)a)->wait_ms,
             y = ((const struct company_stats_row *)b)->wait_ms;
    return x < y ? 1 : -(x > y);
}

static int by_use(const void *a, const void *b)
{
    uint64_t x = ((const struct company_stats_row *)a)->busy_ms,
             y = ((const struct company_stats_row *)b)->busy_ms;
    return x < y ? 1 : -(x > y);
}

unsigned top_companies_most(struct top_companies *h, uint64_t now_ms, struct company_stats_row *out, unsigned max)
{
    struct company_stats_row *all = xcalloc(h->n + 1, sizeof(*all));
    unsigned n = 0, taken = 0;
    for (unsigned i = 0; i < h->n; i++) {
        all[n] = sum_of(&h->company[i], now_ms);
        n += all[n].waits || all[n].requests;
    }
    qsort(all, n, sizeof(*all), by_wait);
    for (; taken < n && taken < (n > max ? max / 2 : max); taken++)
        out[taken] = all[taken];
    qsort(all + taken, n - taken, sizeof(*all), by_use);
    for (unsigned i = taken; i < n && taken < max; i++)
        out[taken++] = all[i];
    free(all);
    return taken;
}
