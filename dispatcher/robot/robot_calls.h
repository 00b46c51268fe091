/* SPDX-License-Identifier: MIT */
/*
 * robot_calls.h - the optional calls about sessions, each written once: DELETE /sessions/{id}, POST
 * /sessions/fence, GET /sessions; and GET /health.
 *
 * `done` as in call_spec: once, later, from the loop. robot_speaks.h judges the answers.
 */
#ifndef CHASQUI_ROBOT_CALLS_H
#define CHASQUI_ROBOT_CALLS_H

#include "dispatcher/dispatcher.h"

struct call_ids { /* sent with a call; NULL or "" = none */
    const char *request_id, *traceparent;
};

typedef void call_done_fn(void *arg, struct call_answer *a);

void robot_call_close(struct dispatcher *d, const struct robot *robot, const char *session_id, struct call_ids ids,
                      call_done_fn *done, void *arg);
/* Ends everything at or below that epoch of the company and portal, and prevents its start. */
void robot_call_fence(struct dispatcher *d, const struct robot *robot, uint64_t company_id, const char *portal,
                      uint64_t epoch, struct call_ids ids, call_done_fn *done, void *arg);
void robot_call_list(struct dispatcher *d, const struct robot *robot, struct call_ids ids, call_done_fn *done,
                     void *arg);
/* is_fresh: on a new connection, which may reach the other of two processes. */
void robot_call_health(struct dispatcher *d, const struct robot *robot, int64_t total_ms, bool is_fresh,
                       call_done_fn *done, void *arg);

#endif
