/* SPDX-License-Identifier: MIT */
/* names.c - names of lanes, ops and verdicts on the wire, and borrowed strings. */
#include "proto/proto.h"

#include <string.h>

const char *const lane_name[LANE_COUNT] = {"control", "interactive", "login", "batch"};
const char *const verdict_name[4] = {"unknown", "up", "suspect", "down"};
const char *const down_name[3] = {"", "dead", "silent"};
const char *const wanted_name[3] = {"active", "draining", "disabled"};
const char *const fault_name[FAULT_COUNT] = {
#define FAULT(symbol, name, line) [FAULT_##symbol] = name,
#include "proto/fault.def"
#undef FAULT
};

const struct op_row op_table[OP_COUNT] = {
#define OP(sym, lane, repeatable, help) [OP_##sym] = {#sym, LANE_##lane, repeatable},
#include "proto/op.def"
#undef OP
};

bool health_is_better(const struct health_row *a, const struct health_row *b)
{
    static const unsigned of[] = {
        [VERDICT_UNKNOWN] = 0, [VERDICT_DOWN] = 1, [VERDICT_SUSPECT] = 3, [VERDICT_UP] = 4};
    unsigned x = of[a->verdict] + (a->down == DOWN_SILENT), y = of[b->verdict] + (b->down == DOWN_SILENT);
    return x != y ? x > y : a->since_unix_ms > b->since_unix_ms;
}

struct str str_of(const char *s)
{
    return s ? (struct str){s, (uint32_t)strlen(s)} : (struct str){"", 0};
}

bool str_is(struct str s, const char *c)
{
    return s.len == strlen(c) && memcmp(s.p, c, s.len) == 0;
}

struct str str_cut(struct str s, size_t max)
{
    if (s.len <= max)
        return s;
    while (max && ((uint8_t)s.p[max] & 0xc0) == 0x80) /* inside a character */
        max--;
    return (struct str){s.p, (uint32_t)max};
}

void str_copy(char *out, size_t room, struct str s)
{
    size_t n = str_cut(s, room - 1).len;
    if (n)
        memcpy(out, s.p, n);
    out[n] = 0;
}
