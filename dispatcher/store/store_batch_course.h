/* SPDX-License-Identifier: MIT */
/* store_batch_course.h - how a batch goes: a curve, its robots, what takes longest. On a database thread only. */
#ifndef CHASQUI_STORE_BATCH_COURSE_H
#define CHASQUI_STORE_BATCH_COURSE_H

#include "common/jv.h"
#include "dispatcher/store/store_sql.h"

#define COURSE_LOOK_MAX 5000 /* items that one look goes through */
#define COURSE_STEPS_MAX 60  /* of its curve */
#define COURSE_ROBOTS_MAX 200

struct batch_course {
    uint64_t batch_id, total;
    int64_t finished_ms; /* unix; 0 = it has not ended */
};
/* Adds to `out`: from, step_s, n, done[], failed[], robots[], tail[], looked, sampled (not every item was looked at: its counts are estimates),
 * untimed (items that ended, of which nothing says when). */
enum db_rc batch_course_read(struct db *db, const struct batch_course *of, struct jv *out);

#endif
