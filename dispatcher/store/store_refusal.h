/* SPDX-License-Identifier: MIT */
/*
 * store_refusal.h - what becomes of a job or an item that the database refuses:
 * it ends in our own tables (chasqui_refusals), whatever portal_jobs says. On a
 * database thread only.
 */
#ifndef CHASQUI_STORE_REFUSAL_H
#define CHASQUI_STORE_REFUSAL_H

#include "dispatcher/store/store_sql.h"

/* How a job ends (or goes on): what its row in portal_jobs should say. error, message: NULL = none. */
struct job_end {
    const char *status, *error, *message;
};
/* Takes the result of a statement that changes the portal_jobs row of one job. A refused one (by a trigger, a check, a unique key of
 * others) is undone alone, by the server; the transaction goes on, and `end` is kept in chasqui_refusals, from where it is written
 * when the database takes it. Any other result is returned as it is. */
enum db_rc job_written(struct db *db, uint64_t job_id, const struct job_end *end, enum db_rc rc);
/* An action or a round that ran ends so; what the database refuses of it is kept, as job_written() does. */
enum db_rc job_end_write(struct db *db, uint64_t job_id, const struct job_end *end);
/* Part of a transaction: the job is put back by hand, and what was kept of it is forgotten. */
enum db_rc refusal_forget(struct db *db, uint64_t job_id);

/* What a query over `j` (portal_jobs) joins, and what then stands for j.status, j.error, j.message. */
#define REFUSAL_JOIN " LEFT JOIN chasqui_refusals x ON x.job_id = j.id "
#define JOB_STATUS "COALESCE(x.status, {status j.status})"
/* Errors that Chasqui found without asking the robot again; what it said of the log-in before is not their class. */
#define ERRORS_NOT_SAID "'credentials_refused', 'session_expired', 'session_closed', 'session_lost'"
#define JOB_ERROR "IF(x.id IS NULL, j.error, x.error)"
#define JOB_MESSAGE "IF(x.id IS NULL, j.message, x.message)"

/* Ends an item that waits, and its job when it has one, as failed with refused_by_database. It has its own transaction. `why` is what
 * the refused one left behind. */
enum store_rc item_refuse(struct db *db, uint64_t batch_id, uint64_t idx, const struct db_refusal *why);
/* Will the table refuse every row (a column without a default, a column or table or right that is missing)? */
bool refusal_is_of_all(const struct db_refusal *why);

struct store_refusals { /* rows that could not be changed: tried again when they are due, a few at a time */
    unsigned n_tried, n_written;
    enum store_rc rc;
};
void store_refusals(struct db *db, void *op);

#endif
