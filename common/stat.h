/* SPDX-License-Identifier: MIT */
/*
 * stat.h - counters, gauges and histograms, all defined in stat.def: the one table behind /metrics,
 * /api/v1/ops/stats, `chasqui stats`, the dashboard and the manual. Every process has one global block. A peer's
 * block travels in PING and HEALTH, and the broker exports it, labelled with process and name. Families have
 * labels of their own (lane, robot, ...); their values are kept by the module that counts them.
 */
#ifndef CHASQUI_STAT_H
#define CHASQUI_STAT_H

#include "buf.h"
#include "hist.h"
#include <stdbool.h>
#include <stdint.h>

/* COUNTER only grows, GAUGE is a level, HISTOGRAM holds times in seconds. */
enum stat_kind { STAT_COUNTER, STAT_GAUGE, STAT_HISTOGRAM };
enum stat_owner { STAT_BROKER = 1, STAT_DISPATCHER = 2, STAT_HEALTHD = 4, STAT_ANY = 7 };

#define STAT(owner, name, kind, unit, line, para) STAT_##name,
#define HISTOGRAM(owner, name, line, para)
#define FAMILY(owner, name, kind, unit, labels, line, para)
enum stat_id {
#include "stat.def"
    STAT_N
};
#undef STAT
#undef HISTOGRAM
#define STAT(owner, name, kind, unit, line, para)
#define HISTOGRAM(owner, name, line, para) HIST_##name,
enum stat_hist_id {
#include "stat.def"
    HIST_N
};
#undef HISTOGRAM
#undef FAMILY
#define HISTOGRAM(owner, name, line, para)
#define FAMILY(owner, name, kind, unit, labels, line, para) FAMILY_##name,
enum stat_family_id {
#include "stat.def"
    FAMILY_N
};
#undef STAT
#undef HISTOGRAM
#undef FAMILY

struct stats { /* one process's numbers */
    uint64_t v[STAT_N];
    struct hist h[HIST_N];
    bool present; /* of a peer: it has sent them */
};

extern struct stats stat_own; /* owned by the process's one state thread */

#define stat_inc(name) (stat_own.v[STAT_##name]++)
#define stat_add(name, n) (stat_own.v[STAT_##name] += (uint64_t)(n))
#define stat_set(name, n) (stat_own.v[STAT_##name] = (uint64_t)(n))
#define stat_get(name) (stat_own.v[STAT_##name])
#define stat_time(name, us) hist_add(&stat_own.h[HIST_##name], us)

struct stat_row { /* the table, for exporters */
    unsigned owner;
    const char *name; /* without the chasqui_ prefix */
    enum stat_kind kind;
    const char *unit, *labels, *line, *para; /* labels: comma list; NULL: process, name */
};
extern const struct stat_row stat_table[STAT_N];
extern const struct stat_row stat_hist_table[HIST_N];
extern const struct stat_row stat_family_table[FAMILY_N];

/* One process's values for the export: labels process="dispatcher",name="d1". */
struct stat_source {
    unsigned owner;
    const char *process, *name;
    const struct stats *stats;
};
/* Prometheus text format 0.0.4: one HELP/TYPE per family, then each source's sample. */
void stat_prometheus(struct buf *out, const struct stat_source *src, unsigned n);
/* Writes the head of a family; its samples follow, each with a value for every label in the table's order. */
void stat_family(struct buf *out, enum stat_family_id f);
void stat_sample(struct buf *out, enum stat_family_id f, double value, const char *const *labels);
void stat_sample_hist(struct buf *out, enum stat_family_id f, const struct hist *h, const char *const *labels);
/* Index by name, -1 when unknown (a peer of another version). */
int stat_find(const char *name, unsigned len);
int stat_hist_find(const char *name, unsigned len);

#endif
