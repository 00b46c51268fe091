/* SPDX-License-Identifier: MIT */
/*
 * resolver.h - names to addresses without waiting: getaddrinfo() in threads of
 * its own, answers remembered. A name server that is silent delays only those
 * who ask for a name that is not known yet.
 *
 * What is known is used whatever its age and asked for again in the background
 * once it is REFRESH_MS old, or after resolver_doubt(). When the name server
 * does not answer, the last addresses stay (RFC 8767); when it says that there is
 * no such name, they go.
 */
#ifndef CHASQUI_RESOLVER_H
#define CHASQUI_RESOLVER_H

#include "loop.h"
#include <stdbool.h>
#include <stdint.h>

#define RESOLVER_ADDRESSES_MAX 32 /* of a name */

struct resolver;

struct resolved {
    const char *
        addresses; /* "10.0.0.7,[fd00::7]", in the order of getaddrinfo(); borrowed until the next return to the loop */
    uint64_t generation; /* another number when the addresses are others, in whatever order; never 0 */
};

/* Is this host an address, or "localhost", which need no look-up? IPv6 with or without brackets. */
bool resolver_is_needless(const char *host);

struct resolver *resolver_new(struct loop *l);
void resolver_destroy(struct resolver **rp); /* never waits for a look-up; waits that go on are forgotten */

/* NULL when the name is not known yet. */
const struct resolved *resolver_look(struct resolver *r, const char *host);
/* A connection to the known address failed: it may have moved. */
void resolver_doubt(struct resolver *r, const char *host);

struct resolver_wait { /* owned by the user, zero-initialised */
    /* Once, from the loop: NULL and the reason when there is no address, or none within the time given. */
    void (*fn)(void *arg, const struct resolved *found, const char *why);
    void *arg;
    struct loop_timer timer;
    struct resolver *resolver; /* NULL = waits for nothing */
    struct resolver_wait *next, **link;
};
/* For a name that is not known: fn when it is. */
void resolver_wait(struct resolver *r, const char *host, uint64_t within_ms, struct resolver_wait *w);
void resolver_forget(struct resolver_wait *w); /* no-op when it waits for nothing */

#endif
