/* SPDX-License-Identifier: MIT */
/* await.h - the outcome of a job that somebody else works on: looked for until it is terminal. */
#ifndef CHASQUI_DISPATCHER_AWAIT_H
#define CHASQUI_DISPATCHER_AWAIT_H

#include "dispatcher/dispatcher.h"

void login_await(struct dispatcher *d, struct request *r); /* JOB_AWAIT */
/* The job ended here: who waits for it looks at once. */
struct awaits *awaits_new(struct dispatcher *d);
void awaits_wake(struct dispatcher *d, uint64_t job_id);
void awaits_destroy(struct dispatcher *d);

#endif
