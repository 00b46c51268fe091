/* SPDX-License-Identifier: MIT */
/*
 * action_call.h - calls a robot for an action in a session: used by execute, and by the steps of rounds.
 */
#ifndef CHASQUI_ACTION_CALL_H
#define CHASQUI_ACTION_CALL_H

#include "dispatcher/dispatcher.h"

struct action_call { /* all borrowed during the call */
    const struct action *action;
    const struct robot *robot;
    const struct session_row *row;
    const struct jv *params; /* an object; NULL = none */
    const char *job_uid, *key /* Idempotency-Key */, *request_id, *traceparent;
    size_t max_bytes;
    void (*done)(void *arg, struct call_answer *a);
    void *arg;
};
/* Calls the robot. The params and then our own fields go into the body of a POST or the query of a GET. */
struct robot_call *action_call(struct dispatcher *d, const struct action_call *c);

#endif
