/* SPDX-License-Identifier: MIT */
/* job_wait.h - waits for the outcome of a job run elsewhere, by polling until it is terminal. */
#ifndef CHASQUI_DISPATCHER_JOB_WAIT_H
#define CHASQUI_DISPATCHER_JOB_WAIT_H

#include "dispatcher/dispatcher.h"

void job_wait(struct dispatcher *d, struct request *r); /* JOB_AWAIT */
/* The job ended here: its waiters look at once. */
struct job_waits *job_waits_new(struct dispatcher *d);
void job_waits_wake(struct dispatcher *d, uint64_t job_id);
void job_waits_destroy(struct dispatcher *d);

#endif
