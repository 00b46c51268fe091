/* SPDX-License-Identifier: MIT */
/*
 * round.h - an item that goes on after its log-in: steps run in its session in order on its robot, then the session is closed. One
 * round is under way from the log-in's recorded outcome (or the session that it met) to the end of its item.
 */
#ifndef CHASQUI_ROUND_H
#define CHASQUI_ROUND_H

#include "dispatcher/login/login.h"

/* A log-in of an item succeeded and is recorded; its lease is of kind round now. Frees l. */
void round_logged_in(struct login *l, const struct session_row *row);
/* An item was claimed whose company has a session; `got` as for login_queued(). */
void round_met(struct dispatcher *d, struct claimed *got, const struct lease *lease);
/* Its dispatcher died, or let go of it. */
void round_rescued(struct dispatcher *d, const struct rescued *job, const struct lease *lease);

#endif
