/* SPDX-License-Identifier: MIT */
/*
 * robot_list.h - a robot's own session list beside our rows on that robot, as compared by reconciliation and
 * doctor.
 */
#ifndef CHASQUI_ROBOT_LIST_H
#define CHASQUI_ROBOT_LIST_H

#include "common/names.h"
#include "dispatcher/robot/robot_answer.h"

enum list_state { LIST_OK, LIST_UNSUPPORTED, LIST_UNREACHABLE };

#define JOB_KEY_ROOM 96 /* job_uid, a dot and an epoch */

struct robot_list { /* borrowed during the callback */
    uint32_t robot_id;
    enum list_state state;
    const struct jv *sessions;      /* array, from the robot */
    char boot_id[65];               /* boot id of the answer, "" = not reported */
    bool is_whole;                  /* not shorter than the robot's own count: a missing session is gone */
    const struct session_row *rows; /* ours: live ones and those with a close pending */
    unsigned n_rows;
    bool rows_known;                               /* the database answered */
    struct names entries, rows_by_id, rows_by_job; /* indexes: by session id; by job_uid and epoch */
    char (*job_keys)[JOB_KEY_ROOM];                /* one per row, the names of rows_by_job */
};

typedef void robot_list_fn(struct dispatcher *d, void *arg, const struct robot_list *list);
/* Asks the robot first, then the database: a row younger than the list is no contradiction. */
void robot_list_get(struct dispatcher *d, uint32_t robot_id, robot_list_fn *fn, void *arg);
/* Finds our row for an entry of the robot's list (by job_uid and epoch, else by session id); NULL = none. */
const struct session_row *robot_list_row(const struct robot_list *list, const struct jv *entry);
/* Finds the robot's entry for a row, NULL = none. */
const struct jv *robot_list_entry(const struct robot_list *list, const struct session_row *row);

#endif
