/* SPDX-License-Identifier: MIT */
/*
 * bulkhead.c - limits by robot, by company and by token, and the queues in front of them.
 *
 * Owns: the walls (a limit and what is in flight under it) and the requests that wait at one. A waiting request
 * holds no credit of its broker; when its turn comes it takes one back. Must never let requests at one wall block
 * requests elsewhere. So a company waits with a bounded number of requests, and the company that uses least is
 * next. A queue of calls that does not move for two seconds is refused (503 queue_full), and so is every new call
 * to it until it moves. A stall of our own does not count: the answers that move the queue are still to be read.
 *
 * Limits of calls to robots apply to each broker's share of a lane, so that one broker cannot shut out the callers
 * of another. Limits of the database apply to the whole process.
 */
#include "dispatcher/robot/bulkhead.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define STILL_MS 2000 /* a queue that does not move for this long is refused */
#define TICK_MS 250
#define SHOWN_MS 10000 /* a limit that was reached is reported for this long */
#define LIMIT_LEAST 8
#define PARKED_LEAST 4096
#define LOGIN_DATABASE_MOST 2 /* log-ins of one company at the database: they lock the same row */

enum kind { ROBOT = WALL_ROBOT, COMPANY = WALL_COMPANY, DATABASE = WALL_DATABASE, PARKED };

struct wall {
    enum kind kind;
    unsigned peer; /* PEERS_ALL = any broker */
    enum lane lane;
    uint64_t id;
    unsigned n, limit;
    TAILQ_HEAD(wall_line, request) line;
    unsigned n_waiting;
    uint64_t moved_ms;         /* a slot became free; or the last free one was taken */
    uint64_t full_ms;          /* a request had to wait, or was refused; 0 = never */
    struct map_node by_fields; /* key: a hash of kind, peer, lane and id */
    LIST_ENTRY(wall) of_all;
};

struct bulkheads {
    struct dispatcher *d;
    struct map by_fields;
    LIST_HEAD(walls, wall) list; /* may be walked while walls are added */
    struct loop_timer tick, pump;
    uint64_t ticked_ms; /* stillness is judged at each tick */
    unsigned n_parked, n_waiting;
};

/* ---- walls -------------------------------------------------------------------------------------------------- */

static uint64_t key_of(enum kind kind, unsigned peer, enum lane lane, uint64_t id)
{
    uint64_t fields[] = {(uint64_t)kind, peer, (uint64_t)lane, id};
    return map_hash(fields, sizeof fields);
}

static struct wall *wall_find(const struct bulkheads *b, enum kind kind, unsigned peer, enum lane lane,
                              uint64_t id)
{
    for (struct map_node *n = map_find(&b->by_fields, key_of(kind, peer, lane, id)); n; n = map_find_next(n)) {
        struct wall *w = map_value(n, struct wall, by_fields);
        if (w->id == id && w->kind == kind && w->peer == peer && w->lane == lane)
            return w;
    }
    return NULL;
}

static struct wall *wall_of(struct bulkheads *b, enum kind kind, unsigned peer, enum lane lane, uint64_t id,
                            unsigned limit)
{
    struct wall *w = wall_find(b, kind, peer, lane, id);
    if (!w) {
        w = xcalloc(1, sizeof(*w));
        *w = (struct wall){.kind = kind, .peer = peer, .lane = lane, .id = id};
        TAILQ_INIT(&w->line);
        LIST_INSERT_HEAD(&b->list, w, of_all);
        map_add(&b->by_fields, &w->by_fields, key_of(kind, peer, lane, id));
    }
    w->limit = limit;
    return w;
}

static void wall_free(struct bulkheads *b, struct wall *w)
{
    LIST_REMOVE(w, of_all);
    map_remove(&b->by_fields, &w->by_fields);
    free(w);
}

static bool is_unused(const struct wall *w, uint64_t now)
{
    return !w->n && TAILQ_EMPTY(&w->line) && (!w->full_ms || now > w->full_ms + SHOWN_MS);
}

static void walls_forget(struct bulkheads *b, uint64_t now)
{
    for (struct wall *w = LIST_FIRST(&b->list), *next; w; w = next) {
        next = LIST_NEXT(w, of_all);
        if (is_unused(w, now))
            wall_free(b, w);
    }
}

static unsigned share(unsigned of, int64_t percent)
{
    unsigned n = (unsigned)((uint64_t)of * (uint64_t)percent / 100);
    return n < LIMIT_LEAST ? LIMIT_LEAST : n;
}

static struct wall *robot_wall(struct dispatcher *d, const struct request *r, uint32_t robot_id)
{
    return wall_of(d->bulkheads, ROBOT, r->peer, r->lane, robot_id,
                   share(peers_window(d), d->conf->limit_robot_percent));
}

static struct wall *company_wall(struct dispatcher *d, const struct request *r, uint64_t company_id)
{
    return wall_of(d->bulkheads, COMPANY, r->peer, r->lane, company_id,
                   share(peers_window(d), d->conf->limit_company_percent));
}

/* The wall is per company for log-ins, which lock its row, and per token for queries. */
static struct wall *database_wall(struct dispatcher *d, const struct request *r, uint64_t id)
{
    unsigned threads = (unsigned)d->conf->dispatcher_db_threads,
             limit = threads > LIMIT_LEAST ? threads : LIMIT_LEAST;
    return wall_of(d->bulkheads, DATABASE, PEERS_ALL, r->lane, id,
                   r->lane == LANE_LOGIN ? LOGIN_DATABASE_MOST : limit);
}

/* ---- places ------------------------------------------------------------------------------------------------- */

static void take(struct request *r, struct wall *w)
{
    r->wall[w->kind] = w;
    if (++w->n == w->limit)
        w->moved_ms = clock_ms();
}

static void give_back(struct bulkheads *b, struct request *r, enum kind kind)
{
    struct wall *w = r->wall[kind];
    if (!w)
        return;
    r->wall[kind] = NULL;
    CHECK(w->n > 0, "wall kind=%d id=%llu", (int)kind, (unsigned long long)w->id);
    w->n--;
    w->moved_ms = clock_ms();
    if (!TAILQ_EMPTY(&w->line))
        loop_timer_in(b->d->loop, &b->pump, 0);
}

static bool is_full(const struct wall *w)
{
    return w->n >= w->limit;
}

/* ---- parking ------------------------------------------------------------------------------------------------ */

static unsigned parked_max(const struct dispatcher *d)
{
    unsigned most = (unsigned)d->conf->dispatcher_concurrency * 16;
    return most < PARKED_LEAST ? PARKED_LEAST : most;
}

static uint64_t company_of(const struct request *r)
{
    return r->counted_company ? r->counted_company : r->company_id;
}

bool bulkhead_park(struct dispatcher *d, struct request *r)
{
    struct bulkheads *b = d->bulkheads;
    if (r->parked)
        return true;
    unsigned most = parked_max(d);
    struct wall *w =
        wall_of(b, PARKED, PEERS_ALL, LANE_CONTROL, company_of(r), share(most, d->conf->limit_company_percent));
    if (b->n_parked >= most || is_full(w)) {
        w->full_ms = clock_ms();
        return false;
    }
    w->n++;
    r->parked = w;
    b->n_parked++;
    stat_set(requests_parked, b->n_parked);
    peer_finished(d, r->peer, r->lane);
    return true;
}

static void unpark(struct dispatcher *d, struct request *r, bool is_ended)
{
    struct bulkheads *b = d->bulkheads;
    if (!r->parked)
        return;
    r->parked->n--;
    r->parked = NULL;
    b->n_parked--;
    stat_set(requests_parked, b->n_parked);
    if (!is_ended)
        peer_taken(d, r->peer, r->lane);
}

/* ---- the line ----------------------------------------------------------------------------------------------- */

static void line_leave(struct bulkheads *b, struct request *r)
{
    struct wall *w = r->line;
    if (!w)
        return;
    TAILQ_REMOVE(&w->line, r, of_line);
    r->line = NULL;
    w->n_waiting--;
    b->n_waiting--;
    stat_set(bulkhead_waiting, b->n_waiting);
}

static void line_join(struct bulkheads *b, struct request *r, struct wall *w)
{
    r->line = w;
    TAILQ_INSERT_TAIL(&w->line, r, of_line);
    w->n_waiting++;
    b->n_waiting++;
    stat_set(bulkhead_waiting, b->n_waiting);
}

static void refuse(struct dispatcher *d, struct request *r, const struct wall *w)
{
    const struct robot *robot = w->kind == ROBOT ? robot_by_id(d, (uint32_t)w->id) : NULL;
    char text[200];
    stat_inc(bulkhead_refused_total);
    if (w->kind == ROBOT)
        snprintf(text, sizeof(text), "Robot %s has as many calls in flight as it may have; try again.",
                 robot ? robot->name : "");
    else if (w->kind == COMPANY)
        snprintf(text, sizeof(text), "The company has as many calls in flight as it may have; try again.");
    else
        snprintf(text, sizeof(text), "Too many requests of this %s wait already; try again.",
                 w->lane == LANE_LOGIN ? "company" : "token");
    reply_error(d, r, ERR_QUEUE_FULL, text, NULL);
}

/* As of the last tick, which is behind a stall of ours. At the database its own limits decide. */
static bool is_still(const struct bulkheads *b, const struct wall *w)
{
    return w->kind != DATABASE && is_full(w) && b->ticked_ms >= w->moved_ms + STILL_MS;
}

static void wait_at(struct dispatcher *d, struct request *r, struct wall *w, bulkhead_turn_fn *turn)
{
    w->full_ms = clock_ms();
    if (is_still(d->bulkheads, w) || !bulkhead_park(d, r)) {
        refuse(d, r, w);
        return;
    }
    r->turn = turn;
    line_join(d->bulkheads, r, w);
}

/* How much of the wall's other kind r's company, or robot, already uses. */
static unsigned used_elsewhere(struct dispatcher *d, const struct request *r, const struct wall *w)
{
    const struct wall *other = w->kind == ROBOT
                                   ? wall_find(d->bulkheads, COMPANY, r->peer, r->lane, r->line_company)
                                   : wall_find(d->bulkheads, ROBOT, r->peer, r->lane, r->line_robot);
    return other ? other->n : 0;
}

/* The request whose company uses least; of those the one that arrived first. */
static struct request *next_in_line(struct dispatcher *d, const struct wall *w)
{
    struct request *best = TAILQ_FIRST(&w->line);
    if (w->kind == DATABASE)
        return best;
    unsigned least = best ? used_elsewhere(d, best, w) : 0;
    for (struct request *r = best ? TAILQ_NEXT(best, of_line) : NULL; r && least; r = TAILQ_NEXT(r, of_line)) {
        unsigned used = used_elsewhere(d, r, w);
        if (used < least) {
            best = r;
            least = used;
        }
    }
    return best;
}

/* Admits r, which is first in w's queue. w must have a free slot. */
static void admit(struct dispatcher *d, struct request *r, struct wall *w)
{
    line_leave(d->bulkheads, r);
    if (w->kind == DATABASE) {
        take(r, w);
    } else {
        struct wall *robot = robot_wall(d, r, r->line_robot), *company = company_wall(d, r, r->line_company);
        struct wall *full = is_full(robot) ? robot : is_full(company) ? company : NULL;
        if (full) {
            line_join(d->bulkheads, r, full);
            return;
        }
        take(r, robot);
        take(r, company);
    }
    unpark(d, r, false);
    r->turn(d, r);
}

static void pump_due(void *arg)
{
    struct bulkheads *b = arg;
    struct wall *w;
    LIST_FOREACH(w, &b->list, of_all)
        for (unsigned most = w->n_waiting; most && !TAILQ_EMPTY(&w->line) && !is_full(w); most--)
            admit(b->d, next_in_line(b->d, w), w);
}

/* What passed since the last tick beyond its interval was a stall of ours, and counts for no queue. */
static void stall_excuse(struct bulkheads *b, uint64_t now)
{
    uint64_t passed_ms = now - b->ticked_ms;
    struct wall *w;
    b->ticked_ms = now;
    if (passed_ms < 2 * TICK_MS)
        return;
    LIST_FOREACH(w, &b->list, of_all) {
        uint64_t excused_ms = w->moved_ms + passed_ms - TICK_MS;
        w->moved_ms = excused_ms < now ? excused_ms : now;
    }
}

static void tick_due(void *arg)
{
    struct bulkheads *b = arg;
    uint64_t now = clock_ms();
    struct wall *w;
    stall_excuse(b, now);
    LIST_FOREACH(w, &b->list, of_all)
        while (!TAILQ_EMPTY(&w->line) && is_still(b, w)) {
            w->full_ms = now;
            refuse(b->d, TAILQ_FIRST(&w->line), w);
        }
    walls_forget(b, now);
    loop_timer_in(b->d->loop, &b->tick, TICK_MS);
}

/* ---- what handlers ask -------------------------------------------------------------------------------------- */

static bool holds(const struct request *r, enum kind kind, uint64_t id)
{
    return r->wall[kind] && r->wall[kind]->id == id;
}

bool bulkhead_call(struct dispatcher *d, struct request *r, uint32_t robot_id, uint64_t company_id,
                   bulkhead_turn_fn *turn)
{
    if (holds(r, ROBOT, robot_id) && holds(r, COMPANY, company_id))
        return true;
    give_back(d->bulkheads, r, ROBOT);
    give_back(d->bulkheads, r, COMPANY);
    r->line_robot = robot_id;
    r->line_company = company_id;
    struct wall *robot = robot_wall(d, r, robot_id), *company = company_wall(d, r, company_id);
    struct wall *full = is_full(robot) ? robot : is_full(company) ? company : NULL;
    if (full) {
        wait_at(d, r, full, turn);
        return false;
    }
    take(r, robot);
    take(r, company);
    unpark(d, r, false);
    return true;
}

bool bulkhead_login(struct dispatcher *d, struct request *r, uint32_t robot_id)
{
    if (holds(r, ROBOT, robot_id))
        return true;
    give_back(d->bulkheads, r, ROBOT);
    struct wall *w = robot_wall(d, r, robot_id);
    if (is_full(w)) {
        w->full_ms = clock_ms();
        stat_inc(bulkhead_refused_total);
        return false;
    }
    take(r, w);
    unpark(d, r, false);
    return true;
}

unsigned bulkhead_full_robots(const struct dispatcher *d, const struct request *r, uint32_t *out, unsigned max)
{
    const struct wall *w;
    unsigned n = 0;
    LIST_FOREACH(w, &d->bulkheads->list, of_all)
        if (n < max && w->kind == ROBOT && w->lane == LANE_LOGIN && w->peer == r->peer && is_full(w))
            out[n++] = (uint32_t)w->id;
    return n;
}

bool bulkhead_database_try(struct dispatcher *d, struct request *r, uint64_t id)
{
    struct wall *w = database_wall(d, r, id);
    if (r->wall[DATABASE])
        return true;
    if (is_full(w))
        return false;
    take(r, w);
    return true;
}

bool bulkhead_database(struct dispatcher *d, struct request *r, uint64_t id, bulkhead_turn_fn *turn)
{
    if (bulkhead_database_try(d, r, id))
        return true;
    wait_at(d, r, database_wall(d, r, id), turn);
    return false;
}

void bulkhead_database_left(struct dispatcher *d, struct request *r)
{
    give_back(d->bulkheads, r, DATABASE);
}

void bulkhead_leave(struct dispatcher *d, struct request *r)
{
    line_leave(d->bulkheads, r);
    for (enum kind kind = ROBOT; kind <= DATABASE; kind++)
        give_back(d->bulkheads, r, kind);
    if (r->parked)
        unpark(d, r, true);
    else
        peer_finished(d, r->peer, r->lane);
}

/* ---- for people --------------------------------------------------------------------------------------------- */

void bulkheads_text(struct dispatcher *d, char out[BULKHEAD_TEXT_MAX + 1])
{
    uint64_t now = clock_ms();
    size_t len = 0;
    out[0] = 0;
    const struct wall *w;
    LIST_FOREACH(w, &d->bulkheads->list, of_all) {
        const struct robot *robot = w->kind == ROBOT ? robot_by_id(d, (uint32_t)w->id) : NULL;
        bool is_company =
            w->kind == COMPANY || w->kind == PARKED || (w->kind == DATABASE && w->lane == LANE_LOGIN);
        char one[160], id[24];
        if (!w->full_ms || now > w->full_ms + SHOWN_MS || (w->kind == ROBOT && !robot))
            continue;
        snprintf(id, sizeof(id), "%llu", (unsigned long long)w->id);
        int n = snprintf(one, sizeof(one), "%s%s:%s:%s:%u:%u:%u", len ? "," : "",
                         robot        ? "robot"
                         : is_company ? "company"
                                      : "token",
                         robot ? robot->name : id, lane_name[w->lane], w->n, w->limit, w->n_waiting);
        if (n < 0 || (size_t)n >= sizeof(one) || len + (size_t)n > BULKHEAD_TEXT_MAX)
            continue;
        memcpy(out + len, one, (size_t)n + 1);
        len += (size_t)n;
    }
}

struct bulkheads *bulkheads_new(struct dispatcher *d)
{
    struct bulkheads *b = xcalloc(1, sizeof(*b));
    b->d = d;
    b->tick = (struct loop_timer){.fn = tick_due, .arg = b};
    b->pump = (struct loop_timer){.fn = pump_due, .arg = b};
    b->ticked_ms = clock_ms();
    loop_timer_in(d->loop, &b->tick, TICK_MS);
    return b;
}

void bulkheads_destroy(struct bulkheads **bp)
{
    struct bulkheads *b = *bp;
    if (!b)
        return;
    *bp = NULL;
    loop_timer_stop(b->d->loop, &b->tick);
    loop_timer_stop(b->d->loop, &b->pump);
    while (!LIST_EMPTY(&b->list))
        wall_free(b, LIST_FIRST(&b->list));
    map_free(&b->by_fields);
    free(b);
}
