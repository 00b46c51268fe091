/* SPDX-License-Identifier: MIT */
/* store_adopt.h - Laravel's sessions become ours, as part of a transaction. */
#ifndef CHASQUI_STORE_ADOPT_H
#define CHASQUI_STORE_ADOPT_H

#include "db/mariadb.h"

/* A Laravel row becomes session generation 1; *ref 0 = it lost to another live session. Waits for the company's epoch. */
enum db_rc laravel_adopt(struct db *db, uint64_t job_id, uint32_t robot_id, uint64_t *ref);

#endif
