/* SPDX-License-Identifier: MIT */
/*
 * trouble.h - which duties of the database fail, how often, since when and for
 * what named cause. Pure: a small table, no clock of its own.
 */
#ifndef CHASQUI_TROUBLE_H
#define CHASQUI_TROUBLE_H

#include <stdbool.h>
#include <stdint.h>

#define TROUBLES_MAX 24       /* the one that is quiet longest makes room */
#define TROUBLE_TEXT_MAX 900  /* of all of them as one text */
#define TROUBLE_KEPT_MS 60000 /* one that did not come again for this long is over */

struct trouble {
    char duty[33];              /* "" = a free row */
    char kind[13];              /* refused, gone, read_only, busy, held, failed, slow */
    char why[161];              /* number, table and constraint; never a value */
    uint64_t n;                 /* times in a row */
    uint64_t since_ms, last_ms; /* by the loop's clock */
};
struct troubles {
    struct trouble row[TROUBLES_MAX];
};

/* The duty failed. A failure of another kind, or for another reason, counts anew. */
void trouble_note(struct troubles *t, const char *duty, const char *kind, const char *why, uint64_t now_ms);
/* The duty went well. A refusal is kept until it is quiet: other rows may go well. */
void trouble_over(struct troubles *t, const char *duty, uint64_t now_ms);
/* All that hold, worst first, as lines of duty TAB kind TAB n TAB seconds TAB why, cut to whole lines. */
void trouble_text(const struct troubles *t, uint64_t now_ms, char out[TROUBLE_TEXT_MAX + 1]);

#endif
