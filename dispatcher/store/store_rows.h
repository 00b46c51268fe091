/* SPDX-License-Identifier: MIT */
/* store_rows.h - jobs and sessions whose row in portal_jobs somebody deleted. */
#ifndef CHASQUI_STORE_ROWS_H
#define CHASQUI_STORE_ROWS_H

#include "dispatcher/store/store.h"

#define ROWLESS_MAX 16
struct
    store_rowless { /* active sessions whose row is gone and that nobody works on; behind `past`, in the order of their ids */
    uint64_t past;
    unsigned n;
    struct session_row row[ROWLESS_MAX];
    uint64_t took_ms;
    enum store_rc rc;
};
void store_rowless(struct db *db, void *op);

#define LEFTOVERS_STEP 500
struct
    store_leftovers { /* what is ours of jobs whose row is gone: deleted, unless something of theirs may still live on a robot. Items that
                          * waited or ran for them are cancelled. A step at each call, from the job behind `cursor` on */
    uint64_t cursor;
    /* jobs that were deleted */
    bool is_end;
    unsigned n;
    enum store_rc rc;
};
void store_leftovers(struct db *db, void *op);

#endif
