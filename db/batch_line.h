/* SPDX-License-Identifier: MIT */
/*
 * batch_line.h - one line of a batch's body: an item, or the reason why it is not one. Pure: no database, no
 * clock. Called on database threads.
 */
#ifndef CHASQUI_BATCH_LINE_H
#define CHASQUI_BATCH_LINE_H

#include "common/buf.h"
#include "common/err.h"
#include <stdbool.h>
#include <stdint.h>

struct jv;

#define BATCH_LINE_MAX 20480   /* bytes of a line */
#define BATCH_PARAMS_MAX 16384 /* bytes of an item's params, written compactly */

struct batch_rules {           /* what an item of this upload may contain */
    bool all;                  /* any company is allowed */
    const uint64_t *companies; /* else only these; ascending, borrowed */
    unsigned n_companies;
    bool may_have_params; /* a key exists to seal them with */
};

struct batch_line {
    uint64_t company_id;
    struct buf params; /* compact JSON, "" = none; emptied by each read, wiped by the caller at the end */
    enum err error;    /* ERR_OK: the line is an item */
    struct jv *errors; /* {"field":["why"]}, freed by the caller; NULL for an item */
};

/* Reads the line `text`, which is not blank. */
void batch_line_read(struct batch_line *line, const char *text, size_t len, const struct batch_rules *rules);
/* Whether the line holds only spaces, tabs and carriage returns. */
bool batch_line_is_blank(const char *text, size_t len);
/* Sorts a token's companies for `rules`. */
void batch_companies_sort(uint64_t *companies, unsigned n);

#endif
