/* SPDX-License-Identifier: MIT */
/* bulk.h - jobs by what they are, rather than one by one: --batch, --status, --error and the like. */
#ifndef CHASQUI_CTL_BULK_H
#define CHASQUI_CTL_BULK_H

#include "ctl/ctl.h"

/* Are the filter's options well? false after saying what is wrong. */
bool bulk_options_ok(struct ctl *c);
/* Was one of them given? */
bool bulk_is_asked(const struct ctl *c);
/* Retries or cancels ("retry", "cancel") all jobs of the filter, or with --preview counts them. batch_id 0 = as --batch says. */
enum ctl_exit bulk_change(struct ctl *c, const char *action, uint64_t batch_id);

#endif
