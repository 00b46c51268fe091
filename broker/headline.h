/* SPDX-License-Identifier: MIT */
/*
 * headline.h - what keeps the words about the system from flickering: what comes
 * and goes by itself is said once it has held for a while, and goes on being said
 * for a while. Pure.
 */
#ifndef CHASQUI_HEADLINE_H
#define CHASQUI_HEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEADLINE_ON_MS 4000   /* it has held so long: shown */
#define HEADLINE_OFF_MS 20000 /* it has not held for so long: gone */
#define HEADLINE_MAX 100      /* things that are remembered; beyond them what comes is shown as it is */
/* it was not looked for so long: what was true then tells nothing of the time between */
#define HEADLINE_GAP_MS 5000

struct headline;

/* `room`: bytes of what is remembered of a thing. */
struct headline *headline_new(size_t room);
void headline_destroy(struct headline **hp);
/* A look begins. Looks come at least each HEADLINE_GAP_MS, else what has held begins anew. */
void headline_look(struct headline *h, uint64_t now_ms);
/* In this look `who` has the trait `what`; `row` is copied. Is it to be shown? */
bool headline_holds(struct headline *h, unsigned what, const char *who, const void *row);
/* It does not hold in this look, and its numbers of now are known. Is it to be shown all the same, with these? */
bool headline_lingers(struct headline *h, unsigned what, const char *who);
/* It does not hold, and would be untrue: it is gone at once. */
void headline_over(struct headline *h, unsigned what, const char *who);
/* After them: the things that do not hold in this look and are to be shown all the same, with their last rows, one a call from *at = 0 on; NULL = no
 * more. *ago_ms = how long ago it held. */
const void *headline_kept(struct headline *h, unsigned *at, uint64_t *ago_ms);

#endif
