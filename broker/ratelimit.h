/* SPDX-License-Identifier: MIT */
/* ratelimit.h - how many counted requests a token made in its window of 60 s. Per broker. */
#ifndef CHASQUI_RATELIMIT_H
#define CHASQUI_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define RATELIMIT_WINDOW_MS 60000

struct ratelimit;

struct rate {
    bool is_on; /* false: the token has no limit, and the other members are undefined */
    uint64_t limit, remaining;
    uint64_t left_ms; /* until the window ends */
};

struct ratelimit *ratelimit_new(void);
void ratelimit_destroy(struct ratelimit **rp);

/* The token's remaining requests at `now_ms` (clock_ms()), without counting. `limit` 0 = off. */
struct rate ratelimit_look(struct ratelimit *r, uint64_t token_id, uint64_t limit, uint64_t now_ms);
/* Counts one request. Returns false when the window is used up; the request is then not counted. */
bool ratelimit_take(struct ratelimit *r, uint64_t token_id, uint64_t limit, uint64_t now_ms, struct rate *out);

#endif
