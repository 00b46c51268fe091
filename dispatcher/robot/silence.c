/* SPDX-License-Identifier: MIT */
/*
 * silence.c - robots that are down: for how long, and the consequences for their sessions.
 *
 * A dead robot's sessions migrate or are lost at once. A silent robot's sessions stay at first: they migrate after
 * session.migrate_after_s, or are lost after session.lost_after_s. Owns: which robots are being recorded. The time
 * itself is in the database, the same for all dispatchers. Must never count time in which no healthd is heard.
 */
#include "dispatcher/robot/silence.h"
#include "dispatcher/news.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/store/store_down.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

struct silences {
    bool *is_busy; /* by robot id */
    uint32_t n;
};

struct silences *silences_new(void)
{
    return xcalloc(1, sizeof(struct silences));
}

void silences_destroy(struct silences **sp)
{
    if (*sp)
        free((*sp)->is_busy);
    free(*sp);
    *sp = NULL;
}

static bool *busy_of(struct dispatcher *d, uint32_t robot_id)
{
    struct silences *s = d->silences;
    if (robot_id >= s->n) {
        uint32_t n = robot_id + 16;
        s->is_busy = xrealloc(s->is_busy, n * sizeof(*s->is_busy));
        memset(s->is_busy + s->n, 0, (n - s->n) * sizeof(*s->is_busy));
        s->n = n;
    }
    return &s->is_busy[robot_id];
}

static void recorded(void *arg, void *op_arg)
{
    struct dispatcher *d = arg;
    struct store_down *op = op_arg;
    const struct robot *robot = robot_by_id(d, op->robot_id);
    int64_t migrate_ms = d->conf->session_migrate_after_s * 1000, lost_ms = d->conf->session_lost_after_s * 1000;
    *busy_of(d, op->robot_id) = false;
    bool is_down = robot && robot->verdict == VERDICT_DOWN;
    if (op->rc != STORE_OK || op->down == DOWN_NOT || !robot) {
        /* Nothing follows. A record that failed is repeated by the next sweep. */
    } else if (robot->last_judged != VERDICT_DOWN) {
        silence_over(d, op->robot_id); /* it has answered meanwhile */
    } else if (is_down && robot->down == DOWN_DEAD) {
        d->news->robot_changed(d, op->robot_id, "robot_down");
    } else if (is_down && op->down_ms >= lost_ms) {
        d->news->robot_changed(d, op->robot_id, "robot_silent");
    } else if (is_down && op->down_ms >= migrate_ms) {
        d->news->robot_stays_silent(d, op->robot_id);
    }
    free(op);
}

static void record(struct dispatcher *d, const struct robot *robot, enum down down)
{
    struct store_down *op = xcalloc(1, sizeof(*op));
    op->robot_id = robot->id;
    op->down = down;
    *busy_of(d, robot->id) = true;
    store_submit(d->store, store_down, op, recorded, d);
}

void silence_over(struct dispatcher *d, uint32_t robot_id)
{
    const struct robot *robot = robot_by_id(d, robot_id);
    if (robot && !*busy_of(d, robot_id))
        record(d, robot, DOWN_NOT);
}

static void robot_look(struct dispatcher *d, const struct robot *robot, void *arg)
{
    (void)arg;
    if (robot->verdict == VERDICT_DOWN && robot->since_ms &&
        !*busy_of(d, robot->id)) /* since: the verdict is a healthd's, not only the database's */
        record(d, robot, robot->down);
}

void silence_tick(struct dispatcher *d)
{
    robots_each(d, robot_look, NULL);
}
