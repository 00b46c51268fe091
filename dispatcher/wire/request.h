/* SPDX-License-Identifier: MIT */
/* request.h - the requests in flight. */
#ifndef CHASQUI_DISPATCHER_REQUEST_H
#define CHASQUI_DISPATCHER_REQUEST_H

#include "dispatcher/dispatcher.h"

#include <sys/queue.h>

enum wall_kind { WALL_ROBOT, WALL_COMPANY, WALL_DATABASE, WALL_KINDS };
struct pass;
struct wall;
/* A request in flight. Never keep a pointer to one across a message, timer or op: keep its `key` and look it up.
 * It is gone once it was answered, cancelled (unless `detached_ok` work continues by itself) or its broker
 * died. */
struct request {
    uint64_t key;  /* ours, never reused */
    uint64_t id;   /* assigned by the broker */
    unsigned peer; /* index of the broker connection */
    enum op op;
    enum lane lane;
    uint64_t arrived_us;
    uint64_t deadline_at_ms; /* clock_ms() */
    char request_id[129], traceparent[129], peer_addr[65], token_name[101];
    uint64_t token_id, user_id; /* user_id: the Laravel user of an application's token; 0 = none */
    bool all_companies;
    /* owned */
    uint64_t *companies;
    unsigned n_companies;
    uint8_t secret_hash[32];
    char session_id[SESSION_ID_ROOM], file_token[513], portal[PORTAL_ROOM], action[65], job_uid[ID_JOB_UID_BYTES];
    char state[33], worker[NAME_ROOM], reason[201], error[65], robot_error[257];
    uint64_t page, company_id, job_id, cursor;
    unsigned limit;
    uint8_t priority;
    bool force_new, remember;
    char idempotency_key[256]; /* "" = none */
    uint8_t body_digest[32];
    char callback_url[501], search[101], actor[161], subject[161];
    uint64_t wait_ms, available_at_ms, until_ms, since_ms, for_ms, batch_id, index;
    bool closes, one, course;
    char name[401];
    struct pass *pass; /* of ROBOT_PASS; owned; NULL = none, or invalid */
    /* the payload: JSON object text or NDJSON lines; owned, wiped at the end; NULL = none */
    char *params;
    size_t params_len;
    /* Called when the broker cancels or is gone, before the request is freed. Set by the handler. */
    void (*on_cancel)(struct dispatcher *d, struct request *r);
    void *work; /* owned by the handler, which frees it before replying; on_cancel frees it too */
    /* private to request.c */
    struct request *next_by_key, *next_by_id;
    struct loop_timer expiry;
    struct dispatcher *d;
    uint64_t waited_ms;       /* in the broker, before it arrived */
    uint64_t counted_company; /* its actual company, for the tally; 0 = company_id */
    bool streaming;
    bool cut;       /* one of its chunks could not be sent: it must not end as complete */
    bool gone_once; /* close.c: the robot answered 404 and the session was looked up again */
    uint64_t chunk_seq, chunk_limit;
    size_t chunk_bytes; /* maximum of one chunk */
    void (*on_credit)(struct dispatcher *d, struct request *r);
    /* For the log line of a failed request: job, robot, and where the time went. */
    uint64_t job;
    char robot[NAME_ROOM];
    int64_t db_ms, robot_ms;
    /* private to bulkhead.c */
    struct wall *wall[WALL_KINDS]; /* walls where it holds a slot */
    struct wall *parked, *line;    /* parked: it holds no credit; line: the wall where it waits */
    TAILQ_ENTRY(request) of_line;
    uint32_t line_robot;
    uint64_t line_company;
    void (*turn)(struct dispatcher *d, struct request *r);
    char content_encoding[61]; /* of the body, must be set before the reply; "" = none */
    bool replayed; /* must be set before the reply: the answer repeats an earlier one under the same key */
};
void request_free(struct dispatcher *d, struct request *r); /* called by reply.c after the answer */
struct requests *requests_new(void);
/* Called by peer.c: takes a broker's REQUEST, and its cancels and credits. false = not taken (its id is in
 * use). */
bool request_take(struct dispatcher *d, unsigned peer, const struct msg_REQUEST *m, struct str payload);
void request_cancel(struct dispatcher *d, unsigned peer, uint64_t id);
void request_credit(struct dispatcher *d, unsigned peer, uint64_t id, uint64_t limit);
void requests_peer_gone(struct dispatcher *d, unsigned peer);
void requests_destroy(struct requests **rp);
struct request *request_find(struct dispatcher *d, uint64_t key); /* NULL = gone */
/* Calls fn for each request of an op. fn may answer the one it is given. */
void requests_each(struct dispatcher *d, enum op op,
                   void (*fn)(struct dispatcher *d, struct request *r, void *arg), void *arg);
bool request_may_see(const struct request *r, uint64_t company_id);
/* The actor for the audit trail: "token:<id>:<name>". */
void request_actor(const struct request *r, struct actor *out);
int64_t request_left_ms(const struct dispatcher *d, const struct request *r);
unsigned requests_in_flight(const struct dispatcher *d);

#endif
