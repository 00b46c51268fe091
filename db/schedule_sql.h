/* SPDX-License-Identifier: MIT */
/*
 * schedule_sql.h - turns a schedule into a batch. Used by the dispatcher when the schedule is due, and by `chasqui
 * schedule run`. Runs inside a transaction of the caller.
 */
#ifndef CHASQUI_SCHEDULE_SQL_H
#define CHASQUI_SCHEDULE_SQL_H

#include "db/mariadb.h"

#include "common/cron.h"
#include "common/jv.h"

#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_STEP 5000 /* items copied in one transaction */

/* Inserts a row for this time of the schedule and an open batch, to be filled. run_at_s 0 = now. *batch_id 0: this
 * time was already run. The caller has locked the schedule's row. */
enum db_rc schedule_batch_make(struct db *db, uint64_t schedule_id, int64_t run_at_s, const char *actor,
                               uint64_t *batch_id);

struct schedule_fill {
    uint64_t batch_id; /* in: only this one, 0 = any; out: which, 0 = none to fill, or all taken */
    unsigned n;        /* items copied by this step */
    bool is_whole;     /* that was the last step: the batch is closed and runs */
};
/* Fills one step of at most SCHEDULE_STEP items. The items may run as soon as it is committed. */
enum db_rc schedule_fill_step(struct db *db, struct schedule_fill *fill);

struct schedule_row {
    uint64_t id;
    bool found;
    char cron[CRON_TEXT_MAX + 1], zone[61];
    int64_t now_s; /* the database's */
};
/* Locks the schedule's row, so that no dispatcher runs it in the meantime. */
enum db_rc schedule_lock(struct db *db, const char *name, struct schedule_row *out);
/* Enables or disables a locked schedule. Enabled, it runs at its times from now on, and *next_s is the next.
 * DB_DUP: it cannot be enabled; `why` says what is wrong with it. */
enum db_rc schedule_want(struct db *db, const struct schedule_row *s, bool enable, int64_t *next_s, char why[200]);
/* Its next five times as texts, beginning with `next_s`; 0 = disabled. zone NULL = UTC. */
struct jv *schedule_next_jv(const char *cron, const char *zone, int64_t next_s);

#endif
