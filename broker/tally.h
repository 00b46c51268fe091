/* SPDX-License-Identifier: MIT */
/*
 * tally.h - what the broker itself counts with labels: by lane and by route.
 * Whoever sees something happen adds it; stats.c shows it.
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
/* To add to. */
struct lane_sum *tally_lane(struct tally *t, enum lane lane);
/* An answer; route NULL: of a path that is none. */
void tally_answer(struct tally *t, const struct route *route, unsigned status, uint64_t took_ms);
void tally_tick(struct tally *t, uint64_t now_ms); /* each second */
/* What a lane grew by in the last ago_ms; the seconds that really are. */
double tally_lane_since(const struct tally *t, enum lane lane, uint64_t now_ms, uint64_t ago_ms,
                        struct lane_sum *grown);
/* Routes that were asked, most asked first: [{method,route,per_s,codes,latency_s}]. */
struct jv *tally_routes_jv(const struct tally *t, uint64_t now_ms);
struct all_sum { /* answers of the app API, those of them with 5xx; bytes streamed. uint64_t only */
    uint64_t answers, errors, stream_bytes;
};
/* What came in the last minute; the seconds that really are. */
double tally_minute(const struct tally *t, uint64_t now_ms, struct all_sum *grown);
void tally_metrics(const struct tally *t, struct buf *out);

#endif
