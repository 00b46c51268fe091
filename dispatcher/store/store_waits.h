/* SPDX-License-Identifier: MIT */
/* store_waits.h - what holds a part of the queue as a whole. */
#ifndef CHASQUI_STORE_WAITS_H
#define CHASQUI_STORE_WAITS_H

#include "common/jv.h"
#include "common/portal_conf.h"
#include "db/mariadb.h"
#include "dispatcher/store/store.h"

struct waits_of {
    const char *portal, *action;
    uint64_t batch_id; /* 0 = of no batch */
};
/* Adds {reason, detail, ...} for each thing that holds it: paused, portal_unavailable, portal_returning, portal_limit. *stands: nothing of it can begin.
 * list is empty before. portals NULL = none has limits. */
enum db_rc waits_look(struct db *db, const struct portal_conf_table *portals, const struct waits_of *w,
                      struct jv *list, bool *stands);
/* Adds waiting_for_place or no_robot when queued work finds no place on these robots now.
 * with_numbers: for operators. */
enum db_rc places_look(struct db *db, const struct work_room *room, bool with_numbers, struct jv *list);
/* A reason, to which the caller may add; owned by list. */
struct jv *why_say(struct jv *list, const char *reason, const char *detail);

#endif
