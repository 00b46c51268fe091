/* SPDX-License-Identifier: MIT */
/* results.h - what robots answered to the steps of rounds, streamed as NDJSON. */
#ifndef CHASQUI_DISPATCHER_RESULTS_H
#define CHASQUI_DISPATCHER_RESULTS_H

#include "dispatcher/dispatcher.h"

void results_start(struct dispatcher *d, struct request *r); /* BATCH_RESULTS */

#endif
