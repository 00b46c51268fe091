/* SPDX-License-Identifier: MIT */
/*
 * trend.h - the last hour in steps of ten seconds, for charts: for each lane and the durable queue the work done
 * and the time waited, the depth, the used places.
 */
#ifndef CHASQUI_BROKER_TREND_H
#define CHASQUI_BROKER_TREND_H

#include "broker/broker.h"

struct trend *trend_new(struct broker *b);
void trend_destroy(struct trend **tp);
void trend_tick(struct broker *b); /* each second */
/* The last `points` of the hour; the newest one is still growing. */
struct jv *trend_jv(const struct broker *b, unsigned points);
#define TREND_POINTS 360

#endif
