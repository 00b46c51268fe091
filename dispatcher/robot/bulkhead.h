/* SPDX-License-Identifier: MIT */
/*
 * bulkhead.h - no company and no robot uses up what others need: calls in flight are bounded by robot and by company, and
 * a request that only waits gives its credit back.
 */
#ifndef CHASQUI_BULKHEAD_H
#define CHASQUI_BULKHEAD_H

#include "dispatcher/news.h"

/* Called when a request's turn came, from the loop. */
typedef void bulkhead_turn_fn(struct dispatcher *d, struct request *r);

struct bulkheads *bulkheads_new(struct dispatcher *d);
void bulkheads_destroy(struct bulkheads **bp);

/* r is about to call that robot for that company. true: it holds a place of both until it ends. false: it waits in line, and `turn` is
 * called once it holds both; or it was answered with queue_full. */
bool bulkhead_call(struct dispatcher *d, struct request *r, uint32_t robot_id, uint64_t company_id,
                   bulkhead_turn_fn *turn);
/* A log-in's call: true when r holds a place of the robot now. It never waits. */
bool bulkhead_login(struct dispatcher *d, struct request *r, uint32_t robot_id);
/* Robots that bulkhead_login() would refuse; returns how many. */
unsigned bulkhead_full_robots(const struct dispatcher *d, const struct request *r, uint32_t *out, unsigned max);

/* r is about to use the database for that company or token; few of each do so at once. As bulkhead_call(). */
bool bulkhead_database(struct dispatcher *d, struct request *r, uint64_t company_id, bulkhead_turn_fn *turn);
bool bulkhead_database_try(struct dispatcher *d, struct request *r,
                           uint64_t company_id); /* true: it holds a place. It never waits. */
void bulkhead_database_left(struct dispatcher *d, struct request *r);

/* r only waits from now on: its credit goes back to its broker. false: too many wait already; r goes on holding its credit. */
bool bulkhead_park(struct dispatcher *d, struct request *r);
/* r ends: it leaves its line and gives back what it holds. Called by request.c. */
void bulkhead_leave(struct dispatcher *d, struct request *r);
/* Whose limits were reached in the last seconds: "kind:who:lane:in flight:limit:waiting", comma list. */
void bulkheads_text(struct dispatcher *d, char out[BULKHEAD_TEXT_MAX + 1]);

#endif
