/* SPDX-License-Identifier: MIT */
/*
 * zap.h - decides which peers may connect (ZeroMQ RFC 27): only those with a CURVE key of the allow-list. The bus
 * carries the requests and replies.
 */
#ifndef CHASQUI_ZAP_H
#define CHASQUI_ZAP_H

#include "bus.h"

#define ZAP_DOMAIN "chasqui" /* of our server sockets */

struct zap;

/* Admits the keys in <curve_dir>/allow, which it reads again within 5 s of a change. */
struct zap *zap_new(struct loop *l, const char *curve_dir);
void zap_destroy(struct zap **zp);
/* Returns the role to admit (valid until the loop turns). Returns NULL for a refusal, after counting it and, at
 * most once a second, logging it. `n` frames: version, request id, domain, address, routing id, mechanism,
 * credentials. */
const char *zap_judge(struct zap *z, const struct bus_frame *request, unsigned n);

#endif
