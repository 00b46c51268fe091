/* SPDX-License-Identifier: MIT */
/*
 * tally.h - the broker's own labelled counts: by lane and by route. The file where something happens counts it;
 * stats.c shows it.
 */
#ifndef CHASQUI_TALLY_H
#define CHASQUI_TALLY_H

#include "broker/route.h"
#include "common/buf.h"
#include "common/hist.h"
#include "common/jv.h"

#define STATUS_MAX 599

struct broker;
struct tally;

struct lane_sum { /* since the start; uint64_t only */
    uint64_t accepted, rejected, done, failed, retried;
    struct hist wait, latency;
};

struct tally *tally_new(uint64_t now_ms);
void tally_destroy(struct tally **tp);
/* The lane's counters, to add to. */
struct lane_sum *tally_lane(struct tally *t, enum lane lane);
/* Counts an answer; route NULL: to an unknown path. */
void tally_answer(struct tally *t, const struct route *route, unsigned status, uint64_t took_ms);
void tally_tick(struct tally *t, uint64_t now_ms); /* each second */
/* A lane's growth in the last ago_ms. Returns the actual span in seconds. */
double tally_lane_since(const struct tally *t, enum lane lane, uint64_t now_ms, uint64_t ago_ms,
                        struct lane_sum *grown);
/* Routes in use, most used first: [{method,route,per_s,codes,latency_s}]. */
struct jv *tally_routes_jv(const struct tally *t, uint64_t now_ms);
struct all_sum { /* answers of the app API, those of them with 5xx; bytes streamed. uint64_t only */
    uint64_t answers, errors, stream_bytes;
};
/* The growth in the last minute. Returns the actual span in seconds. */
double tally_minute(const struct tally *t, uint64_t now_ms, struct all_sum *grown);
void tally_metrics(const struct tally *t, struct buf *out);

#endif
