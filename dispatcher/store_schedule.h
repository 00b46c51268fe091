/*
 * store_schedule.h - recurring batches in the database. As in store.h each op
 * travels to a database thread and back.
 */
#ifndef CHASQUI_STORE_SCHEDULE_H
#define CHASQUI_STORE_SCHEDULE_H

#include "dispatcher/store.h"

struct store_schedule_look {
    bool is_filling;   /* a batch is being filled, or was left half filled */
    int64_t due_in_ms; /* until the next schedule's time, 0 = it has come; -1 = there is none */
    enum store_rc rc;
};
void store_schedule_look(struct db *db, void *op);

struct store_schedule_begin { /* the schedule that is due longest gets its batch, or is told as missed */
    char holder[NAME_ROOM];
    int64_t grace_s;
    const struct action_table *actions;
    /* out */
    bool found;        /* there was one: look again */
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

#endif
