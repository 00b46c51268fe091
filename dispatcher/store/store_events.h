/* SPDX-License-Identifier: MIT */
/*
 * store_events.h - what is to be told outside, in the database. The timeline
 * (chasqui_job_events) is its own outbox: its rows are written in the
 * transaction that they tell of. As in store.h each op travels to a database
 * thread and back.
 */
#ifndef CHASQUI_STORE_EVENTS_H
#define CHASQUI_STORE_EVENTS_H

#include "dispatcher/store/store.h"

#define EVENTS_CLAIM_MAX 16
#define PORTAL_STREAM (1ull << 61) /* job ids from here on stand for portals in the timeline: a sum of the name */
#define BATCH_STREAM (1ull << 62)  /* and from here on for batches */

/* Part of the transaction that ends a batch. */
enum db_rc batch_finished_add(struct db *db, uint64_t batch_id);
/* Part of the transaction that changes a portal's breaker: the event is portal_tripped or portal_recovered; why may be "". */
enum db_rc portal_change_add(struct db *db, const char *event, const char *portal, const char *why);

struct out_event {
    uint64_t job_id, event_id;
    unsigned part, attempts; /* this one counted */
    int64_t age_ms;
    uint8_t delivery[ID_TOKEN_BYTES], token[ID_TOKEN_BYTES];
    char kind[24];
    struct buf body; /* {"event":…,"at":…,"job"|"session"|"batch"|"portal":{…}}; freed by the caller */
};
struct store_events_claim { /* what is due, one of a job; SKIP LOCKED */
    int64_t lease_ms;       /* how long a try may take; after it the event is due again */
    unsigned max;           /* 1 to EVENTS_CLAIM_MAX */
    unsigned n;
    struct out_event got[EVENTS_CLAIM_MAX];
    bool more;    /* look again at once */
    bool is_idle; /* nothing waits, and nothing is on its way anywhere */
    enum store_rc rc;
};
void store_events_claim(struct db *db, void *op);

struct store_event_end { /* of one try; no-op when the token does not hold any more */
    uint64_t job_id, event_id;
    unsigned part;
    uint8_t token[ID_TOKEN_BYTES];
    bool is_delivered;
    int64_t again_ms; /* not delivered: the next try, < 0 = given up, with an audit row */
    char kind[24], error[201];
    char holder[NAME_ROOM];
    bool lost;
    enum store_rc rc;
};
void store_event_end(struct db *db, void *op);

#endif
