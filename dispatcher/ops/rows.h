/* SPDX-License-Identifier: MIT */
/* rows.h - portal_jobs is Laravel's: rows that it deleted, or does not let us change. */
#ifndef CHASQUI_ROWS_H
#define CHASQUI_ROWS_H

struct dispatcher;
struct rows;

struct rows *rows_new(void);
void rows_destroy(struct rows **rp);
/* Each sweep: at most one op of each duty is under way. */
void rows_tick(struct dispatcher *d);

#endif
