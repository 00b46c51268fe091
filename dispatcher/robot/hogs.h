/* SPDX-License-Identifier: MIT */
/*
 * hogs.h - the companies that waited most and used most in the last five minutes, in bounded memory. The window
 * has five slices. When there are too many companies the smallest are evicted first. Pure.
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
/* Returns the companies that waited longest and those that used most, at most `max` rows (half each when there are
 * more), each company once. */
unsigned hogs_most(struct hogs *h, uint64_t now_ms, struct company_stats_row *out, unsigned max);

#endif
