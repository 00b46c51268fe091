/* SPDX-License-Identifier: MIT */
/* peer.h - the connections to the brokers. */
#ifndef CHASQUI_DISPATCHER_PEER_H
#define CHASQUI_DISPATCHER_PEER_H

#include "dispatcher/dispatcher.h"

struct peers *peers_new(struct dispatcher *d);
void peers_destroy(struct peers **pp);
void peers_bye(struct dispatcher *d, const char *reason);
void peers_ping(struct dispatcher *d); /* now: its credit or its word on the database has changed */
void peers_event(struct dispatcher *d, const char *kind, uint64_t id, uint64_t company_id,
                 const char *state); /* to all brokers */
void peers_wake(struct dispatcher *d, const char *what);
int peer_send(struct dispatcher *d, unsigned peer, const struct msg *m);      /* as proto_send */
int peer_send_take(struct dispatcher *d, unsigned peer, const struct msg *m); /* as proto_send_take */
#define PEERS_ALL UINT_MAX
void peers_send_all(struct dispatcher *d, const struct msg *m); /* to each broker that knows us */
void peer_finished(struct dispatcher *d, unsigned peer,
                   enum lane lane); /* a request ended, or only waits: its credit is returned */
void peer_taken(struct dispatcher *d, unsigned peer,
                enum lane lane);                   /* a waiting request continues: it takes the next credit */
unsigned peers_window(const struct dispatcher *d); /* maximum of a broker's requests in flight in a lane */

#endif
