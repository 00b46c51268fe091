/* SPDX-License-Identifier: MIT */
/*
 * codec.c - encodes messages to frames and decodes frames to messages, from proto.def.
 *
 * Owns: the layout table, the bounded walk over raw msgpack, the decoder's pools. Must never trust a count, a
 * length or a type that a peer declared. On failure it returns which rule was broken. The pools have fixed sizes,
 * so no peer can make it allocate.
 *
 * Packing uses msgpack-c. Reading walks the bytes by hand, because msgpack_unpack_next() can be made to allocate
 * 8.6 GB by five hostile bytes and builds a tree that is not needed.
 */
#include "proto/codec_read.h"

#include "common/check.h"

#include <msgpack/pack.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { K_U64, K_BOOL, K_STR, K_BIN, K_U64S, K_STATS };

struct field {
    const char *name;
    uint8_t len;
    enum kind kind;
    uint64_t max;
    size_t offset; /* in struct msg */
};

struct layout {
    enum msg_type type;
    unsigned roles;
    unsigned n;
    const struct field *fields;
};

#define F_ROW(m, f, k, bound)                                                                                     \
    {#f, sizeof(#f) - 1, k, bound, offsetof(struct msg, m) + offsetof(struct msg_##m, f)},
#define F_U64(m, f, bound) F_ROW(m, f, K_U64, bound)
#define F_BOOL(m, f) F_ROW(m, f, K_BOOL, 1)
#define F_STR(m, f, bound) F_ROW(m, f, K_STR, bound)
#define F_BIN(m, f, bound) F_ROW(m, f, K_BIN, bound)
#define F_U64S(m, f, bound) F_ROW(m, f, K_U64S, bound)
#define F_STATS(m, f) F_ROW(m, f, K_STATS, 512)
#define MSG(sym, code, roles, help) static const struct field fields_##sym[] = {
#define END(m)                                                                                                    \
    }                                                                                                             \
    ;
#include "proto/proto.def"
#undef MSG
#undef END
#undef F_U64
#undef F_BOOL
#undef F_STR
#undef F_BIN
#undef F_U64S
#undef F_STATS

static const struct layout layouts[MSG_TYPE_MAX] = {
#define MSG(sym, code, role, help)                                                                                \
    [code] = {MSG_##sym, role, sizeof(fields_##sym) / sizeof(fields_##sym[0]), fields_##sym},
#define F_U64(m, f, max)
#define F_BOOL(m, f)
#define F_STR(m, f, max)
#define F_BIN(m, f, max)
#define F_U64S(m, f, max)
#define F_STATS(m, f)
#define END(m)
#include "proto/proto.def"
};
#undef MSG
#undef END
#undef F_U64
#undef F_BOOL
#undef F_STR
#undef F_BIN
#undef F_U64S
#undef F_STATS

#define ITEMS_MAX 4096
#define HEADER_MAX 65536
#define POOL_MAX 4096

struct proto_decoder {
    uint64_t pool[POOL_MAX]; /* arrays of the most recently decoded message */
    uint32_t used;
    struct stats stats;
};

struct proto_decoder *proto_decoder_new(void)
{
    return xcalloc(1, sizeof(struct proto_decoder));
}

void proto_decoder_destroy(struct proto_decoder **dp)
{
    free(*dp);
    *dp = NULL;
}

const char *proto_bad_text(enum proto_bad bad)
{
    static const char *const text[] = {"ok",    "frames", "unknown version", "unknown type", "msgpack", "field",
                                       "bound", "role",   "payload"};
    return (unsigned)bad < sizeof(text) / sizeof(text[0]) ? text[bad] : "?";
}

static enum proto_bad read_numbers(struct proto_decoder *d, struct reader *r, const struct value *v,
                                   const struct field *f, struct u64s *out)
{
    if (v->item != I_ARRAY)
        return PROTO_FIELD;
    if (v->n > f->max || v->n > POOL_MAX - d->used)
        return PROTO_BOUND;
    *out = (struct u64s){d->pool + d->used, (uint32_t)v->n};
    for (uint64_t i = 0; i < v->n; i++) {
        struct value number;
        if (!read_item(r, &number))
            return PROTO_MSGPACK;
        if (number.item != I_U64)
            return PROTO_FIELD;
        d->pool[d->used++] = number.n;
    }
    return PROTO_OK;
}

/* Reads a histogram: [sum in microseconds, count of each bucket...]. Trailing empty buckets are omitted. at < 0:
 * unknown histogram, skipped. */
static enum proto_bad read_hist(struct reader *r, const struct value *v, int at, struct stats *out)
{
    if (v->n > HIST_BUCKETS + 1)
        return PROTO_BOUND;
    for (uint64_t i = 0; i < v->n; i++) {
        struct value number;
        if (!read_item(r, &number))
            return PROTO_MSGPACK;
        if (number.item != I_U64)
            return PROTO_FIELD;
        if (at >= 0)
            *(i ? &out->h[at].n[i - 1] : &out->h[at].sum_us) = number.n;
    }
    return PROTO_OK;
}

static enum proto_bad read_stats(struct proto_decoder *d, struct reader *r, const struct value *v,
                                 const struct field *f, struct stats **out)
{
    if (v->item != I_MAP)
        return PROTO_FIELD;
    if (v->n > f->max)
        return PROTO_BOUND;
    memset(&d->stats, 0, sizeof(d->stats));
    d->stats.present = true;
    for (uint64_t i = 0; i < v->n; i++) {
        struct value key, what;
        if (!read_item(r, &key) || key.item != I_STR || !read_item(r, &what))
            return PROTO_MSGPACK;
        if (what.item == I_ARRAY) {
            enum proto_bad bad =
                read_hist(r, &what, stat_hist_find((const char *)key.p, (unsigned)key.n), &d->stats);
            if (bad)
                return bad;
            continue;
        }
        if (what.item != I_U64)
            return PROTO_FIELD;
        int at = stat_find((const char *)key.p, (unsigned)key.n);
        if (at >= 0)
            d->stats.v[at] = what.n;
    }
    *out = &d->stats;
    return PROTO_OK;
}

static enum proto_bad read_field(struct proto_decoder *d, struct reader *r, const struct field *f, struct msg *out)
{
    void *to = (char *)out + f->offset;
    struct value v;
    if (!read_item(r, &v))
        return PROTO_MSGPACK;
    switch (f->kind) {
    case K_U64:
        if (v.item != I_U64)
            return PROTO_FIELD;
        *(uint64_t *)to = v.n;
        return v.n <= f->max ? PROTO_OK : PROTO_BOUND;
    case K_BOOL:
        if (v.item != I_BOOL)
            return PROTO_FIELD;
        *(bool *)to = v.n;
        return PROTO_OK;
    case K_STR:
    case K_BIN:
        if (v.item != (f->kind == K_STR ? I_STR : I_BIN))
            return PROTO_FIELD;
        if (v.n > f->max)
            return PROTO_BOUND;
        if (f->kind == K_STR && !text_ok(v.p, v.n))
            return PROTO_FIELD;
        *(struct str *)to = (struct str){(const char *)v.p, (uint32_t)v.n};
        return PROTO_OK;
    case K_U64S:
        return read_numbers(d, r, &v, f, to);
    case K_STATS:
        return read_stats(d, r, &v, f, to);
    }
    return PROTO_FIELD;
}

static enum proto_bad read_header(struct proto_decoder *d, const struct layout *l, const struct bus_frame *frame,
                                  struct msg *out)
{
    struct reader r = {frame->data, (const uint8_t *)frame->data + frame->len, 0, ITEMS_MAX};
    struct value map;
    uint64_t seen = 0;
    if (frame->len > HEADER_MAX || !read_item(&r, &map) || map.item != I_MAP)
        return PROTO_MSGPACK;
    for (uint64_t i = 0; i < map.n; i++) {
        struct value key;
        if (!read_item(&r, &key) || key.item != I_STR)
            return PROTO_MSGPACK;
        unsigned at = 0;
        while (at < l->n && (l->fields[at].len != key.n || memcmp(l->fields[at].name, key.p, key.n) != 0))
            at++;
        if (at == l->n) {
            struct value unknown;
            if (!read_item(&r, &unknown) || !skip_value(&r, &unknown, 2))
                return PROTO_MSGPACK;
            continue;
        }
        if (seen & 1ull << at)
            return PROTO_MSGPACK;
        seen |= 1ull << at;
        enum proto_bad bad = read_field(d, &r, &l->fields[at], out);
        if (bad)
            return bad;
    }
    return r.p == r.end ? PROTO_OK : PROTO_MSGPACK;
}

static size_t payload_max(enum msg_type type)
{
    if (type == MSG_CHUNK)
        return CHUNK_MAX;
    if (type == MSG_REPLY)
        return REPLY_PAYLOAD_MAX;
    if (type == MSG_REQUEST || type == MSG_ROBOTS || type == MSG_HEALTH || type == MSG_ROBOT_STATS ||
        type == MSG_COMPANY_STATS || type == MSG_ATTEMPT_STATS || type == MSG_MANY)
        return REQUEST_PAYLOAD_MAX;
    return 0;
}

enum proto_bad proto_decode(struct proto_decoder *d, struct bus *bus, const char *zap_role, enum role from,
                            const struct bus_frame *frames, unsigned n, struct msg *out)
{
    if (n < 2 || n > 3 || frames[0].len != 2)
        return PROTO_FRAMES;
    const uint8_t *head = frames[0].data;
    if (head[0] != PROTO_VERSION)
        return PROTO_VERSION_UNKNOWN;
    if (head[1] >= MSG_TYPE_MAX || !layouts[head[1]].fields)
        return PROTO_TYPE;
    const struct layout *l = &layouts[head[1]];
    static const char *const words[] = {
        [ROLE_BROKER] = "broker", [ROLE_DISPATCHER] = "dispatcher", [ROLE_HEALTHD] = "healthd"};
    if (!(l->roles & from) || (bus && !bus_peer_is(bus, zap_role, words[from])))
        return PROTO_ROLE;
    memset(out, 0, sizeof(*out));
    out->type = l->type;
    for (unsigned i = 0; i < l->n; i++)
        if (l->fields[i].kind == K_STR || l->fields[i].kind == K_BIN)
            *(struct str *)((char *)out + l->fields[i].offset) = (struct str){"", 0};
    out->payload = (struct str){"", 0};
    d->used = 0;
    if (n == 3) {
        if (frames[2].len > payload_max(l->type))
            return PROTO_PAYLOAD;
        out->payload = (struct str){frames[2].data, (uint32_t)frames[2].len};
    }
    return read_header(d, l, &frames[1], out);
}

/* ---- writing ------------------------------------------------------------------------------------------------ */

static int pack_write(void *data, const char *bytes, size_t len)
{
    buf_add(data, bytes, len);
    return 0;
}

static void pack_text(msgpack_packer *pk, const char *p, size_t len)
{
    msgpack_pack_str(pk, len);
    msgpack_pack_str_body(pk, p, len);
}

static bool is_default(const struct field *f, const void *at)
{
    switch (f->kind) {
    case K_U64:
        return *(const uint64_t *)at == 0;
    case K_BOOL:
        return !*(const bool *)at;
    case K_STR:
    case K_BIN:
        return ((const struct str *)at)->len == 0;
    case K_U64S:
        return ((const struct u64s *)at)->n == 0;
    case K_STATS:
        return *(struct stats *const *)at == NULL;
    }
    return true;
}

static void pack_hist(msgpack_packer *pk, const struct hist *h)
{
    unsigned n = HIST_BUCKETS;
    while (n && !h->n[n - 1])
        n--;
    msgpack_pack_array(pk, n + 1);
    msgpack_pack_uint64(pk, h->sum_us);
    for (unsigned i = 0; i < n; i++)
        msgpack_pack_uint64(pk, h->n[i]);
}

static void pack_stats(msgpack_packer *pk, const struct stats *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < STAT_N; i++)
        n += s->v[i] != 0;
    for (unsigned i = 0; i < HIST_N; i++)
        n += hist_count(&s->h[i]) != 0;
    msgpack_pack_map(pk, n);
    for (unsigned i = 0; i < HIST_N; i++)
        if (hist_count(&s->h[i])) {
            pack_text(pk, stat_hist_table[i].name, strlen(stat_hist_table[i].name));
            pack_hist(pk, &s->h[i]);
        }
    for (unsigned i = 0; i < STAT_N; i++)
        if (s->v[i]) {
            pack_text(pk, stat_table[i].name, strlen(stat_table[i].name));
            msgpack_pack_uint64(pk, s->v[i]);
        }
}

static void pack_field(msgpack_packer *pk, const struct field *f, const void *at)
{
    const struct str *s = at;
    const struct u64s *numbers = at;
    pack_text(pk, f->name, f->len);
    switch (f->kind) {
    case K_U64:
        CHECK(*(const uint64_t *)at <= f->max, "field %s over its bound", f->name);
        msgpack_pack_uint64(pk, *(const uint64_t *)at);
        break;
    case K_BOOL:
        msgpack_pack_true(pk);
        break;
    case K_STR:
        CHECK(s->len <= f->max, "field %s over its bound", f->name);
        pack_text(pk, s->p, s->len);
        break;
    case K_BIN:
        CHECK(s->len <= f->max, "field %s over its bound", f->name);
        msgpack_pack_bin(pk, s->len);
        msgpack_pack_bin_body(pk, s->p, s->len);
        break;
    case K_U64S:
        CHECK(numbers->n <= f->max, "field %s over its bound", f->name);
        msgpack_pack_array(pk, numbers->n);
        for (uint32_t i = 0; i < numbers->n; i++)
            msgpack_pack_uint64(pk, numbers->v[i]);
        break;
    case K_STATS:
        pack_stats(pk, *(struct stats *const *)at);
        break;
    }
}

void proto_encode(const struct msg *m, uint8_t type_frame[2], struct buf *header)
{
    const struct layout *l = &layouts[m->type];
    msgpack_packer pk;
    unsigned n = 0;
    type_frame[0] = PROTO_VERSION;
    type_frame[1] = (uint8_t)m->type;
    msgpack_packer_init(&pk, header, pack_write);
    for (unsigned i = 0; i < l->n; i++)
        n += !is_default(&l->fields[i], (const char *)m + l->fields[i].offset);
    msgpack_pack_map(&pk, n);
    for (unsigned i = 0; i < l->n; i++) {
        const void *at = (const char *)m + l->fields[i].offset;
        if (!is_default(&l->fields[i], at))
            pack_field(&pk, &l->fields[i], at);
    }
}

static int send_frames(struct bus_sock *s, const void *peer, size_t peer_len, const struct msg *m,
                       int (*send)(struct bus_sock *, const void *, size_t, const struct bus_frame *, unsigned))
{
    static struct buf header; /* reused: only one thread sends */
    uint8_t head[2];
    buf_clear(&header);
    proto_encode(m, head, &header);
    struct bus_frame frames[3] = {{head, 2}, {header.data, header.len}, {m->payload.p, m->payload.len}};
    int rc = send(s, peer, peer_len, frames, m->payload.len ? 3 : 2);
    if (rc == 0)
        stat_inc(bus_messages_out_total);
    return rc;
}

int proto_send(struct bus_sock *s, const void *peer, size_t peer_len, const struct msg *m)
{
    return send_frames(s, peer, peer_len, m, bus_send);
}

int proto_send_take(struct bus_sock *s, const void *peer, size_t peer_len, const struct msg *m)
{
    return send_frames(s, peer, peer_len, m, m->payload.len ? bus_send_take : bus_send);
}
