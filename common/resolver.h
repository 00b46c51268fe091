/* SPDX-License-Identifier: MIT */
/*
 * resolver.h - names to addresses without waiting: getaddrinfo() in threads of its own, with a cache. A silent
 * name server delays only callers that ask for a name not known yet.
 *
 * A known address is used whatever its age. It is looked up again in the background once it is REFRESH_MS old, or
 * after resolver_doubt(). When the name server does not answer, the last addresses stay (RFC 8767). When it
 * answers that the name does not exist, they are removed.
 */
#ifndef CHASQUI_RESOLVER_H
#define CHASQUI_RESOLVER_H

#include "loop.h"
#include <stdbool.h>
#include <stdint.h>

#define RESOLVER_ADDRESSES_MAX 32 /* per name */

struct resolver;

struct resolved {
    const char *
        addresses; /* "10.0.0.7,[fd00::7]", in getaddrinfo()'s order; borrowed until the next return to the loop */
    uint64_t generation; /* a new number when the set of addresses changes, whatever the order; never 0 */
};

/* Whether this host needs no look-up: an address, or "localhost". IPv6 with or without brackets. */
bool resolver_is_needless(const char *host);

struct resolver *resolver_new(struct loop *l);
void resolver_destroy(struct resolver **rp); /* never waits for a look-up; pending waits are forgotten */

/* Returns NULL when the name is not known yet. */
const struct resolved *resolver_look(struct resolver *r, const char *host);
/* Reports that a connection to the known address failed: the name may have moved. */
void resolver_doubt(struct resolver *r, const char *host);

struct resolver_wait { /* owned by the user, zero-initialised */
    /* Called once, from the loop. NULL and the reason when there is no address, or none within the given time. */
    void (*fn)(void *arg, const struct resolved *found, const char *why);
    void *arg;
    struct loop_timer timer;
    struct resolver *resolver; /* NULL = not waiting */
    struct resolver_wait *next, **link;
};
/* For a name that is not known: calls fn when it is. */
void resolver_wait(struct resolver *r, const char *host, uint64_t within_ms, struct resolver_wait *w);
void resolver_forget(struct resolver_wait *w); /* no-op when not waiting */

#endif
