/* SPDX-License-Identifier: MIT */
/* cors.h - pages of other origins that may call (Fetch, "CORS protocol"). */
#ifndef CHASQUI_BROKER_CORS_H
#define CHASQUI_BROKER_CORS_H

#include "broker/broker.h"

/* The origin in broker.cors_origins that x comes from; NULL = not listed. Static, or owned by the
 * configuration. */
const char *cors_origin(const struct exchange *x, size_t *len);
/* Answers what a page of such an origin may send: `allow` are the path's methods. No-op for other origins. */
void cors_preflight(struct exchange *x, const char *allow);
/* The answer's headers that such a page may read. */
extern const char cors_exposed[];
bool cors_check(const struct conf *conf); /* false after logging which item is not an origin */

#endif
