/* SPDX-License-Identifier: MIT */
/* changes.h - portals and pauses that changed between two summaries, as events for operators. */
#ifndef CHASQUI_BROKER_CHANGES_H
#define CHASQUI_BROKER_CHANGES_H

#include "broker/broker.h"

#include "common/jv.h"

/* Both are bodies of OPS_SUMMARY, the later one second. Tells feed_say() of
 *   portal {portal, state: tripped | returning | up, why}
 *   pause  {state: begun | ended, portal, action, batch_id, by, reason, until}; portal, action and batch_id null: all of the queue; by null: its time was over */
void changes_tell(struct broker *b, const struct jv *before, const struct jv *after);

#endif
