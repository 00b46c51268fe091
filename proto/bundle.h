/* SPDX-License-Identifier: MIT */
/*
 * bundle.h - the small messages of a turn to one peer, sent as one (MANY).
 *
 * Each frame that ZeroMQ sends costs both ends an encryption, an allocation and a queue's place: gathered, ten
 * messages of two or three frames cost as much as one. Only for peers that said `many`. The order of messages is
 * kept by whoever sends one past the bundle: bundle_send() first.
 */
#ifndef CHASQUI_BUNDLE_H
#define CHASQUI_BUNDLE_H

#include "proto/proto.h"

#define BUNDLE_PAYLOAD_MAX 16384 /* of a message in a bundle: copying a longer one costs more than it spares */
#define BUNDLE_MAX 65536         /* bytes after which it should leave */

struct bundle { /* zero-initialised is empty */
    struct buf data;
    unsigned n;
};

/* May m travel in a bundle? Its peer takes bundles. */
bool bundle_fits(const struct msg *m);
/* Copies m into it. True when it should leave now. */
bool bundle_add(struct bundle *b, const struct msg *m);
/* Sends what is in it and empties it; -EAGAIN leaves it as it was. As bus_send; 0 when it was empty. */
int bundle_send(struct bundle *b, struct bus_sock *s, const void *peer, size_t peer_len);
/* What is in it is not sent any more. */
void bundle_drop(struct bundle *b);

/* Calls fn with the frames of each message of a MANY's payload, in order, as long as it answers true. False when
 * the payload is malformed (fn was called for what stands before that) or holds a MANY. */
bool bundle_each(struct str payload, bool (*fn)(void *arg, const struct bus_frame *frames, unsigned n), void *arg);

#endif
