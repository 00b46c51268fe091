/* SPDX-License-Identifier: MIT */
/* history.c - looks every 15 seconds whether minutes are over that nobody has summed up yet, and each second while many are. */
#include "dispatcher/history.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/id.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/store/store_history.h"

#include <stdlib.h>

#define LOOK_MS 15000
#define BEHIND_MS 1000

struct history {
    uint64_t at_ms;
    bool is_busy;
};

static void summed(void *arg, void *op_arg)
{
    struct history *h = arg;
    struct store_history_sum *op = op_arg;
    bool is_behind = op->rc == STORE_OK && op->is_behind;
    h->is_busy = false;
    h->at_ms = clock_ms() + (is_behind ? BEHIND_MS : LOOK_MS + id_random_u64() % BEHIND_MS);
    free(op);
}

void history_tick(struct dispatcher *d)
{
    struct history *h = d->history;
    if (h->is_busy || d->draining || clock_ms() < h->at_ms)
        return;
    h->is_busy = true;
    store_submit(d->store, store_history_sum, xcalloc(1, sizeof(struct store_history_sum)), summed, h);
}

struct history *history_new(void)
{
    struct history *h = xcalloc(1, sizeof(*h));
    h->at_ms = clock_ms() + BEHIND_MS + id_random_u64() % BEHIND_MS;
    return h;
}

void history_destroy(struct history **hp)
{
    free(*hp);
    *hp = NULL;
}
