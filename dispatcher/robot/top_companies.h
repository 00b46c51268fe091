/* SPDX-License-Identifier: MIT */
/*
 * top_companies.h - the companies that waited most and used most in the last five minutes, in bounded memory. The window
 * has five slices. When there are too many companies the smallest are evicted first. Pure.
 */
#ifndef CHASQUI_TOP_COMPANIES_H
#define CHASQUI_TOP_COMPANIES_H

#include "proto/proto.h"

#define TOP_COMPANIES_WINDOW_MS 300000

struct top_companies;
struct top_companies *top_companies_new(void);
void top_companies_destroy(struct top_companies **hp);
void top_companies_waited(struct top_companies *h, uint64_t now_ms, uint64_t company_id, uint64_t ms);
void top_companies_used(struct top_companies *h, uint64_t now_ms, uint64_t company_id, uint64_t ms);
/* Returns the companies that waited longest and those that used most, at most `max` rows (half each when there are
 * more), each company once. */
unsigned top_companies_most(struct top_companies *h, uint64_t now_ms, struct company_stats_row *out, unsigned max);

#endif
