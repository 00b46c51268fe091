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
