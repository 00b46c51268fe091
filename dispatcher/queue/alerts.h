/* SPDX-License-Identifier: MIT */
/*
 * alerts.h - tells people what is wrong: by a webhook (JSON, Slack, Telegram) and by mail. What brokers say is kept in the database; whichever
 * dispatcher has a channel's row tells all that is due there as one message.
 */
#ifndef CHASQUI_ALERTS_H
#define CHASQUI_ALERTS_H

#include "common/jv.h"

#include <stdbool.h>
#include <stdint.h>

struct alert_said;
struct alerts;
struct dispatcher;

/* NULL after saying why: a secret file, URL or address that cannot be used. */
struct alerts *alerts_new(struct dispatcher *d);
void alerts_destroy(struct alerts **ap);
void alerts_tick(struct dispatcher *d); /* from the sweep */
/* A broker has spoken: something may be due. */
void alerts_soon(struct dispatcher *d);

/* What a broker said could not be written. That the database is gone is told all the same, by this dispatcher alone: others may, too. */
void alerts_unwritten(struct dispatcher *d, const struct alert_said *said, unsigned n);
void alerts_written(struct dispatcher *d); /* it was */

/* Sends a test by each channel. `fn` is called once, from the loop, with [{channel,ok,why}], which it takes; at once when there is no channel. False: too many
 * tests are under way. */
typedef void alerts_tested_fn(struct dispatcher *d, uint64_t key, struct jv *channels);
bool alerts_test(struct dispatcher *d, uint64_t key, alerts_tested_fn *fn);

#endif
