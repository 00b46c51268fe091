/* SPDX-License-Identifier: MIT */
/*
 * rows.c - the payload rows of ROBOTS, HEALTH and the STATS messages: arrays of fixed arrays. Reading is as strict
 * as in the codec: counts are checked against the bytes left, types and bounds are checked, and no bytes may be
 * left over.
 */
#include "proto/codec_read.h"

#include <msgpack/pack.h>
#include <string.h>

#define HIST_NUMBERS (HIST_BUCKETS + 1)
#define ROW_FIELDS_MAX 16 /* of a row that may grow */
#define FAULTS_MAX 32     /* classes that a newer dispatcher may send */

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

/* Begins the outer array; its n rows follow. */
static msgpack_packer rows_begin(struct buf *out, unsigned n)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, pack_write);
    msgpack_pack_array(&pk, n);
    return pk;
}

void proto_encode_robots(struct buf *out, const struct robot_row *rows, unsigned n)
{
    msgpack_packer pk = rows_begin(out, n);
    for (unsigned i = 0; i < n; i++) {
        msgpack_pack_array(&pk, 3);
        pack_text(&pk, rows[i].name);
        pack_text(&pk, rows[i].base_url);
        pack_text(&pk, str_of(wanted_name[rows[i].wanted]));
    }
}

void proto_encode_health(struct buf *out, const struct health_row *rows, unsigned n)
{
    msgpack_packer pk = rows_begin(out, n);
    for (unsigned i = 0; i < n; i++) {
        msgpack_pack_array(&pk, 9);
        pack_text(&pk, rows[i].name);
        pack_text(&pk, str_of(verdict_name[rows[i].verdict]));
        msgpack_pack_uint64(&pk, (uint64_t)rows[i].since_unix_ms);
        msgpack_pack_uint64(&pk, (uint64_t)(rows[i].sessions + 1));
        msgpack_pack_uint64(&pk, (uint64_t)(rows[i].capacity + 1));
        pack_text(&pk, rows[i].boot_id);
        pack_text(&pk, rows[i].why);
        pack_text(&pk, str_of(down_name[rows[i].down]));
        pack_text(&pk, rows[i].other_boot);
    }
}

static void pack_numbers(msgpack_packer *pk, const uint64_t *v, unsigned n)
{
    msgpack_pack_array(pk, n);
    for (unsigned i = 0; i < n; i++)
        msgpack_pack_uint64(pk, v[i]);
}

void proto_encode_robot_stats(struct buf *out, const struct robot_stats_row *rows, unsigned n)
{
    msgpack_packer pk = rows_begin(out, n);
    for (unsigned i = 0; i < n; i++) {
        msgpack_pack_array(&pk, 8);
        pack_text(&pk, rows[i].name);
        pack_text(&pk, str_of(wanted_name[rows[i].wanted]));
        msgpack_pack_uint64(&pk, rows[i].in_flight);
        msgpack_pack_uint64(&pk, rows[i].done);
        msgpack_pack_uint64(&pk, rows[i].failed);
        pack_numbers(&pk, (const uint64_t *)&rows[i].login, HIST_NUMBERS);
        pack_numbers(&pk, rows[i].fault, FAULT_COUNT);
        msgpack_pack_uint64(&pk, rows[i].mute);
    }
}

void proto_encode_company_stats(struct buf *out, const struct company_stats_row *rows, unsigned n)
{
    msgpack_packer pk = rows_begin(out, n);
    for (unsigned i = 0; i < n; i++)
        pack_numbers(&pk, (const uint64_t *)&rows[i], 5);
}

void proto_encode_attempt_stats(struct buf *out, const struct attempt_stats_row *rows, unsigned n)
{
    msgpack_packer pk = rows_begin(out, n);
    for (unsigned i = 0; i < n; i++) {
        msgpack_pack_array(&pk, 5);
        pack_text(&pk, rows[i].portal);
        pack_text(&pk, rows[i].action);
        pack_text(&pk, rows[i].outcome);
        pack_text(&pk, rows[i].robot_error);
        msgpack_pack_uint64(&pk, rows[i].n);
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

static bool read_name(struct reader *r, struct str *out)
{
    return read_text(r, 64, out) && out->len;
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

/* Reads the head of the outer array; *n rows follow. */
static bool read_rows(struct reader *r, struct str payload, unsigned rows_max, unsigned row_items, uint64_t *n)
{
    struct value v;
    *r = (struct reader){(const uint8_t *)payload.p, (const uint8_t *)payload.p + payload.len, 0,
                         rows_max * row_items + 1};
    if (!read_item(r, &v) || v.item != I_ARRAY || v.n > rows_max)
        return false;
    *n = v.n;
    return true;
}

static bool read_row(struct reader *r, uint64_t fields)
{
    struct value v;
    return read_item(r, &v) && v.item == I_ARRAY && v.n == fields;
}

/* Reads a row of at least `least` fields. Fields added by a newer sender follow these. */
static bool read_long_row(struct reader *r, uint64_t least, uint64_t *fields)
{
    struct value v;
    *fields = 0;
    if (!read_item(r, &v) || v.item != I_ARRAY || v.n < least || v.n > ROW_FIELDS_MAX)
        return false;
    *fields = v.n;
    return true;
}

static bool skip_fields(struct reader *r, uint64_t n)
{
    struct value v;
    for (; n; n--)
        if (!read_item(r, &v) || !skip_value(r, &v, 1))
            return false;
    return true;
}

int proto_decode_robots(struct str payload, void (*fn)(void *arg, const struct robot_row *row), void *arg)
{
    struct reader r;
    uint64_t n;
    if (!read_rows(&r, payload, HEALTH_ROBOTS_MAX, 8, &n))
        return -1;
    while (n--) {
        struct robot_row row;
        unsigned wanted;
        if (!read_row(&r, 3) || !read_name(&r, &row.name) || !read_text(&r, 255, &row.base_url) ||
            !read_word(&r, wanted_name, 3, &wanted))
            return -1;
        row.wanted = (enum wanted)wanted;
        if (fn)
            fn(arg, &row);
    }
    return r.p == r.end ? 0 : -1;
}

/* An older healthd does not send how a robot is down, so it is derived from the reason. */
static enum down down_guess(const struct health_row *row)
{
    if (row->verdict != VERDICT_DOWN)
        return DOWN_NOT;
    return str_is(row->why, "refused") || str_is(row->why, "reset") ? DOWN_DEAD : DOWN_SILENT;
}

static bool read_down(struct reader *r, struct health_row *row)
{
    struct str word;
    if (!read_text(r, 32, &word))
        return false;
    if (row->verdict == VERDICT_DOWN)
        row->down = str_is(word, down_name[DOWN_DEAD]) ? DOWN_DEAD : DOWN_SILENT;
    return true;
}

static bool read_health(struct reader *r, struct health_row *row)
{
    unsigned verdict;
    uint64_t fields, since, sessions, capacity;
    *row = (struct health_row){0};
    if (!read_long_row(r, 7, &fields) || !read_name(r, &row->name) || !read_word(r, verdict_name, 4, &verdict) ||
        !read_number(r, INT64_MAX, &since) || !read_number(r, UINT32_MAX, &sessions) ||
        !read_number(r, UINT32_MAX, &capacity) || !read_text(r, 64, &row->boot_id) ||
        !read_text(r, 200, &row->why))
        return false;
    row->verdict = (enum verdict)verdict;
    row->since_unix_ms = (int64_t)since;
    row->sessions = (int64_t)sessions - 1;
    row->capacity = (int64_t)capacity - 1;
    row->down = down_guess(row);
    if (fields > 7 && !read_down(r, row))
        return false;
    if (fields > 8 && !read_text(r, 64, &row->other_boot))
        return false;
    return fields <= 9 || skip_fields(r, fields - 9);
}

int proto_decode_health(struct str payload, void (*fn)(void *arg, const struct health_row *row), void *arg)
{
    struct reader r;
    uint64_t n;
    if (!read_rows(&r, payload, HEALTH_ROBOTS_MAX, 2 * ROW_FIELDS_MAX, &n))
        return -1;
    while (n--) {
        struct health_row row;
        if (!read_health(&r, &row))
            return -1;
        if (fn)
            fn(arg, &row);
    }
    return r.p == r.end ? 0 : -1;
}

/* Reads an array of at most `max` numbers. Missing numbers are 0; numbers beyond the n known ones are skipped. */
static bool read_numbers(struct reader *r, uint64_t *out, unsigned n, unsigned max)
{
    struct value v;
    uint64_t beyond;
    memset(out, 0, n * sizeof(*out));
    if (!read_item(r, &v) || v.item != I_ARRAY || v.n > max)
        return false;
    for (uint64_t i = 0; i < v.n; i++)
        if (!read_number(r, UINT64_MAX, i < n ? &out[i] : &beyond))
            return false;
    return true;
}

static bool read_robot_stats(struct reader *r, struct robot_stats_row *row)
{
    uint64_t fields;
    unsigned wanted;
    row->mute = 0;
    if (!read_long_row(r, 7, &fields) || !read_name(r, &row->name) || !read_word(r, wanted_name, 3, &wanted) ||
        !read_number(r, UINT32_MAX, &row->in_flight) || !read_number(r, UINT64_MAX, &row->done) ||
        !read_number(r, UINT64_MAX, &row->failed) ||
        !read_numbers(r, (uint64_t *)&row->login, HIST_NUMBERS, HIST_NUMBERS) ||
        !read_numbers(r, row->fault, FAULT_COUNT, FAULTS_MAX))
        return false;
    row->wanted = (enum wanted)wanted;
    if (fields > 7 && !read_number(r, UINT32_MAX, &row->mute))
        return false;
    return fields <= 8 || skip_fields(r, fields - 8);
}

int proto_decode_robot_stats(struct str payload, void (*fn)(void *arg, const struct robot_stats_row *row),
                             void *arg)
{
    struct reader r;
    uint64_t n;
    if (!read_rows(&r, payload, ROBOT_STATS_MAX, 80, &n))
        return -1;
    while (n--) {
        struct robot_stats_row row;
        if (!read_robot_stats(&r, &row))
            return -1;
        if (fn)
            fn(arg, &row);
    }
    return r.p == r.end ? 0 : -1;
}

int proto_decode_company_stats(struct str payload, void (*fn)(void *arg, const struct company_stats_row *row),
                               void *arg)
{
    struct reader r;
    uint64_t n;
    if (!read_rows(&r, payload, COMPANY_STATS_MAX, 6, &n))
        return -1;
    while (n--) {
        struct company_stats_row row;
        if (!read_row(&r, 5) || !read_number(&r, INT64_MAX, &row.company_id) ||
            !read_number(&r, UINT64_MAX, &row.waits) || !read_number(&r, INT64_MAX, &row.wait_ms) ||
            !read_number(&r, UINT64_MAX, &row.requests) || !read_number(&r, INT64_MAX, &row.busy_ms))
            return -1;
        if (fn)
            fn(arg, &row);
    }
    return r.p == r.end ? 0 : -1;
}

int proto_decode_attempt_stats(struct str payload, void (*fn)(void *arg, const struct attempt_stats_row *row),
                               void *arg)
{
    struct reader r;
    uint64_t n;
    if (!read_rows(&r, payload, ATTEMPT_STATS_MAX, 6, &n))
        return -1;
    while (n--) {
        struct attempt_stats_row row;
        if (!read_row(&r, 5) || !read_name(&r, &row.portal) || !read_name(&r, &row.action) ||
            !read_text(&r, 16, &row.outcome) || !read_text(&r, 256, &row.robot_error) ||
            !read_number(&r, UINT64_MAX, &row.n))
            return -1;
        if (fn)
            fn(arg, &row);
    }
    return r.p == r.end ? 0 : -1;
}
