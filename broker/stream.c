/* SPDX-License-Identifier: MIT */
/*
 * stream.c - an answer that arrives in chunks and leaves as fast as the client reads it.
 *
 * Owns: the chunks received and not yet read, at most one window; each is kept in the message that brought it. The dispatcher may have one window of chunks in
 * flight beyond those used up, so a slow client slows the robot down (back-pressure). The size and number of
 * chunks are limited by what is left of broker.stream_memory_bytes. Many slow clients get small windows, and none
 * waits for another. Must never end an incomplete answer as complete: a missing chunk, a wrong length or a dead
 * dispatcher breaks the stream, and the client's connection is cut.
 */
#include "broker/stream.h"
#include "broker/flight.h"
#include "broker/peer.h"
#include "broker/pull.h"

#include "common/check.h"
#include <stdlib.h>
#include <string.h>

/* A dispatcher may send a last piece and the end beyond its credit; more violates the protocol. */
#define CHUNKS_MAX (CHUNK_WINDOW + 4)

#define BLOCK_BYTES_MAX (128 * 1024) /* per read by the HTTP library */

struct chunk {
    const char *data;
    size_t len, used;
    struct bus_kept *kept; /* the message that holds the data; NULL = ours, malloc'ed */
};

struct stream {
    struct pull pull;      /* first member */
    struct flight *flight; /* NULL once the flight is over */
    bool is_complete, is_broken;
    uint64_t came;      /* bytes */
    uint64_t seq, used; /* chunks received; chunks used up */
    uint64_t window, lent;
    struct quota *quota;
    struct bus *bus;
    struct chunk ring[CHUNKS_MAX];
    unsigned first, n;
};

static ssize_t stream_read(struct pull *p, char *out, size_t room);
static void stream_destroy(struct pull *p);

static void chunk_fill(struct chunk *c, struct bus *bus, struct str payload)
{
    *c = (struct chunk){.data = payload.p, .len = payload.len, .kept = bus_keep(bus, payload.p)};
    if (!c->kept) {
        char *copy = xmalloc(payload.len);
        memcpy(copy, payload.p, payload.len);
        c->data = copy;
    }
}

static void chunk_free(struct chunk *c)
{
    if (c->kept)
        bus_kept_free(&c->kept);
    else
        free((void *)(uintptr_t)c->data);
}

void stream_shape(uint64_t lent, uint64_t *chunk_bytes, uint64_t *chunk_window)
{
    uint64_t chunk = lent / (CHUNK_WINDOW + 1);
    chunk = chunk < CHUNK_MIN ? CHUNK_MIN : chunk;
    uint64_t window = lent / chunk > 1 ? lent / chunk - 1 : 1;
    *chunk_bytes = chunk;
    *chunk_window = window < CHUNK_WINDOW ? window : CHUNK_WINDOW;
}

struct pull *stream_new(struct flight *f, bool has_length, uint64_t length)
{
    struct stream *s = xcalloc(1, sizeof *s);
    s->pull = (struct pull){.read = stream_read,
                            .destroy = stream_destroy,
                            .has_length = has_length,
                            .length = length,
                            .block_bytes = f->request.chunk_bytes < BLOCK_BYTES_MAX ? f->request.chunk_bytes
                                                                                    : BLOCK_BYTES_MAX};
    s->flight = f;
    s->window = f->request.chunk_window;
    s->quota = &f->b->stream_memory;
    s->bus = f->b->bus;
    s->lent = f->lent ? f->lent : quota_lend(s->quota, STREAM_BYTES_MIN, STREAM_BYTES_MIN);
    f->lent = 0;
    f->stream = s;
    return &s->pull;
}

void stream_detach(struct stream *s)
{
    s->flight = NULL;
}

bool stream_is_whole(const struct stream *s)
{
    return s->pull.has_length && s->came == s->pull.length && !s->is_broken;
}

/* Ends its flight, if that is not over. */
static void stream_destroy(struct pull *p)
{
    struct stream *s = (struct stream *)p;
    if (s->flight)
        flight_end(s->flight);
    for (; s->n; s->n--, s->first = (s->first + 1) % CHUNKS_MAX)
        chunk_free(&s->ring[s->first]);
    quota_return(s->quota, s->lent);
    free(s);
}

void stream_break(struct stream *s)
{
    if (s->is_complete)
        return;
    s->is_broken = true;
    pull_ready(&s->pull);
}

static void grant(struct stream *s)
{
    s->used++;
    if (!s->flight || !s->flight->peer)
        return;
    struct msg m = {.type = MSG_CHUNK_CREDIT, .CHUNK_CREDIT = {.id = s->flight->id, .limit = s->used + s->window}};
    peer_send(s->flight->b, s->flight->peer, &m);
}

bool stream_take(struct stream *s, const struct msg_CHUNK *m, struct str payload)
{
    s->came += payload.len;
    bool is_fit = m->seq == s->seq && !m->broken && (s->n < CHUNKS_MAX || !payload.len) &&
                  (!s->pull.has_length || (m->last ? s->came == s->pull.length : s->came <= s->pull.length));
    if (!is_fit) {
        stream_break(s);
        return m->broken;
    }
    s->seq++;
    stat_add(stream_out_bytes_total, payload.len);
    if (payload.len) {
        chunk_fill(&s->ring[(s->first + s->n++) % CHUNKS_MAX], s->bus, payload);
    } else if (!m->last) {
        grant(s);
    }
    s->is_complete = m->last;
    pull_ready(&s->pull);
    return true;
}

/* Grants the dispatcher more credit as chunks are used up. */
static ssize_t stream_read(struct pull *p, char *out, size_t room)
{
    struct stream *s = (struct stream *)p;
    if (s->is_broken)
        return PULL_BROKEN;
    size_t got = 0;
    while (s->n && got < room) {
        struct chunk *c = &s->ring[s->first];
        size_t len = c->len - c->used < room - got ? c->len - c->used : room - got;
        memcpy(out + got, c->data + c->used, len);
        got += len;
        c->used += len;
        if (c->used == c->len) {
            chunk_free(c);
            s->first = (s->first + 1) % CHUNKS_MAX;
            s->n--;
            grant(s);
        }
    }
    if (got)
        return (ssize_t)got;
    return s->is_complete ? PULL_END : 0;
}

bool stream_is_hungry(const struct stream *s)
{
    return !s->n && !s->is_complete && !s->is_broken;
}
