/* SPDX-License-Identifier: MIT */
/* summary.h - OPS_SUMMARY: the database's contents, in a few numbers. */
#ifndef CHASQUI_DISPATCHER_SUMMARY_H
#define CHASQUI_DISPATCHER_SUMMARY_H

#include "dispatcher/dispatcher.h"

struct summaries *summaries_new(struct dispatcher *d);
void summaries_destroy(struct summaries **sp);
void summary_start(struct dispatcher *d, struct request *r);

#endif
