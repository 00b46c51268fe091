/* SPDX-License-Identifier: MIT */
/* store_drain.h - what the emptying of robots asks of the database. As in store.h. */
#ifndef CHASQUI_STORE_DRAIN_H
#define CHASQUI_STORE_DRAIN_H

#include "dispatcher/store/store.h"

struct store_drain {
    int64_t idle_ms; /* a session that nobody used for so long may move */
    /* where to */
    unsigned n_candidates;
    struct candidate candidate[CANDIDATES_MAX];
    unsigned planned;
    enum store_rc rc;
};
/* Migration rows for sessions with stored credentials on draining robots: those that are idle, all of them once the drain's
 * deadline has passed. Never more than the candidates have free places for. */
void store_drain(struct db *db, void *op);

#endif
