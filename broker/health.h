/* SPDX-License-Identifier: MIT */
/* health.h - healthd's reports, for operators: each publisher's own counters and its verdicts by name. */
#ifndef CHASQUI_BROKER_HEALTH_H
#define CHASQUI_BROKER_HEALTH_H

#include "broker/broker.h"

struct robot_health { /* a healthd's report on a robot */
    enum verdict verdict;
    int64_t since_ms;           /* unix time of the verdict */
    int64_t sessions, capacity; /* -1 = not reported */
    char boot_id[65], why[201]; /* "" = none */
    enum down down;             /* DOWN_NOT unless the verdict is down */
    char other_boot[65];        /* of a second process under the same URL, "" = none */
};
struct health *health_new(struct broker *b); /* NULL after logging why */
void health_destroy(struct health **hp);
void health_tick(struct broker *b); /* each second */
/* The best verdict of the healthds that are heard; false when none of them knows the robot. */
bool health_robot(const struct broker *b, const char *name, struct robot_health *out);
void health_each(const struct broker *b, void (*fn)(void *arg, const char *name),
                 void *arg); /* may name a robot twice */
/* How many healthds are heard. *silent_since_ms: since when (unix) the latest one to fall silent is silent; 0 =
 * none is. */
unsigned health_heard(const struct broker *b, unsigned *of, int64_t *silent_since_ms);
const char *health_silent_one(const struct broker *b);                   /* its endpoint, NULL = none */
struct jv *health_jv(const struct broker *b);                            /* [{endpoint,heard,...}] */
struct jv *health_opinions_jv(const struct broker *b, const char *name); /* [{endpoint,verdict}] */
unsigned health_sources(const struct broker *b, struct stat_source *out, unsigned max);
void health_metrics(const struct broker *b, struct buf *out);

#endif
