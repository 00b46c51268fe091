/* SPDX-License-Identifier: MIT */
/*
 * hogs.h - the companies that waited most and used most lately, in bounded
 * memory: the last five minutes in five slices, the smallest companies are
 * forgotten first when there are too many. Pure.
 */
#ifndef CHASQUI_HOGS_H
#define CHASQUI_HOGS_H

#include "proto/proto.h"

#define HOGS_WINDOW_MS 300000

struct hogs;
struct hogs *hogs_new(void);
void hogs_destroy(struct hogs **hp);
void hogs_waited(struct hogs *h, uint64_t now_ms, uint64_t company_id, uint64_t ms);
void hogs_used(struct hogs *h, uint64_t now_ms, uint64_t company_id, uint64_t ms);
/* Those that waited longest and those that were worked for longest, `max` rows at most (half each when there are more), no company twice. */
unsigned hogs_most(struct hogs *h, uint64_t now_ms, struct company_stats_row *out, unsigned max);

#endif
