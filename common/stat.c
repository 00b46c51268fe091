/* stat.c - stat.def as values, as a table and as Prometheus text (format 0.0.4). */
#include "common/stat.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

uint64_t stat_value[STAT_N];

const struct stat_row stat_table[STAT_N] = {
#define STAT(owner, name, kind, unit, line, para) [STAT_##name] = {owner, #name, kind, unit, line, para},
#include "common/stat.def"
#undef STAT
};

void stat_label(struct buf *out, const char *s)
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

void stat_prometheus(struct buf *out, const struct stat_source *src, unsigned n)
{
    for (unsigned row = 0; row < STAT_N; row++) {
        const struct stat_row *r = &stat_table[row];
        bool has_head = false;
        for (unsigned i = 0; i < n; i++) {
            if (!(r->owner & src[i].owner))
                continue;
            if (!has_head)
                buf_addf(out, "# HELP chasqui_%s %s\n# TYPE chasqui_%s %s\n", r->name, r->line, r->name,
                         r->kind == STAT_COUNTER ? "counter" : "gauge");
            has_head = true;
            buf_addf(out, "chasqui_%s{process=\"", r->name);
            stat_label(out, src[i].process);
            buf_adds(out, "\",name=\"");
            stat_label(out, src[i].name);
            buf_addf(out, "\"} %" PRIu64 "\n", src[i].values[row]);
        }
    }
}

int stat_find(const char *name, unsigned len)
{
    for (int row = 0; row < STAT_N; row++)
        if (strlen(stat_table[row].name) == len && memcmp(stat_table[row].name, name, len) == 0)
            return row;
    return -1;
}
