/* SPDX-License-Identifier: MIT */
/* store_summary.h - what OPS_SUMMARY asks of the database. As in store.h. */
#ifndef CHASQUI_STORE_SUMMARY_H
#define CHASQUI_STORE_SUMMARY_H

#include "dispatcher/store/store.h"

#define SUMMARY_HELD_CAP 10000 /* held items that are counted */
#define SUMMARY_BATCHES_CAP 1000

struct store_summary {
    struct jv *
        json; /* {queue:{...},robots:[...],refused}; freed by the caller; NULL without rc STORE_OK, or STORE_REFUSED: then nothing but what refuses */
    int64_t took_ms;
    enum store_rc rc;
};
/* Reads only; each statement walks one index, up to a cap. */
void store_summary(struct db *db, void *op);
/* {n, why}: what the database refused in the last ten minutes. */
struct jv *summary_refused(int64_t n, const char *why);

#endif
