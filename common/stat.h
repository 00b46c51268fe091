/*
 * stat.h - counters, gauges and histograms, all defined in stat.def. Every
 * process has one global `stat` block; a peer's block travels in PING and is
 * exported by the broker, labelled with process and name.
 */
#ifndef CHASQUI_STAT_H
#define CHASQUI_STAT_H

#include "buf.h"
#include <stdint.h>

/* COUNTER only grows, GAUGE is a level. Values are uint64_t. */
enum stat_kind { STAT_COUNTER, STAT_GAUGE };
enum stat_owner { STAT_BROKER = 1, STAT_DISPATCHER = 2, STAT_HEALTHD = 4, STAT_ANY = 7 };

enum stat_id {
#define STAT(owner, name, kind, unit, line, para) STAT_##name,
#include "stat.def"
#undef STAT
    STAT_N
};

extern uint64_t stat_value[STAT_N]; /* owned by the process's one state thread */

#define stat_inc(name) (stat_value[STAT_##name]++)
#define stat_add(name, n) (stat_value[STAT_##name] += (uint64_t)(n))
#define stat_set(name, n) (stat_value[STAT_##name] = (uint64_t)(n))
#define stat_get(name) (stat_value[STAT_##name])

struct stat_row { /* the table, for exporters */
    unsigned owner;
    const char *name; /* without the chasqui_ prefix */
    enum stat_kind kind;
    const char *unit, *line, *para;
};
extern const struct stat_row stat_table[STAT_N];

/* One process's values, as exported: labels process="dispatcher",name="d1". */
struct stat_source {
    unsigned owner;
    const char *process, *name;
    const uint64_t *values; /* STAT_N of them */
};
/* Prometheus text format 0.0.4: one HELP/TYPE per family, then each source's sample. */
void stat_prometheus(struct buf *out, const struct stat_source *src, unsigned n);
/* A label's value, for other families: backslash, quote and newline are escaped as the format says. */
void stat_label(struct buf *out, const char *s);
/* Index by name, -1 when unknown (a peer of another version). */
int stat_find(const char *name, unsigned len);

#endif
