/* SPDX-License-Identifier: MIT */
/*
 * history_slow.h - since when a robot is slower than the others: since the first
 * minute of its present slowness, which times without log-ins do not end.
 */
#ifndef CHASQUI_HISTORY_SLOW_H
#define CHASQUI_HISTORY_SLOW_H

#include "db/mariadb.h"
#include "dispatcher/store/store_history.h"

struct slow_robot {
    char name[NAME_ROOM];
    int64_t since_ms; /* unix */
};
/* Those that are slow now; portal "" = in all of them. Reads only. */
enum db_rc slow_robots(struct db *db, const char *portal, struct slow_robot out[HISTORY_ROBOTS_MAX], unsigned *n);

#endif
