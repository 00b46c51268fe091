/* SPDX-License-Identifier: MIT */
/* batch.h - following a batch until it has ended, and how it goes. */
#ifndef CHASQUI_CTL_BATCH_H
#define CHASQUI_CTL_BATCH_H

#include "ctl/broker.h"

/* CTL_DONE when every item is done; CTL_FAILED when some failed or were cancelled, or the batch cannot be seen any more. */
enum ctl_exit batch_follow(struct ctl *c, uint64_t id);
/* `course` of a batch, as the ops route tells it, on standard output. */
void batch_course_print(const struct jv *course);

/* --batch NAME becomes the number of the newest batch of that name, which is told. */
enum ctl_exit batch_option(struct ctl *c);

#endif
