/* SPDX-License-Identifier: MIT */
/*
 * store_history.h - what attempts came to, by minute: summed up from the
 * timelines, and looked at. As in store.h each op travels to a database thread
 * and back.
 */
#ifndef CHASQUI_STORE_HISTORY_H
#define CHASQUI_STORE_HISTORY_H

#include "dispatcher/store/store.h"

#define HISTORY_ROWS_MAX 500 /* of one minute; beyond them the smallest are left out */
#define HISTORY_CLASSES 10   /* of waits, and of robots' times */
#define HISTORY_STEPS_MAX 168
#define HISTORY_ROBOTS_MAX 100 /* that an answer tells of, the busiest ones */
#define HISTORY_PORTALS_MAX 50

struct store_history_sum {
    unsigned minutes; /* out: so many were summed up; 0 = none is due, or another dispatcher does it */
    bool is_behind;   /* out: there are more, look again soon */
    enum store_rc rc;
};
/* The next minutes that are over for HISTORY_LATE_S: at most ten of them, in one transaction. What commits later than that is not in the sums. */
void store_history_sum(struct db *db, void *op);
#define HISTORY_LATE_S 20

struct store_history {
    char portal[PORTAL_ROOM]; /* "" = all */
    char worker[NAME_ROOM];   /* "" = all */
    int64_t range_s;          /* one of history_range_table */
    struct buf json;          /* body: see OPS_HISTORY in proto/SPEC.md */
    enum store_rc rc;
};
/* Reads only. */
void store_history(struct db *db, void *op);

/* How long back, in steps of how long, beside what was so long before. */
struct history_range {
    int64_t range_s, step_s, before_s;
};
const struct history_range *history_range(int64_t range_s); /* NULL = there is none of that length */

#endif
