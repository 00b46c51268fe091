/* SPDX-License-Identifier: MIT */
/*
 * store_retention.h - what is too old, deleted in small steps. As in store.h
 * each op travels to a database thread and back.
 */
#ifndef CHASQUI_STORE_RETENTION_H
#define CHASQUI_STORE_RETENTION_H

#include "dispatcher/store/store.h"

#define PRUNE_MAX 200 /* rows of a table that one step deletes */

enum prune_what {
    PRUNE_JOBS,
    PRUNE_EVENTS,
    PRUNE_AUDIT,
    PRUNE_KEYS,
    PRUNE_BATCHES,
    PRUNE_RUNS,
    PRUNE_RESULTS,
    PRUNE_MINUTES,
    PRUNE_HISTORY,
    PRUNE_COUNT
};

struct store_prune {
    enum prune_what what;
    uint64_t cursor; /* in and out: ids up to this were looked at; 0 begins */
    /* retention.portal_jobs = delete: rows of portal_jobs too, where no foreign key points at them */
    bool deletes_rows;
    int64_t older_s; /* than this, by the database's clock */
    unsigned n;      /* out: rows deleted */
    bool is_end;     /* out: what follows is too young, or there is nothing more */
    enum store_rc rc;
};
/* One step, one short transaction. Rows that somebody has locked are left for the next pass. Never a row that is Laravel's, never a job
 * with a live or abandoned session, a lease or work that waits. */
void store_prune(struct db *db, void *op);

#endif
