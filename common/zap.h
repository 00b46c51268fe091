/* SPDX-License-Identifier: MIT */
/*
 * zap.h - the judge of who may connect (ZeroMQ RFC 27): a CURVE key of the
 * allow-list, nothing else. The bus carries its requests and replies.
 */
#ifndef CHASQUI_ZAP_H
#define CHASQUI_ZAP_H

#include "bus.h"

#define ZAP_DOMAIN "chasqui" /* of our server sockets */

struct zap;

/* Admits the keys in <curve_dir>/allow, which it reads again within 5 s of a change. */
struct zap *zap_new(struct loop *l, const char *curve_dir);
void zap_destroy(struct zap **zp);
/* The role to admit (valid until the loop turns), or NULL after counting and, not more than once a second, logging
 * the refusal. `n` frames: version, request id, domain, address, routing id, mechanism, credentials. */
const char *zap_judge(struct zap *z, const struct bus_frame *request, unsigned n);

#endif
