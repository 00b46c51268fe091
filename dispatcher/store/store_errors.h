/* SPDX-License-Identifier: MIT */
/* store_errors.h - failures by class. */
#ifndef CHASQUI_STORE_ERRORS_H
#define CHASQUI_STORE_ERRORS_H

#include "dispatcher/store/store.h"

#define ERRORS_LOOK_MAX 20000 /* jobs that one look goes through, the newest ones */
#define ERRORS_CLASSES_MAX 100

struct store_errors {
    char portal[PORTAL_ROOM]; /* "" = all */
    uint64_t batch_id;        /* 0 = all */
    int64_t since_ms;         /* unix; 0 = not told */
    int64_t until_ms;         /* unix; 0 = until now */
    int64_t for_ms;           /* else so long ago by the database's clock; 0 = from the beginning */
    struct buf json;          /* body: {ok, errors:[...], looked, capped, looked_to} */
    enum store_rc rc;
};
void store_errors(struct db *db, void *op);

#endif
