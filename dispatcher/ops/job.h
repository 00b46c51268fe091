/* SPDX-License-Identifier: MIT */
/* job.h - jobs for clients and operators: shown, listed, cancelled, put back, and what they wait for. */
#ifndef CHASQUI_DISPATCHER_JOB_H
#define CHASQUI_DISPATCHER_JOB_H

#include "dispatcher/dispatcher.h"

void job_start(struct dispatcher *d, struct request *r); /* JOB_GET, JOBS, JOB_CANCEL, OPS_JOB* */

#endif
