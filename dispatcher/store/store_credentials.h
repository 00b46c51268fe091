/* SPDX-License-Identifier: MIT */
/*
 * store_credentials.h - stored credentials, sealed. As in store.h each op
 * travels to a database thread and back.
 */
#ifndef CHASQUI_STORE_CREDENTIALS_H
#define CHASQUI_STORE_CREDENTIALS_H

#include "dispatcher/store/store.h"

#define CREDENTIALS_MAX 64 /* portals of a company */

struct store_credentials { /* sets them, or without `sealed` removes them; with an audit row */
    uint64_t company_id;
    char portal[PORTAL_ROOM];
    struct buf sealed; /* freed by the caller */
    struct actor by;
    bool found;         /* removed: there were some */
    bool is_full;       /* not set: the company has CREDENTIALS_MAX for other portals */
    int64_t updated_ms; /* set: when, unix */
    enum store_rc rc;
};
void store_credentials(struct db *db, void *op);

struct
    store_refused_list { /* those that a robot refused and that have not changed since, by company; pages end behind a whole company */
    /* 0, "" = any */
    uint64_t company_id;
    char portal[PORTAL_ROOM];
    uint64_t cursor;
    unsigned limit;
    struct buf json;
    enum store_rc rc;
};
void store_refused_list(struct db *db, void *op);

struct store_refused_lift { /* they are used again as they are; with an audit row */
    uint64_t company_id;
    char portal[PORTAL_ROOM];
    struct actor by;
    bool found;
    enum store_rc rc;
};
void store_refused_lift(struct db *db, void *op);

#endif
