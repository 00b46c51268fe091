/* SPDX-License-Identifier: MIT */
/* fold.h - wraps prose for people between its words. */
#ifndef CHASQUI_FOLD_H
#define CHASQUI_FOLD_H

#include <stddef.h>
#include <stdio.h>

#define FOLD_COLUMNS 80

/* Returns the length in bytes of the text's next word; never 0 for a text that is not empty. */
typedef size_t fold_word_fn(const char *text);

/* Writes `text` and a line end, from column `at` on. Further lines begin at column `indent`. Line ends in the text
 * count as spaces. `word` NULL: the text is broken at every space. A word wider than a line stays whole. */
void fold(FILE *out, const char *text, int indent, int at, fold_word_fn *word);

#endif
