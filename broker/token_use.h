/* SPDX-License-Identifier: MIT */
/*
 * token_use.h - the recent calls of each token, as seen by this broker: calls, those refused by its rate, and the
 * time of the latest. Pure.
 */
#ifndef CHASQUI_TOKEN_USE_H
#define CHASQUI_TOKEN_USE_H

#include "common/jv.h"
#include <stdbool.h>
#include <stdint.h>

#define TOKEN_USE_MAX 1024 /* when full, the least recently used one is evicted */
#define TOKEN_USE_SHOWN 50

struct token_use;
struct token_use *token_use_new(void);
void token_use_destroy(struct token_use **tp);
/* Counts a call that was admitted with this token, or that its rate refused (429). Id 0 is not counted. */
void token_use_count(struct token_use *t, uint64_t id, const char *name, int64_t now_unix_ms, bool is_limited);
/* [{id,name,calls,limited,last_at,last_limited_at}], since the broker's start. Sorted by refusals, then by calls,
 * highest first. */
struct jv *token_use_jv(const struct token_use *t);

#endif
