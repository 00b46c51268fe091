/* SPDX-License-Identifier: MIT */
/*
 * bulkhead.h - prevents a company or a robot from using up the capacity of others. Calls in flight are limited by
 * robot and by company, and a request that only waits returns its credit.
 */
#ifndef CHASQUI_BULKHEAD_H
#define CHASQUI_BULKHEAD_H

#include "dispatcher/news.h"

/* Called from the loop when a request's turn has come. */
typedef void bulkhead_turn_fn(struct dispatcher *d, struct request *r);

struct bulkheads *bulkheads_new(struct dispatcher *d);
void bulkheads_destroy(struct bulkheads **bp);

/* Call when r is about to call that robot for that company. true: r holds a slot of both until it ends. false: it
 * waits, and `turn` is called once it holds both; or it was answered with queue_full. */
bool bulkhead_call(struct dispatcher *d, struct request *r, uint32_t robot_id, uint64_t company_id,
                   bulkhead_turn_fn *turn);
/* For a log-in's call. true: r now holds a slot of the robot. Never waits. */
bool bulkhead_login(struct dispatcher *d, struct request *r, uint32_t robot_id);
/* Lists robots that bulkhead_login() would refuse; returns how many. */
unsigned bulkhead_full_robots(const struct dispatcher *d, const struct request *r, uint32_t *out, unsigned max);

/* Call when r is about to use the database for that company or token. Few requests of each do so at once. As
 * bulkhead_call(). */
bool bulkhead_database(struct dispatcher *d, struct request *r, uint64_t company_id, bulkhead_turn_fn *turn);
bool bulkhead_database_try(struct dispatcher *d, struct request *r,
                           uint64_t company_id); /* true: it holds a slot. Never waits. */
void bulkhead_database_left(struct dispatcher *d, struct request *r);

/* r only waits from now on: its credit returns to its broker. false: too many wait already, and r keeps its
 * credit. */
bool bulkhead_park(struct dispatcher *d, struct request *r);
/* r ends: it leaves its queue and releases its slots. Called by request.c. */
void bulkhead_leave(struct dispatcher *d, struct request *r);
/* Lists the limits reached in the last seconds: "kind:who:lane:in flight:limit:waiting", comma list. */
void bulkheads_text(struct dispatcher *d, char out[BULKHEAD_TEXT_MAX + 1]);

#endif
