/* SPDX-License-Identifier: MIT */
/*
 * items.h - the items of a batch in one JSON text, read one after another without values for all of them. Values
 * for a body of 16 MiB would cost ten times its memory and delay all other requests by half a second. Pure.
 *
 * Only boundaries are searched. jv_parse() then judges the text between them, piece by piece. Text without valid
 * boundaries is bad here.
 */
#ifndef CHASQUI_ITEMS_H
#define CHASQUI_ITEMS_H

#include "common/buf.h"
#include "common/jv.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Finds the array under the key "items" of the object `text`: [*from, *to), including its brackets. false: not
 * found (the text may not be JSON, or may write the key with escapes). */
bool items_find(const char *text, size_t len, size_t *from, size_t *to);

struct items { /* the rest of an array */
    const char *at, *end;
};

struct judging { /* of a whole body, a slice at a time; zero-initialised */
    struct buf text;
    struct items left;
    struct buf lines; /* the items judged so far, each on a line */
};
/* Takes ownership of the bytes of `text`. Returns the body without its items, which the caller frees. When the
 * body is bad it returns no object, and *why says how (JV_FINE: it is JSON, but not an object). */
struct jv *judging_begin(struct judging *j, struct buf *text, enum jv_bad *why);
enum judged { JUDGED_MORE, JUDGED_GOOD, JUDGED_BAD };
/* Continues until clock_us() reaches until_us. JUDGED_GOOD: all items are in j->lines. */
enum judged judging_go(struct judging *j, uint64_t until_us, enum jv_bad *why);
void judging_end(struct judging *j); /* wipes and frees; no-op when it was not begun */

#endif
