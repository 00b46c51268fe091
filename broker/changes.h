/* SPDX-License-Identifier: MIT */
/* changes.h - changes of portals and pauses between two summaries, as events for operators. */
#ifndef CHASQUI_BROKER_CHANGES_H
#define CHASQUI_BROKER_CHANGES_H

#include "broker/broker.h"

#include "common/jv.h"

/* Both are bodies of OPS_SUMMARY, the later one second. Calls feed_say() for
 *   portal {portal, state: tripped | returning | up, why}
 *   pause  {state: begun | ended, portal, action, batch_id, by, reason, until}
 * For a pause of the whole queue portal, action and batch_id are null. by is null when the pause expired.
 * true = a pause or a portal's fault has begun that holds work back. */
bool changes_tell(struct broker *b, const struct jv *before, const struct jv *after);

#endif
