/*
 * rows.c - the payload rows of ROBOTS and HEALTH: arrays of fixed arrays.
 * Reading is as strict as the codec's: counts against the bytes left, types,
 * bounds, nothing left over.
 */
#include "proto/codec_read.h"

#include <msgpack/pack.h>
#include <string.h>

static int pack_write(void *data, const char *bytes, size_t len)
{
    buf_add(data, bytes, len);
    return 0;
}

static void pack_text(msgpack_packer *pk, struct str s)
{
    msgpack_pack_str(pk, s.len);
    msgpack_pack_str_body(pk, s.p, s.len);
}

void proto_encode_robots(struct buf *out, const struct robot_row *rows, unsigned n)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, pack_write);
    msgpack_pack_array(&pk, n);
    for (unsigned i = 0; i < n; i++) {
        msgpack_pack_array(&pk, 3);
        pack_text(&pk, rows[i].name);
        pack_text(&pk, rows[i].base_url);
        pack_text(&pk, str_of(wanted_name[rows[i].wanted]));
    }
}

void proto_encode_health(struct buf *out, const struct health_row *rows, unsigned n)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, pack_write);
    msgpack_pack_array(&pk, n);
    for (unsigned i = 0; i < n; i++) {
        msgpack_pack_array(&pk, 7);
        pack_text(&pk, rows[i].name);
        pack_text(&pk, str_of(verdict_name[rows[i].verdict]));
        msgpack_pack_uint64(&pk, (uint64_t)rows[i].since_unix_ms);
        msgpack_pack_uint64(&pk, (uint64_t)(rows[i].sessions + 1));
        msgpack_pack_uint64(&pk, (uint64_t)(rows[i].capacity + 1));
        pack_text(&pk, rows[i].boot_id);
        pack_text(&pk, rows[i].why);
    }
}

static bool read_text(struct reader *r, uint64_t max, struct str *out)
{
    struct value v;
    if (!read_item(r, &v) || v.item != I_STR || v.n > max || !text_ok(v.p, v.n))
        return false;
    *out = (struct str){(const char *)v.p, (uint32_t)v.n};
    return true;
}

static bool read_number(struct reader *r, uint64_t max, uint64_t *out)
{
    struct value v;
    if (!read_item(r, &v) || v.item != I_U64 || v.n > max)
        return false;
    *out = v.n;
    return true;
}

static bool read_word(struct reader *r, const char *const *words, unsigned n, unsigned *out)
{
    struct str word;
    if (!read_text(r, 32, &word))
        return false;
    for (*out = 0; *out < n; ++*out)
        if (str_is(word, words[*out]))
            return true;
    return false;
}

/* The head of the outer array; *n rows follow. */
static bool read_rows(struct reader *r, struct str payload, uint64_t *n)
{
    struct value v;
    *r = (struct reader){(const uint8_t *)payload.p, (const uint8_t *)payload.p + payload.len, 0, HEALTH_ROBOTS_MAX * 8 + 1};
    if (!read_item(r, &v) || v.item != I_ARRAY || v.n > HEALTH_ROBOTS_MAX)
        return false;
    *n = v.n;
    return true;
}

static bool read_row(struct reader *r, uint64_t fields)
{
    struct value v;
    return read_item(r, &v) && v.item == I_ARRAY && v.n == fields;
}

int proto_decode_robots(struct str payload, void (*fn)(void *arg, const struct robot_row *row), void *arg)
{
    struct reader r;
    uint64_t n;
    if (!read_rows(&r, payload, &n))
        return -1;
    while (n--) {
        struct robot_row row;
        unsigned wanted;
        if (!read_row(&r, 3) || !read_text(&r, 64, &row.name) || !row.name.len || !read_text(&r, 255, &row.base_url) ||
            !read_word(&r, wanted_name, 3, &wanted))
            return -1;
        row.wanted = (enum wanted)wanted;
        if (fn)
            fn(arg, &row);
    }
    return r.p == r.end ? 0 : -1;
}

int proto_decode_health(struct str payload, void (*fn)(void *arg, const struct health_row *row), void *arg)
{
    struct reader r;
    uint64_t n;
    if (!read_rows(&r, payload, &n))
        return -1;
    while (n--) {
        struct health_row row;
        unsigned verdict;
        uint64_t since, sessions, capacity;
        if (!read_row(&r, 7) || !read_text(&r, 64, &row.name) || !row.name.len || !read_word(&r, verdict_name, 4, &verdict) ||
            !read_number(&r, INT64_MAX, &since) || !read_number(&r, UINT32_MAX, &sessions) ||
            !read_number(&r, UINT32_MAX, &capacity) || !read_text(&r, 64, &row.boot_id) || !read_text(&r, 200, &row.why))
            return -1;
        row.verdict = (enum verdict)verdict;
        row.since_unix_ms = (int64_t)since;
        row.sessions = (int64_t)sessions - 1;
        row.capacity = (int64_t)capacity - 1;
        if (fn)
            fn(arg, &row);
    }
    return r.p == r.end ? 0 : -1;
}
