/* SPDX-License-Identifier: MIT */
/* table.h - rows for people, in columns that fit the terminal. */
#ifndef CHASQUI_CTL_TABLE_H
#define CHASQUI_CTL_TABLE_H

#include "common/buf.h"
#include <stdbool.h>
#include <stdint.h>

struct table;

/* Column heads, ended by NULL. Before a head: '>' right-aligned; '~' may be cut when the terminal is too narrow, '~~' not as
 * far; a digit: may be left out when it is too narrow still, the lowest first. What names the row has neither. */
struct table *table_new(const char *const *heads);
/* The next cell, row by row. NULL shows as "-". The text may come from elsewhere, see plain.h. */
void table_add(struct table *t, const char *text);
void table_addf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints to standard output (`empty` instead when there is no row), and frees. */
void table_print(struct table **tp, const char *empty);
/* Adds the lines to `out`, fitted into `room` columns (0 = as wide as they are), and frees. */
void table_text(struct table **tp, int room, struct buf *out);
/* Colours for table_text(); table_print() asks the terminal. */
void table_colour(struct table *t, bool with_colour);
/* Adds text that came from elsewhere: without control characters, cut to `room` columns. */
void table_cut(struct buf *out, const char *text, int room);
/* Frees without printing. */
void table_free(struct table **tp);

#endif
