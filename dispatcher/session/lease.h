/* SPDX-License-Identifier: MIT */
/* lease.h - the leases that we hold, and the take-over of expired leases of others. */
#ifndef CHASQUI_DISPATCHER_LEASE_H
#define CHASQUI_DISPATCHER_LEASE_H

#include "dispatcher/dispatcher.h"

struct leases *leases_new(struct dispatcher *d);
void leases_destroy(struct leases **lp);
void lease_fill(struct dispatcher *d, struct lease *l, int64_t limit_ms); /* a fresh token */
/* The lease is not ours any more (LEASE_LOST: it is dropped already), or its job is to stop (LEASE_CANCELLED).
 * Called once for each. May drop the lease. */
typedef void lease_told_fn(struct dispatcher *d, uint64_t job_id, enum lease_news news, void *arg);
/* Renews the lease until lease_drop(). */
void lease_hold(struct dispatcher *d, uint64_t job_id, const struct lease *l, lease_told_fn *told, void *arg);
void lease_drop(struct dispatcher *d, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES]);
/* Whether the robot may still be called under this lease (until its request + ttl - margin; renewals count). */
bool lease_trusted(struct dispatcher *d, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES]);
void leases_tick(struct dispatcher *d);        /* renew, rescue */
void leases_renew_soon(struct dispatcher *d);  /* a job is to stop, or a lease is not trusted */
void leases_rescue_soon(struct dispatcher *d); /* leases of others have expired */
void leases_resign(struct dispatcher *d);      /* we shut down: leases still held may be rescued at once */

#endif
