/* SPDX-License-Identifier: MIT */
/* stream.h - an answer that arrives in chunks and leaves as fast as the client reads it. */
#ifndef CHASQUI_BROKER_STREAM_H
#define CHASQUI_BROKER_STREAM_H

#include "broker/broker.h"

/* A stream holds a window of chunks, and one more in the HTTP library. */
#define STREAM_BYTES_MIN (2 * CHUNK_MIN)
#define STREAM_BYTES_MAX ((CHUNK_WINDOW + 1) * CHUNK_MAX)
/* The chunk size and the number of chunks in flight for a stream with this much memory. 0: the minimum. */
void stream_shape(uint64_t lent, uint64_t *chunk_bytes, uint64_t *chunk_window);
struct pull *stream_new(struct flight *f, bool has_length, uint64_t length);
/* Takes a chunk (copied). false: the peer broke the protocol, and the stream is broken. */
bool stream_take(struct stream *s, const struct msg_CHUNK *m, struct str payload);
void stream_break(struct stream *s);  /* no more chunks will come, and the end was not reached */
void stream_detach(struct stream *s); /* its flight is over */
/* Whether it waits for the dispatcher rather than for the client. */
bool stream_is_hungry(const struct stream *s);
bool stream_is_whole(
    const struct stream *s); /* its whole length has arrived; only the final message may still be in flight */

#endif
