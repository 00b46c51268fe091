/* SPDX-License-Identifier: MIT */
/*
 * roster.h - the dispatchers of a broker. Shared by peer.c, which talks to them, and roster.c, which shows them to
 * operators.
 */
#ifndef CHASQUI_ROSTER_H
#define CHASQUI_ROSTER_H

#include "broker/broker.h"
#include "broker/flight.h"
#include "broker/route.h"
#include "proto/bundle.h"

#define GONE_MAX 32 /* remembered for operators */
#define GONE_MS 600000
#define TWICE_LEAST 3 /* this many such greetings show two dispatchers; one is a restart */
#define TWICE_MS 15000

struct peer_sum { /* shown as rates; uint64_t only */
    uint64_t requests, logins, logins_failed;
    struct hist op;
};

struct peer {
    struct peer *next;
    uint8_t route[BUS_PEER_MAX]; /* the ROUTER's routing id of its connection */
    size_t route_len;
    char name[65], boot_id[65], version[33];
    bool is_here; /* greeted, and heard within the last 2 s */
    bool is_lost; /* its connection is gone; forgotten at the end of the turn */
    bool is_draining, is_database_ok;
    char node[601];         /* the server that it uses: dispatcher/store/store.h, store_node_text() */
    char brokers_lost[301]; /* endpoints of brokers that it does not reach, comma list */
    char at_limit[301];     /* robots, companies and tokens at their limit: dispatcher/robot/bulkhead.c */
    char database[401];     /* why no server takes writes, "" = one does: dispatcher/wire/peer.c */
    char troubles[901];     /* failures there, one a line: dispatcher/store/trouble.h */
    bool takes_alerts;      /* accepts OPS_ALERTS_SAID */
    bool takes_many;        /* small messages to it are bundled */
    unsigned foreign;       /* foreign tokens that it verifies: enum foreign */
    struct bundle bundle;   /* of this turn */
    uint64_t incarnation, limit[LANE_COUNT], sent[LANE_COUNT];
    bool is_choked; /* its connection accepts nothing until its next message */
    uint64_t heard_at_ms, ping_seq, capacity;
    struct flight_list flights; /* in flight at it */
    uint64_t n_flights;
    struct stats stats;
    struct peer_sum sum;   /* of stats */
    struct window *window; /* of sum, from its first statistics on */
    int64_t stats_unix_ms;
};

struct gone { /* a dispatcher that went and has not returned */
    char name[65], boot_id[65], version[33];
    int64_t since_ms; /* unix; 0 = free */
    bool was_draining;
};

struct peers {
    struct bus_sock *sock;
    struct proto_decoder *decoder;
    struct peer *list;
    struct loop_timer tick;
    uint64_t ticked_at_ms, hopeful_until_ms;
    bool is_any_lost, is_any_gathered;
    unsigned foreign; /* of the connected ones, or of the last ones */
    struct gone gone[GONE_MAX];
    struct twice { /* a name shared by two dispatchers: each greeting ends the other's connection */
        char name[65];
        unsigned n;
        int64_t last_ms; /* unix */
    } twice;
};

uint64_t peer_credit(const struct peer *p, enum lane lane); /* peer.c */
bool peer_is_usable(const struct peer *p);                  /* peer.c: takes requests */

/* A live dispatcher was replaced by the greeting of another boot under its name. */
void roster_ended(struct peers *ps, const char *name);
void roster_came(struct peers *ps, const char *name);
void roster_went(struct peers *ps, const struct peer *p);
/* Takes its statistics. */
void roster_stats(struct broker *b, struct peer *p, const struct stats *now);

#endif
