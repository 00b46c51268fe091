/* SPDX-License-Identifier: MIT */
/*
 * then.h - the options --then and --close: what each item of a batch does after its log-in.
 */
#ifndef CHASQUI_CTL_THEN_H
#define CHASQUI_CTL_THEN_H

#include "common/steps.h"
#include "ctl/ctl.h"

/* --then ACTION or ACTION={"param":1}, in order; freed by steps_free(). false after saying what is wrong. */
bool args_then(struct ctl *c, const char *portal, struct steps *out);
/* The same as a batch's `then`; malloc'ed, NULL = no steps. */
char *then_text(const struct steps *s);

#endif
