/* SPDX-License-Identifier: MIT */
/* peer.h - the dispatchers that are connected. */
#ifndef CHASQUI_BROKER_PEER_H
#define CHASQUI_BROKER_PEER_H

#include "broker/broker.h"

struct peers *peers_new(struct broker *b); /* binds broker.bind; NULL after logging why */
void peers_destroy(struct peers **pp);
/* The dispatcher to ask in that lane: with free credit, with a database if any has one, with the most credit. */
struct peer *peers_pick(struct broker *b, enum lane lane);
/* Sends f to p and uses a credit. 0, -EAGAIN or -EHOSTUNREACH; then p is not picked again for now. */
int peer_request(struct broker *b, struct peer *p, struct flight *f);
int peer_send(struct broker *b, struct peer *p, const struct msg *m);
void peer_hold(struct peer *p, struct flight *f); /* f is worked on by p */
void peer_drop(struct flight *f);                 /* not any more */
/* One that takes requests is there, or was within 2 s. */
bool peers_hopeful(const struct broker *b);
bool peers_ready(const struct broker *b); /* one with a database, not draining */
/* Which tokens that are not ours dispatchers verify: enum foreign. While none is there, what those that went said. */
unsigned peers_foreign(const struct broker *b);
/* Do all dispatchers that are here take OPS_ALERTS_SAID? One of an older version would answer nothing, and its credit would be gone. */
bool peers_take_alerts(const struct broker *b);
void peers_bye(struct broker *b, const char *reason);
struct peers_count {
    unsigned here, usable, draining, with_database, gone;
    uint64_t queued_running; /* queued log-ins under way */
    int64_t last_gone_ms;    /* unix; 0 = none went in the last ten minutes */
};
struct peers_count peers_count(const struct broker *b);
/* Those that went without a word, or after one, in the last ten minutes and have not come back. */
void peers_each_gone(const struct broker *b,
                     void (*fn)(void *arg, const char *name, int64_t since_ms, bool was_draining), void *arg);
/* A name that two dispatchers have, or NULL. */
const char *peers_twice(const struct broker *b);
void peers_each_draining(const struct broker *b, void (*fn)(void *arg, const char *name), void *arg);
/* Endpoints of other brokers that a dispatcher does not reach; each of them for each dispatcher. */
void peers_each_broker_lost(const struct broker *b, void (*fn)(void *arg, const char *endpoint), void *arg);
/* Robots, companies and tokens of which a dispatcher has as many calls in flight as it allows. */
/* The database server that a dispatcher uses. */
struct node_told {
    const char *dispatcher; /* borrowed */
    char host[256];
    char state[32];  /* of a node of a cluster: "Synced", ...; "" = one server */
    unsigned size;   /* nodes in touch */
    unsigned listed; /* servers of db.host */
    char left[400];  /* those that are left alone, for node_left_next() */
};
void peers_each_node(const struct broker *b, void (*fn)(void *arg, const struct node_told *one), void *arg);
/* Steps through `left`; false = no more. */
bool node_left_next(const char **at, char kind[16], char host[256]);
const char *node_left_why(const char *kind);

struct at_limit {
    char kind[16], who[65]; /* "robot", "company" or "token"; its name or id */
    unsigned in_flight, waiting;
};
void peers_each_at_limit(const struct broker *b, void (*fn)(void *arg, const struct at_limit *one), void *arg);
/* Why no dispatcher has a database that takes writes: "read_only", "hung" or "gone", and in words. A read-only one is read at least. */
const char *peers_database_why(const struct broker *b, char *why, size_t room);
/* What fails at a dispatcher's database; each row of each dispatcher. */
struct database_trouble {
    char duty[33], kind[13], why[161];
    uint64_t n, for_s;
};
void peers_each_trouble(const struct broker *b, void (*fn)(void *arg, const struct database_trouble *one),
                        void *arg);
struct jv *peers_jv(const struct broker *b); /* [{name,boot_id,...}], by name, then those that went */
/* Appends a source for each; returns how many. The pointers are good until the loop turns. */
unsigned peers_sources(const struct broker *b, struct stat_source *out, unsigned max);
void peers_metrics(const struct broker *b, struct buf *out);

#endif
