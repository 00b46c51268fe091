/* SPDX-License-Identifier: MIT */
/* await.h - waits for the outcome of a job run elsewhere, by polling until it is terminal. */
#ifndef CHASQUI_DISPATCHER_AWAIT_H
#define CHASQUI_DISPATCHER_AWAIT_H

#include "dispatcher/dispatcher.h"

void login_await(struct dispatcher *d, struct request *r); /* JOB_AWAIT */
/* The job ended here: its waiters look at once. */
struct awaits *awaits_new(struct dispatcher *d);
void awaits_wake(struct dispatcher *d, uint64_t job_id);
void awaits_destroy(struct dispatcher *d);

#endif
