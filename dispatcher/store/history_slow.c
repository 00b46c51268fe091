/* SPDX-License-Identifier: MIT */
/*
 * history_slow.c - since when a robot is slower than the others. It is judged in
 * steps of ten minutes, from the newest back, and the minute is looked for where
 * its slowness begins. A step with few log-ins says nothing; so does a night.
 * Looks no further back than a robot is slow, a week at most. Reads only.
 */
#include "dispatcher/store/history_slow.h"
#include "dispatcher/store/history_classes.h"
#include "dispatcher/store/store_sql.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

#define SLOW_TIMES 2      /* a robot is slow whose median is so many times the others' */
#define SLOW_MORE_MS 1000 /* and so much longer at least */
#define SLOW_LEAST 3      /* log-ins of a step that say something */
#define STEP_S 600
#define STEP_MINUTES (STEP_S / 60)
#define PIECE_STEPS_MAX 144
#define LOGINS                                                                                                                 \
    "SUM(robot_0), SUM(robot_1), SUM(robot_2), SUM(robot_3), SUM(robot_4), SUM(robot_5), SUM(robot_6), SUM(robot_7), "         \
    "SUM(robot_8), SUM(robot_9) FROM chasqui_history WHERE minute >= FROM_UNIXTIME(?) AND minute < FROM_UNIXTIME(?) AND kind " \
    "= 'login' AND outcome = 'done' AND (? = '' OR portal = ?) "

enum judged { SAYS_NOTHING, IS_SLOW, IS_NOT_SLOW };

struct robot {
    char name[NAME_ROOM];
    enum judged judged;
    int64_t since_s;
    struct classes step[PIECE_STEPS_MAX];
};

struct slow {
    const char *portal;
    struct robot *robot[HISTORY_ROBOTS_MAX];
    unsigned n;
};

static struct classes classes_read(struct db *db, unsigned at)
{
    struct classes c;
    for (unsigned i = 0; i < HISTORY_CLASSES; i++)
        c.n[i] = db_u64(db, at + i);
    return c;
}

static bool is_slow(const struct classes *own, const struct classes *others)
{
    int64_t mine = classes_quantile(own, ROBOT_TIMES, 50), theirs = classes_quantile(others, ROBOT_TIMES, 50);
    return theirs >= 0 && mine > SLOW_TIMES * theirs && mine > theirs + SLOW_MORE_MS;
}

/* ---- steps -------------------------------------------------------------------------------------------------- */

static struct robot *robot_of(struct slow *s, const char *name)
{
    for (unsigned i = 0; i < s->n; i++)
        if (strcmp(s->robot[i]->name, name) == 0)
            return s->robot[i];
    if (!*name || s->n == HISTORY_ROBOTS_MAX)
        return NULL;
    struct robot *robot = s->robot[s->n++] = xcalloc(1, sizeof(*robot));
    snprintf(robot->name, sizeof(robot->name), "%s", name);
    return robot;
}

static enum db_rc piece_read(struct db *db, struct slow *s, int64_t from_s, unsigned steps)
{
    for (unsigned i = 0; i < s->n; i++)
        memset(s->robot[i]->step, 0, sizeof(s->robot[i]->step));
    TRY(db_query(db,
                 "SELECT worker, (UNIX_TIMESTAMP(minute) - ?) DIV 600 AS step, " LOGINS "GROUP BY worker, step",
                 "iiiss", from_s, from_s, from_s + steps * STEP_S, s->portal, s->portal));
    while (db_next(db)) {
        struct robot *robot = robot_of(s, db_str(db, 0, NULL));
        int64_t step = db_i64(db, 1);
        if (robot && step >= 0 && step < (int64_t)steps)
            robot->step[step] = classes_read(db, 2);
    }
    return DB_OK;
}

static void robot_judge(const struct slow *s, struct robot *robot, int64_t from_s, unsigned steps)
{
    for (unsigned i = steps; i-- && robot->judged != IS_NOT_SLOW;) {
        struct classes others = {{0}};
        if (classes_count(&robot->step[i]) < SLOW_LEAST)
            continue;
        for (unsigned k = 0; k < s->n; k++)
            if (s->robot[k] != robot)
                classes_add(&others, &s->robot[k]->step[i]);
        if (is_slow(&robot->step[i], &others)) {
            robot->judged = IS_SLOW;
            robot->since_s = from_s + i * STEP_S;
        } else {
            robot->judged = IS_NOT_SLOW;
        }
    }
}

/* Back from `to_s`, as long as one is slow, or none of a day's steps said anything of it. */
static enum db_rc steps_judge(struct db *db, struct slow *s, int64_t to_s)
{
    static const unsigned pieces[] = {12, 132, 144, 144, 144, 144, 144, 144};
    bool is_open = true;
    for (unsigned p = 0; is_open && p < sizeof(pieces) / sizeof(*pieces); p++) {
        to_s -= pieces[p] * STEP_S;
        TRY(piece_read(db, s, to_s, pieces[p]));
        is_open = p == 0 && !s->n;
        for (unsigned i = 0; i < s->n; i++) {
            robot_judge(s, s->robot[i], to_s, pieces[p]);
            is_open |= s->robot[i]->judged == IS_SLOW || (p == 0 && s->robot[i]->judged == SAYS_NOTHING);
        }
    }
    return DB_OK;
}

/* ---- the minute --------------------------------------------------------------------------------------------- */

/* In the step where it begins the first minute that is slow, or before it, as long as the minutes before are slow too. */
static enum db_rc minute_find(struct db *db, const struct slow *s, struct robot *robot)
{
    struct classes own[2 * STEP_MINUTES] = {{{0}}}, others[2] = {{{0}}};
    int64_t from_s = robot->since_s - STEP_S;
    int first = -1;
    TRY(db_query(db,
                 "SELECT worker = ? AS own, (UNIX_TIMESTAMP(minute) - ?) DIV 60 AS at, " LOGINS "GROUP BY own, at",
                 "siiiss", robot->name, from_s, from_s, from_s + 2 * STEP_S, s->portal, s->portal));
    while (db_next(db)) {
        struct classes c = classes_read(db, 2);
        int64_t at = db_i64(db, 1);
        if (at >= 0 && at < 2 * STEP_MINUTES)
            classes_add(db_u64(db, 0) ? &own[at] : &others[at / STEP_MINUTES], &c);
    }
    bool is_first = true; /* of the step, that has log-ins */
    for (int i = STEP_MINUTES; first < 0 && i < 2 * STEP_MINUTES; i++) {
        if (!classes_count(&own[i]))
            continue;
        if (is_slow(&own[i], &others[1]))
            first = i;
        else
            is_first = false;
    }
    for (int i = STEP_MINUTES - 1; first >= 0 && is_first && i >= 0; i--) {
        if (!classes_count(&own[i]))
            continue;
        if (!is_slow(&own[i], &others[0]))
            break;
        first = i;
    }
    if (first >= 0)
        robot->since_s = from_s + first * 60;
    return DB_OK;
}

/* A name may have been another robot's before. */
static enum db_rc added_look(struct db *db, const struct robot *robot, int64_t *since_ms)
{
    TRY(db_query(
        db,
        "SELECT CAST(UNIX_TIMESTAMP(created_at) * 1000 AS INT) FROM chasqui_robots WHERE name = ? AND removed = 0",
        "s", robot->name));
    if (db_next(db) && db_i64(db, 0) > *since_ms)
        *since_ms = db_i64(db, 0);
    return DB_OK;
}

static enum db_rc slow_read(struct db *db, struct slow *s, struct slow_robot *out, unsigned *n)
{
    TRY(db_query(db, "SELECT UNIX_TIMESTAMP()", ""));
    if (!db_next(db))
        return DB_FAIL;
    TRY(steps_judge(db, s, (db_i64(db, 0) / STEP_S + 1) * STEP_S));
    for (unsigned i = 0; i < s->n; i++) {
        struct robot *robot = s->robot[i];
        if (!robot->since_s)
            continue;
        TRY(minute_find(db, s, robot));
        struct slow_robot *one = &out[(*n)++];
        memcpy(one->name, robot->name, sizeof(one->name));
        one->since_ms = robot->since_s * 1000;
        TRY(added_look(db, robot, &one->since_ms));
    }
    return DB_OK;
}

enum db_rc slow_robots(struct db *db, const char *portal, struct slow_robot out[HISTORY_ROBOTS_MAX], unsigned *n)
{
    struct slow *s = xcalloc(1, sizeof(*s));
    *n = 0;
    s->portal = portal;
    enum db_rc rc = slow_read(db, s, out, n);
    for (unsigned i = 0; i < s->n; i++)
        free(s->robot[i]);
    free(s);
    return rc;
}
