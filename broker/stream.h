/* SPDX-License-Identifier: MIT */
/* stream.h - an answer that comes in chunks and leaves as the client takes it. */
#ifndef CHASQUI_BROKER_STREAM_H
#define CHASQUI_BROKER_STREAM_H

#include "broker/broker.h"

/* A stream holds a window of chunks, and one more in the HTTP library. */
#define STREAM_BYTES_MIN (2 * CHUNK_MIN)
#define STREAM_BYTES_MAX ((CHUNK_WINDOW + 1) * CHUNK_MAX)
/* What a stream with so much memory is sent: chunks of which size, and how many of them at once. 0: the least. */
void stream_shape(uint64_t lent, uint64_t *chunk_bytes, uint64_t *chunk_window);
struct pull *stream_new(struct flight *f, bool has_length, uint64_t length);
/* A chunk came (copied). false: the peer broke the rules, and the stream is broken. */
bool stream_take(struct stream *s, const struct msg_CHUNK *m, struct str payload);
void stream_break(struct stream *s);  /* no more will come, and it was not the end */
void stream_detach(struct stream *s); /* its flight is over */
/* Waits for the dispatcher rather than for the client. */
bool stream_is_hungry(const struct stream *s);
bool stream_is_whole(
    const struct stream *s); /* all of its length came; only the word that it was the last may be on its way */

#endif
