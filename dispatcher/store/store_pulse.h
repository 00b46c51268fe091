/* SPDX-License-Identifier: MIT */
/*
 * store_pulse.h - is there a server that takes writes, and which one is used?
 * Asked again and again on a connection of its own (store.c).
 */
#ifndef CHASQUI_STORE_PULSE_H
#define CHASQUI_STORE_PULSE_H

#include "db/mariadb.h"

enum db_state { DB_STATE_UP, DB_STATE_READ_ONLY /* reads only */, DB_STATE_GONE, DB_STATE_HUNG /* reached, but silent */ };

struct store_pulse {
    struct db_hosts *hosts;   /* in; the choice among them is made here */
    int shunned;              /* in: a host that was silent just now: tried last; -1 = none */
    enum db_state state;      /* out: UP, READ_ONLY or GONE */
    int host;                 /* out: the chosen one, or DB_NO_HOST */
    char why[300];            /* out: of a state that is not UP */
};
/* Asks the chosen server; when that takes no writes (any more), the others in order. */
void store_pulse(struct db *db, void *op);

struct store_look_back {
    struct db_hosts *hosts;   /* in */
    unsigned host;            /* in: one that is not the chosen one */
    const struct conf *conf;  /* in */
    bool takes_writes;        /* out */
};
/* Asks a server that is not used now, on a connection that is made for it. */
void store_look_back(struct db *db, void *op);

#endif
