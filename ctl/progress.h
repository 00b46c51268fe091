/* SPDX-License-Identifier: MIT */
/* progress.h - how far something is: a bar on a terminal, lines elsewhere. On standard error, so that results stay
 * alone. */
#ifndef CHASQUI_CTL_PROGRESS_H
#define CHASQUI_CTL_PROGRESS_H

#include "common/jv.h"
#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool is_terminal;
    bool is_drawn;     /* the terminal's line holds something of ours */
    uint64_t drawn_ms; /* when something was shown last */
    uint64_t shown;    /* of what counts */
};

void progress_begin(struct progress *p);
/* Rows sent of an upload. */
void progress_rows(struct progress *p, uint64_t rows);
/* A batch as the API shows it. */
void progress_batch(struct progress *p, const struct jv *batch);
/* `part` of `whole`, and words behind the bar. */
void progress_part(struct progress *p, uint64_t part, uint64_t whole, const char *details);
/* Before anything else is printed: clears the terminal's line. */
void progress_end(struct progress *p);

/* "1 row", "12,345 rows"; `one` is up to 20 letters. */
#define TEXT_AMOUNT 64
const char *amount_text(uint64_t n, const char *one, char out[TEXT_AMOUNT]);
/* "12,345" and "2m10s", in `out` of TEXT_NUMBER bytes. */
#define TEXT_NUMBER 32
const char *number_text(uint64_t n, char out[TEXT_NUMBER]);
const char *duration_text(uint64_t seconds, char out[TEXT_NUMBER]);

/* When a batch will be done, in words: "2 min to 4 min", at its end "2 still running, oldest 95 s". false: that is not known. */
bool progress_end_text(const struct jv *batch, char *out, size_t room);

#endif
