/* SPDX-License-Identifier: MIT */
/*
 * receivers.h - whom callbacks are on their way to, and who has enough of them: a
 * receiver that hangs keeps its own callbacks waiting, not those of others. Pure.
 *
 * A receiver is scheme, host and port of a callback_url. Bounded are the calls of a token to a receiver, of a receiver, of a token, and all.
 */
#ifndef CHASQUI_RECEIVERS_H
#define CHASQUI_RECEIVERS_H

#include "common/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define RECEIVERS_MAX 64      /* calls at once */
#define RECEIVER_CALLS 16     /* of a receiver; of a token */
#define RECEIVER_PAIR_CALLS 4 /* of a token to a receiver */
#define RECEIVER_ROOM 300

struct receivers { /* zero-initialised; one entry a call */
    struct receiver {
        uint64_t token_id;
        char origin[RECEIVER_ROOM];
    } of[RECEIVERS_MAX];
    unsigned n;
};

bool receivers_may(const struct receivers *r, uint64_t token_id, const char *url);
/* Only where receivers_may() said yes. */
void receivers_add(struct receivers *r, uint64_t token_id, const char *url);
void receivers_drop(struct receivers *r, uint64_t token_id, const char *url);
/* Those that may not, as lines "token <id>", "receiver <origin>" and "token <id> receiver <origin>", each between line feeds; "" = none. */
void receivers_full(const struct receivers *r, struct buf *out);

#endif
