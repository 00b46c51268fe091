/* SPDX-License-Identifier: MIT */
/*
 * reseal.h - what is sealed in the database, sealed again with the key that seals now.
 */
#ifndef CHASQUI_RESEAL_H
#define CHASQUI_RESEAL_H

#include "ctl/ctl.h"
#include "db/seal.h"

struct resealed {
    uint64_t done;     /* rows */
    uint64_t unopened; /* rows that no key of the file opens */
};
/* Row by row, a hundred at a time; whatever changes meanwhile is left as it is. */
enum db_rc reseal_all(struct db *db, struct seal *key, struct resealed *out);

#endif
