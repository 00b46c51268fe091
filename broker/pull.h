/* SPDX-License-Identifier: MIT */
/* pull.h - the source from which HTTP pulls an answer, piece by piece. */
#ifndef CHASQUI_BROKER_PULL_H
#define CHASQUI_BROKER_PULL_H

#include "broker/broker.h"

#define PULL_END (-1)
#define PULL_BROKEN (-2)

struct pull { /* first member of a stream, or of events */
    /* Reads up to `room` bytes. Returns 0 = nothing now, or PULL_END, PULL_BROKEN. */
    ssize_t (*read)(struct pull *p, char *out, size_t room);
    void (*destroy)(struct pull *p);
    bool has_length;
    uint64_t length;    /* bytes */
    size_t block_bytes; /* bytes read at once */
    void (*ready_fn)(void *arg);
    void *ready_arg;
};

/* Calls fn once, when there is data again after read() returned 0. */
static inline void pull_on_ready(struct pull *p, void (*fn)(void *arg), void *arg)
{
    p->ready_fn = fn;
    p->ready_arg = arg;
}

static inline void pull_ready(struct pull *p)
{
    void (*fn)(void *) = p->ready_fn;
    p->ready_fn = NULL;
    if (fn)
        fn(p->ready_arg);
}

static inline void pull_destroy(struct pull **pp)
{
    struct pull *p = *pp;
    *pp = NULL;
    if (p)
        p->destroy(p);
}

#endif
