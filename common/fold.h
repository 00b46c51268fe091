/* SPDX-License-Identifier: MIT */
/* fold.h - prose for people, broken between its words. */
#ifndef CHASQUI_FOLD_H
#define CHASQUI_FOLD_H

#include <stddef.h>
#include <stdio.h>

#define FOLD_COLUMNS 80

/* How many bytes of the text are its next word: never 0 while there is some. */
typedef size_t fold_word_fn(const char *text);

/* Writes `text` and a line end, from column `at` on; further lines begin at column `indent`. Line ends in it are spaces.
 * `word` NULL: broken at every space. A word that is wider than a line stays whole. */
void fold(FILE *out, const char *text, int indent, int at, fold_word_fn *word);

#endif
