/* SPDX-License-Identifier: MIT */
/* activity.h - records when sessions were last used. */
#ifndef CHASQUI_DISPATCHER_ACTIVITY_H
#define CHASQUI_DISPATCHER_ACTIVITY_H

#include "dispatcher/dispatcher.h"

/* activity.c */
void activity_hold(struct dispatcher *d, uint64_t session_ref); /* a call or stream runs: in use until dropped */
void activity_drop(struct dispatcher *d, uint64_t session_ref);
void activity_touch(struct dispatcher *d, uint64_t session_ref); /* a client tried to use it */
void activity_flush(struct dispatcher *d);
int64_t activity_flush_every_ms(const struct dispatcher *d); /* min(10 s, idle timeout / 4) */
void activity_destroy(struct activity **ap);

#endif
