/* SPDX-License-Identifier: MIT */
/*
 * exchange.h - one request from its head to its answer, and the order of checks: gate, path, method, token,
 * ability, rate, length, type, JSON, fields, company. Everything after these is a dispatcher's.
 */
#ifndef CHASQUI_BROKER_EXCHANGE_H
#define CHASQUI_BROKER_EXCHANGE_H

#include "broker/broker.h"
#include "broker/flight.h"
#include "broker/gate.h"
#include "broker/params.h"
#include "broker/ratelimit.h"
#include "broker/route.h"

#define ANSWER_HEADERS_MAX 8

struct answer {
    unsigned status; /* 0 = not decided yet */
    char *body;      /* owned, malloc'ed */
    size_t len;
    const char *content_type; /* static, or in `text` */
    struct pull *pull;        /* instead of a body; owned */
    bool is_close;            /* the connection closes after it */
    bool is_keepable;         /* may be stored and revalidated by its ETag; else no cache may store it */
    unsigned n;
    struct {
        const char *name; /* static */
        char *value;      /* owned */
    } header[ANSWER_HEADERS_MAX];
    char text[201];
};

enum phase { PHASE_HEAD, PHASE_BODY, PHASE_ASKED };

struct exchange { /* one request; owned by http.c's connection, freed by exchange_end() */
    struct broker *b;
    struct client *client; /* its connection */
    enum listener listener;
    enum phase phase;
    bool is_parked;     /* the HTTP library has suspended it */
    bool is_gone;       /* its client has left: no answer is owed */
    bool is_discarding; /* answered already; the rest of its body is read and discarded */
    bool is_checked;    /* all checks that need only the head are done */
    uint64_t arrived_ms, deadline_at_ms;

    /* the head; borrowed from the library until the exchange ends */
    const char *method;
    struct gate_framing framing;
    const char *authorization, *content_type, *deadline; /* NULL = absent */
    const char *cookie, *origin, *host, *if_none_match;  /* NULL = absent */
    const char *key, *coding;                            /* Idempotency-Key, Content-Encoding */
    const char *accept, *accept_language;
    const char *on_behalf; /* X-Chasqui-Actor: who uses the token, by the client's own word; NULL = not said */
    char named[101];       /* the token's name with that */
    bool is_key_twice;
    bool is_expecting; /* Expect: 100-continue */
    bool is_preflight; /* Access-Control-Request-Method is there */
    struct prefer prefer;
    char request_id[129], traceparent[56];
    char peer[64];
    const struct route *route;
    char *query;    /* in target; NULL = none */
    struct str arg; /* the path's variable part, decoded in target */

    struct token *token; /* NULL = not verified */
    bool is_held;        /* counted in b->holders */
    struct vouch *awaited;
    struct exchange *wait_prev, *wait_next;
    struct loop_timer timer; /* the deadline while a verdict is pending */
    struct rate rate;

    struct buf body;
    uint64_t body_bytes; /* received, whether kept or not */
    struct jv *json;
    uint8_t body_digest[32]; /* of the body as received, when there is an Idempotency-Key */
    char *params;            /* wiped and freed at the end */
    char job_uid[ID_JOB_UID_BYTES];
    struct upload *upload; /* fed by its body, or whose outcome it waits for */
    struct sse *sse;       /* the events that answer it */
    /* Called instead of passing a dispatcher's answer on unchanged, and instead of an error when there is no
     * answer; may be NULL. Both must answer x. */
    void (*take)(struct exchange *x, const struct msg_REPLY *m, struct str payload);
    void (*fail)(struct exchange *x, enum err e);
    struct flight flight;
    struct answer answer;
    char target[]; /* as received; path and query are parsed in place */
};

struct exchange *exchange_new(struct broker *b, struct client *c, enum listener l, const char *target,
                              const char *peer);
void exchange_end(struct exchange *x);

enum exchange_next {
    EXCHANGE_ANSWER, /* send x->answer now */
    EXCHANGE_PARK,   /* wait for http_resume() */
    EXCHANGE_MORE,   /* continue reading the body, or what follows it */
    EXCHANGE_CUT     /* close the connection without an answer */
};
/* Called when the head has arrived. */
enum exchange_next exchange_begin(struct exchange *x, const struct gate_head *head);
/* Takes a piece of the body; *len becomes the number of bytes left for later. EXCHANGE_MORE, EXCHANGE_PARK or
 * EXCHANGE_CUT. */
enum exchange_next exchange_body(struct exchange *x, const char *data, size_t *len);
bool exchange_is_steady(const struct exchange *x); /* its body has no time limit: only silence ends it */
/* Called when the request is complete, or when a parked exchange is resumed. */
enum exchange_next exchange_step(struct exchange *x);
bool exchange_is_whole(const struct exchange *x); /* for a call that brings no data: whether it is the last one */
void exchange_gone(struct exchange *x);           /* the client left while the exchange was parked */
/* For a long exchange: whether its token is no longer good. If so x is answered now; true: an answer has begun,
 * and must be cut. */
bool exchange_is_revoked(struct exchange *x);
/* Called by auth.c. ERR_OK = a verdict has arrived, look again. Else it could not be obtained; cause in words or
 * NULL. */
void exchange_verified(struct exchange *x, enum err e, const char *cause);
/* Asks a dispatcher. x->flight.request holds all fields but those that every request has. */
void exchange_ask(struct exchange *x, enum op op, uint64_t fair_key);
/* The fair-queue key while the request's company is unknown. */
uint64_t key_of_token(const struct exchange *x);
/* Whether `company_id` is one of the token's; else answers 403. */
bool exchange_company(struct exchange *x, uint64_t company_id);
/* Counts the request in the token's window; else answers 429. */
bool exchange_count(struct exchange *x);
/* Counts a request that inserts rows (a job, a key, a batch) in the token's second window, of ten times its rate;
 * else answers 429. */
bool exchange_count_new(struct exchange *x);
/* Answers 422 when there are errors (taken). Also checks X-Deadline-Ms. */
bool exchange_fields(struct exchange *x, struct jv *errors);
/* Reads the query into the request; `params` NULL: it has no fields. As exchange_fields(). */
bool exchange_query(struct exchange *x, params_fn *params);
/* Answers that the body is not JSON, or not an object (JV_FINE). */
void exchange_refuse_json(struct exchange *x, enum jv_bad why);
/* Reads the Idempotency-Key, empty when absent. A malformed key is an error. */
struct str exchange_key(const struct exchange *x, struct jv **errors);
/* The caller, for questions that outlive the exchange. */
struct caller {
    struct token *token; /* a reference */
    char request_id[129], traceparent[56], peer[64];
};
void caller_take(struct caller *c, const struct exchange *x);
void caller_copy(struct caller *c, const struct caller *from);
void caller_drop(struct caller *c);                                 /* no-op when empty */
void caller_request(const struct caller *c, struct msg_REQUEST *r); /* borrowed by r */
/* x was answered by another file: it continues, unless it is in the middle of a step. */
void exchange_answered(struct exchange *x);
/* Names the job that x's dispatcher accepted; NULL when it accepted none. */
struct jv *exchange_job(const struct exchange *x);

#endif
