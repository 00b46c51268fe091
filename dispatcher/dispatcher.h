/* SPDX-License-Identifier: MIT */
/*
 * dispatcher.h - the structs and calls shared inside the dispatcher.
 *
 * One thread (the loop) owns everything here. Files and what they own:
 *   main.c        start and stop
 *   peer.c        connections to brokers: HELLO, credit, heartbeats, decode, send
 *   request.c     the table of requests in flight, op -> handler, replies, cancel, ACCEPTED
 *   lookup.c      session look-ups that wait together, one query for many; resolve_session()
 *   activity.c    when sessions were last used, flushed by the sweep
 *   robots.c      the registry of robots (database + verdicts of healthd), candidates, capabilities
 *   health_sub.c  SUB to healthd, ROBOTS to healthd
 *   robot_http.c  calls to robots (the only file that includes curl)
 *   robot_head.c disposition.c networks.c   its pure parts: header lines, file names, address ranges
 *   robot_speaks.c  which optional calls a robot speaks, and what its answers to them are worth (pure)
 *   backoff.c     how long a robot that says it is full is left alone (pure)
 *   robot_answer.c  what a robot's answer means for a client
 *   list.c download.c action.c   lane interactive
 *   execute.c     execute of a log-in, until it has a place
 *   login.c       a log-in with a place: call, outcome
 *   settle.c      unknown outcomes: the robot's list, fence, close, or waiting out the limit
 *   close.c       closing a session on its robot (client, operator, idle sweep, force_new)
 *   lease.c       renewing our leases, rescuing others'
 *   migrate.c     planning and running migrations of sessions
 *   silence.c     robots that are down, and when their sessions move or are lost
 *   boot_check.c  another boot id: a restart, or two processes under one URL
 *   mute.c        robots that are well but do not answer calls; outlier.c the judgement (pure)
 *   drain.c       sessions leave robots that an operator empties
 *   reconcile.c   comparing a robot's own session list with ours, both ways; abandoned sessions
 *   robot_list.c  a robot's list beside our rows; doctor.c tells what they disagree on
 *   job.c         jobs for clients and operators; queue_state.c the queue as a whole, and the audit trail
 *   batch.c       batches for clients; batch_body.c batch_line.c read and record what comes in
 *   asked.c       the way back from an op of the store to its request
 *   await.c       the outcome of a job that somebody else works on
 *   enqueue.c     a log-in that is put into the queue
 *   bulkhead.c    bounds by robot, company and token, and the lines in front of them
 *   queue.c       claims queued work and begins it
 *   portals.c     portals: how attempts ended, breaker and limits; breaker.c pace.c the judgement (pure); blame.c whose fault it was
 *   outcome.c     outcomes of batches' log-ins, many in one transaction
 *   round.c       items that go on after their log-in: steps in the session, its close
 *   results.c     what robots answered to the steps of rounds, streamed to clients
 *   idempotency.c Idempotency-Key: keys, and answers kept under them
 *   schedule.c webhook.c retention.c   recurring batches, who is told of a batch's end, what is too old
 *   rows.c        rows of portal_jobs that Laravel deleted, or does not let us change
 *   tally.c       counts by robot and company, told to the brokers; hogs.c the companies (pure)
 *   summary.c     what stands in the database, summed up every few seconds
 *   sweep.c       the tick that does every timed duty
 *   events.c      what is told outside (events.url), from the timeline; store_events.c the outbox
 *   verify.c      whose token it is: ours, Laravel's by a view, or whose introspect.c says
 *   control.c     session queries, operators' lists
 *   tokens.c      tokens that operators make and revoke
 *   credentials.c stored credentials that clients set and remove
 */
#ifndef CHASQUI_DISPATCHER_H
#define CHASQUI_DISPATCHER_H

#include "common/action.h"
#include "common/bus.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/jv.h"
#include "common/loop.h"
#include "common/quota.h"
#include "common/stat.h"
#include "dispatcher/robot/backoff.h"
#include "dispatcher/robot/robot_http.h"
#include "dispatcher/robot/robot_speaks.h"
#include "db/seal.h"
#include "dispatcher/store/store.h"
#include "proto/proto.h"

#include <limits.h>

struct dispatcher {
    struct loop *loop;
    struct quota stream_memory;
    const struct conf *conf;
    struct bus *bus;
    struct store *store;
    struct seal *seal; /* NULL without seal.key_file: then params and credentials are refused (see login.c) */
    struct robot_http *robot_http;
    char name[NAME_ROOM];
    char boot_id[65];
    bool draining;
    const struct news *news;  /* news.h */
    uint64_t robots_revision; /* of the registry of robots that we know, 0 = none yet; written by robots.c */

    /* each owned by its file, opaque elsewhere */
    struct peers *peers;
    struct requests *requests;
    struct lookups *lookups;
    struct robots *robots;
    struct health_sub *health_sub;
    struct leases *leases;
    struct migrations *migrations;
    struct reconciler *reconciler;
    struct sweep *sweep;
    struct activity *activity;
    struct tally *tally;
    struct summaries *summaries;
    struct drains *drains;
    struct silences *silences;
    struct mutes *mutes;
    struct boot_checks *boot_checks;
    struct batches *batches;
    struct schedules *schedules;
    struct webhooks *webhooks;
    struct retention *retention;
    struct rows *rows;
    struct queue *queue;
    struct awaits *awaits;
    struct bulkheads *bulkheads;
    struct outcomes *outcomes;
    struct verifier *verifier;
    struct events *events;
    struct portals *portals;
};

/* ---- peer.c ------------------------------------------------------------------------------------------------ */
struct peers *peers_new(struct dispatcher *d);
void peers_destroy(struct peers **pp);
void peers_bye(struct dispatcher *d, const char *reason);
void peers_event(struct dispatcher *d, const char *kind, uint64_t id, uint64_t company_id, const char *state); /* to all */
void peers_wake(struct dispatcher *d, const char *what);
int peer_send(struct dispatcher *d, unsigned peer, const struct msg *m);       /* as proto_send */
int peer_send_take(struct dispatcher *d, unsigned peer, const struct msg *m);  /* as proto_send_take */
#define PEERS_ALL UINT_MAX
void peers_send_all(struct dispatcher *d, const struct msg *m); /* to each broker that knows us */
void peer_finished(struct dispatcher *d, unsigned peer, enum lane lane);       /* a request ended, or only waits: its credit comes back */
void peer_taken(struct dispatcher *d, unsigned peer, enum lane lane);          /* one that only waited goes on: the next credit is its */
unsigned peers_window(const struct dispatcher *d);                             /* requests of a broker in flight in a lane, at most */

/* ---- request.c --------------------------------------------------------------------------------------------- */
struct wall;
enum wall_kind { WALL_ROBOT, WALL_COMPANY, WALL_DATABASE, WALL_KINDS };
/* A request in flight. Never keep a pointer to one across a message, timer or op: keep its `key` and look it up; it
 * is gone when it was answered, cancelled (unless `detached_ok` work goes on by itself) or its broker died. */
struct pass;
struct request {
    uint64_t key;              /* ours, never reused */
    uint64_t id;               /* the broker's */
    unsigned peer;             /* index of the broker connection */
    enum op op;
    enum lane lane;
    uint64_t arrived_us;
    uint64_t deadline_at_ms;   /* clock_ms() */
    char request_id[129], traceparent[129], peer_addr[65], token_name[101];
    uint64_t token_id;
    bool all_companies;
    uint64_t *companies; unsigned n_companies; /* owned */
    uint8_t secret_hash[32];
    char session_id[SESSION_ID_ROOM], file_token[513], portal[PORTAL_ROOM], action[65], job_uid[ID_JOB_UID_BYTES];
    char state[33], worker[NAME_ROOM], reason[201], error[65], robot_error[257];
    uint64_t page, company_id, job_id, cursor; unsigned limit; uint8_t priority;
    bool force_new, remember;
    char idempotency_key[256]; /* "" = none */
    uint8_t body_digest[32];
    char callback_url[501], search[101], actor[161], subject[161];
    uint64_t wait_ms, available_at_ms, until_ms, since_ms, for_ms, batch_id, index;
    bool closes, one;
    char name[401];
    struct pass *pass;         /* of ROBOT_PASS; owned; NULL = none, or not a good one */
    char *params; size_t params_len; /* the payload: JSON object text or NDJSON lines; owned, wiped at the end; NULL = none */
    /* Called when the broker cancels or the broker is gone, before the request is freed; set by the handler. */
    void (*on_cancel)(struct dispatcher *d, struct request *r);
    void *work;                /* the handler's own; the handler frees it before replying, on_cancel too */
    /* request.c's own */
    struct request *next_by_key, *next_by_id;
    struct loop_timer expiry;
    struct dispatcher *d;
    uint64_t waited_ms;        /* in the broker, before it came */
    uint64_t counted_company;  /* whose it turned out to be, for the tally; 0 = company_id's */
    bool streaming;
    bool cut;                  /* a chunk of it could not be sent: it must not end as if whole */
    bool gone_once;            /* close.c: the robot said 404 and the session was looked up again */
    uint64_t chunk_seq, chunk_limit;
    size_t chunk_bytes;        /* of one at most */
    void (*on_credit)(struct dispatcher *d, struct request *r);
    /* for the line that a failed request leaves in the log: which job and robot, where the time went */
    uint64_t job;
    char robot[NAME_ROOM];
    int64_t db_ms, robot_ms;
    /* bulkhead.c's */
    struct wall *wall[WALL_KINDS];            /* that it holds a place of */
    struct wall *parked, *line;               /* parked: it holds no credit; line: it waits its turn at this one */
    struct request *line_prev, *line_next;
    uint32_t line_robot; uint64_t line_company;
    void (*turn)(struct dispatcher *d, struct request *r);
    char content_encoding[61]; /* of the body, set before the reply; "" = none */
    bool replayed;             /* set before the reply: the answer is that of an earlier request with the same key */
};
void request_free(struct dispatcher *d, struct request *r); /* for reply.c: it was answered */
struct requests *requests_new(void);
/* A REQUEST came from a broker; and what ends or feeds one. Called by peer.c. false = not taken (its id is in use). */
bool request_take(struct dispatcher *d, unsigned peer, const struct msg_REQUEST *m, struct str payload);
void request_cancel(struct dispatcher *d, unsigned peer, uint64_t id);
void request_credit(struct dispatcher *d, unsigned peer, uint64_t id, uint64_t limit);
void requests_peer_gone(struct dispatcher *d, unsigned peer);
void requests_destroy(struct requests **rp);
struct request *request_find(struct dispatcher *d, uint64_t key); /* NULL = gone */
/* Each request of an op; fn may answer the one it is given. */
void requests_each(struct dispatcher *d, enum op op, void (*fn)(struct dispatcher *d, struct request *r, void *arg), void *arg);
bool request_may_see(const struct request *r, uint64_t company_id);
/* Who asks, for the audit trail: "token:<id>:<name>". */
void request_actor(const struct request *r, struct actor *out);
int64_t request_left_ms(const struct dispatcher *d, const struct request *r);
unsigned requests_in_flight(const struct dispatcher *d);
/* Each of these answers once and frees the request. Bodies are copied unless said otherwise. */
void reply_take(struct dispatcher *d, struct request *r, int status, const char *content_type, const char *session_id,
                struct buf *body); /* takes body's bytes; longer than REPLY_PAYLOAD_MAX: streamed by itself, from memory */
void reply_jv(struct dispatcher *d, struct request *r, int status, struct jv *body);                /* takes body */
/* message NULL = err_text(e); extra (taken, may be NULL) = members merged into the error body. Base URLs of robots in message
 * and extra are the caller's to replace (robots_hide_urls). */
void reply_error(struct dispatcher *d, struct request *r, enum err e, const char *message, struct jv *extra);
void reply_ended(struct dispatcher *d, struct request *r, const struct session_row *row); /* 410 with state, since, reason, successor_session_id */
/* Tells the broker. job_uid NULL = the request's own. */
void request_accepted(struct dispatcher *d, struct request *r, uint64_t job_id, const char *job_uid);
/* Streams: begin, then chunks as the receiver's credit allows; `writable` says chunks may be sent now. */
void stream_begin(struct dispatcher *d, struct request *r, int status, const char *content_type, int64_t length /* -1 unknown */,
                  const char *filename /* NULL = not an attachment */, const char *session_id,
                  void (*on_credit)(struct dispatcher *d, struct request *r));
unsigned stream_credit(const struct request *r);
void stream_chunk(struct dispatcher *d, struct request *r, char *data /* malloc'ed, taken */, size_t len);
void stream_end(struct dispatcher *d, struct request *r, bool broken); /* needs no credit; answers and frees the request */

/* ---- lookup.c ---------------------------------------------------------------------------------------------- */
/* The session a call is for, adopted when Laravel made it, waited for when it migrates. */
enum resolve { RESOLVE_OK, RESOLVE_NOT_FOUND, RESOLVE_ENDED, RESOLVE_MIGRATING, RESOLVE_ROBOT_UNKNOWN, RESOLVE_DOWN,
               RESOLVE_SILENT /* its robot does not answer at present, the session is kept */ };
/* `row` is valid during the call. RESOLVE_OK: row->base_url's robot is registered (row->robot_id) and the request's token may see
 * the company. Another company's session is NOT_FOUND. RESOLVE_MIGRATING only at the request's deadline (until then it is waited for,
 * and the migration made urgent), and for a close of a session that is being closed: what comes of that is waited for. Requests that call no robot do not wait: they get RESOLVE_OK with a row that is
 * migrating or whose robot is down; a close also one of a robot that is not registered any more (robot_id 0). */
typedef void resolve_fn(struct dispatcher *d, struct request *r, enum resolve res, const struct session_row *row);
struct lookups *lookups_new(struct dispatcher *d);
void lookups_destroy(struct lookups **lp);
void resolve_session(struct dispatcher *d, struct request *r, const char *session_id, resolve_fn *fn);
/* A session moved, or was lost: who waits for one looks again at once. */
void lookups_wake(struct dispatcher *d);
/* Replies for every result but RESOLVE_OK. */
void resolve_reply(struct dispatcher *d, struct request *r, enum resolve res, const struct session_row *row);
/* activity.c */
void activity_hold(struct dispatcher *d, uint64_t session_ref);         /* a call or stream runs: counts until dropped */
void activity_drop(struct dispatcher *d, uint64_t session_ref);
void activity_touch(struct dispatcher *d, uint64_t session_ref);       /* somebody wanted to use it */
void activity_flush(struct dispatcher *d);
int64_t activity_flush_every_ms(const struct dispatcher *d);            /* min(10 s, idle timeout / 4) */

void activity_destroy(struct activity **ap);

/* ---- robots.c ---------------------------------------------------------------------------------------------- */
struct robot { /* borrowed until the next return to the loop; keep the id */
    uint32_t id;
    char name[NAME_ROOM], base_url[URL_ROOM], viewer_url[URL_ROOM];
    enum wanted wanted;
    enum verdict verdict;      /* of the best publisher heard; UNKNOWN when all are silent */
    enum verdict last_judged;  /* last one that was not unknown */
    enum down down;            /* how it is down; DOWN_NOT unless last_judged is down */
    bool is_mute;              /* healthy, but our calls go unanswered */
    bool is_two;               /* two processes answer under its URL */
    char boot_id[65];          /* newest seen, from health or X-Robot-Boot */
    struct speaks speaks;      /* the optional calls, as far as they are known under this boot */
    int8_t fenced;             /* what the database knows of it: 1 lists its sessions, 0 does not, -1 not known yet */
    int64_t sessions, capacity;/* as the robot told, -1 = not */
    struct backoff full;       /* it said that it is full: no candidate meanwhile */
    int64_t since_ms;          /* unix time of the verdict, 0 = none */
    char why[101];             /* of a verdict that is not up, "" = none */
};
struct robots *robots_new(struct dispatcher *d);
void robots_destroy(struct robots **rp);
void robots_reload(struct dispatcher *d);          /* asks the store for a newer revision; each sweep */
const struct robot *robot_by_id(const struct dispatcher *d, uint32_t id);
const struct robot *robot_by_name(const struct dispatcher *d, const char *name);
const struct robot *robot_by_url(const struct dispatcher *d, const char *url); /* normalised first (common/url.h) */
void robots_each(struct dispatcher *d, void (*fn)(struct dispatcher *d, const struct robot *r, void *arg), void *arg);
/* Candidates for a log-in: wanted active, not full, not down (verdict, or last judged when unknown); rank 1 = suspect. Without those in `except`. */
unsigned robots_candidates(const struct dispatcher *d, struct candidate *out, unsigned max, const uint32_t *except, unsigned n_except);
/* A verdict from healthd, or an X-Robot-Boot header seen on an answer. Calls migrate_robot_changed() on down, on a new boot and on recovery. */
void robots_judged(struct dispatcher *d, const struct health_row *row);
/* What the robot said to a log-in that was sent at asked_ms (monotonic): full, or not. Full: not asked for the time that is answered. */
uint32_t robots_full(struct dispatcher *d, uint32_t robot_id, uint64_t asked_ms);
void robots_not_full(struct dispatcher *d, uint32_t robot_id);
unsigned robots_n_full(const struct dispatcher *d); /* that are not asked now because they are full */
void robots_all_unknown(struct dispatcher *d);     /* every publisher silent */
/* A boot id in what the robot answered to a question of asked_ms. One that is new is checked (boot_check.c) before sessions end by it. */
void robots_boot_seen(struct dispatcher *d, uint32_t robot_id, const char *boot_id, uint64_t asked_ms);
bool robots_boot_checked(struct dispatcher *d, uint32_t robot_id); /* it was a restart; false: nothing is in doubt any more */
bool robots_boot_in_doubt(const struct dispatcher *d, uint32_t robot_id);
void robots_boots_look(struct dispatcher *d);      /* each sweep: are two still two? */
void robots_mute(struct dispatcher *d, uint32_t robot_id, bool is_mute);
/* The verdict for people: healthd's, and what our own calls say. *why "" = none. */
enum verdict robot_verdict(const struct robot *r, const char **why);
/* What an answer to an optional call is worth (robot_speaks.h); learns from it. A robot that is not registered any more told nothing. */
enum told robots_told_list(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a, struct jv **body);
enum told robots_told_closed(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a);
enum told robots_told_fenced(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a, uint64_t epoch);
/* Replaces every robot's base URL in text by the robot's name, in place (room incl. NUL). */
void robots_hide_urls(const struct dispatcher *d, char *text, size_t room);

/* ---- health_sub.c ------------------------------------------------------------------------------------------ */
struct health_sub *health_sub_new(struct dispatcher *d);
void health_sub_destroy(struct health_sub **hp);
void health_sub_tick(struct dispatcher *d);        /* silence; ROBOTS every 10 s, at once when the revision changed */
void health_sub_judge(struct dispatcher *d);       /* tells robots.c every verdict again: its registry changed */

/* ---- handlers (request.c calls one by op) ------------------------------------------------------------------- */
void list_start(struct dispatcher *d, struct request *r);
void list_robot_down(struct dispatcher *d, uint32_t robot_id); /* its lists under way look for their sessions again */
void download_start(struct dispatcher *d, struct request *r);
void action_start(struct dispatcher *d, struct request *r);
void login_start(struct dispatcher *d, struct request *r);
void login_await(struct dispatcher *d, struct request *r);      /* JOB_AWAIT */
void enqueue_start(struct dispatcher *d, struct request *r);    /* EXECUTE_QUEUED */
void close_start(struct dispatcher *d, struct request *r);      /* SESSION_CLOSE and OPS_SESSION_CLOSE */
void control_start(struct dispatcher *d, struct request *r);    /* tokens, session queries, ops lists */
void migrate_start(struct dispatcher *d, struct request *r);    /* OPS_SESSION_MIGRATE */
void doctor_start(struct dispatcher *d, struct request *r);     /* OPS_DOCTOR */
void job_start(struct dispatcher *d, struct request *r);        /* JOB_GET, JOBS, JOB_CANCEL, OPS_JOB* */
void queue_state_start(struct dispatcher *d, struct request *r); /* OPS_QUEUE* */
void look_back_start(struct dispatcher *d, struct request *r);   /* OPS_AUDIT, OPS_ERRORS */
void worker_start(struct dispatcher *d, struct request *r);      /* OPS_WORKER_ADD, OPS_WORKER_SET */
void batch_start(struct dispatcher *d, struct request *r);      /* BATCH_*, OPS_BATCHES */
void results_start(struct dispatcher *d, struct request *r);    /* BATCH_RESULTS */
void bulk_start(struct dispatcher *d, struct request *r);
void verify_start(struct dispatcher *d, struct request *r);      /* TOKEN_VERIFY */
void tokens_start(struct dispatcher *d, struct request *r);      /* OPS_TOKENS, OPS_TOKEN_CREATE, OPS_TOKEN_REVOKE */
void credentials_start(struct dispatcher *d, struct request *r); /* CREDENTIALS_SET, CREDENTIALS_REMOVE */
void schedules_start(struct dispatcher *d, struct request *r);   /* OPS_SCHEDULES, OPS_SCHEDULE_SET */
void refused_start(struct dispatcher *d, struct request *r);     /* OPS_REFUSED, OPS_REFUSED_LIFT */
struct batches *batches_new(struct dispatcher *d);
void batches_destroy(struct batches **bp);

/* ---- the life of sessions ----------------------------------------------------------------------------------- */
/* The robot said 404 on a list or action of this session: asks /health first, then ends it (expired, or lost by a new boot) by
 * compare-and-swap and answers; if the row moved on, resolves again once and calls `again`. */
/* `r` may be NULL: nobody is answered. */
void session_gone(struct dispatcher *d, struct request *r, const struct session_row *row, void (*again)(struct dispatcher *d, struct request *r));
struct leases *leases_new(struct dispatcher *d);
void leases_destroy(struct leases **lp);
void lease_fill(struct dispatcher *d, struct lease *l, int64_t limit_ms); /* a fresh token */
/* The lease is not ours any more (LEASE_LOST: it is dropped already), or its job is to stop (LEASE_CANCELLED). Called once for each; may
 * drop the lease. */
typedef void lease_told_fn(struct dispatcher *d, uint64_t job_id, enum lease_news news, void *arg);
/* Keeps the lease renewed until lease_drop(). */
void lease_hold(struct dispatcher *d, uint64_t job_id, const struct lease *l, lease_told_fn *told, void *arg);
void lease_drop(struct dispatcher *d, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES]);
/* May the robot still be called under this lease? (when it was asked for + ttl - margin, renewals counted) */
bool lease_trusted(struct dispatcher *d, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES]);
void leases_tick(struct dispatcher *d);            /* renew, rescue */
void leases_renew_soon(struct dispatcher *d);      /* somebody asked a job to stop, or one is not trusted */
void leases_rescue_soon(struct dispatcher *d);     /* somebody let leases run out */
void leases_resign(struct dispatcher *d);          /* we stop: what we still hold is rescued at once */

/* Settles a log-in whose outcome is unknown, however it came (timeout, reset, rescue), and then finishes the job: done when the
 * robot has the session, failed with `error` after the fence. Owns the lease from now on. */
struct settle_in { uint64_t job_id, session_ref, epoch, company_id; uint32_t robot_id; bool migrating; char portal[PORTAL_ROOM],
                   job_uid[ID_JOB_UID_BYTES], boot_id[65]; struct lease lease; int64_t limit_left_ms; enum err error; char message[256];
                   struct buf remember; /* sealed credentials to keep on success; taken over */
                   struct queued item; bool cancelled; /* somebody asked the job to stop */ };
void settle_login(struct dispatcher *d, struct settle_in *in); /* takes over `in` (malloc'ed) */
void settle_rescued(struct dispatcher *d, struct rescued *job, const struct lease *lease); /* the same for a log-in of a dispatcher that died */
unsigned settles_running(const struct dispatcher *d);

/* Closes a session on its robot and in the database; fn(arg, ok, err, row) at the end. ERR_LOGIN_IN_PROGRESS: a round works in it, nothing
 * changed. request_key only for logs and audit. */
typedef void close_done_fn(struct dispatcher *d, void *arg, enum err e, const struct session_row *row);
void close_session(struct dispatcher *d, const struct session_row *row, enum session_state to, const char *reason,
                   const struct request *actor /* NULL = system */, bool claimed /* lease held already */, const struct lease *lease,
                   close_done_fn *fn, void *arg);
/* Closes a session, whose row is closing under a lease of the caller's, on its robot alone. e: not confirmed; else the fate of its place. */
typedef void close_judged_fn(struct dispatcher *d, void *arg, enum err e, enum place_fate place);
void close_on_robot(struct dispatcher *d, const struct session_row *row, const char *request_id, close_judged_fn *fn, void *arg);
void close_idle_tick(struct dispatcher *d);

struct migrations *migrations_new(struct dispatcher *d);
void migrations_destroy(struct migrations **mp);
void migrate_robot_changed(struct dispatcher *d, uint32_t robot_id, const char *reason /* robot_down, robot_silent (for too long), robot_restarted, robot_up */);
void migrate_stored_away(struct dispatcher *d, uint32_t robot_id); /* it is silent: its sessions with stored credentials move, the others wait on */
void migrate_urgent(struct dispatcher *d, uint64_t job_id);
void migrate_tick(struct dispatcher *d);           /* claim what is due */
void migrate_resume(struct dispatcher *d, struct rescued *job, const struct lease *lease); /* a rescued migration */

/* ---- silence.c ---------------------------------------------------------------------------------------------- */
struct silences *silences_new(void);
void silences_destroy(struct silences **sp);
void silence_tick(struct dispatcher *d);                         /* each sweep, and at once when a robot is judged down */
void silence_over(struct dispatcher *d, uint32_t robot_id);      /* the robot answers again */

/* ---- boot_check.c --------------------------------------------------------------------------------------------- */
struct boot_checks *boot_checks_new(void);
void boot_checks_destroy(struct boot_checks **bp);
void boot_check(struct dispatcher *d, uint32_t robot_id);            /* another boot id: restarted, or a second process? */
void boot_check_two(struct dispatcher *d, const struct robot *robot); /* a second process was found: written into the audit trail */

/* ---- mute.c --------------------------------------------------------------------------------------------------- */
struct mutes *mutes_new(void);
void mutes_destroy(struct mutes **mp);
void mute_called(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a); /* a call ended, or was stopped */
void mute_tick(struct dispatcher *d);                                                   /* each sweep */

/* ---- drain.c: sessions leave robots that an operator empties ------------------------------------------------ */
struct drains *drains_new(struct dispatcher *d);
void drains_destroy(struct drains **dp);
void drain_tick(struct dispatcher *d); /* each sweep */

struct reconciler *reconciler_new(struct dispatcher *d);
void reconciler_destroy(struct reconciler **rp);
void abandoned_free(struct dispatcher *d, uint64_t session_ref); /* what was left behind there is gone: its place is free */
void reconcile_robot(struct dispatcher *d, uint32_t robot_id); /* soon: compare lists, close what is pending, find what it speaks */
void reconcile_tick(struct dispatcher *d);         /* one robot after another, each every 30 s; at once for those with pending closes */

/* ---- queued work (queue.c) ----------------------------------------------------------------------------------- */
struct queue *queue_new(struct dispatcher *d);
void queue_destroy(struct queue **qp);
void queue_wake(struct dispatcher *d);                         /* work, or a place, is there */
void queue_due_in(struct dispatcher *d, int64_t ms);           /* something becomes ready then */
void queue_login_ended(struct dispatcher *d);                  /* one that login_queued() began */
void queue_batch_touched(struct dispatcher *d, uint64_t batch_id); /* an item of it ended; 0 = none */
struct outcomes *outcomes_new(struct dispatcher *d);
void outcomes_destroy(struct dispatcher *d);
/* Records it with others (store_logins_done); `done` is called as store_submit's. */
void outcome_record(struct dispatcher *d, struct store_login_done *op, store_done_fn *done, void *arg);
/* The job ended here: who waits for it looks at once. */
struct awaits *awaits_new(struct dispatcher *d);
void awaits_wake(struct dispatcher *d, uint64_t job_id);
void awaits_destroy(struct dispatcher *d);

/* ---- tally.c: counts by robot and company, told to the brokers ---------------------------------------------- */
struct tally *tally_new(struct dispatcher *d);
void tally_destroy(struct tally **tp);
void tally_greeted(struct dispatcher *d, unsigned peer); /* a broker knows us now */
void tally_login_begun(struct dispatcher *d, uint32_t robot_id);
void tally_login_ended(struct dispatcher *d, uint32_t robot_id, bool is_open, int64_t took_ms /* -1 = nothing was sent */);
void tally_mute(struct dispatcher *d, uint32_t robot_id, unsigned unanswered); /* 0 = it answers */
void tally_fault(struct dispatcher *d, uint32_t robot_id, enum fault fault);
void tally_called(void *arg, uint32_t robot_id, bool is_login, const struct call_answer *a); /* a call_watch_fn */
void tally_attempt(struct dispatcher *d, const char *portal, const char *action, const char *outcome, const char *robot_error);
void tally_waited(struct dispatcher *d, uint64_t company_id, uint64_t ms);
void tally_request(struct dispatcher *d, const struct request *r); /* it ends */
void tally_queued(struct dispatcher *d, uint64_t company_id, uint64_t ms); /* a queued job, until its claim */
void tally_used(struct dispatcher *d, uint64_t company_id, uint64_t ms);
/* ---- summary.c: OPS_SUMMARY --------------------------------------------------------------------------------- */
struct summaries *summaries_new(struct dispatcher *d);
void summaries_destroy(struct summaries **sp);
void summary_start(struct dispatcher *d, struct request *r);

struct sweep *sweep_new(struct dispatcher *d);
void sweep_destroy(struct sweep **sp);
void sweep_soon(struct dispatcher *d);

#endif
