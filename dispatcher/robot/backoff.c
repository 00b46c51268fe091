/* SPDX-License-Identifier: MIT */
/* backoff.c - the waits of a robot that reported that it is full. */
#include "dispatcher/robot/backoff.h"

#define FIRST_MS 1000
#define MOST_MS 30000

bool backoff_holds(const struct backoff *b, uint64_t now_ms)
{
    return now_ms < b->until_ms;
}

void backoff_full(struct backoff *b, uint64_t now_ms, uint64_t asked_ms, int64_t sessions)
{
    bool is_of_this_wait = b->until_ms && asked_ms < b->until_ms;
    if (is_of_this_wait)
        return;
    b->wait_ms = !b->wait_ms ? FIRST_MS : b->wait_ms < MOST_MS / 2 ? b->wait_ms * 2 : MOST_MS;
    b->until_ms = now_ms + b->wait_ms;
    b->sessions = sessions;
}

bool backoff_count(struct backoff *b, uint64_t now_ms, int64_t sessions)
{
    if (!backoff_holds(b, now_ms) || sessions < 0)
        return false;
    if (sessions >= b->sessions) {
        b->sessions = sessions;
        return false;
    }
    b->until_ms = now_ms;
    return true;
}

void backoff_clear(struct backoff *b)
{
    *b = (struct backoff){0};
}
