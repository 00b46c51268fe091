/* SPDX-License-Identifier: MIT */
/*
 * db_list.h - IN (...) lists of few sizes, so that few statement texts exist.
 * Pure.
 */
#ifndef CHASQUI_DB_LIST_H
#define CHASQUI_DB_LIST_H

#include "common/buf.h"

#define DB_LIST_MAX 256

/* The size that a list of n values (1..DB_LIST_MAX) is padded to; see db_list.c for which there are. */
unsigned db_list_size(unsigned n);
/* `sql` with its one %s replaced by as many question marks as a list of n is padded to, which it returns; *before = how many question
 * marks stand before it. */
unsigned db_list_text(const char *sql, unsigned n, struct buf *out, unsigned *before);

#endif
