/* SPDX-License-Identifier: MIT */
/*
 * news.c - who hears the news of the lower floors. Decides nothing.
 */
#include "dispatcher/news.h"
#include "dispatcher/handlers.h"
#include "dispatcher/login/migrate.h"
#include "dispatcher/login/round.h"
#include "dispatcher/login/settle.h"
#include "dispatcher/ops/verify.h"
#include "dispatcher/queue/events.h"
#include "dispatcher/queue/queue.h"
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/robot/health_sub.h"
#include "dispatcher/robot/tally.h"
#include "dispatcher/session/lease.h"
#include "dispatcher/session/list.h"
#include "dispatcher/session/lookup.h"
#include "dispatcher/session/reconcile.h"
#include "dispatcher/sweep.h"
#include "dispatcher/wire/request.h"

static void ping_asks(struct dispatcher *d, char troubles[TROUBLE_TEXT_MAX + 1],
                      char at_limit[BULKHEAD_TEXT_MAX + 1])
{
    verifier_trouble(d, troubles);
    events_trouble(d, troubles);
    bulkheads_text(d, at_limit);
}

static void request_ends(struct dispatcher *d, struct request *r)
{
    tally_request(d, r);
    bulkhead_leave(d, r);
}

static void woken(struct dispatcher *d, struct str what)
{
    lookups_wake(d);
    if (str_is(what, "work") || str_is(what, "place"))
        queue_wake(d);
    else if (str_is(what, "cancel"))
        leases_renew_soon(d);
    else if (str_is(what, "rescue"))
        leases_rescue_soon(d);
}

static void robots_reloaded(struct dispatcher *d)
{
    health_sub_judge(d);
    lookups_wake(d);
}

static void lease_rescued(struct dispatcher *d, struct rescued *job, const struct lease *lease)
{
    switch (job->kind) {
    case LEASE_LOGIN:
        settle_rescued(d, job, lease);
        break;
    case LEASE_MIGRATE:
        migrate_resume(d, job, lease);
        break;
    case LEASE_ROUND:
        round_rescued(d, job, lease);
        break;
    case LEASE_ACTION:
    case LEASE_CLOSE: /* lease.c's own */
        break;
    }
}

const struct news news_of_floors = {
    .request_came = handler_call,
    .request_ends = request_ends,
    .broker_known = tally_greeted,
    .woken = woken,
    .tokens_of_others = verifier_foreign,
    .ping_asks = ping_asks,
    .robot_changed = migrate_robot_changed,
    .robot_stays_silent = migrate_stored_away,
    .robot_down = list_robot_down,
    .robot_to_compare = reconcile_robot,
    .robots_reloaded = robots_reloaded,
    .robots_known = lookups_wake,
    .session_wanted = migrate_urgent,
    .lease_rescued = lease_rescued,
    .work_ended = queue_login_ended,
    .batch_touched = queue_batch_touched,
    .work_ready = queue_wake,
    .work_due_in = queue_due_in,
    .tick_wanted = sweep_soon,
};
