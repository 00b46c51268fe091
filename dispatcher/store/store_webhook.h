/* SPDX-License-Identifier: MIT */
/*
 * store_webhook.h - whom to tell that a batch has ended, in the database. As in
 * store.h each op travels to a database thread and back.
 */
#ifndef CHASQUI_STORE_WEBHOOK_H
#define CHASQUI_STORE_WEBHOOK_H

#include "dispatcher/store/receivers.h"
#include "dispatcher/store/store.h"

#define WEBHOOK_CLAIM_MAX 8

/* Part of the transaction that ends a batch: it is to be told, if it has a callback_url. A batch that ends again is told again. */
enum db_rc webhook_add(struct db *db, uint64_t batch_id);

struct webhook {
    uint64_t batch_id, token_id;
    unsigned attempts; /* this one counted */
    int64_t age_ms;    /* since the batch has ended */
    uint8_t delivery[ID_TOKEN_BYTES], token[ID_TOKEN_BYTES];
    char url[501];
    struct buf body; /* {"event":…,"batch":{…}}; freed by the caller */
};
struct store_webhook_claim { /* those that are due; SKIP LOCKED */
    int64_t lease_ms;        /* how long a try may take; after it the callback is due again */
    struct receivers busy;   /* calls that are under way; those of the claim come to them */
    unsigned n;
    struct webhook got[WEBHOOK_CLAIM_MAX];
    /* n 0: until the next one is due, 0 = others are at it, or their receivers have enough; -1 = none waits */
    int64_t due_in_ms;
    enum store_rc rc;
};
void store_webhook_claim(struct db *db, void *op);

struct store_webhook_end { /* of one try; no-op when the token does not hold any more */
    uint64_t batch_id;
    uint8_t token[ID_TOKEN_BYTES];
    bool is_delivered;
    int64_t again_ms; /* not delivered: the next try, < 0 = given up, with an audit row */
    char error[201];  /* why not */
    char holder[NAME_ROOM];
    bool lost;
    enum store_rc rc;
};
void store_webhook_end(struct db *db, void *op);

#endif
