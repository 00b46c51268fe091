/* SPDX-License-Identifier: MIT */
/* peer.h - the connected dispatchers. */
#ifndef CHASQUI_BROKER_PEER_H
#define CHASQUI_BROKER_PEER_H

#include "broker/broker.h"

struct peers *peers_new(struct broker *b); /* binds broker.bind; NULL after logging why */
void peers_destroy(struct peers **pp);
/* Picks the dispatcher to ask in that lane: with free credit; with a database if any has one; the one that this turn's
 * requests go to; with the most credit. */
struct peer *peers_pick(struct broker *b, enum lane lane);
/* Sends f to p and uses one credit. Returns 0, -EAGAIN or -EHOSTUNREACH; after an error p is not picked again for
 * now. */
int peer_request(struct broker *b, struct peer *p, struct flight *f);
int peer_send(struct broker *b, struct peer *p, const struct msg *m);
void peer_hold(struct peer *p, struct flight *f); /* f is in flight at p */
void peer_drop(struct flight *f);                 /* f is no longer in flight at its peer */
/* Whether a dispatcher that takes requests is connected, or was within the last 2 s. */
bool peers_hopeful(const struct broker *b);
bool peers_ready(const struct broker *b); /* one with a database, not draining */
/* Which foreign tokens the dispatchers verify: enum foreign. While none is connected, what the last ones
 * announced. */
unsigned peers_foreign(const struct broker *b);
/* Whether all connected dispatchers accept OPS_ALERTS_SAID. An older version would not answer, and its credit
 * would be lost. */
bool peers_take_alerts(const struct broker *b);
void peers_bye(struct broker *b, const char *reason);
struct peers_count {
    unsigned here, usable, draining, with_database, gone;
    uint64_t queued_running; /* queued log-ins in flight */
    int64_t last_gone_ms;    /* unix; 0 = none went in the last ten minutes */
};
struct peers_count peers_count(const struct broker *b);
/* Calls fn for each dispatcher that went in the last ten minutes, announced or not, and has not returned. */
void peers_each_gone(const struct broker *b,
                     void (*fn)(void *arg, const char *name, int64_t since_ms, bool was_draining), void *arg);
/* A name shared by two dispatchers, or NULL. */
const char *peers_twice(const struct broker *b);
void peers_each_draining(const struct broker *b, void (*fn)(void *arg, const char *name), void *arg);
/* Calls fn for each dispatcher and each endpoint of another broker that it does not reach. */
void peers_each_broker_lost(const struct broker *b, void (*fn)(void *arg, const char *endpoint), void *arg);
/* Robots, companies and tokens whose calls in flight have reached a dispatcher's limit. */
/* The database server that a dispatcher uses. */
struct node_told {
    const char *dispatcher; /* borrowed */
    char host[256];
    char state[32];  /* state of a node of a cluster: "Synced", ...; "" = one server */
    unsigned size;   /* nodes in contact */
    unsigned listed; /* servers of db.host */
    char left[400];  /* the servers that are avoided, for node_left_next() */
};
void peers_each_node(const struct broker *b, void (*fn)(void *arg, const struct node_told *one), void *arg);
/* Steps through `left`; false = no more. */
bool node_left_next(const char **at, char kind[16], char host[256]);
const char *node_left_why(const char *kind);

struct at_limit {
    char kind[16], who[65]; /* "robot", "company" or "token"; its name or id */
    unsigned limit, waiting;
};
void peers_each_at_limit(const struct broker *b, void (*fn)(void *arg, const struct at_limit *one), void *arg);
/* Why no dispatcher has a database that takes writes: "read_only", "hung" or "gone", and a text. A read-only
 * database can still be read. */
const char *peers_database_why(const struct broker *b, char *why, size_t room);
/* Failures at a dispatcher's database; one row for each, per dispatcher. */
struct database_trouble {
    char duty[33], kind[13], why[161];
    uint64_t n, for_s;
};
void peers_each_trouble(const struct broker *b, void (*fn)(void *arg, const struct database_trouble *one),
                        void *arg);
struct jv *peers_jv(const struct broker *b); /* [{name,boot_id,...}], by name, then those that went */
/* Appends a source for each dispatcher and returns how many. The pointers are valid until the loop turns. */
unsigned peers_sources(const struct broker *b, struct stat_source *out, unsigned max);
void peers_metrics(const struct broker *b, struct buf *out);

#endif
