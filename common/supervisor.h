/* SPDX-License-Identifier: MIT */
/*
 * supervisor.h - notifies systemd: READY, STOPPING, and WATCHDOG while the loop turns (sd_notify(3), units of
 * Type=notify). Without a listening supervisor (NOTIFY_SOCKET) nothing is sent.
 */
#ifndef CHASQUI_SUPERVISOR_H
#define CHASQUI_SUPERVISOR_H

#include "loop.h"

struct supervisor;

struct supervisor *supervisor_new(struct loop *l);
void supervisor_destroy(struct supervisor **sp);
void supervisor_ready(struct supervisor *s);    /* the process serves; the watchdog is fed from now on */
void supervisor_stopping(struct supervisor *s); /* the process shuts down */

#endif
