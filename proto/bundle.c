/* SPDX-License-Identifier: MIT */
/*
 * bundle.c - several messages in one frame.
 *
 * A part is: the length of its header and the length of its payload (four bytes each, big endian), the two bytes
 * of frame 0, the header, the payload. A declared length is accepted only when that many bytes are left.
 */
#include "proto/bundle.h"

#include "common/check.h"

#include <errno.h>

#define PART_HEAD 10 /* bytes before a part's header */

bool bundle_fits(const struct msg *m)
{
    switch ((int)m->type) {
    case MSG_REQUEST:
    case MSG_ACCEPTED:
    case MSG_REPLY:
    case MSG_CREDIT:
    case MSG_CHUNK_CREDIT:
    case MSG_CANCEL:
        return m->payload.len <= BUNDLE_PAYLOAD_MAX;
    default:
        return false;
    }
}

static void number_put(uint8_t *at, uint32_t n)
{
    for (int i = 3; i >= 0; i--, n >>= 8)
        at[i] = (uint8_t)n;
}

static uint32_t number_get(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

bool bundle_add(struct bundle *b, const struct msg *m)
{
    size_t at = b->data.len;
    uint8_t head[2];
    buf_room(&b->data, PART_HEAD);
    b->data.len += PART_HEAD;
    proto_encode(m, head, &b->data);
    uint8_t *part = (uint8_t *)b->data.data + at;
    number_put(part, (uint32_t)(b->data.len - at - PART_HEAD));
    number_put(part + 4, m->payload.len);
    part[8] = head[0];
    part[9] = head[1];
    buf_add(&b->data, m->payload.p, m->payload.len);
    b->n++;
    return b->data.len >= BUNDLE_MAX;
}

/* Reads one part. Returns its length, or 0 when it is malformed. */
static size_t part_read(const uint8_t *p, size_t left, struct bus_frame frames[3], unsigned *n)
{
    if (left < PART_HEAD)
        return 0;
    size_t header = number_get(p), payload = number_get(p + 4);
    if (header > left - PART_HEAD || payload > left - PART_HEAD - header)
        return 0;
    frames[0] = (struct bus_frame){p + 8, 2};
    frames[1] = (struct bus_frame){p + PART_HEAD, header};
    frames[2] = (struct bus_frame){p + PART_HEAD + header, payload};
    *n = payload ? 3 : 2;
    return PART_HEAD + header + payload;
}

bool bundle_each(struct str payload, bool (*fn)(void *arg, const struct bus_frame *frames, unsigned n), void *arg)
{
    const uint8_t *p = (const uint8_t *)payload.p;
    for (size_t left = payload.len; left;) {
        struct bus_frame frames[3];
        unsigned n;
        size_t len = part_read(p, left, frames, &n);
        if (!len || p[9] == MSG_MANY)
            return false;
        if (!fn(arg, frames, n))
            return true;
        p += len;
        left -= len;
    }
    return true;
}

int bundle_send(struct bundle *b, struct bus_sock *s, const void *peer, size_t peer_len)
{
    int rc = 0;
    if (b->n == 1) {
        struct bus_frame frames[3];
        unsigned n;
        size_t len = part_read((const uint8_t *)b->data.data, b->data.len, frames, &n);
        CHECK(len == b->data.len, "len=%zu of %zu", len, b->data.len);
        rc = bus_send(s, peer, peer_len, frames, n);
    } else if (b->n) {
        struct msg m = {
            .type = MSG_MANY, .MANY = {.count = b->n}, .payload = {b->data.data, (uint32_t)b->data.len}};
        rc = proto_send(s, peer, peer_len, &m);
    }
    if (rc != -EAGAIN)
        bundle_drop(b);
    return rc;
}

void bundle_drop(struct bundle *b)
{
    buf_clear(&b->data);
    b->n = 0;
}
