/* SPDX-License-Identifier: MIT */
/* store_depth.h - how many items wait in the durable queue, and for how long the oldest has. */
#ifndef CHASQUI_STORE_DEPTH_H
#define CHASQUI_STORE_DEPTH_H

#include "common/jv.h"
#include "dispatcher/store/store.h"

#define DEPTH_CAP 100000 /* counting items stops here */

/* {"n": at most cap, "capped": whether there are more}; the caller's. n was counted to cap + 1. */
struct jv *count_jv(uint64_t n, uint64_t cap);
/* Appends a count for each priority that has ready items, best first, with its "priority". *sum is that of all; counting stops
 * when it is above DEPTH_CAP. */
enum db_rc depth_read(struct db *db, struct jv *list, uint64_t *sum);
/* Since when the ready item that has waited longest could have begun, in ms; -1 = none is ready. */
enum db_rc depth_oldest(struct db *db, int64_t *ms);
/* Items that become ready later, counted to DEPTH_CAP + 1. */
enum db_rc depth_scheduled(struct db *db, uint64_t *n);

#endif
