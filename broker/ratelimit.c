/* SPDX-License-Identifier: MIT */
/*
 * ratelimit.c - fixed windows that begin with a token's first counted request, as in Laravel's limiter. Holds one
 * row for each verified token that was counted within the last window. Expired rows are dropped when the table
 * would grow. Only verified tokens are counted, so a client cannot fill the table.
 */
#include "broker/ratelimit.h"

#include "common/check.h"
#include <stdlib.h>

struct window {
    uint64_t token_id; /* 0 = free */
    uint64_t end_ms, used;
};

struct ratelimit { /* open addressing, at most half full */
    struct window *rows;
    uint64_t n_rows, used_rows; /* n_rows is a power of two */
};

#define FIRST_ROWS 64

struct ratelimit *ratelimit_new(void)
{
    struct ratelimit *r = xcalloc(1, sizeof *r);
    r->n_rows = FIRST_ROWS;
    r->rows = xcalloc(r->n_rows, sizeof *r->rows);
    return r;
}

void ratelimit_destroy(struct ratelimit **rp)
{
    if (*rp)
        free((*rp)->rows);
    free(*rp);
    *rp = NULL;
}

/* Finds the token's row, or the free row where it would be inserted. */
static struct window *row_of(const struct ratelimit *r, uint64_t token_id)
{
    uint64_t at = (token_id * 0x9e3779b97f4a7c15u) >> 32;
    while (r->rows[at & (r->n_rows - 1)].token_id && r->rows[at & (r->n_rows - 1)].token_id != token_id)
        at++;
    return &r->rows[at & (r->n_rows - 1)];
}

/* Drops expired rows and resizes the table to fit the rest. */
static void rebuild(struct ratelimit *r, uint64_t now_ms)
{
    struct ratelimit old = *r;
    uint64_t live = 0;
    for (uint64_t i = 0; i < old.n_rows; i++)
        live += old.rows[i].token_id && old.rows[i].end_ms > now_ms;
    r->n_rows = FIRST_ROWS;
    while (r->n_rows < (live + 1) * 4)
        r->n_rows *= 2;
    r->rows = xcalloc(r->n_rows, sizeof *r->rows);
    r->used_rows = live;
    for (uint64_t i = 0; i < old.n_rows; i++)
        if (old.rows[i].token_id && old.rows[i].end_ms > now_ms)
            *row_of(r, old.rows[i].token_id) = old.rows[i];
    free(old.rows);
}

static struct rate rate_of(const struct window *w, uint64_t limit, uint64_t now_ms)
{
    struct rate out = {.is_on = limit != 0, .limit = limit, .remaining = limit, .left_ms = RATELIMIT_WINDOW_MS};
    if (w->token_id && w->end_ms > now_ms) {
        out.remaining = w->used < limit ? limit - w->used : 0;
        out.left_ms = w->end_ms - now_ms;
    }
    return out;
}

struct rate ratelimit_look(struct ratelimit *r, uint64_t token_id, uint64_t limit, uint64_t now_ms)
{
    return rate_of(row_of(r, token_id), limit, now_ms);
}

bool ratelimit_take(struct ratelimit *r, uint64_t token_id, uint64_t limit, uint64_t now_ms, struct rate *out)
{
    struct window *w = row_of(r, token_id);
    *out = rate_of(w, limit, now_ms);
    if (!out->is_on)
        return true;
    if (!out->remaining)
        return false;
    if (!w->token_id && (r->used_rows + 1) * 2 > r->n_rows) {
        rebuild(r, now_ms);
        w = row_of(r, token_id);
    }
    if (!w->token_id)
        r->used_rows++;
    if (!w->token_id || w->end_ms <= now_ms)
        *w = (struct window){.token_id = token_id, .end_ms = now_ms + RATELIMIT_WINDOW_MS};
    w->used++;
    *out = rate_of(w, limit, now_ms);
    return true;
}
