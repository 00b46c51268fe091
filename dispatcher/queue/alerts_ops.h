/* SPDX-License-Identifier: MIT */
/* alerts_ops.h - brokers say what is wrong, operators look at it: OPS_ALERTS_SAID, OPS_ALERTS, OPS_ALERT_SET, OPS_ALERTS_TEST. */
#ifndef CHASQUI_ALERTS_OPS_H
#define CHASQUI_ALERTS_OPS_H

struct dispatcher;
struct request;

void alerts_ops_start(struct dispatcher *d, struct request *r);

#endif
