/* SPDX-License-Identifier: MIT */
/*
 * schedule_sql.h - how a schedule becomes a batch: used by the dispatcher when
 * its time has come, and by `chasqui schedule run`. Inside a transaction of the
 * caller.
 */
#ifndef CHASQUI_SCHEDULE_SQL_H
#define CHASQUI_SCHEDULE_SQL_H

#include "db/mariadb.h"

#include "common/cron.h"
#include "common/jv.h"

#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_STEP 5000 /* items that are copied in one transaction */

/* A row for this time of the schedule and an open batch, to be filled. run_at_s 0 = now. *batch_id 0: the time was run already.
 * The caller has locked the schedule's row. */
enum db_rc schedule_batch_make(struct db *db, uint64_t schedule_id, int64_t run_at_s, const char *actor,
                               uint64_t *batch_id);

struct schedule_fill {
    uint64_t
        batch_id;  /* in: of this one only, 0 = any; out: which, 0 = none is to be filled, or others are at it */
    unsigned n;    /* items copied now */
    bool is_whole; /* that was the last of them: the batch is closed and runs */
};
/* One step, of at most SCHEDULE_STEP items. Items may run as soon as it is committed. */
enum db_rc schedule_fill_step(struct db *db, struct schedule_fill *fill);

struct schedule_row {
    uint64_t id;
    bool found;
    char cron[CRON_TEXT_MAX + 1], zone[61];
    int64_t now_s; /* the database's */
};
/* Locks the schedule's row: no dispatcher runs it meanwhile. */
enum db_rc schedule_lock(struct db *db, const char *name, struct schedule_row *out);
/* Of a locked one: it runs at its times from now on, *next_s being the next, or rests. DB_DUP: it cannot, `why` says what is wrong with it. */
enum db_rc schedule_want(struct db *db, const struct schedule_row *s, bool enable, int64_t *next_s, char why[200]);
/* Its next five times as texts, the first of which is `next_s`; 0 = it rests. zone NULL = UTC. */
struct jv *schedule_next_jv(const char *cron, const char *zone, int64_t next_s);

#endif
