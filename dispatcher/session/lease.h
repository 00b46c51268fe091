/* SPDX-License-Identifier: MIT */
/* lease.h - the leases we hold, and taking over those that others let run out. */
#ifndef CHASQUI_DISPATCHER_LEASE_H
#define CHASQUI_DISPATCHER_LEASE_H

#include "dispatcher/dispatcher.h"

struct leases *leases_new(struct dispatcher *d);
void leases_destroy(struct leases **lp);
void lease_fill(struct dispatcher *d, struct lease *l, int64_t limit_ms); /* a fresh token */
/* The lease is not ours any more (LEASE_LOST: it is dropped already), or its job is to stop (LEASE_CANCELLED). Called once for each; may
 * drop the lease. */
typedef void lease_told_fn(struct dispatcher *d, uint64_t job_id, enum lease_news news, void *arg);
/* Keeps the lease renewed until lease_drop(). */
void lease_hold(struct dispatcher *d, uint64_t job_id, const struct lease *l, lease_told_fn *told, void *arg);
void lease_drop(struct dispatcher *d, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES]);
/* May the robot still be called under this lease? (when it was asked for + ttl - margin, renewals counted) */
bool lease_trusted(struct dispatcher *d, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES]);
void leases_tick(struct dispatcher *d);        /* renew, rescue */
void leases_renew_soon(struct dispatcher *d);  /* somebody asked a job to stop, or one is not trusted */
void leases_rescue_soon(struct dispatcher *d); /* somebody let leases run out */
void leases_resign(struct dispatcher *d);      /* we stop: what we still hold is rescued at once */

#endif
