/* SPDX-License-Identifier: MIT */
/*
 * store_schedule.h - recurring batches in the database. As in store.h each op
 * travels to a database thread and back.
 */
#ifndef CHASQUI_STORE_SCHEDULE_H
#define CHASQUI_STORE_SCHEDULE_H

#include "dispatcher/store/store.h"

struct store_schedule_look {
    bool is_filling;   /* a batch is being filled, or was left half filled */
    int64_t due_in_ms; /* until the next schedule's time, 0 = it has come; -1 = there is none */
    enum store_rc rc;
};
void store_schedule_look(struct db *db, void *op);

/* Why a schedule of these actions cannot run here; NULL = it can. */
const char *schedule_wrong(const struct action_table *actions, const char *action, const char *steps);

struct store_schedule_begin { /* the schedule that is due longest gets its batch, or is told as missed */
    char holder[NAME_ROOM];
    int64_t grace_s;
    const struct action_table *actions;
    /* out */
    bool found; /* there was one: look again */
    char name[NAME_ROOM];
    uint64_t batch_id; /* 0 = none was made */
    unsigned missed;   /* times that were too late to be run */
    bool is_bad;       /* its cron expression or action is none (any more): it was disabled */
    enum store_rc rc;
};
/* One transaction: the row of that time, which is unique, an open batch, and the next time. */
void store_schedule_begin(struct db *db, void *op);

struct store_schedule_fill { /* the next step of a batch that is not whole */
    uint64_t batch_id;
    unsigned n;
    bool is_whole;
    enum store_rc rc;
};
void store_schedule_fill(struct db *db, void *op);

#define SCHEDULES_MAX 200 /* shown, by name */
#define SCHEDULE_RUNS_SHOWN 20
struct store_schedules { /* as operators see them: each with its last runs, newest first, and its next times */
    struct buf json;
    enum store_rc rc;
};
void store_schedules(struct db *db, void *op);

enum schedule_wish { SCHEDULE_RUN, SCHEDULE_ENABLE, SCHEDULE_DISABLE };
struct store_schedule_set { /* what an operator wants of one; with an audit row */
    char name[NAME_ROOM];
    enum schedule_wish wish;
    const struct action_table *actions;
    struct actor by;
    /* out */
    bool found;
    char refused[200]; /* why nothing was done; "" = done */
    uint64_t batch_id; /* run: made, and still to be filled */
    int64_t next_s;    /* enabled: unix */
    enum store_rc rc;
};
void store_schedule_set(struct db *db, void *op);

#endif
