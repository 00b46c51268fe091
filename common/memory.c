/* SPDX-License-Identifier: MIT */
/*
 * memory.c - free pages go back to the system once a minute (malloc_trim(3)). Owns nothing but its timer.
 */
#include "common/memory.h"

#include "common/check.h"

#include <malloc.h>
#include <stdlib.h>

#define TRIM_MS 60000
#define HEAPS_MAX 2 /* the loop's, and one for the other threads: those wait for the database, not for memory */

/* A piece of a file (256 KiB) stays in the heap for the next piece. Otherwise the kernel would map and clear its pages
 * for each one, which was a third of the broker's processor time for a download. */
#define MAPPED_BYTES (1 << 20)
#define KEPT_BYTES (2 << 20)

struct memory {
    struct loop *loop;
    struct loop_timer timer;
};

static void trim(void *arg)
{
    struct memory *m = arg;
    malloc_trim(0);
    loop_timer_in(m->loop, &m->timer, TRIM_MS);
}

struct memory *memory_new(struct loop *l)
{
    struct memory *m = xcalloc(1, sizeof *m);
    mallopt(M_ARENA_MAX, HEAPS_MAX);
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    m->loop = l;
    m->timer.fn = trim;
    m->timer.arg = m;
    loop_timer_in(l, &m->timer, TRIM_MS);
    return m;
}

void memory_destroy(struct memory **mp)
{
    if (!*mp)
        return;
    loop_timer_stop((*mp)->loop, &(*mp)->timer);
    free(*mp);
    *mp = NULL;
}
