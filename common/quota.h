/* SPDX-License-Identifier: MIT */
/*
 * quota.h - memory shared by streams. Each stream is lent a part of what is left, so the sum stays within the
 * budget plus the least parts. No stream waits for another one's part, so every stream makes progress. Pure.
 */
#ifndef CHASQUI_QUOTA_H
#define CHASQUI_QUOTA_H

#include <stdint.h>

#define QUOTA_SHARE 16 /* a stream is lent one part in QUOTA_SHARE of what is left */

struct quota {
    uint64_t budget, lent;
};

/* Lends between least and most; quota_return() gives it back. */
static inline uint64_t quota_lend(struct quota *q, uint64_t least, uint64_t most)
{
    uint64_t part = q->budget > q->lent ? (q->budget - q->lent) / QUOTA_SHARE : 0;
    part = part < least ? least : part > most ? most : part;
    q->lent += part;
    return part;
}

static inline void quota_return(struct quota *q, uint64_t part)
{
    q->lent -= part;
}

#endif
