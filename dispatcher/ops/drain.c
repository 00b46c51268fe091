/* SPDX-License-Identifier: MIT */
/*
 * drain.c - sessions leave robots that an operator empties.
 *
 * Owns: only when to look. Who leaves now is planned in the database, by any
 * dispatcher, as often as it likes; the migration itself is migrate.c's. Must never
 * cost a session: one without stored credentials stays until it ends, one that
 * finds no place elsewhere stays too.
 */
#include "dispatcher/ops/drain.h"
#include "dispatcher/login/migrate.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/session/activity.h"
#include "dispatcher/store/store_drain.h"
#include "dispatcher/wire/peer.h"

#include "dispatcher/dispatcher.h"

#include "common/check.h"
#include "common/log.h"

#include <stdlib.h>

struct drains {
    bool is_looking;
};

struct drains *drains_new(struct dispatcher *d)
{
    (void)d;
    return xcalloc(1, sizeof(struct drains));
}

void drains_destroy(struct drains **dp)
{
    free(*dp);
    *dp = NULL;
}

static void looked(void *arg, void *op_arg)
{
    struct dispatcher *d = arg;
    struct store_drain *op = op_arg;
    d->drains->is_looking = false;
    if (op->rc == STORE_OK && op->planned) {
        stat_add(migrations_planned_total, op->planned);
        log_line(LOG_INFO, "migrations_planned", "why", "drain", "planned", log_i(op->planned), NULL);
        migrate_tick(d);
        peers_wake(d, "migrations");
    }
    free(op);
}

static void robot_look(struct dispatcher *d, const struct robot *r, void *arg)
{
    (void)d;
    *(bool *)arg |=
        r->wanted == WANTED_DRAINING && r->last_judged != VERDICT_DOWN; /* down: see migrate_robot_changed() */
}

void drain_tick(struct dispatcher *d)
{
    bool is_any = false;
    robots_each(d, robot_look, &is_any);
    if (!is_any || d->drains->is_looking || d->draining)
        return;
    struct store_drain *op = xcalloc(1, sizeof(*op));
    op->idle_ms =
        d->conf->session_drain_idle_s * 1000 + activity_flush_every_ms(d); /* what is written is so much older */
    op->n_candidates = robots_candidates(d, op->candidate, CANDIDATES_MAX, NULL, 0);
    d->drains->is_looking = true;
    store_submit(d->store, store_drain, op, looked, d);
}
