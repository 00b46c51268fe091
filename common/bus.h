/* SPDX-License-Identifier: MIT */
/*
 * bus.h - ZeroMQ: the process's one context, CURVE, ZAP, and sockets that live in a loop. Only bus.c and
 * bus_link.c call libzmq, through bus_sock.h (besides the dispatcher's actor pipes in store.c; key.c, zpl.c
 * and ctl/keys*.c read and write czmq's file formats).
 *
 * A socket's frames arrive whole through its callback. Sockets are edge-triggered: the bus drains each one before
 * every sleep, at most 64 messages a socket a turn.
 *
 * Security: with conf->curve_dir every socket speaks CURVE. Our key is <role>.key_secret, the peer's public key is
 * <role>.key. Servers admit only the public keys in allow/ (zcert files, re-read within 5 s). The ZAP User-Id is
 * the peer's role: the certificate's metadata `role`, else its file name up to the first '-' or '.'. Without
 * curve_dir the role of every peer is "" and bus_peer_is() admits all of them (loopback only; conf checks that).
 */
#ifndef CHASQUI_BUS_H
#define CHASQUI_BUS_H

#include "conf.h"
#include "loop.h"
#include <stddef.h>
#include <stdint.h>

struct bus;
struct bus_sock;

enum bus_type { BUS_ROUTER, BUS_DEALER, BUS_XPUB, BUS_SUB };

#define BUS_FRAMES_MAX 4
#define BUS_PEER_MAX 64
#define BUS_ENDPOINT_BYTES 256

struct bus_frame {
    const void *data; /* borrowed: valid during the callback only */
    size_t len;
};

/* Receives one message. `peer`/`peer_len` is the ROUTER's routing id (empty for other types). `role` is the ZAP
 * User-Id ("" without CURVE; on a client socket the server_role, whose key the handshake proved). `frames` are the
 * remaining frames, 1 to BUS_FRAMES_MAX. Messages with more frames, or a routing id over BUS_PEER_MAX, are dropped
 * and counted before this. An XPUB receives each subscription as one frame: byte 1 (0 when it ends) and the topic.
 * May send on and close other sockets, but must not close this one. */
typedef void bus_recv_fn(void *arg, const void *peer, size_t peer_len, const char *role,
                         const struct bus_frame *frames, unsigned n);

/* Must be called before anything else of czmq: no signal handlers, no ZSYS_* from the environment, no limit of
 * sockets. Joins the process's context (czmq's) and, with curve_dir, reads our keys. The ZAP handler, served by
 * the loop, starts with the first bus_bind. NULL after logging why. */
struct bus *bus_new(struct loop *l, const struct conf *conf);
void bus_destroy(struct bus **bp); /* closes open sockets with linger 0 */

/* A server socket. Endpoint may hold port 0 or *; NULL after logging why. */
struct bus_sock *bus_bind(struct bus *b, enum bus_type type, const char *endpoint, bus_recv_fn *fn, void *arg);
/* Makes a client socket of one endpoint. `server_role` names the public key file to trust ("broker", "healthd").
 * DEALERs are IMMEDIATE: sending without a connection is -EAGAIN. A SUB subscribes to everything. */
struct bus_sock *bus_connect(struct bus *b, enum bus_type type, const char *endpoint, const char *server_role,
                             bus_recv_fn *fn, void *arg);
void bus_close(struct bus_sock **sp); /* not inside its own callback */
/* Calls fn(arg, connected) when a connection of the socket is made (after its handshake) or lost, from a socket
 * monitor. Call it right after bus_bind or bus_connect. A ROUTER does not learn which peer it was: send each one a
 * PING; the lost peer answers -EHOSTUNREACH. */
void bus_on_link(struct bus_sock *s, void (*fn)(void *arg, bool connected), void *arg);

/* Inside a bus_recv_fn: keeps a whole frame beyond the call without a copy of it; its data stays where it is. NULL
 * when `data` is not the begin of a frame of the message being delivered, or the frame is small: copy it. */
struct bus_kept;
struct bus_kept *bus_keep(struct bus *b, const void *data);
void bus_kept_free(struct bus_kept **kp); /* NULL is allowed */

/* Sends frames (copied) to `peer` (ROUTER) or NULL. 0, or -EAGAIN (full or no connection), -EHOSTUNREACH
 * (unknown peer). Never blocks. */
int bus_send(struct bus_sock *s, const void *peer, size_t peer_len, const struct bus_frame *frames, unsigned n);
/* As bus_send, but takes ownership of the malloc'ed data of the last frame (payloads) when it returns 0; otherwise
 * the caller keeps it. */
int bus_send_take(struct bus_sock *s, const void *peer, size_t peer_len, const struct bus_frame *frames,
                  unsigned n);
/* Reads the host of tcp://host:port when it is a name that must be looked up; else returns false with host "". */
bool bus_endpoint_name(const char *endpoint, char host[BUS_ENDPOINT_BYTES]);
const char *bus_endpoint(const struct bus_sock *s); /* the bound endpoint, with the real port */
/* Whether a message from a peer in `role` is acceptable as one from `wanted`. */
bool bus_peer_is(const struct bus *b, const char *role, const char *wanted);

#endif
