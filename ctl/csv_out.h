/* SPDX-License-Identifier: MIT */
/* csv_out.h - lists for spreadsheets: --csv. */
#ifndef CHASQUI_CTL_CSV_OUT_H
#define CHASQUI_CTL_CSV_OUT_H

#include "common/jv.h"

#include <stdio.h>

/* A line of names, then one for each object of the list, as RFC 4180 has it. Texts that a spreadsheet would take for a formula get a ' in
 * front. Keys end with NULL; what is null is empty. */
void csv_print(FILE *out, const struct jv *list, const char *const *keys);
/* The same in parts: the line of names, then rows of it, as often as there are some. */
void csv_head(FILE *out, const char *const *keys);
void csv_rows(FILE *out, const struct jv *list, const char *const *keys);

#endif
