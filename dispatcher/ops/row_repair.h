/* SPDX-License-Identifier: MIT */
/* row_repair.h - portal_jobs is Laravel's: rows that it deleted, or does not let us change. */
#ifndef CHASQUI_ROW_REPAIR_H
#define CHASQUI_ROW_REPAIR_H

struct dispatcher;
struct row_repair;

struct row_repair *row_repair_new(void);
void row_repair_destroy(struct row_repair **rp);
/* Each sweep: at most one op of each duty is under way. */
void row_repair_tick(struct dispatcher *d);

#endif
