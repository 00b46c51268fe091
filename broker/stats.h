/* SPDX-License-Identifier: MIT */
/*
 * stats.h - the state of the system, collected from the files that own its parts: as one JSON object for the page
 * and the command line, and as Prometheus text.
 */
#ifndef CHASQUI_BROKER_STATS_H
#define CHASQUI_BROKER_STATS_H

#include "broker/broker.h"

struct stats_board *stats_board_new(struct broker *b); /* drives the ticks of all counting files */
void stats_board_destroy(struct stats_board **sp);
struct jv *stats_jv(struct broker *b, unsigned history_points); /* GET /api/v1/ops/stats */
void stats_metrics(struct broker *b, struct buf *out);          /* GET /metrics */
/* The counters and gauges of `owner`, by name. */
struct jv *jv_new_stats(unsigned owner, const struct stats *s);

#endif
