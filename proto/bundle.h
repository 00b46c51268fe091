/* SPDX-License-Identifier: MIT */
/*
 * bundle.h - the small messages of one turn to one peer, sent as one message (MANY).
 *
 * Each frame that ZeroMQ sends costs both ends an encryption, an allocation and a slot in a queue. A bundle of ten
 * messages costs as much as one message of two or three frames. Only peers that announced `many` receive bundles.
 * To keep messages in order, call bundle_send() before sending a message outside the bundle.
 */
#ifndef CHASQUI_BUNDLE_H
#define CHASQUI_BUNDLE_H

#include "proto/proto.h"

#define BUNDLE_PAYLOAD_MAX 16384 /* per message: copying a longer one costs more than it saves */
#define BUNDLE_MAX 65536         /* size in bytes at which a bundle should be sent */

struct bundle { /* zero-initialised = empty */
    struct buf data;
    unsigned n;
};

/* Whether m may travel in a bundle. The caller has checked that the peer accepts bundles. */
bool bundle_fits(const struct msg *m);
/* Copies m into the bundle. Returns true when the bundle should be sent now. */
bool bundle_add(struct bundle *b, const struct msg *m);
/* Sends the bundle and empties it. -EAGAIN leaves it unchanged. Other returns as bus_send; 0 when it was empty. */
int bundle_send(struct bundle *b, struct bus_sock *s, const void *peer, size_t peer_len);
/* Discards the bundle's messages unsent. */
void bundle_drop(struct bundle *b);

/* Calls fn with the frames of each message in a MANY's payload, in order, until fn returns false. Returns false
 * when the payload is malformed or holds a MANY; fn was already called for the messages before that point. */
bool bundle_each(struct str payload, bool (*fn)(void *arg, const struct bus_frame *frames, unsigned n), void *arg);

#endif
