/* SPDX-License-Identifier: MIT */
/*
 * codec_read.c - reads raw msgpack under bounds. A declared count or length is accepted only when that many bytes
 * are left. Ext types are refused. Nothing is allocated.
 */
#include "proto/codec_read.h"

#define DEPTH_MAX 4

static bool take(struct reader *r, unsigned n, uint64_t *out)
{
    if ((size_t)(r->end - r->p) < n)
        return false;
    *out = 0;
    while (n--)
        *out = *out << 8 | *r->p++;
    return true;
}

static bool take_bytes(struct reader *r, struct value *v, uint64_t len)
{
    if ((uint64_t)(r->end - r->p) < len)
        return false;
    v->n = len;
    v->p = r->p;
    r->p += len;
    return true;
}

bool read_item(struct reader *r, struct value *v)
{
    uint64_t byte, n;
    if (++r->items > r->items_max || !take(r, 1, &byte))
        return false;
    if (byte <= 0x7f)
        return *v = (struct value){I_U64, byte, NULL}, true;
    if (byte >= 0xe0)
        return *v = (struct value){I_INT, byte, NULL}, true;
    if (byte >= 0xa0 && byte <= 0xbf)
        return v->item = I_STR, take_bytes(r, v, byte & 0x1f);
    if (byte <= 0x9f) {
        *v = (struct value){byte >= 0x90 ? I_ARRAY : I_MAP, byte & 0x0f, NULL};
        return v->n * (v->item == I_MAP ? 2 : 1) <= (uint64_t)(r->end - r->p);
    }
    switch (byte) {
    case 0xc0:
        return *v = (struct value){I_NIL, 0, NULL}, true;
    case 0xc2:
    case 0xc3:
        return *v = (struct value){I_BOOL, byte & 1, NULL}, true;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return v->item = I_BIN, take(r, 1u << (byte - 0xc4), &n) && take_bytes(r, v, n);
    case 0xca:
        return v->item = I_OTHER, take(r, 4, &n);
    case 0xcb:
        return v->item = I_OTHER, take(r, 8, &n);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        *v = (struct value){I_U64, 0, NULL};
        return take(r, 1u << (byte - 0xcc), &v->n);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: {
        unsigned width = 1u << (byte - 0xd0);
        if (!take(r, width, &n))
            return false;
        /* A signed encoding of a non-negative number is accepted as an unsigned one. */
        bool negative = n >> (width * 8 - 1);
        *v = (struct value){negative ? I_INT : I_U64, n, NULL};
        return true;
    }
    case 0xd9:
    case 0xda:
    case 0xdb:
        return v->item = I_STR, take(r, 1u << (byte - 0xd9), &n) && take_bytes(r, v, n);
    case 0xdc:
    case 0xdd:
        v->item = I_ARRAY;
        return take(r, byte == 0xdc ? 2 : 4, &v->n) && v->n <= (uint64_t)(r->end - r->p);
    case 0xde:
    case 0xdf:
        v->item = I_MAP;
        return take(r, byte == 0xde ? 2 : 4, &v->n) && v->n <= (uint64_t)(r->end - r->p) / 2;
    default: /* ext types and 0xc1 are refused */
        return false;
    }
}

bool skip_value(struct reader *r, const struct value *v, unsigned depth)
{
    if (v->item != I_ARRAY && v->item != I_MAP)
        return true;
    if (depth >= DEPTH_MAX)
        return false;
    for (uint64_t i = 0, n = v->n * (v->item == I_MAP ? 2 : 1); i < n; i++) {
        struct value inner;
        if (!read_item(r, &inner) || !skip_value(r, &inner, depth + 1))
            return false;
    }
    return true;
}

bool text_ok(const uint8_t *p, uint64_t len)
{
    for (const uint8_t *end = p + len; p < end;) {
        uint8_t c = *p++;
        if (c == 0)
            return false;
        if (c < 0x80)
            continue;
        unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if (c < 0xc2 || c > 0xf4 || (unsigned)(end - p) < more)
            return false;
        uint8_t low = c == 0xe0   ? 0xa0
                      : c == 0xf0 ? 0x90
                                  : 0x80,
                high = c == 0xed   ? 0x9f
                       : c == 0xf4 ? 0x8f
                                   : 0xbf;
        for (; more; more--, low = 0x80, high = 0xbf)
            if (*p < low || *p++ > high)
                return false;
    }
    return true;
}
