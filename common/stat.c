/* SPDX-License-Identifier: MIT */
/* stat.c - stat.def as values, as a table and as Prometheus text (format 0.0.4). */
#include "common/stat.h"

#include "common/check.h"
#include <inttypes.h>
#include <string.h>

#define LABELS_MAX 4

struct stats stat_own = {.present = true};

#define HISTOGRAM(owner, name, line, para)
#define FAMILY(owner, name, kind, unit, labels, line, para)
const struct stat_row stat_table[STAT_N] = {
#define STAT(owner, name, kind, unit, line, para) [STAT_##name] = {owner, #name, kind, unit, NULL, line, para},
#include "common/stat.def"
#undef STAT
};
#undef HISTOGRAM
#define STAT(owner, name, kind, unit, line, para)
const struct stat_row stat_hist_table[HIST_N] = {
#define HISTOGRAM(owner, name, line, para) [HIST_##name] = {owner, #name, STAT_HISTOGRAM, "s", NULL, line, para},
#include "common/stat.def"
#undef HISTOGRAM
};
#undef FAMILY
#define HISTOGRAM(owner, name, line, para)
const struct stat_row stat_family_table[FAMILY_N] = {
#define FAMILY(owner, name, kind, unit, labels, line, para)                                                       \
    [FAMILY_##name] = {owner, #name, kind, unit, labels, line, para},
#include "common/stat.def"
#undef FAMILY
};
#undef STAT
#undef HISTOGRAM

/* ---- Prometheus --------------------------------------------------------------------------------------------- */

/* Adds a label's value. Backslash, quote and newline are escaped as the format requires. */
static void add_label(struct buf *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '\n')
            buf_adds(out, "\\n");
        else if (*s == '\\' || *s == '"')
            buf_add(out, (char[]){'\\', *s}, 2);
        else
            buf_add(out, s, 1);
    }
}

static void add_head(struct buf *out, const struct stat_row *r)
{
    static const char *const word[] = {
        [STAT_COUNTER] = "counter", [STAT_GAUGE] = "gauge", [STAT_HISTOGRAM] = "histogram"};
    buf_addf(out, "# HELP chasqui_%s %s\n# TYPE chasqui_%s %s\n", r->name, r->line, r->name, word[r->kind]);
}

/* Writes name="value",... without braces; the names are the row's. */
static void labels_text(struct buf *out, const struct stat_row *r, const char *const *values)
{
    const char *names = r->labels ? r->labels : "process,name";
    for (unsigned i = 0; *names; i++) {
        size_t len = strcspn(names, ",");
        CHECK(i < LABELS_MAX, "stat %s has too many labels", r->name);
        buf_addf(out, "%s%.*s=\"", i ? "," : "", (int)len, names);
        add_label(out, values[i]);
        buf_adds(out, "\"");
        names += len + (names[len] == ',');
    }
}

static void add_hist(struct buf *out, const struct stat_row *r, const struct hist *h, const char *const *values)
{
    struct buf labels = {0};
    uint64_t up_to = 0;
    labels_text(&labels, r, values);
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        up_to += h->n[i];
        buf_addf(out, "chasqui_%s_bucket{%s,le=\"%s\"} %" PRIu64 "\n", r->name, labels.data,
                 i < HIST_BUCKETS - 1 ? hist_bound_text[i] : "+Inf", up_to);
    }
    buf_addf(out, "chasqui_%s_sum{%s} %.6f\n", r->name, labels.data, (double)h->sum_us / 1e6);
    buf_addf(out, "chasqui_%s_count{%s} %" PRIu64 "\n", r->name, labels.data, up_to);
    buf_free(&labels);
}

/* The name and its labels, if it has any. */
static void add_name(struct buf *out, const struct stat_row *r, const char *const *values)
{
    bool is_bare = r->labels && !*r->labels;
    buf_addf(out, "chasqui_%s%s", r->name, is_bare ? "" : "{");
    labels_text(out, r, values);
    buf_adds(out, is_bare ? " " : "} ");
}

static void add_value(struct buf *out, const struct stat_row *r, uint64_t value, const char *const *values)
{
    add_name(out, r, values);
    if (strcmp(r->unit, "us") == 0)
        buf_addf(out, "%.6f\n", (double)value / 1e6);
    else
        buf_addf(out, "%" PRIu64 "\n", value);
}

static void add_row(struct buf *out, const struct stat_row *r, unsigned at, const struct stat_source *src,
                    unsigned n)
{
    bool has_head = false;
    for (unsigned i = 0; i < n; i++) {
        const char *const values[] = {src[i].process, src[i].name};
        if (!(r->owner & src[i].owner))
            continue;
        if (!has_head)
            add_head(out, r);
        has_head = true;
        if (r->kind == STAT_HISTOGRAM)
            add_hist(out, r, &src[i].stats->h[at], values);
        else
            add_value(out, r, src[i].stats->v[at], values);
    }
}

void stat_prometheus(struct buf *out, const struct stat_source *src, unsigned n)
{
    for (unsigned i = 0; i < STAT_N; i++)
        add_row(out, &stat_table[i], i, src, n);
    for (unsigned i = 0; i < HIST_N; i++)
        add_row(out, &stat_hist_table[i], i, src, n);
}

void stat_family(struct buf *out, enum stat_family_id f)
{
    add_head(out, &stat_family_table[f]);
}

void stat_sample(struct buf *out, enum stat_family_id f, double value, const char *const *labels)
{
    const struct stat_row *r = &stat_family_table[f];
    add_name(out, r, labels);
    buf_addf(out, "%.15g\n", value);
}

void stat_sample_hist(struct buf *out, enum stat_family_id f, const struct hist *h, const char *const *labels)
{
    add_hist(out, &stat_family_table[f], h, labels);
}

/* ---- by name ------------------------------------------------------------------------------------------------ */

static int find_in(const struct stat_row *rows, int n, const char *name, unsigned len)
{
    for (int row = 0; row < n; row++)
        if (strlen(rows[row].name) == len && memcmp(rows[row].name, name, len) == 0)
            return row;
    return -1;
}

int stat_find(const char *name, unsigned len)
{
    return find_in(stat_table, STAT_N, name, len);
}

int stat_hist_find(const char *name, unsigned len)
{
    return find_in(stat_hist_table, HIST_N, name, len);
}
