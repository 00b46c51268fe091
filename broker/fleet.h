/* SPDX-License-Identifier: MIT */
/* fleet.h - aggregates the dispatchers' counts of the robots and of the durable queue. */
#ifndef CHASQUI_BROKER_FLEET_H
#define CHASQUI_BROKER_FLEET_H

#include "broker/broker.h"
#include "broker/flow.h"

struct queue_sum { /* the dispatchers' counts at the durable queue since we knew them; uint64_t only */
    uint64_t accepted, rejected, done, failed, retried, begun;
    struct hist wait;
};
struct fleet_count { /* of robots */
    unsigned all, active, draining, up, suspect, down, unknown;
    int64_t used, total;   /* places of active robots, without what one holds above its capacity; -1 = unknown */
    int64_t open_to_queue; /* free places not reserved for interactive log-ins */
    int64_t abandoned;
};
struct fleet *fleet_new(struct broker *b);
void fleet_destroy(struct fleet **fp);
void fleet_tick(struct broker *b); /* each second */
/* A healthd reported on the robot. */
void fleet_robot_judged(struct broker *b, const char *name);
/* Takes the dispatchers' reports. */
void fleet_robots_told(struct broker *b, const char *dispatcher, const char *boot_id, struct str payload);
void fleet_stats_told(struct broker *b, const struct stats *before, const struct stats *now);
void fleet_dispatcher_gone(struct broker *b, const char *dispatcher);
void fleet_places_told(struct broker *b, const struct jv *summary); /* rows of OPS_SUMMARY */
struct fleet_count fleet_count(const struct broker *b);
/* Calls fn for the name of each robot whose last verdict is v, or whose wanted state is given. */
void fleet_each_judged(const struct broker *b, enum verdict v,
                       void (*fn)(void *arg, const char *name, int64_t since_ms, const char *why), void *arg);
/* For each robot that is down and silent: how many sessions wait for it (-1 = unknown), and when they are lost
 * (unix). */
typedef void fleet_silent_fn(void *arg, const char *name, int64_t since_ms, const char *why, int64_t waiting,
                             int64_t lost_at_ms);
void fleet_each_silent(const struct broker *b, fleet_silent_fn *fn, void *arg);
void fleet_each_two(const struct broker *b, void (*fn)(void *arg, const char *name),
                    void *arg); /* two processes under one URL */
void fleet_each_draining(const struct broker *b,
                         void (*fn)(void *arg, const char *name, int64_t left, int64_t movable), void *arg);
const struct queue_sum *fleet_queue(const struct broker *b);
struct flow *fleet_flow(const struct broker *b); /* of the durable queue */
double fleet_queue_since(const struct broker *b, uint64_t ago_ms, struct queue_sum *grown);
struct jv *fleet_robots_jv(const struct broker *b);
struct jv *fleet_logins_jv(const struct broker *b); /* times of the log-ins of all robots in the last minutes */
struct jv *fleet_places_jv(const struct broker *b); /* NULL = unknown yet */
void fleet_metrics(const struct broker *b, struct buf *out);

#endif
