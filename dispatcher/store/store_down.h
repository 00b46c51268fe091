/* SPDX-License-Identifier: MIT */
/*
 * store_down.h - robots that are down, as all dispatchers together know it: how, and for how long.
 */
#ifndef CHASQUI_STORE_DOWN_H
#define CHASQUI_STORE_DOWN_H

#include "dispatcher/store/store.h"

/* SQL, of a row of chasqui_robots: a dispatcher saw it down a moment ago. A record that nobody renews means nothing. */
#define IS_DOWN(robot) "COALESCE(" robot ".down_seen > NOW(6) - INTERVAL 30 SECOND, 0)"

/* SQL, four columns of a row of chasqui_robots: how it is down ("" = it is not), the sessions that wait for it, and those of them with
 * stored credentials, both 0 unless it is silent; for how long it has been down. */
#define IS_SILENT(robot) "COALESCE(" robot ".down_as = 'silent', 0) AND " IS_DOWN(robot)
#define WAITING_COLUMNS(robot)                                                                                                                                 \
    "IF(" IS_DOWN(robot) ", " robot ".down_as, ''), IF(" IS_SILENT(                                                                                            \
        robot) ", (SELECT COUNT(*) FROM chasqui_sessions w FORCE INDEX (by_robot) "                                                                            \
               "WHERE w.robot_id = " robot ".id AND w.live = 1 AND w.state = 'active'), 0), IF(" IS_SILENT(                                                    \
                   robot) ", (SELECT COUNT(*) FROM "                                                                                                           \
                          "chasqui_sessions w FORCE INDEX (by_robot) JOIN chasqui_credentials k ON k.company_id = w.company_id AND k.portal = w.portal WHERE " \
                          "w.robot_id = " robot ".id AND w.live = 1 AND w.state = 'active'), 0), " robot                                                       \
                          ".down_ms"

struct store_down {
    uint32_t robot_id;
    enum down down;  /* DOWN_NOT: it answers, forget that it was down */
    int64_t down_ms; /* out: for how long it has been down */
    enum store_rc rc;
};
void store_down(struct db *db, void *op); /* again each sweep while it is down: idempotent, and cheap */

struct store_two_boots {
    char name[NAME_ROOM], boot_id[65];
    enum store_rc rc;
};
void store_two_boots(struct db *db, void *op); /* an audit row, unless there is a young one */

#endif
