/* SPDX-License-Identifier: MIT */
/*
 * robot_row.h - a robot's row, as operators create and change it. The command line and the dispatcher write it by
 * the same rules. These are parts of a transaction; the caller writes the audit row.
 */
#ifndef CHASQUI_ROBOT_ROW_H
#define CHASQUI_ROBOT_ROW_H

#include "db/mariadb.h"

#define ROBOT_CAPACITY_MAX 100000 /* seq_1_to_100000 */
#define ROBOT_DETAIL_ROOM 800
/* How many sessions the robot `r` may hold: the lesser of the operators' limit and the robot's own report; 10 when
 * neither is known. */
#define ROBOT_CAPACITY                                                                                            \
    "LEAST(COALESCE(r.capacity, r.reported_capacity, 10), COALESCE(r.reported_capacity, r.capacity, 10))"

enum robot_row_outcome {
    ROBOT_ROW_DONE,
    ROBOT_ROW_UNKNOWN, /* no such robot */
    ROBOT_ROW_NAME_TAKEN,
    ROBOT_ROW_URL_TAKEN, /* by `other` */
    ROBOT_ROW_ACTIVE,    /* its address changes only while it gets no log-ins */
    ROBOT_ROW_BUSY,      /* and not while a session on it opens, closes or moves */
    ROBOT_ROW_HOLDS      /* it holds `sessions` and `abandoned`, which would be left unattended */
};

struct robot_row_change {
    /* in */
    const char *name;
    const char *base_url;   /* normalised; NULL = unchanged */
    const char *viewer_url; /* normalised, "" = none; NULL = unchanged */
    bool has_capacity;
    uint64_t capacity; /* 0 = as the robot reports */
    /* out */
    enum robot_row_outcome outcome; /* other than DONE: nothing was written */
    uint64_t id;
    bool is_changed;
    char other[65];
    uint64_t sessions, abandoned;
    /* The robot's own report, when it is less than the capacity set: it holds no more. 0 = it is not less. */
    uint64_t stays;
    char detail[ROBOT_DETAIL_ROOM]; /* what changed, for the audit row: "capacity 10 -> 20, ..." */
};
/* Both raise the robots' revision when they write. DB_DUP: another process added it at the same moment; roll back
 * (outcome says so). */
enum db_rc robot_row_add(struct db *db, struct robot_row_change *c);
/* Changes the row. A new address is also written to the rows of existing sessions, because the robot stays the
 * same. */
enum db_rc robot_row_set(struct db *db, struct robot_row_change *c);
/* A disabled robot is not probed, so it must hold no sessions, unless `force`. Sets outcome, sessions and
 * abandoned. */
enum db_rc robot_row_may_rest(struct db *db, struct robot_row_change *c, bool force);
/* Sets the wanted state: `active`, `draining` or `disabled`. A drain may have a deadline, counted from now; a
 * drain that continues keeps its start time. When a drain ends, sessions that were to leave the robot stay, unless
 * their move is in flight. */
enum db_rc robot_row_want(struct db *db, uint64_t robot_id, const char *wanted, bool has_deadline,
                          uint64_t deadline_ms);
/* Ensures that place rows 1..capacity exist. Lowering a capacity only stops new sessions: rows stay. */
enum db_rc robot_places_make(struct db *db, uint64_t robot_id);
enum db_rc robot_revision_raise(struct db *db);
/* Describes an outcome for people; "" for DONE. Never contains a base URL. */
void robot_row_words(const struct robot_row_change *c, char *out, size_t room);

#endif
