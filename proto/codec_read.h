/* SPDX-License-Identifier: MIT */
/*
 * codec_read.h - reading raw msgpack under bounds, for codec.c and rows.c.
 */
#ifndef CHASQUI_CODEC_READ_H
#define CHASQUI_CODEC_READ_H

#include "proto/proto.h"

enum item { I_NIL, I_BOOL, I_U64, I_INT, I_STR, I_BIN, I_ARRAY, I_MAP, I_OTHER };

struct reader {
    const uint8_t *p, *end;
    unsigned items, items_max;
};

struct value {
    enum item item;
    uint64_t n;       /* number, bool, count or length */
    const uint8_t *p; /* bytes of a string or binary */
};

/* Reads the head of one item; a string or binary is read whole. Counts are checked against the bytes left. Returns
 * false when malformed. */
bool read_item(struct reader *r, struct value *v);
/* Skips the contents of an array or map whose head has been read. */
bool skip_value(struct reader *r, const struct value *v, unsigned depth);
/* Checks that p is UTF-8 (RFC 3629) without NUL. */
bool text_ok(const uint8_t *p, uint64_t len);

#endif
