/* SPDX-License-Identifier: MIT */
/*
 * unanswered.c - robots that are healthy but silent: good by their /health, while calls of this dispatcher get no
 * answer. Such a robot is suspect: it gets log-ins only when no other robot has a place.
 *
 * Owns: the latest calls of each robot (outlier.h), a bounded ring by robot id. Counts lists, downloads, actions
 * and log-ins. Calls that Chasqui makes for itself do not count. Makes no other decision.
 */
#include "dispatcher/robot/unanswered.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/robot/outlier.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/robot/tally.h"
#include "dispatcher/wire/peer.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

struct unanswered {
    struct outlier *of; /* by robot id */
    unsigned *overdue;  /* of the look in progress */
    uint32_t n;
};

struct unanswered *unanswered_new(void)
{
    return xcalloc(1, sizeof(struct unanswered));
}

void unanswered_destroy(struct unanswered **mp)
{
    if (*mp) {
        free((*mp)->of);
        free((*mp)->overdue);
    }
    free(*mp);
    *mp = NULL;
}

static void room_make(struct unanswered *m, uint32_t robot_id)
{
    if (robot_id < m->n)
        return;
    uint32_t n = robot_id + 16;
    m->of = xrealloc(m->of, n * sizeof(*m->of));
    m->overdue = xrealloc(m->overdue, n * sizeof(*m->overdue));
    memset(m->of + m->n, 0, (n - m->n) * sizeof(*m->of));
    memset(m->overdue + m->n, 0, (n - m->n) * sizeof(*m->overdue));
    m->n = n;
}

static void changed(struct dispatcher *d, uint32_t robot_id)
{
    const struct outlier *o = &d->unanswered->of[robot_id];
    const struct robot *robot = robot_by_id(d, robot_id);
    log_line(o->is_out ? LOG_WARN : LOG_INFO, o->is_out ? "robot_mute" : "robot_answers", "robot",
             robot ? robot->name : "", "unanswered", log_i(o->bad), NULL);
    robots_mute(d, robot_id, o->is_out);
    tally_mute(d, robot_id, o->is_out ? o->bad : 0);
    if (!o->is_out)
        peers_wake(d, "place");
}

/* Whether the robot answered. A call with too little time, or one ended by us or by its caller, proves nothing. */
void unanswered_called(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a)
{
    bool is_answered = a->status != 0 || a->garbage;
    if (!robot_id || !a->is_work || (is_answered && a->result == CALL_STOPPED))
        return;
    if (!is_answered && !outlier_tells(a->result != CALL_BROKEN, a->took_ms, a->patience_ms))
        return;
    room_make(d->unanswered, robot_id);
    if (outlier_take(&d->unanswered->of[robot_id], is_answered, clock_ms()))
        changed(d, robot_id);
}

static void overdue_one(void *arg, uint32_t robot_id)
{
    struct unanswered *m = arg;
    room_make(m, robot_id);
    m->overdue[robot_id]++;
}

void unanswered_tick(struct dispatcher *d)
{
    struct unanswered *m = d->unanswered;
    uint64_t now = clock_ms();
    if (m->n)
        memset(m->overdue, 0, m->n * sizeof(*m->overdue));
    calls_overdue(d->robot_http, overdue_one, m);
    for (uint32_t id = 0; id < m->n; id++)
        if ((m->overdue[id] || m->of[id].n || m->of[id].is_out) && outlier_look(&m->of[id], m->overdue[id], now))
            changed(d, id);
}
