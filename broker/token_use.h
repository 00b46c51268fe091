/* SPDX-License-Identifier: MIT */
/*
 * token_use.h - what each token asked lately, as this broker saw it: calls, those
 * that its rate refused, and when the last one came. Pure.
 */
#ifndef CHASQUI_TOKEN_USE_H
#define CHASQUI_TOKEN_USE_H

#include "common/jv.h"
#include <stdbool.h>
#include <stdint.h>

#define TOKEN_USE_MAX 1024 /* of which the one that came longest ago makes room */
#define TOKEN_USE_SHOWN 50

struct token_use;
struct token_use *token_use_new(void);
void token_use_destroy(struct token_use **tp);
/* A call with this token came through the door, or its rate refused one (429). Id 0 is nobody's. */
void token_use_count(struct token_use *t, uint64_t id, const char *name, int64_t now_unix_ms, bool is_limited);
/* [{id,name,calls,limited,last_at,last_limited_at}], since the broker's start: those refused most first, then those that asked most. */
struct jv *token_use_jv(const struct token_use *t);

#endif
