/* SPDX-License-Identifier: MIT */
/*
 * broker.h - the structs and calls shared inside the broker.
 *
 * One thread (the loop) owns everything here. Files and what they own:
 *   main.c       start, drain, stop
 *   http.c       connections and the HTTP library; the only file that includes it
 *   listen.c     what an address means, and doors that close without loss
 *   linger.c     connections that are closed while their client may still be sending
 *   gate.c       which heads are let in (pure)
 *   routes.def route.c  paths and methods (pure)
 *   exchange.c   the life of one request, and the order of checks
 *   auth.c       tokens: verdicts of dispatchers, cached for less than 5 s
 *   ratelimit.c  counted requests of a token; holders.c those under way (pure)
 *   params.c     fields of queries and bodies (pure)
 *   app.c ops.c  what each route asks a dispatcher, or answers itself
 *   pass.c       requests that go on to the robot of a session
 *   fields.def answers.def openapi.c  what routes take and answer, described
 *   strict.c     what operators' routes know, so that a misspelt name is refused (pure)
 *   items.c      the items of a JSON batch (pure)
 *   batch.c      uploads: a body's lines on their way into a batch
 *   progress.c   a batch's progress, live
 *   feed.c       what changes, live, for operators
 *   sse.c        answers that are server-sent events
 *   reply.c      the shape of answers
 *   cors.c       pages of other origins that may call (pure)
 *   flight.c     requests that dispatchers work on, or will: queues, deadlines, resending
 *   fairq.c      fair queues (pure)
 *   peer.c       dispatchers: greeting, credit, heartbeat
 *   stream.c     answers that come in chunks
 *   web_session.c  people who logged in with a browser: cookies
 *   dashboard.c  the dashboard's files
 *   tally.c      what the broker counts by lane and route; window.c the growth of counters (pure)
 *   health.c     what healthd says, for operators
 *   fleet.c      what dispatchers count by robot; companies.c by company; attempts.c by portal and error
 *   summary.c    what stands in the database, as a dispatcher sums it up every few seconds
 *   trend.c      the last hour, for charts
 *   words.c      what is wrong, in words (words.def)
 *   stats.c      all of that as JSON and for Prometheus
 */
#ifndef CHASQUI_BROKER_H
#define CHASQUI_BROKER_H

#include "broker/fairq.h"
#include "broker/gate.h"
#include "broker/params.h"
#include "broker/ratelimit.h"
#include "broker/route.h"
#include "broker/tally.h"
#include "common/buf.h"
#include "common/bus.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/id.h"
#include "common/jv.h"
#include "common/loop.h"
#include "common/quota.h"
#include "common/stat.h"
#include "proto/proto.h"

struct broker {
    struct loop *loop;
    struct quota stream_memory;
    const struct conf *conf;
    struct bus *bus;
    char name[64]; /* its address for clients */
    char boot_id[ID_BOOT_BYTES];
    uint64_t started_ms;
    bool is_stopping; /* SIGTERM came: readyz says so, each answer ends its connection */
    bool is_draining; /* the doors are closed, or about to be */
    bool is_failed;   /* it cannot go on: the process ends with a failure */
    uint64_t log_until_ms, log_lines; /* answers logged in this second; exchange.c's */

    /* each owned by its file, opaque elsewhere */
    struct http *http;
    struct auth *auth;
    struct ratelimit *ratelimit;
    struct flights *flights;
    struct peers *peers;
    struct health *health;
    struct web_sessions *web_sessions;
    struct tally *tally;
    struct fleet *fleet;
    struct companies *companies;
    struct attempt_sums *attempts;
    struct summary *summary;
    struct headline *headline; /* words.c's */
    struct token_use *token_use;
    struct holders *holders; /* requests by whose they are, at most half of the connections */
    struct trend *trend;
    struct stats_board *board;
    struct uploads *uploads;
    struct live *live;
    struct progress *progress;
    struct feed *feed;
};

struct client;
struct exchange;
struct flight;
struct peer;
struct sse;
struct stream;
struct upload;

/* ---- what HTTP pulls an answer from ------------------------------------------------------------------------- */
#define PULL_END (-1)
#define PULL_BROKEN (-2)

struct pull { /* first member of a stream, or of events */
    /* Up to `room` bytes, 0 = nothing now, or PULL_END, PULL_BROKEN. */
    ssize_t (*read)(struct pull *p, char *out, size_t room);
    void (*destroy)(struct pull *p);
    bool has_length;
    uint64_t length;    /* bytes */
    size_t block_bytes; /* that are read at once */
    void (*ready_fn)(void *arg);
    void *ready_arg;
};

/* Calls fn once, when there is something to read again after read() said 0. */
static inline void pull_on_ready(struct pull *p, void (*fn)(void *arg), void *arg)
{
    p->ready_fn = fn;
    p->ready_arg = arg;
}

static inline void pull_ready(struct pull *p)
{
    void (*fn)(void *) = p->ready_fn;
    p->ready_fn = NULL;
    if (fn)
        fn(p->ready_arg);
}

static inline void pull_destroy(struct pull **pp)
{
    struct pull *p = *pp;
    *pp = NULL;
    if (p)
        p->destroy(p);
}

/* ---- flight.c ---------------------------------------------------------------------------------------------- */

/* What becomes of a flight: exactly one of these is called, unless flight_end() comes first. It is over when
 * `reply` and `failed` are called; `head` begins a stream. All may end the flight's owner. */
struct flight_user {
    void (*reply)(void *arg, const struct msg_REPLY *m, struct str payload);
    void (*head)(void *arg, const struct msg_REPLY_HEAD *m); /* NULL: such an answer is refused */
    void (*failed)(void *arg, enum err e);
};

enum flight_state { FLIGHT_NONE, FLIGHT_QUEUED, FLIGHT_SENT, FLIGHT_STREAMING };

/* A request for a dispatcher. Zero-initialised, part of its owner. The owner fills the first block; what the
 * pointers in `request` and `payload` point to stays as it is until the flight is over. */
struct flight {
    const struct flight_user *user;
    void *arg;
    enum op op;
    struct msg_REQUEST request; /* id, lane, op and deadline_ms are set at each sending */
    struct str payload;
    uint64_t fair_key;       /* whose turn it uses */
    uint64_t deadline_at_ms; /* clock_ms() */

    enum flight_state state;
    enum op op_now; /* op, or JOB_AWAIT once a log-in's dispatcher died */
    struct broker *b;
    uint64_t id; /* of its last sending; 0 = never sent */
    struct flight *next_by_id;
    struct fairq_item item;
    struct loop_timer timer; /* deadline; of a stream: silence */
    uint64_t queued_at_ms, sent_at_ms, over_at_ms; /* sent: the last time; 0 = not, or not yet */
    struct peer *peer; /* who works on it (SENT, STREAMING) */
    struct flight *peer_prev, *peer_next;
    bool was_resent;
    uint64_t job_id;       /* from ACCEPTED; 0 = none came */
    char job_uid[33];      /* from ACCEPTED; "" = the request's */
    struct stream *stream; /* STREAMING: where chunks go; NULL once nobody reads it */
    uint64_t lent;         /* of the memory that streams share, until the stream has it */
};

struct flights *flights_new(struct broker *b);
void flights_destroy(struct flights **fp);
/* Queues it and sends it when a dispatcher has credit. May call `failed` at once. */
void flight_start(struct broker *b, struct flight *f);
/* Nobody waits any more: it leaves the queue, or the dispatcher is told (log-ins go on by themselves). No
 * callback. No-op when it is over. */
void flight_end(struct flight *f);
/* The same, but nobody is told. */
void flight_close(struct flight *f);
/* How long it waited in its queue, and at its dispatcher; 0 when it was not there. */
uint64_t flight_waited_ms(const struct flight *f);
uint64_t flight_worked_ms(const struct flight *f);
/* Sends what can be sent. After credit came, a peer was greeted, a flight was queued. */
void flights_pump(struct broker *b);
/* What a dispatcher said. `from` is who; answers of flights that others work on by now are dropped and counted. */
void flights_take(struct broker *b, struct peer *from, const struct msg *m);
/* The dispatcher is gone: its flights (a list that peer_drop() empties) are sent again, awaited or failed, as
 * their ops allow. */
void flights_peer_gone(struct broker *b, struct flight *const *of_peer);
/* No dispatcher is there any more: what waits fails. */
void flights_none_there(struct broker *b);
void flights_stats(struct broker *b); /* gauges, before they are shown */
uint64_t flights_open(const struct broker *b);
uint64_t flights_queued(const struct broker *b);
uint64_t flights_depth(const struct broker *b, enum lane lane);
uint64_t flights_oldest_ms(const struct broker *b, enum lane lane); /* age; 0 = nothing waits */
uint64_t flights_in_flight(const struct broker *b, enum lane lane);
void flights_metrics(const struct broker *b, struct buf *out);

/* ---- peer.c ------------------------------------------------------------------------------------------------ */
struct peers *peers_new(struct broker *b); /* binds broker.bind; NULL after logging why */
void peers_destroy(struct peers **pp);
/* The dispatcher to ask in that lane: with free credit, with a database if any has one, with the most credit. */
struct peer *peers_pick(struct broker *b, enum lane lane);
/* Sends f to p and uses a credit. 0, -EAGAIN or -EHOSTUNREACH; then p is not picked again for now. */
int peer_request(struct broker *b, struct peer *p, struct flight *f);
int peer_send(struct broker *b, struct peer *p, const struct msg *m);
void peer_hold(struct peer *p, struct flight *f); /* f is worked on by p */
void peer_drop(struct flight *f);                 /* not any more */
/* One that takes requests is there, or was within 2 s. */
bool peers_hopeful(const struct broker *b);
bool peers_ready(const struct broker *b); /* one with a database, not draining */
/* Which tokens that are not ours dispatchers verify: enum foreign. While none is there, what those that went said. */
unsigned peers_foreign(const struct broker *b);
void peers_bye(struct broker *b, const char *reason);
struct peers_count {
    unsigned here, usable, draining, with_database, gone;
    uint64_t queued_running; /* queued log-ins under way */
    int64_t last_gone_ms; /* unix; 0 = none went in the last ten minutes */
};
struct peers_count peers_count(const struct broker *b);
/* Those that went without a word, or after one, in the last ten minutes and have not come back. */
void peers_each_gone(const struct broker *b, void (*fn)(void *arg, const char *name, int64_t since_ms, bool was_draining), void *arg);
/* A name that two dispatchers have, or NULL. */
const char *peers_twice(const struct broker *b);
void peers_each_draining(const struct broker *b, void (*fn)(void *arg, const char *name), void *arg);
/* Endpoints of other brokers that a dispatcher does not reach; each of them for each dispatcher. */
void peers_each_broker_lost(const struct broker *b, void (*fn)(void *arg, const char *endpoint), void *arg);
/* Robots, companies and tokens of which a dispatcher has as many calls in flight as it allows. */
struct at_limit {
    char kind[16], who[65]; /* "robot", "company" or "token"; its name or id */
    unsigned in_flight, waiting;
};
void peers_each_at_limit(const struct broker *b, void (*fn)(void *arg, const struct at_limit *one), void *arg);
/* Why no dispatcher has a database that takes writes: "read_only", "hung" or "gone", and in words. A read-only one is read at least. */
const char *peers_database_why(const struct broker *b, char *why, size_t room);
/* What fails at a dispatcher's database; each row of each dispatcher. */
struct database_trouble {
    char duty[33], kind[13], why[161];
    uint64_t n, for_s;
};
void peers_each_trouble(const struct broker *b, void (*fn)(void *arg, const struct database_trouble *one), void *arg);
struct jv *peers_jv(const struct broker *b); /* [{name,boot_id,...}], by name, then those that went */
/* Appends a source for each; returns how many. The pointers are good until the loop turns. */
unsigned peers_sources(const struct broker *b, struct stat_source *out, unsigned max);
void peers_metrics(const struct broker *b, struct buf *out);

/* ---- stream.c ---------------------------------------------------------------------------------------------- */
/* A stream holds a window of chunks, and one more in the HTTP library. */
#define STREAM_BYTES_MIN (2 * CHUNK_MIN)
#define STREAM_BYTES_MAX ((CHUNK_WINDOW + 1) * CHUNK_MAX)
/* What a stream with so much memory is sent: chunks of which size, and how many of them at once. 0: the least. */
void stream_shape(uint64_t lent, uint64_t *chunk_bytes, uint64_t *chunk_window);
struct pull *stream_new(struct flight *f, bool has_length, uint64_t length);
/* A chunk came (copied). false: the peer broke the rules, and the stream is broken. */
bool stream_take(struct stream *s, const struct msg_CHUNK *m, struct str payload);
void stream_break(struct stream *s);  /* no more will come, and it was not the end */
void stream_detach(struct stream *s); /* its flight is over */
/* Waits for the dispatcher rather than for the client. */
bool stream_is_hungry(const struct stream *s);
bool stream_is_whole(const struct stream *s); /* all of its length came; only the word that it was the last may be on its way */

/* ---- auth.c ------------------------------------------------------------------------------------------------ */
struct token { /* a verified one; counted references */
    unsigned refs;
    uint64_t id;
    char name[101];
    unsigned abilities; /* of enum ability */
    bool all_companies;
    uint64_t *companies;
    uint32_t n_companies;
    uint64_t rate_per_minute; /* 0 = no limit */
};

struct token_key { /* what is known of a token that somebody shows */
    uint64_t id;      /* 0: it has another form than ours */
    uint8_t hash[32]; /* SHA-256 of the secret; without an id, of the whole text */
    struct str text;  /* the whole, borrowed from the request; empty: only its hash is known */
};

enum auth_result { AUTH_KNOWN, AUTH_REFUSED, AUTH_WAITS };
struct auth *auth_new(struct broker *b);
void auth_destroy(struct auth **ap);
/* "<id>|<secret>"; what is not of this form is hashed all the same, and false. */
bool token_key_read(const char *text, struct token_key *out);
/* Is it a token's? AUTH_KNOWN sets x->token. AUTH_WAITS: exchange_verified() will be called. */
enum auth_result auth_ask(struct exchange *x, const struct token_key *key);
/* The same for who sends x: the bearer of a token, or on the operators' listener somebody with a cookie. */
enum auth_result auth_check(struct exchange *x);
void auth_leave(struct exchange *x); /* x does not wait for a verdict any more */
void auth_forget(struct broker *b, uint64_t token_id);
/* For a body or an answer that goes on: is x's token refused by now? Asks again as needed. */
bool auth_refused(struct exchange *x);
bool token_may_see(const struct token *t, uint64_t company_id);
/* Who answers for what a token holds: its company, or itself when it is for several. */
uint64_t token_owner(const struct token *t);
/* Of "address:port": the address, zeroed before; of IPv6 the network, whose owner has all of its addresses. */
void peer_address(const char *peer, uint8_t address[16]);
void token_drop(struct token **tp);

/* ---- exchange.c -------------------------------------------------------------------------------------------- */
#define ANSWER_HEADERS_MAX 8

struct answer {
    unsigned status; /* 0 = not decided yet */
    char *body;      /* owned, malloc'ed */
    size_t len;
    const char *content_type; /* static, or in `text` */
    struct pull *pull;        /* instead of a body; owned */
    bool is_close;            /* the connection ends with it */
    bool is_keepable;         /* may be kept and asked for again by its ETag; else nobody stores it */
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
    bool is_parked;     /* the HTTP library is told not to go on with it */
    bool is_gone;       /* its client went away: no answer is owed */
    bool is_discarding; /* answered already; the rest of its body is read and thrown away */
    bool is_checked;    /* what a head alone can be refused for is checked */
    uint64_t arrived_ms, deadline_at_ms;

    /* the head; borrowed from the library until the exchange ends */
    const char *method;
    struct gate_framing framing;
    const char *authorization, *content_type, *deadline; /* NULL = absent */
    const char *cookie, *origin, *host, *if_none_match;  /* NULL = absent */
    const char *key, *coding;                            /* Idempotency-Key, Content-Encoding */
    const char *accept, *accept_language;
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
    struct loop_timer timer; /* the deadline while a verdict is awaited */
    struct rate rate;

    struct buf body;
    uint64_t body_bytes; /* that came, kept or not */
    struct jv *json;
    uint8_t body_digest[32]; /* of the body as it came, when there is an Idempotency-Key */
    char *params;            /* wiped and freed at the end */
    char job_uid[ID_JOB_UID_BYTES];
    struct upload *upload; /* that its body feeds, or whose outcome it waits for */
    struct sse *sse;       /* that it is answered with */
    /* Instead of passing a dispatcher's answer on as it is, and instead of an error when there is none; may be
     * NULL. Both answer x. */
    void (*take)(struct exchange *x, const struct msg_REPLY *m, struct str payload);
    void (*fail)(struct exchange *x, enum err e);
    struct flight flight;
    struct answer answer;
    char target[]; /* as it came; path and query are taken apart in it */
};

struct exchange *exchange_new(struct broker *b, struct client *c, enum listener l, const char *target,
                              const char *peer);
void exchange_end(struct exchange *x);

enum exchange_next {
    EXCHANGE_ANSWER, /* x->answer is to be sent now */
    EXCHANGE_PARK,   /* wait for http_resume() */
    EXCHANGE_MORE,   /* let the body come, or what follows it */
    EXCHANGE_CUT     /* close the connection without a word */
};
/* The head is there. */
enum exchange_next exchange_begin(struct exchange *x, const struct gate_head *head);
/* A piece of the body; *len becomes what of it is left for later. EXCHANGE_MORE, EXCHANGE_PARK or EXCHANGE_CUT. */
enum exchange_next exchange_body(struct exchange *x, const char *data, size_t *len);
bool exchange_is_steady(const struct exchange *x); /* its body has no end in time: only silence ends it */
/* The request is whole, or the exchange was parked and is resumed. */
enum exchange_next exchange_step(struct exchange *x);
bool exchange_is_whole(const struct exchange *x); /* at a call that brings no data: is it the last one? */
void exchange_gone(struct exchange *x);           /* the client went away while it was parked */
/* Of one that has been worked on for long: is its token good no more? It is told so now; true: an answer has begun, and is to be cut. */
bool exchange_is_revoked(struct exchange *x);
/* Called by auth.c: ERR_OK = a verdict is there, look again; else it could not be had, for a cause in words or NULL. */
void exchange_verified(struct exchange *x, enum err e, const char *cause);
/* Asks a dispatcher: x->flight.request is filled but for what every request has. */
void exchange_ask(struct exchange *x, enum op op, uint64_t fair_key);
/* Whose turn it uses while it is not known which company it is for. */
uint64_t key_of_token(const struct exchange *x);
/* Is `company_id` the token's? Else answers 403. */
bool exchange_company(struct exchange *x, uint64_t company_id);
/* Counts it at the token; else answers 429. */
bool exchange_count(struct exchange *x);
/* Counts a request that makes rows (a job, a key, a batch) at the token's second window, ten times its rate; else answers 429. */
bool exchange_count_new(struct exchange *x);
/* Answers 422 when there are errors (taken); also checks X-Deadline-Ms. */
bool exchange_fields(struct exchange *x, struct jv *errors);
/* Answers that the body is no JSON, or no object (JV_FINE). */
void exchange_refuse_json(struct exchange *x, enum jv_bad why);
/* The Idempotency-Key, empty when there is none; a bad one is an error. */
struct str exchange_key(const struct exchange *x, struct jv **errors);
/* Who asks, for questions that outlive the exchange. */
struct caller {
    struct token *token; /* a reference */
    char request_id[129], traceparent[56], peer[64];
};
void caller_take(struct caller *c, const struct exchange *x);
void caller_copy(struct caller *c, const struct caller *from);
void caller_drop(struct caller *c);                                 /* no-op when empty */
void caller_request(const struct caller *c, struct msg_REQUEST *r); /* borrowed by r */
/* x was answered by somebody who was asked: it goes on, when it is not in the middle of a step. */
void exchange_answered(struct exchange *x);
/* Names the job that x's dispatcher accepted; NULL when it accepted none. */
struct jv *exchange_job(const struct exchange *x);

/* ---- reply.c ----------------------------------------------------------------------------------------------- */
/* They decide x->answer, once. `message` NULL = the code's own text; `extra` (taken, may be NULL) = more members.
 */
void reply_error(struct exchange *x, enum err e, const char *message, struct jv *extra);
void reply_jv(struct exchange *x, unsigned status, struct jv *body); /* takes body */
void reply_text(struct exchange *x, unsigned status, const char *type,
                struct buf *body); /* takes its bytes; type static */
void reply_empty(struct exchange *x, unsigned status);
void reply_header(struct exchange *x, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A dispatcher's. */
void reply_take(struct exchange *x, const struct msg_REPLY *m, struct str payload);
void reply_stream(struct exchange *x, const struct msg_REPLY_HEAD *m);
void reply_events(struct exchange *x, struct pull *events);
/* As reply_take() of an answer without sense. */
void reply_refuse(struct exchange *x, const char *why);
void answer_clear(struct answer *a);

/* ---- http.c ------------------------------------------------------------------------------------------------ */
/* Binds both listeners and opens the operators'; NULL after logging why. */
struct http *http_new(struct broker *b);
void http_open(struct broker *b); /* the app listener's; no-op when it is open */
bool http_is_open(const struct http *h);
void http_destroy(struct http **hp);
void http_resume(struct exchange *x);     /* go on with it: exchange_step() will be called */
void http_quiesce(struct http *h);        /* no new connections; those that came before are served */
uint64_t http_busy(const struct http *h); /* requests without whole answer, and doors that are not closed yet */
bool http_has_unread(const struct http *h); /* of a connection that seems idle */
void http_stats(const struct http *h);

/* ---- cors.c ------------------------------------------------------------------------------------------------ */
/* The origin among broker.cors_origins that x comes from; NULL = none of them. Static, or the configuration's. */
const char *cors_origin(const struct exchange *x, size_t *len);
/* What a page of such an origin may send: `allow` are the path's methods. No-op for other origins. */
void cors_preflight(struct exchange *x, const char *allow);
/* The answer's headers that such a page may read. */
extern const char cors_exposed[];
bool cors_check(const struct conf *conf); /* false after logging which origin is not one */

/* ---- batch.c ----------------------------------------------------------------------------------------------- */
struct uploads *uploads_new(void);
void uploads_destroy(struct broker *b); /* what was not acknowledged is forgotten; its batches stay open */
void uploads_stats(const struct broker *b);
/* The head of a batch as NDJSON is there: makes x->upload, or answers. */
void upload_begin(struct exchange *x);
/* A piece of its body; returns how much of it was taken. */
size_t upload_take(struct upload *u, const char *data, size_t len);
/* Takes nothing now: the body is to wait until x is resumed. */
bool upload_is_full(const struct upload *u);
/* x has no use for it any more. It goes on by itself with the whole lines it has. */
void upload_leave(struct exchange *x);

/* ---- sse.c ------------------------------------------------------------------------------------------------- */
struct sse_user {
    void (*refill)(void *arg); /* all was taken: more may be sent. May be NULL */
    void (*gone)(void *arg);   /* its client went away, or its end was taken; s is freed after this */
};
struct live *live_new(struct broker *b);
void live_destroy(struct live **lp); /* after http_destroy() */
void live_quiesce(struct broker *b); /* all of them end */
void live_stats(const struct broker *b);
/* Answers x with events. */
struct sse *sse_new(struct exchange *x, const struct sse_user *user, void *arg);
/* false: there is no room, and it was not sent. `data` is one line. */
bool sse_event(struct sse *s, const char *name, const char *data, size_t len);
bool sse_is_empty(const struct sse *s); /* all was taken */
void sse_end(struct sse *s);            /* once all was taken */
void sse_leave(struct exchange *x);     /* x ends */

/* ---- progress.c -------------------------------------------------------------------------------------------- */
struct progress *progress_new(struct broker *b);
void progress_destroy(struct progress **pp);
/* x asked for batch `id`, and m is the answer: x is answered with its events, or with the error. */
void progress_follow(struct exchange *x, const struct msg_REPLY *m, struct str payload);
void progress_stale(struct broker *b, uint64_t batch_id); /* it changed */

/* ---- feed.c ------------------------------------------------------------------------------------------------ */
struct feed *feed_new(void);
void feed_destroy(struct feed **fp);
void feed_follow(struct exchange *x, bool is_counting); /* with statistics, or without */
void feed_tick(struct broker *b);                       /* each second */
void feed_take(struct broker *b, const struct msg_EVENT *m);

/* ---- linger.c ---------------------------------------------------------------------------------------------- */
struct lingering;
struct lingering *linger_new(struct loop *l);
void linger_destroy(struct lingering **lp);
/* `fd` will be closed by its owner after this: its other half is read to the end for a moment, so that the last
 * answer is not lost in a reset. */
void linger_close(struct lingering *l, int fd);

/* ---- health.c ---------------------------------------------------------------------------------------------- */
struct robot_health { /* what a healthd says of a robot */
    enum verdict verdict;
    int64_t since_ms;           /* unix time of the verdict */
    int64_t sessions, capacity; /* -1 = not told */
    char boot_id[65], why[201]; /* "" = none */
    enum down down;             /* DOWN_NOT unless the verdict is down */
    char other_boot[65];        /* of a second process under the same URL, "" = none */
};
struct health *health_new(struct broker *b); /* NULL after logging why */
void health_destroy(struct health **hp);
void health_tick(struct broker *b); /* each second */
/* The best verdict of those that are heard; false when none of them knows it. */
bool health_robot(const struct broker *b, const char *name, struct robot_health *out);
void health_each(const struct broker *b, void (*fn)(void *arg, const char *name), void *arg); /* may name one twice */
/* How many healthds are heard; since when (unix) the one that fell silent last is silent, 0 = none is. */
unsigned health_heard(const struct broker *b, unsigned *of, int64_t *silent_since_ms);
const char *health_silent_one(const struct broker *b);                       /* its endpoint, NULL = none */
struct jv *health_jv(const struct broker *b);                                /* [{endpoint,heard,...}] */
struct jv *health_opinions_jv(const struct broker *b, const char *name);     /* [{endpoint,verdict}] */
unsigned health_sources(const struct broker *b, struct stat_source *out, unsigned max);
void health_metrics(const struct broker *b, struct buf *out);

/* ---- fleet.c ----------------------------------------------------------------------------------------------- */
struct queue_sum { /* what dispatchers counted at the durable queue while we knew them; uint64_t only */
    uint64_t accepted, rejected, done, failed, retried;
    struct hist wait;
};
struct fleet_count { /* of robots */
    unsigned all, active, draining, up, suspect, down, unknown;
    int64_t used, total; /* places of active ones; -1 = not known yet */
    int64_t open_to_queue; /* free ones that are not kept for interactive log-ins */
    int64_t abandoned;
};
struct fleet *fleet_new(struct broker *b);
void fleet_destroy(struct fleet **fp);
void fleet_tick(struct broker *b); /* each second */
/* A healthd said something of it. */
void fleet_robot_judged(struct broker *b, const char *name);
/* What dispatchers tell. */
void fleet_robots_told(struct broker *b, const char *dispatcher, const char *boot_id, struct str payload);
void fleet_stats_told(struct broker *b, const struct stats *before, const struct stats *now);
void fleet_dispatcher_gone(struct broker *b, const char *dispatcher);
void fleet_places_told(struct broker *b, const struct jv *summary); /* rows of OPS_SUMMARY */
struct fleet_count fleet_count(const struct broker *b);
/* Each robot's name whose last verdict is this, or that is wanted so. */
void fleet_each_judged(const struct broker *b, enum verdict v, void (*fn)(void *arg, const char *name, int64_t since_ms, const char *why), void *arg);
/* Each robot that is down and silent: how many sessions wait for it (-1 = not known), and when they are lost (unix). */
typedef void fleet_silent_fn(void *arg, const char *name, int64_t since_ms, const char *why, int64_t waiting, int64_t lost_at_ms);
void fleet_each_silent(const struct broker *b, fleet_silent_fn *fn, void *arg);
void fleet_each_two(const struct broker *b, void (*fn)(void *arg, const char *name), void *arg); /* two processes under one URL */
void fleet_each_draining(const struct broker *b, void (*fn)(void *arg, const char *name, int64_t left, int64_t movable), void *arg);
const struct queue_sum *fleet_queue(const struct broker *b);
double fleet_queue_since(const struct broker *b, uint64_t ago_ms, struct queue_sum *grown);
struct jv *fleet_robots_jv(const struct broker *b);
struct jv *fleet_places_jv(const struct broker *b);    /* NULL = not known yet */
void fleet_metrics(const struct broker *b, struct buf *out);

/* ---- companies.c ------------------------------------------------------------------------------------------- */
struct companies *companies_new(void);
void companies_destroy(struct companies **cp);
void companies_told(struct broker *b, const char *dispatcher, const struct msg *m); /* COMPANY_STATS, well-formed */
void companies_dispatcher_gone(struct broker *b, const char *dispatcher);
struct jv *companies_jv(const struct broker *b);

/* ---- summary.c --------------------------------------------------------------------------------------------- */
struct summary_view { /* of the durable queue; -1 = not known */
    bool is_known;
    uint64_t age_ms;
    int64_t depth, oldest_age_ms, scheduled, batches_open;
    int64_t clear_ms; /* until all that is ready has begun, at the rate of the batches */
    int64_t held;     /* by pauses and portals; not in depth */
    bool is_depth_capped, is_paused;
    int64_t refused; /* rows that the database refused lately; -1 = none */
};
struct summary *summary_new(struct broker *b);
void summary_destroy(struct summary **sp);
void summary_tick(struct broker *b);    /* each second */
void summary_watched(struct broker *b); /* somebody looks: ask more often for a while */
struct summary_view summary_view(const struct broker *b);
void summary_refusal(const struct broker *b, char *why, size_t room); /* what refused the last one */
/* Portals that are down or coming back, and parts of the queue that are paused. */
typedef void summary_portal_fn(void *arg, const char *name, const char *state, const char *why, int64_t since_ms, int64_t held);
void summary_each_portal(const struct broker *b, summary_portal_fn *fn, void *arg);
void summary_each_pause(const struct broker *b, void (*fn)(void *arg, const char *what, const char *why), void *arg);
void summary_pause(const struct broker *b, char *why, size_t room); /* why an operator paused the queue */
struct jv *summary_queue_jv(const struct broker *b); /* the durable queue; NULL = not known yet */
void summary_metrics(const struct broker *b, struct buf *out);

/* ---- trend.c ----------------------------------------------------------------------------------------------- */
struct trend *trend_new(struct broker *b);
void trend_destroy(struct trend **tp);
void trend_tick(struct broker *b); /* each second */
/* The last `points` of the hour, the youngest one still growing. */
struct jv *trend_jv(const struct broker *b, unsigned points);
#define TREND_POINTS 360

/* ---- words.c ----------------------------------------------------------------------------------------------- */
/* [{level,code,who,since,text,text_es,todo,todo_es}], worst first; *state = the worst level's name (static). */
struct jv *words_jv(const struct broker *b, const char **state);
void words_new(struct broker *b);
void words_destroy(struct broker *b);
void words_tick(const struct broker *b); /* each second, whoever looks */

/* ---- stats.c ----------------------------------------------------------------------------------------------- */
struct stats_board *stats_board_new(struct broker *b); /* the timer of all that counts */
void stats_board_destroy(struct stats_board **sp);
struct jv *stats_jv(struct broker *b, unsigned history_points); /* GET /api/v1/ops/stats */
void stats_metrics(struct broker *b, struct buf *out);          /* GET /metrics */
/* Counters and gauges that `owner` has, by name. */
struct jv *jv_new_stats(unsigned owner, const struct stats *s);

/* ---- web_session.c ----------------------------------------------------------------------------------------- */
struct web_sessions *web_sessions_new(struct broker *b); /* NULL after logging why */
void web_sessions_destroy(struct web_sessions **wp);
/* Whose cookie came with x? False when none is good. */
bool web_session_read(const struct exchange *x, struct token_key *key);
/* Does x, which changes something, come from a page of this listener? A browser always says so (RFC 6454). */
bool web_is_same_origin(const struct exchange *x);
void web_refuse_origin(struct exchange *x);
/* Is the Host among broker.ops_hosts? A page whose name was made to point here (DNS rebinding) comes with its own. */
bool web_host_ok(const struct exchange *x);
void web_refuse_host(struct exchange *x);

/* ---- strict.c ---------------------------------------------------------------------------------------------- */
/* Names in x's query and body that its operators' route does not know. */
void strict_look(const struct exchange *x, struct jv **errors);

#endif
