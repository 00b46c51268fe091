/* SPDX-License-Identifier: MIT */
/*
 * round.h - an item that continues after its log-in: its steps run in order in its session on its robot, then the
 * session is closed. A round lasts from the log-in's recorded outcome (or the session that it reused) to the end
 * of its item.
 */
#ifndef CHASQUI_ROUND_H
#define CHASQUI_ROUND_H

#include "dispatcher/login/login.h"

struct rounds *rounds_new(void);
void rounds_destroy(struct dispatcher *d); /* after the loop has ended */
/* A log-in of an item has succeeded and is recorded; its lease is now of kind round. Frees l. */
void round_logged_in(struct login *l, const struct session_row *row);
/* An item was claimed whose company has a session. `got` as for login_queued(). */
void round_met(struct dispatcher *d, struct claimed *got, const struct lease *lease);
/* Continues a round whose dispatcher died or released it. */
void round_rescued(struct dispatcher *d, const struct rescued *job, const struct lease *lease);

#endif
