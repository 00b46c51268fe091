/* SPDX-License-Identifier: MIT */
/* credentials.h - a company's stored credentials; see credentials.c. */
#ifndef CHASQUI_CTL_CREDENTIALS_H
#define CHASQUI_CTL_CREDENTIALS_H

#include "common/buf.h"
#include "db/mariadb.h"

/* Stores what was sealed for them, with its audit row; part of a transaction. `detail` NULL = none. */
enum db_rc credentials_write(struct db *db, const char *actor, uint64_t company_id, const char *portal,
                             const struct buf *sealed, const char *detail);

#endif
