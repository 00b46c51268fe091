/* SPDX-License-Identifier: MIT */
/* close.h - closes a session: on its robot, then in the database. */
#ifndef CHASQUI_DISPATCHER_CLOSE_H
#define CHASQUI_DISPATCHER_CLOSE_H

#include "dispatcher/dispatcher.h"

void close_start(struct dispatcher *d, struct request *r); /* SESSION_CLOSE and OPS_SESSION_CLOSE */
/* The robot answered 404 to a list or action of this session. Asks /health first, then ends the session (expired,
 * or lost by a new boot) by compare-and-swap, and answers. If the row's state has changed, resolves once more and
 * calls `again`. */
/* `r` may be NULL: no request is answered. */
void session_gone(struct dispatcher *d, struct request *r, const struct session_row *row,
                  void (*again)(struct dispatcher *d, struct request *r));
/* Closes a session on its robot and in the database, then calls fn(arg, ok, err, row). ERR_LOGIN_IN_PROGRESS: a
 * round works in it, and nothing has changed. request_key only for logs and audit. */
typedef void close_done_fn(struct dispatcher *d, void *arg, enum err e, const struct session_row *row);
void close_session(struct dispatcher *d, const struct session_row *row, enum session_state to, const char *reason,
                   const struct request *actor /* NULL = system */, bool claimed /* lease held already */,
                   const struct lease *lease, close_done_fn *fn, void *arg);
/* Closes a session only on its robot. Its row must be closing under a lease of the caller's. e: not confirmed;
 * else the fate of its place. */
typedef void close_judged_fn(struct dispatcher *d, void *arg, enum err e, enum place_fate place);
void close_on_robot(struct dispatcher *d, const struct session_row *row, const char *request_id,
                    close_judged_fn *fn, void *arg);
void close_idle_tick(struct dispatcher *d);

#endif
