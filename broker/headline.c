/* SPDX-License-Identifier: MIT */
/*
 * headline.c - a table of things that came lately: since when each holds, and
 * when it held last.
 */
#include "broker/headline.h"

#include "common/check.h"
#include <stdlib.h>
#include <string.h>

struct thing {
    unsigned what;
    char who[256];
    uint64_t since_ms, last_ms; /* it holds since then; it held then */
    uint64_t met_ms;            /* it was asked for in the look of that time */
    bool is_used, is_shown;
};

struct headline {
    size_t room;
    uint64_t now_ms;
    struct thing thing[HEADLINE_MAX];
    char *rows;
};

struct headline *headline_new(size_t room)
{
    struct headline *h = xcalloc(1, sizeof *h);
    h->room = room;
    h->rows = xcalloc(HEADLINE_MAX, room);
    return h;
}

void headline_destroy(struct headline **hp)
{
    if (*hp)
        free((*hp)->rows);
    free(*hp);
    *hp = NULL;
}

void headline_look(struct headline *h, uint64_t now_ms)
{
    bool is_gap = now_ms > h->now_ms + HEADLINE_GAP_MS;
    h->now_ms = now_ms;
    for (unsigned i = 0; i < HEADLINE_MAX; i++) {
        struct thing *t = &h->thing[i];
        if (t->is_used && (is_gap || now_ms > t->last_ms + HEADLINE_OFF_MS ||
                           (!t->is_shown && now_ms > t->last_ms + HEADLINE_GAP_MS)))
            t->is_used = false;
    }
}

/* *vacant = room for one more, when it is not known. */
static struct thing *known(struct headline *h, unsigned what, const char *who, struct thing **vacant)
{
    *vacant = NULL;
    for (unsigned i = 0; i < HEADLINE_MAX; i++) {
        struct thing *t = &h->thing[i];
        if (t->is_used && t->what == what && strncmp(t->who, who, sizeof t->who - 1) == 0)
            return t;
        if (!t->is_used && !*vacant)
            *vacant = t;
    }
    return NULL;
}

static struct thing *find(struct headline *h, unsigned what, const char *who)
{
    struct thing *vacant, *t = known(h, what, who, &vacant);
    if (t)
        return t;
    if (vacant) {
        *vacant = (struct thing){.what = what, .since_ms = h->now_ms, .is_used = true};
        strncpy(vacant->who, who, sizeof vacant->who - 1);
    }
    return vacant;
}

bool headline_holds(struct headline *h, unsigned what, const char *who, const void *row)
{
    struct thing *t = find(h, what, who);
    if (!t)
        return true;
    t->last_ms = t->met_ms = h->now_ms;
    t->is_shown |= h->now_ms >= t->since_ms + HEADLINE_ON_MS;
    memcpy(h->rows + (size_t)(t - h->thing) * h->room, row, h->room);
    return t->is_shown;
}

bool headline_lingers(struct headline *h, unsigned what, const char *who)
{
    struct thing *vacant, *t = known(h, what, who, &vacant);
    if (t)
        t->met_ms = h->now_ms;
    return t && t->is_shown;
}

void headline_over(struct headline *h, unsigned what, const char *who)
{
    struct thing *vacant, *t = known(h, what, who, &vacant);
    if (t)
        t->is_used = false;
}

const void *headline_kept(struct headline *h, unsigned *at, uint64_t *ago_ms)
{
    for (; *at < HEADLINE_MAX; ++*at) {
        const struct thing *t = &h->thing[*at];
        if (t->is_used && t->is_shown && t->met_ms != h->now_ms) {
            *ago_ms = h->now_ms - t->last_ms;
            return h->rows + (size_t)(*at)++ * h->room;
        }
    }
    return NULL;
}
