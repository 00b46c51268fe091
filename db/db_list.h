/* SPDX-License-Identifier: MIT */
/*
 * db_list.h - sizes of IN (...) lists; the statements are mariadb.h's.
 */
#ifndef CHASQUI_DB_LIST_H
#define CHASQUI_DB_LIST_H

#define DB_LIST_MAX 256

/* The size that a list of n values (1..DB_LIST_MAX) is padded to; db_list.c has the sizes. */
unsigned db_list_size(unsigned n);

#endif
