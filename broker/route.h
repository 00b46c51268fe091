/* SPDX-License-Identifier: MIT */
/* route.h - paths and methods of both listeners, from routes.def. */
#ifndef CHASQUI_ROUTE_H
#define CHASQUI_ROUTE_H

#include "proto/proto.h"

struct exchange;

enum ability { ABILITY_NONE = 0, ABILITY_APP = 1, ABILITY_OPS_READ = 2, ABILITY_OPS = 4 };
enum listener { LISTENER_APP, LISTENER_OPS };
enum route_counts { COUNT_NO, COUNT_YES, COUNT_BY_BODY }; /* how requests count in the token's rate limit */
enum route_takes { TAKES_NOTHING, TAKES_JSON, TAKES_JSON_OR_NOTHING, TAKES_BATCH, TAKES_ANYTHING };

struct route {
    enum listener listener;
    const char *method;
    const char *path; /* {} matches one segment, {*} the rest */
    unsigned ability; /* enum ability; ABILITY_NONE = no token needed */
    enum route_counts counts;
    enum route_takes takes;
    void (*handle)(struct exchange *x); /* called with a whole request and a good token: asks, or answers */
};

#define ROUTE(listener, method, path, ability, counts, takes, handler, doc) void handler(struct exchange *x);
#include "broker/routes.def"
#undef ROUTE

/* The rows of the table. */
unsigned route_count(void);
const struct route *route_at(unsigned i);
unsigned route_index(const struct route *r);

#define ROUTE_ALLOW_BYTES 64

enum route_match { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD, ROUTE_OPTIONS };
/* *arg = the segment at {}, as received (borrowed from path; empty when there is none). HEAD finds the row of GET.
 * ROUTE_NO_METHOD and ROUTE_OPTIONS fill `allow` with the path's methods. A path that occurs literally in the
 * table is never matched by a {}. A row of ANY is found by GET, POST, PUT, PATCH and DELETE. */
enum route_match route_find(enum listener l, const char *method, const char *path, const struct route **out,
                            struct str *arg, char allow[ROUTE_ALLOW_BYTES]);

#endif
