/* SPDX-License-Identifier: MIT */
/*
 * tally.c - this dispatcher's counts by robot and by company, and their reports to the brokers.
 *
 * Owns: the counters of each robot, the companies' sums. They live in memory and restart with the process; no
 * decision depends on them. Changed rows are reported once a second, all rows every ten seconds. A broker that
 * greets us gets all rows at once, so that it learns where our counters begin.
 */
#include "dispatcher/robot/tally.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/clock.h"
#include "dispatcher/robot/attempts.h"
#include "dispatcher/robot/top_companies.h"
#include "dispatcher/robot/unanswered.h"

#include <stdlib.h>
#include <string.h>

#define TELL_MS 1000
#define TELL_ALL_MS 10000

struct robot_tally {
    uint64_t in_flight, done, failed;
    struct hist login;
    uint64_t fault[FAULT_COUNT];
    unsigned mute; /* calls without an answer, when its verdict depends on them; else 0 */
    enum wanted told_wanted;
    bool is_changed;
};

struct tally {
    struct dispatcher *d;
    struct robot_tally *robot; /* by robot id */
    uint32_t n_robots;
    struct top_companies *top_companies;
    struct attempts *attempts;
    bool is_attempted; /* attempts have ended since the last report */
    bool is_told;      /* the brokers hold companies of ours */
    struct loop_timer timer;
    uint64_t all_at_ms;
};

/* ---- counting ----------------------------------------------------------------------------------------------- */

static struct robot_tally *robot_of(struct dispatcher *d, uint32_t robot_id)
{
    struct tally *t = d->tally;
    if (robot_id >= t->n_robots) {
        uint32_t n = robot_id + 16;
        t->robot = xrealloc(t->robot, n * sizeof(*t->robot));
        memset(t->robot + t->n_robots, 0, (n - t->n_robots) * sizeof(*t->robot));
        t->n_robots = n;
    }
    t->robot[robot_id].is_changed = true;
    return &t->robot[robot_id];
}

void tally_login_begun(struct dispatcher *d, uint32_t robot_id)
{
    robot_of(d, robot_id)->in_flight++;
}

void tally_login_ended(struct dispatcher *d, uint32_t robot_id, bool is_open, int64_t took_ms)
{
    struct robot_tally *r = robot_of(d, robot_id);
    r->in_flight -= r->in_flight > 0;
    if (is_open)
        r->done++;
    else
        r->failed++;
    if (took_ms >= 0)
        hist_add(&r->login, (uint64_t)took_ms * 1000);
}

void tally_mute(struct dispatcher *d, uint32_t robot_id, unsigned unanswered)
{
    robot_of(d, robot_id)->mute = unanswered;
}

void tally_fault(struct dispatcher *d, uint32_t robot_id, enum fault fault)
{
    robot_of(d, robot_id)->fault[fault]++;
}

void tally_called(void *arg, uint32_t robot_id, bool is_login, const struct call_answer *a)
{
    struct dispatcher *d = arg;
    unanswered_called(d, robot_id, a);
    if (a->result == CALL_STOPPED)
        return;
    stat_time(robot_call_seconds, (uint64_t)a->took_ms * 1000);
    if (!robot_id)
        return;
    switch (a->result) {
    case CALL_NOT_SENT:
        tally_fault(d, robot_id, FAULT_UNREACHABLE);
        break;
    case CALL_TIMEOUT:
        tally_fault(d, robot_id, FAULT_TIMEOUT);
        break;
    case CALL_BROKEN:
    case CALL_TOO_BIG:
        tally_fault(d, robot_id, a->garbage ? FAULT_BAD_ANSWER : FAULT_BROKEN);
        break;
    case CALL_ANSWERED:
        if (a->status >= 500 && !is_login) /* for a log-in see login.c */
            tally_fault(d, robot_id, FAULT_SAID_NO);
        break;
    case CALL_STOPPED:
        break;
    }
}

void tally_attempt(struct dispatcher *d, const char *portal, const char *action, const char *outcome,
                   const char *robot_error)
{
    attempts_count(d->tally->attempts, portal, action, outcome, robot_error);
    d->tally->is_attempted = true;
}

void tally_queued(struct dispatcher *d, uint64_t company_id, uint64_t ms)
{
    stat_time(queue_wait_seconds, ms * 1000);
    tally_waited(d, company_id, ms);
}

void tally_waited(struct dispatcher *d, uint64_t company_id, uint64_t ms)
{
    if (company_id)
        top_companies_waited(d->tally->top_companies, clock_ms(), company_id, ms);
}

void tally_used(struct dispatcher *d, uint64_t company_id, uint64_t ms)
{
    if (company_id)
        top_companies_used(d->tally->top_companies, clock_ms(), company_id, ms);
}

/* ---- telling ------------------------------------------------------------------------------------------------ */

struct telling {
    unsigned peer; /* PEERS_ALL, or one */
    bool is_all;
    struct robot_stats_row row[ROBOT_STATS_MAX];
    unsigned n;
};

static void rows_send(struct dispatcher *d, struct telling *t)
{
    struct buf payload = {0};
    proto_encode_robot_stats(&payload, t->row, t->n);
    struct msg m = {.type = MSG_ROBOT_STATS,
                    .ROBOT_STATS = {.revision = d->robots_revision},
                    .payload = {payload.data, (uint32_t)payload.len}};
    if (t->peer == PEERS_ALL)
        peers_send_all(d, &m);
    else
        peer_send(d, t->peer, &m);
    buf_free(&payload);
    t->n = 0;
}

static void row_tell(struct dispatcher *d, const struct robot *robot, void *arg)
{
    struct telling *t = arg;
    bool was_changed = robot->id < d->tally->n_robots && d->tally->robot[robot->id].is_changed;
    struct robot_tally *r = robot_of(d, robot->id);
    if (!t->is_all && !was_changed && r->told_wanted == robot->wanted) {
        r->is_changed = false;
        return;
    }
    struct robot_stats_row *row = &t->row[t->n++];
    *row = (struct robot_stats_row){.name = str_of(robot->name),
                                    .wanted = robot->wanted,
                                    .in_flight = r->in_flight,
                                    .done = r->done,
                                    .failed = r->failed,
                                    .login = r->login,
                                    .mute = r->mute};
    memcpy(row->fault, r->fault, sizeof(row->fault));
    r->is_changed = was_changed && t->peer != PEERS_ALL; /* one broker knows it; the others do not yet */
    if (t->peer == PEERS_ALL)
        r->told_wanted = robot->wanted;
    if (t->n == ROBOT_STATS_MAX)
        rows_send(d, t);
}

static void robots_tell(struct dispatcher *d, unsigned peer, bool is_all)
{
    struct telling *t = xcalloc(1, sizeof(*t));
    t->peer = peer;
    t->is_all = is_all;
    robots_each(d, row_tell, t);
    if (t->n || peer != PEERS_ALL) /* a greeting broker learns that this is all, even when it is empty */
        rows_send(d, t);
    free(t);
}

static void companies_tell(struct dispatcher *d)
{
    struct company_stats_row rows[COMPANY_STATS_MAX];
    unsigned n = top_companies_most(d->tally->top_companies, clock_ms(), rows, COMPANY_STATS_MAX);
    struct buf payload = {0};
    if (!n && !d->tally->is_told)
        return;
    proto_encode_company_stats(&payload, rows, n);
    struct msg m = {.type = MSG_COMPANY_STATS,
                    .COMPANY_STATS = {.window_s = TOP_COMPANIES_WINDOW_MS / 1000},
                    .payload = {payload.data, (uint32_t)payload.len}};
    peers_send_all(d, &m);
    buf_free(&payload);
    d->tally->is_told = n > 0;
}

static void attempts_tell(struct dispatcher *d, unsigned peer)
{
    struct attempt_stats_row rows[ATTEMPT_STATS_MAX];
    struct buf payload = {0};
    unsigned n = attempts_rows(d->tally->attempts, rows);
    proto_encode_attempt_stats(&payload, rows, n);
    struct msg m = {.type = MSG_ATTEMPT_STATS,
                    .ATTEMPT_STATS = {.count = n},
                    .payload = {payload.data, (uint32_t)payload.len}};
    if (peer == PEERS_ALL)
        peers_send_all(d, &m);
    else
        peer_send(d, peer, &m);
    buf_free(&payload);
}

static void tell_due(void *arg)
{
    struct tally *t = arg;
    uint64_t now = clock_ms();
    bool is_all = now >= t->all_at_ms;
    loop_timer_in(t->d->loop, &t->timer, TELL_MS);
    if (is_all)
        t->all_at_ms = now + TELL_ALL_MS;
    robots_tell(t->d, PEERS_ALL, is_all);
    companies_tell(t->d);
    if (t->is_attempted)
        attempts_tell(t->d, PEERS_ALL);
    t->is_attempted = false;
}

void tally_greeted(struct dispatcher *d, unsigned peer)
{
    if (!d->tally)
        return;
    robots_tell(d, peer, true);
    attempts_tell(d, peer);
}

/* ---- start and stop ----------------------------------------------------------------------------------------- */

struct tally *tally_new(struct dispatcher *d)
{
    struct tally *t = d->tally = xcalloc(1, sizeof(*t));
    t->d = d;
    t->top_companies = top_companies_new();
    t->attempts = attempts_new();
    t->timer = (struct loop_timer){.fn = tell_due, .arg = t};
    loop_timer_in(d->loop, &t->timer, TELL_MS);
    return t;
}

void tally_destroy(struct tally **tp)
{
    struct tally *t = *tp;
    if (!t)
        return;
    *tp = NULL;
    loop_timer_stop(t->d->loop, &t->timer);
    top_companies_destroy(&t->top_companies);
    attempts_destroy(&t->attempts);
    free(t->robot);
    free(t);
}

/* Counts a company's waiting and use, from requests that are work for it. */
void tally_request(struct dispatcher *d, const struct request *r)
{
    uint64_t company_id = r->counted_company ? r->counted_company : r->company_id;
    if (r->lane != LANE_INTERACTIVE && r->lane != LANE_LOGIN)
        return;
    tally_waited(d, company_id, r->waited_ms);
    tally_used(d, company_id, (clock_us() - r->arrived_us) / 1000);
}
