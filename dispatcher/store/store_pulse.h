/* SPDX-License-Identifier: MIT */
/*
 * store_pulse.h - is there a server that takes writes, and which one is used?
 * Asked again and again on a connection of its own (store.c).
 */
#ifndef CHASQUI_STORE_PULSE_H
#define CHASQUI_STORE_PULSE_H

#include "db/mariadb.h"

enum db_state {
    DB_STATE_UP,
    DB_STATE_READ_ONLY /* reads only */,
    DB_STATE_GONE,
    DB_STATE_HUNG /* reached, but silent */
};

#define HOST_IS_FOREIGN "it is not a node of the cluster that is used"
#define HOST_IS_BARE "it has no tables of ours"

/* A server that answers and is left alone nevertheless, by bits: one for each of the first 64 hosts. */
struct hosts_left {
    uint64_t foreign; /* it is not a node of the cluster that is used */
    uint64_t bare;    /* it has no tables of ours */
};

struct store_pulse {
    struct db_hosts *hosts; /* in; the choice among them is made here */
    int shunned;            /* in: a host that was silent just now: tried last; -1 = none */
    char cluster[40];       /* in: the cluster that was used first; "" = none. Its nodes only are taken */
    struct hosts_left left; /* in, out: of the hosts that were asked */
    enum db_state state;    /* out: UP, READ_ONLY or GONE */
    int host;               /* out: the chosen one, or DB_NO_HOST */
    struct db_node node;    /* out: what the chosen one says of itself */
    char why[300];          /* out: of a state that is not UP */
};
/* Asks the chosen server; when that takes no writes (any more), the others in order. */
void store_pulse(struct db *db, void *op);

struct store_look_back {
    struct db_hosts *hosts;  /* in */
    unsigned host;           /* in: one that is not the chosen one */
    char cluster[40];        /* in, as above */
    const struct conf *conf; /* in */
    bool is_well;            /* out: it takes writes, and as a node it is Synced */
};
/* Asks a server that is not used now, on a connection that is made for it. */
void store_look_back(struct db *db, void *op);

#endif
