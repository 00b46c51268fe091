/* SPDX-License-Identifier: MIT */
/*
 * items.h - the items of a batch that is one JSON text, found one after another
 * without making values of all of them: a body of 16 MiB would cost ten times
 * its memory, and hold up everybody else for half a second. Pure.
 *
 * Only borders are looked for. What stands between them is for jv_parse() to
 * judge, piece by piece; what has no borders is bad here.
 */
#ifndef CHASQUI_ITEMS_H
#define CHASQUI_ITEMS_H

#include "common/buf.h"
#include "common/jv.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The array that stands under the key "items" of the object `text`: [*from, *to), its brackets included. false:
 * none is found so (the text may be no JSON, or write the key with escapes). */
bool items_find(const char *text, size_t len, size_t *from, size_t *to);

struct items { /* what is left of an array */
    const char *at, *end;
};

struct judging { /* of a whole body, a slice at a time; zero-initialised */
    struct buf text;
    struct items left;
    struct buf lines; /* the items judged so far, each on a line */
};
/* Takes the bytes of `text`. Returns what stands in it besides the items, which the caller frees; when that is no
 * object, the body is bad, and *why says how (JV_FINE: it is JSON, but no object). */
struct jv *judging_begin(struct judging *j, struct buf *text, enum jv_bad *why);
enum judged { JUDGED_MORE, JUDGED_GOOD, JUDGED_BAD };
/* Goes on until clock_us() reaches until_us. JUDGED_GOOD: all are in j->lines. */
enum judged judging_go(struct judging *j, uint64_t until_us, enum jv_bad *why);
void judging_end(struct judging *j); /* wipes and frees; no-op when it did not begin */

#endif
