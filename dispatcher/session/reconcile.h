/* SPDX-License-Identifier: MIT */
/* reconcile.h - compares each robot's own session list with ours, in both directions. */
#ifndef CHASQUI_DISPATCHER_RECONCILE_H
#define CHASQUI_DISPATCHER_RECONCILE_H

#include "dispatcher/dispatcher.h"

struct reconciler *reconciler_new(struct dispatcher *d);
void reconciler_destroy(struct reconciler **rp);
void abandoned_free(struct dispatcher *d,
                    uint64_t session_ref); /* the session left behind there is gone: its place is free */
void reconcile_robot(struct dispatcher *d,
                     uint32_t robot_id); /* soon: compare lists, close pending ones, find the supported calls */
void reconcile_tick(
    struct dispatcher *d); /* one robot after another, each every 30 s; at once for those with pending closes */

#endif
