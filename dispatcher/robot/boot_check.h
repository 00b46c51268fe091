/* SPDX-License-Identifier: MIT */
/* boot_check.h - decides, after another boot id was seen, whether the robot restarted or two processes answer
 * under its URL. */
#ifndef CHASQUI_DISPATCHER_BOOT_CHECK_H
#define CHASQUI_DISPATCHER_BOOT_CHECK_H

#include "dispatcher/dispatcher.h"

struct boot_checks *boot_checks_new(void);
void boot_checks_destroy(struct boot_checks **bp);
void boot_check(struct dispatcher *d, uint32_t robot_id); /* another boot id: restarted, or a second process? */
void boot_check_two(struct dispatcher *d,
                    const struct robot *robot); /* records a newly found second process in the audit trail */

#endif
