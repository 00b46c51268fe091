/* SPDX-License-Identifier: MIT */
/* store_epochs.h - the epochs of several companies, as part of one transaction. */
#ifndef CHASQUI_STORE_EPOCHS_H
#define CHASQUI_STORE_EPOCHS_H

#include "db/db_list.h"
#include "db/mariadb.h"

struct company_epoch {
    uint64_t company_id;
    const char *portal; /* borrowed */
    bool is_ours;       /* out: its row is locked by this transaction */
    bool is_new;        /* out: and was made by it */
    uint64_t epoch;     /* out: as it is now; of those that are ours */
};
/* Locks the rows of n companies (at most DB_LIST_MAX) that no other transaction has: none is waited for. */
enum db_rc epochs_take(struct db *db, struct company_epoch *row, unsigned n);
/* Likewise; a company without a row gets one with the number `first`. */
enum db_rc epochs_take_or_make(struct db *db, struct company_epoch *row, unsigned n, uint64_t first);

#endif
