/* SPDX-License-Identifier: MIT */
/*
 * bus_sock.h - the internals of the bus. Shared only by bus.c (sockets, messages) and bus_link.c (their
 * connections).
 */
#ifndef CHASQUI_BUS_SOCK_H
#define CHASQUI_BUS_SOCK_H

#include "bus.h"
#include "key.h"
#include "resolver.h"
#include <czmq.h>
#include <zmq.h>

#define BUS_PARTS_MAX 10    /* a ZAP request has 7; our own messages have 5 with the routing id */
#define BUS_NAME_MS 2000    /* interval of checking whether a name without a link has moved */
#define BUS_RELINK_MS 10000 /* longer than a slow connect and handshake, which it would interrupt */

enum sock_kind { KIND_PEER, KIND_ZAP, KIND_MONITOR };

struct bus_message;

struct bus_sock {
    struct bus *bus;
    struct bus_sock *next;
    enum sock_kind kind;
    bool is_server, is_dead; /* dead: closed while the hook ran, freed after it */
    bool is_touched;         /* may hold messages: must be read before the next sleep */
    unsigned left;           /* messages it may still deliver in this turn */
    zsock_t *sock;
    void *handle; /* libzmq's */
    struct loop_fd *watch;
    bool has_peer_id; /* a ROUTER: the first part is the routing id */
    bus_recv_fn *fn;
    void *arg;
    char *server_role; /* of a client socket with CURVE, else NULL; owned */
    bool is_old_key;   /* the server's key from before the last rotation is being tried */
    char endpoint[BUS_ENDPOINT_BYTES];
    /* of a client: the endpoint that libzmq connects to; "" = none yet */
    char target[BUS_ENDPOINT_BYTES],
        host[BUS_ENDPOINT_BYTES]; /* host: "" = the endpoint holds an address, which is the target */
    uint64_t generation, relink_at_ms;
    struct resolver_wait wait;
    /* links, fed by the monitor */
    struct bus_sock *monitor; /* of a KIND_PEER; NULL = not watched */
    struct bus_sock *watched; /* of a KIND_MONITOR */
    bool is_linked;           /* a client's one connection is up */
    struct loop_timer lost_timer;
    struct loop_timer relink_timer; /* of a client, set while it has no link */
    bool is_failing;                /* a handshake failed: the following DISCONNECTED does not concern a link */
    bool is_relink_soon;            /* a handshake failed: to be connected anew, with the keys of that moment */
    bool was_failure_logged;
    void (*link_fn)(void *, bool);
    void *link_arg;
};

struct bus {
    struct loop *loop;
    struct resolver *resolver; /* exists from the first endpoint by name on */
    struct bus_sock *socks;
    bool is_in_hook;
    struct bus_sock *reading;      /* the socket whose callback runs */
    struct bus_message *delivered; /* to that callback */
    char *curve_dir;               /* NULL = no CURVE */
    const char *role;
    uint8_t public_key[KEY_BYTES], secret_key[KEY_BYTES];
    struct zap *zap; /* exists from the first bus_bind with CURVE on */
    struct bus_sock *zap_sock;
};

struct bus_message {
    zmq_msg_t parts[BUS_PARTS_MAX];
    unsigned n;
    bool is_too_long; /* had more parts, which were dropped */
};

/* In bus.c. bus_sock_new: a socket of the loop (NULL after logging why). Then: marks a used socket, to be read
 * before the next sleep; sets its options. */
struct bus_sock *bus_sock_new(struct bus *b, enum sock_kind kind, int zmq_type);
void bus_sock_touch(struct bus_sock *s);
void bus_sock_set_int(struct bus_sock *s, int option, int value);
/* Reads a client socket's keys again. Alternates between the server's present key and its previous one. */
void bus_sock_rekey(struct bus_sock *s);

/* In bus_link.c. bus_link_watch: watches s's connections; false when the monitor cannot be made. Then: takes one
 * event of the monitor; forgets the socket. */
bool bus_link_watch(struct bus_sock *s);
bool bus_link_connect(struct bus_sock *s); /* false: libzmq rejects the endpoint */
void bus_link_event(struct bus_sock *s, struct bus_message *m);
void bus_link_forget(struct bus_sock *s);

#endif
