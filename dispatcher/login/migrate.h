/* SPDX-License-Identifier: MIT */
/* migrate.h - moves sessions away from robots that are down, restarted, or to be left at an operator's request. */
#ifndef CHASQUI_DISPATCHER_MIGRATE_H
#define CHASQUI_DISPATCHER_MIGRATE_H

#include "dispatcher/dispatcher.h"

void migrate_start(struct dispatcher *d, struct request *r); /* OPS_SESSION_MIGRATE */
struct migrations *migrations_new(struct dispatcher *d);
void migrations_destroy(struct migrations **mp);
void migrate_robot_changed(
    struct dispatcher *d, uint32_t robot_id,
    const char *reason /* robot_down, robot_silent (for too long), robot_restarted, robot_up */);
void migrate_stored_away(
    struct dispatcher *d,
    uint32_t robot_id); /* it is silent: its sessions with stored credentials move, the others wait on */
void migrate_urgent(struct dispatcher *d, uint64_t job_id);
void migrate_tick(struct dispatcher *d); /* claims what is due */
void migrate_resume(struct dispatcher *d, struct rescued *job,
                    const struct lease *lease); /* a rescued migration */

#endif
