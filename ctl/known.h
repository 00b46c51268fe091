/* SPDX-License-Identifier: MIT */
/*
 * known.h - which portals and actions this host's configuration knows. Brokers and dispatchers elsewhere may know more: what is not known here is
 * refused only where no broker is asked, and --force takes it.
 */
#ifndef CHASQUI_CTL_KNOWN_H
#define CHASQUI_CTL_KNOWN_H

#include "common/buf.h"
#include "common/steps.h"
#include "ctl/ctl.h"

/* By the rule of a batch: --action is a log-in that is known, each step of --then a known action that works in a session. false after saying what
 * is wrong and what may have been meant. Always true with --force. */
bool known_action_ok(struct ctl *c, const char *portal, const char *action);
bool known_steps_ok(struct ctl *c, const char *portal, const struct steps *steps);
/* Appends " (did you mean X?)" for the option of a field that a broker refused ("portal", "action", "then"); nothing when what was given is known
 * here, or nothing is like it. */
void known_hint(const struct ctl *c, const char *field, struct buf *out);

#endif
