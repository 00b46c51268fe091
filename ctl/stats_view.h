/* SPDX-License-Identifier: MIT */
/*
 * stats_view.h - the operators' numbers as lines for a terminal: the answer of
 * GET /api/v1/ops/stats, the worst first. The same lines for `stats` and
 * `stats --watch`. Pure.
 */
#ifndef CHASQUI_CTL_STATS_VIEW_H
#define CHASQUI_CTL_STATS_VIEW_H

#include "common/buf.h"
#include "common/jv.h"
#include <stdbool.h>

struct stats_size {
    int columns; /* 0 = as wide as it is */
    int rows;    /* 0 = all of it; else what does not fit is left out from the bottom, and said */
    bool with_colour;
};
void stats_view(const struct jv *stats, const struct stats_size *size, struct buf *out);

#endif
