/* SPDX-License-Identifier: MIT */
/*
 * blame.c - the end of a log-in: the record of the attempt, and whose fault it was. A robot's fault and a refusal
 * are distinguished. A portal is blamed for errors that its robots attribute to it, and for errors that several of
 * them suffer.
 */
#include "dispatcher/login/login.h"
#include "dispatcher/robot/portals.h"
#include "dispatcher/robot/tally.h"

#include "common/clock.h"

#include <stdio.h>
#include <string.h>

/* A migration is not an attempt. Neither is a log-in that all robots were too full for. */
struct attempt_end login_attempt(const struct login *l, enum attempt_outcome outcome)
{
    struct attempt_end a = l->attempt;
    a.n = l->item.is_set ? l->item.attempts : 1;
    a.outcome = outcome;
    if (l->migrating || (l->item.is_set && l->error == ERR_NO_FREE_WORKER && outcome != OUTCOME_DONE))
        a.outcome = OUTCOME_NONE;
    return a;
}

enum attempt_outcome login_outcome(const struct login *l)
{
    if (l->cancelled)
        return OUTCOME_CANCELLED;
    if (l->error == ERR_REFUSED_BY_DATABASE || l->error == ERR_DATABASE_UNAVAILABLE)
        return OUTCOME_DATABASE;
    if (l->error == ERR_NO_DISPATCHER || l->error == ERR_OUTCOME_UNKNOWN)
        return OUTCOME_UNKNOWN;
    if (l->error == ERR_VALIDATION_FAILED || l->is_refused_before)
        return OUTCOME_NOT_CALLED;
    return l->attempt.outcome ? l->attempt.outcome : OUTCOME_ROBOT;
}

const char *login_code(const struct login *l)
{
    return l->is_refused_before ? "credentials_refused" : err_code(l->error);
}

/* Silence and 5xx may be the portal's fault. A robot that is unreachable, or sends garbage, is at fault itself. */
enum breaker_how login_blames(const struct login *l, enum attempt_outcome outcome)
{
    bool is_silent = l->error == ERR_DEADLINE_EXCEEDED;
    if (outcome == OUTCOME_PORTAL)
        return BREAKER_PORTAL;
    return outcome == OUTCOME_ROBOT && (is_silent || l->attempt.status >= 500) ? BREAKER_ROBOT : BREAKER_WELL;
}

struct portal_ended login_ended(const struct login *l, enum attempt_outcome outcome)
{
    uint64_t now_ms = clock_ms();
    struct portal_ended e = {.ended_ms = now_ms,
                             .took_ms = l->asked_ms ? (uint32_t)(now_ms - l->asked_ms) : 0,
                             .job_id = l->job_id,
                             .robot_id = l->robot_id,
                             .how = (uint8_t)login_blames(l, outcome),
                             .taken = TAKEN};
    snprintf(e.error, sizeof(e.error), "%.64s", l->attempt.error[0] ? l->attempt.error : err_code(l->error));
    return e;
}

void login_tell_portal(struct login *l, enum attempt_outcome outcome)
{
    struct portal_ended e = login_ended(l, outcome);
    bool is_well = outcome == OUTCOME_DONE || outcome == OUTCOME_REFUSED; /* the portal was up */
    if (l->migrating || login_attempt(l, outcome).outcome == OUTCOME_NONE)
        return;
    tally_attempt(l->d, l->portal, l->action ? l->action->name : "none", outcome_name[outcome],
                  outcome == OUTCOME_DONE ? "" : l->attempt.error);
    portals_ended(l->d, l->portal, outcome,
                  is_well && (l->item.is_set || portals_gate(l->d, l->portal)) ? &e : NULL);
}
