/* SPDX-License-Identifier: MIT */
/* token_use.c - the recent calls of each token: a hash table of a fixed size. */
#include "broker/token_use.h"

#include "common/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 8 /* slots that a token may use: the oldest of them is evicted */

struct use {
    uint64_t id; /* 0 = free */
    char name[101];
    uint64_t calls, limited;
    int64_t last_ms, last_limited_ms; /* unix; 0 = never */
};

struct token_use {
    struct use use[TOKEN_USE_MAX];
};

struct token_use *token_use_new(void)
{
    return xcalloc(1, sizeof(struct token_use));
}

void token_use_destroy(struct token_use **tp)
{
    free(*tp);
    *tp = NULL;
}

static struct use *find(struct token_use *t, uint64_t id)
{
    struct use *oldest = NULL;
    for (unsigned i = 0; i < WAYS; i++) {
        struct use *u = &t->use[(id * 2654435761u + i) % TOKEN_USE_MAX];
        if (u->id == id)
            return u;
        if (!oldest || u->last_ms < oldest->last_ms)
            oldest = u;
    }
    *oldest = (struct use){.id = id};
    return oldest;
}

void token_use_count(struct token_use *t, uint64_t id, const char *name, int64_t now_unix_ms, bool is_limited)
{
    if (!id)
        return;
    struct use *u = find(t, id);
    snprintf(u->name, sizeof u->name, "%s", name);
    u->calls += !is_limited;
    u->limited += is_limited;
    u->last_ms = now_unix_ms;
    if (is_limited)
        u->last_limited_ms = now_unix_ms;
}

static int most_first(const void *a, const void *b)
{
    const struct use *x = *(const struct use *const *)a, *y = *(const struct use *const *)b;
    if (x->limited != y->limited)
        return x->limited < y->limited ? 1 : -1;
    if (x->calls != y->calls)
        return x->calls < y->calls ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

struct jv *token_use_jv(const struct token_use *t)
{
    const struct use *all[TOKEN_USE_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < TOKEN_USE_MAX; i++)
        if (t->use[i].id)
            all[n++] = &t->use[i];
    /* cppcheck-suppress uninitvar ; the first n are set */
    qsort(all, n, sizeof all[0], most_first);
    struct jv *list = jv_new_array();
    for (unsigned i = 0; i < n && i < TOKEN_USE_SHOWN; i++) {
        struct jv *one = jv_new_object();
        jv_set_int(one, "id", (int64_t)all[i]->id);
        jv_set_str(one, "name", all[i]->name);
        jv_set_int(one, "calls", (int64_t)all[i]->calls);
        jv_set_int(one, "limited", (int64_t)all[i]->limited);
        jv_set_time(one, "last_at", all[i]->last_ms);
        jv_set_time(one, "last_limited_at", all[i]->last_limited_ms);
        jv_push(list, one);
    }
    return list;
}
