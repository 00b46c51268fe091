/* SPDX-License-Identifier: MIT */
/*
 * store.h - everything the dispatcher asks of the database.
 *
 * store.c owns dispatcher.db_threads actor threads, each with one
 * connection. A request is an `op`: a struct of inputs and outputs that the
 * caller allocates, hands over with store_submit(), and gets back in its done
 * callback on the loop's thread. While it is away nothing else touches it. No
 * state is shared, so there are no locks. Order between ops is not promised.
 *
 * The functions store_*() below run on an actor thread. Each is one straight
 * function, one transaction at the most; each sets op->rc. Sessions, jobs and
 * leases change by compare-and-swap only: state and epoch for sessions, the
 * lease token for jobs. All times are the database's clock (NOW(6)), UTC.
 *
 * A robot is called only after the commit that reserved its place (invariant 7).
 */
#ifndef CHASQUI_STORE_H
#define CHASQUI_STORE_H

#include "common/action.h"
#include "common/buf.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/id.h"
#include "common/jv.h"
#include "common/loop.h"
#include "proto/proto.h"
#include "dispatcher/store/attempt.h"
#include "dispatcher/store/breaker.h"
#include "db/mariadb.h"
#include "dispatcher/store/store_pulse.h"
#include "dispatcher/store/trouble.h"

struct store;

enum store_rc {
    STORE_OK,      /* asked and answered; see the op's outcome */
    STORE_DOWN,    /* the database cannot be reached or takes no writes; nothing was done */
    STORE_REFUSED, /* a constraint, trigger or column refuses this for good; nothing was done; store_refusal() names it. Never retried */
    STORE_UNKNOWN  /* the connection broke at COMMIT and could not be asked again: treat as "maybe done" */
};

typedef void store_fn(struct db *db, void *op);
typedef void store_done_fn(void *arg, void *op);

struct store *store_new(struct loop *l, const struct conf *conf);
/* Waits for the threads (each finishes its current op), then drops the queued ops without calling back. */
void store_destroy(struct store **sp);
/* `duty` names the op where it fails (a static text). */
void store_submit_duty(struct store *s, const char *duty, store_fn *fn, void *op, store_done_fn *done, void *arg);
#define store_submit(s, fn, op, done, arg) store_submit_duty(s, #fn, fn, op, done, arg)
/* Likewise for what must not wait behind others, which may all wait for a row that another application holds: it has a
 * thread of its own, besides the others, and overtakes them. */
void store_submit_prompt(struct store *s, const char *duty, store_fn *fn, void *op, store_done_fn *done,
                         void *arg);
/* Inside a done callback whose op came back with STORE_REFUSED: what refused it. NULL = it is not known. */
const struct db_refusal *store_refusal(const struct store *s);
bool store_is_up(const struct store *s); /* a server takes writes, as far as the last pulse told */
struct store_state {
    enum db_state state;
    int64_t since_ms; /* unix */
    int host;
    struct db_node node;
    char why[300];
};
struct store_state store_state(const struct store *s);
const char *store_host(const struct store *s); /* the server that is used, or was last */
/* Did the database refuse just now to prepare a statement, since its max_prepared_stmt_count is reached? */
bool store_is_full(const struct store *s);
/* Which server is used, for PING: host, tab, the node's state, tab, nodes in touch (both empty or 0 without a cluster), tab, servers
 * of db.host, tab, those that are left alone: "foreign NAME," or "bare NAME," each. */
#define NODE_TEXT_MAX 600
void store_node_text(const struct store *s, char out[NODE_TEXT_MAX + 1]);
/* The duties that fail: see trouble.h. */
void store_troubles(const struct store *s, char out[TROUBLE_TEXT_MAX + 1]);
/* What failed by this duty went well by another one. */
void store_duty_over(struct store *s, const char *duty);
unsigned store_waiting(const struct store *s);      /* ops that wait for a thread */
unsigned store_idle_threads(const struct store *s); /* look-ups gather while this is 0 */

#define GROUP_MAX 200
struct store_group { /* ops that are done in one transaction */
    unsigned n;
    void *op[GROUP_MAX];      /* the caller's; each has its own outcome and rc */
    bool is_apart[GROUP_MAX]; /* out: nothing was done of it; it is to be done by itself */
};

/* ---- shapes ------------------------------------------------------------------------------------------------- */

#define SESSION_ID_ROOM 101
#define PORTAL_ROOM 65
#define URL_ROOM 256
#define NAME_ROOM 65
#define REASON_ROOM 41
#define TITLE_ROOM (255 * 4 + 1) /* 255 characters */
#define LOOKUP_MAX 128

enum session_state {
    SESSION_OPENING,
    SESSION_ACTIVE,
    SESSION_CLOSING,
    SESSION_CLOSED,
    SESSION_EXPIRED,
    SESSION_LOST,
    SESSION_MIGRATED,
    SESSION_STATE_COUNT
};
extern const char *const session_state_name[SESSION_STATE_COUNT];

/* What a session that has ended leaves on its robot: machine `remains` of db/state.def. */
enum session_remains { REMAINS_NONE, REMAINS_PENDING, REMAINS_FADING };

/* The current generation of a session, joined with its portal_jobs row. */
struct session_row {
    uint64_t ref; /* chasqui_sessions.id; 0 = a Laravel row not adopted yet */
    uint64_t job_id;
    uint64_t company_id;
    uint32_t generation;
    enum session_state state;
    uint64_t epoch;
    uint32_t robot_id;            /* 0 = none (or base_url not registered) */
    bool migrating;               /* a row in chasqui_session_migrations, or opening with generation > 1 */
    bool is_rowless;              /* its portal_jobs row is deleted: it is closed, and does not count meanwhile */
    enum session_remains remains; /* close_pending */
    int64_t since_ms, started_ms, activity_ms; /* unix ms, 0 = NULL */
    int64_t age_ms; /* since `since_ms` when it was read, by the database's clock: ours may be another */
    char portal[PORTAL_ROOM];
    char job_uid[65];                 /* Laravel's may be longer than ours */
    char session_id[SESSION_ID_ROOM]; /* the current one */
    char boot_id[65];
    char reason[REASON_ROOM];
    char base_url[URL_ROOM];   /* portal_jobs.robot_worker_base_url, as stored: the truth for every call */
    char viewer_url[URL_ROOM]; /* portal_jobs.robot_worker_viewer_url: the robot's viewer BASE */
    char title[TITLE_ROOM];
    char successor
        [SESSION_ID_ROOM]; /* for ended ones: the live session id of the same company and portal, "" = none */
};

struct lease { /* who we are; expiry = NOW + ttl_ms */
    uint8_t token[ID_TOKEN_BYTES];
    char holder[NAME_ROOM];
    char boot_id[65];
    int64_t ttl_ms;
    int64_t limit_ms;  /* limit_at = NOW + this */
    uint64_t asked_ms; /* by our clock: its term is counted from here */
};

#define ACTOR_MAX 160 /* characters of chasqui_audit.actor */
struct actor {        /* who asks for a change, for its audit row; name "" = there is none */
    char name[ACTOR_MAX * 4 + 1], peer[65], request_id[129];
    char why[201]; /* in their words */
};

/* Stored credentials, as far as is known of them: when they were set, and what a robot said when it refused them for good. */
struct refused_before {
    uint64_t set_us; /* microseconds since 1970 */
    int64_t at_ms;   /* they were refused then (unix); 0 = never */
    char error[65 * 4];
};

#define DIGEST_BYTES 32

/* A key stands for the job or batch that was made with it, for 24 h. scope = keyed hash of who may use it, the route and the key; digest =
 * keyed hash of the body. */
struct idempotency {
    bool is_set; /* false: the request has no key */
    uint8_t scope[DIGEST_BYTES], digest[DIGEST_BYTES];
};
/* The queued side of a log-in: its item, and its attempts. */
struct queued {
    bool is_set;              /* false: a synchronous execute, or a migration */
    uint64_t batch_id, idx;   /* of chasqui_items; batch 0 = a job of its own */
    uint32_t attempts, tries; /* counted before acting, this one included; and how many there may be */
    bool is_round;            /* steps follow the log-in, or the session is closed at the end: round.h */
};

/* ---- look-ups (lane interactive's hot path: many in one query) ---------------------------------------------- */

struct store_lookup {
    unsigned n;                              /* in: 1..LOOKUP_MAX */
    char asked[LOOKUP_MAX][SESSION_ID_ROOM]; /* in; compared byte for byte */
    bool whole;             /* in: rows of active sessions are read whole; else only what a call needs:
                                                  * without times, viewer, title, reason and job_uid */
    bool found[LOOKUP_MAX]; /* out */
    /* out. ref 0 + found = Laravel's row (done|running, id and base URL set, newest) */
    struct session_row row[LOOKUP_MAX];
    enum store_rc rc;
};
/* One narrow query for Chasqui's active sessions; more only for ids that it does not settle: those of older generations
 * (any generation's id -> the job's current row; of several jobs the live one, else the newest) and of sessions that are not
 * active, Laravel's unadopted rows, and the successors of ended ones. */
void store_lookup(struct db *db, void *op);

struct store_active { /* the live session of a company and portal, else Laravel's newest unadopted row */
    uint64_t company_id;
    char portal[PORTAL_ROOM];
    int64_t laravel_max_age_ms; /* a Laravel row counts only when updated within this; <0 = any age */
    bool found;
    struct session_row row;
    enum store_rc rc;
};
void store_active(struct db *db, void *op);

struct store_adopt { /* a Laravel row becomes a session: gen 1, active, adopted=1, takes a place (a new slot above
                      * capacity when none is free). Idempotent; loses gracefully when the company has a live one. */
    uint64_t job_id;
    uint64_t company_id; /* this, portal and asked (the session's id) as they were looked up: for store_adopts() */
    char portal[PORTAL_ROOM], asked[SESSION_ID_ROOM];
    uint32_t robot_id;
    bool adopted;           /* false: another live session of company and portal exists, or the row changed */
    struct session_row row; /* adopted: the session; else as it came in */
    enum store_rc rc;
};
void store_adopt(struct db *db, void *op);
/* A store_group of struct store_adopt, those of one moment: all that become sessions are written together. What is out of
 * the ordinary is apart, and so is all that the database refuses. */
#define ADOPTS_MAX 64
void store_adopts(struct db *db, void *op);

/* ---- log-in ------------------------------------------------------------------------------------------------- */

#define CANDIDATES_MAX 1024
struct candidate {
    uint32_t robot_id;
    uint8_t rank; /* 0 preferred (up/unknown as last judged), 1 suspect */
    /* As the dispatcher counted lately: the number of its count, and of places that are held. 0 = it has not counted: whoever needs it
     * counts. All candidates of an op are of one count. */
    uint32_t counted, capacity, used;
};

#define HELD_MAX 4096 /* robots */
struct
    store_held { /* how many places of each robot are held: counted for all log-ins, so that none counts for itself */
    uint64_t all;
    uint64_t took_us;
    unsigned n;
    struct robot_held {
        uint32_t robot_id, capacity, used; /* capacity 0: it may not be given a log-in */
    } row[HELD_MAX];                       /* in the order of their ids */
    enum store_rc rc;
};
void store_held(struct db *db, void *op);

struct work_room {                                /* the robots that queued work may go to */
    unsigned n_full;                              /* they said they are full and are not asked now */
    unsigned kept_back_percent, logins_per_robot; /* as in store_claim */
    unsigned n_candidates;
    struct candidate candidate[CANDIDATES_MAX];
};

enum reserve_outcome {
    RESERVE_OK,          /* committed: call the robot now */
    RESERVE_ROBOT_DOWN,  /* an active session is there (row), but its robot is down */
    RESERVE_REUSED,      /* an active session is there (activity written): row */
    RESERVE_IN_PROGRESS, /* another log-in runs: row.job_id */
    RESERVE_CLOSING,     /* the live session is being closed: row */
    RESERVE_ROWLESS,     /* the portal_jobs row of the active session is gone: close that first: row */
    RESERVE_MIGRATING,   /* the live session is being migrated: row */
    RESERVE_NO_PLACE,    /* nothing was written */
    RESERVE_GATED,       /* the portal's breaker or limits: gate_* tell; nothing was written */
    RESERVE_LOST,        /* (again/migrate) the lease is not ours any more */
    RESERVE_DUP_UID,     /* this job_uid exists already: row.job_id */
    RESERVE_REPLAY,      /* the key has a job already: job_id */
    RESERVE_MISMATCH     /* the key has another body */
};

struct store_reserve {
    /* in */
    char job_uid[ID_JOB_UID_BYTES];
    uint64_t company_id;
    char portal[PORTAL_ROOM], action[65];
    uint8_t priority;
    bool remember;
    /* sealed; borrowed, lives as long as the op */
    const void *params;
    size_t params_len;
    /* user_id: Laravel's user of the token; 0 = none */
    uint64_t token_id, user_id;
    char request_id[129];
    struct lease lease;
    int64_t laravel_max_age_ms;
    struct idempotency key;
    bool force_new; /* an active session will be closed first: the key is not for it */
    /* the portal may hold log-ins back; NULL = it does not, as far as is known here */
    const struct portal_conf *gate;
    struct breaker_times breaker;
    unsigned n_candidates;
    struct candidate candidate[CANDIDATES_MAX];
    /* out */
    enum reserve_outcome outcome;
    uint64_t job_id, session_ref, epoch;
    uint32_t robot_id, slot;
    struct buf credentials;        /* sealed stored credentials, empty = none; freed by the caller */
    struct refused_before refused; /* of those credentials */
    /* enum portal_gate; what the robots say of the portal */
    int gate_why;
    uint64_t gate_wait_us;
    char gate_error[65];
    struct session_row row;
    enum store_rc rc;
};
/* One transaction: lock the epoch row of company+portal; look for a live session; choose the candidate with the
 * fewest sessions for its capacity (lowest rank first; wanted=active and no close_pending=1 rows, read in the same
 * transaction), take a free slot (FOR UPDATE SKIP LOCKED, slot <= capacity), raise the epoch, insert portal_jobs
 * (status running, attempts 1), chasqui_jobs, the session (opening), lease kind login, timeline event. An unadopted
 * Laravel row young enough is adopted and REUSED. */
void store_reserve(struct db *db, void *op);
/* A store_group of struct store_reserve, those of one moment: all that begin are written together. What is out of the
 * ordinary is apart, and so is all that the database refuses. They go to the candidates of the first one. */
#define RESERVES_MAX 64
void store_reserves(struct db *db, void *op);

struct
    store_reserve_again { /* the robot was full or nothing was sent: another robot, a new epoch, same job and session row */
    uint64_t job_id, session_ref;
    struct lease lease;
    bool same_robot_ok; /* true after stale_epoch: keep the robot, only raise the epoch above `above` */
    uint64_t above;
    unsigned n_candidates;
    struct candidate candidate[CANDIDATES_MAX];
    enum reserve_outcome outcome; /* OK, NO_PLACE (the old place is kept until login_failed), LOST */
    uint64_t epoch;
    uint32_t robot_id, slot;
    enum store_rc rc;
};
void store_reserve_again(struct db *db, void *op);

struct store_login_done {
    uint64_t job_id, session_ref, company_id; /* company_id and portal: the session's */
    char portal[PORTAL_ROOM];
    uint8_t token[ID_TOKEN_BYTES];
    int64_t ttl_ms; /* of the lease, when it stays */
    char session_id[SESSION_ID_ROOM];
    char boot_id[65];
    char title[TITLE_ROOM];
    char robot_base_url[URL_ROOM], robot_viewer_url[URL_ROOM];
    char worker[NAME_ROOM];
    /* sealed, to remember; NULL = do not */
    const void *credentials;
    size_t credentials_len;
    struct queued item;
    struct attempt_end attempt;
    bool lifts; /* the stored credentials were refused before, and are good */
    enum {
        LOGIN_DONE_OK,
        LOGIN_DONE_LOST,
        LOGIN_DONE_DUP_SESSION,
        LOGIN_DONE_ROWLESS
    } outcome;              /* DUP: the id is live elsewhere; ROWLESS:
                             * Laravel deleted the job; nothing written */
    uint32_t dup_robot_id;  /* DUP: on which robot; 0 = not known */
    struct session_row row; /* OK: the active session */
    enum store_rc rc;
};
/* CAS on the lease token. kind login: job running -> done (of a round: it runs on, and its lease is of kind round from now); kind migrate: session row active under its new id, the
 * migration row deleted. portal_jobs.robot_* rewritten in the same transaction; params erased; lease deleted. */
void store_login_done(struct db *db, void *op);

enum place_fate { PLACE_FREE, PLACE_KEEP_PENDING /* its remains are pending */, PLACE_FADE /* they fade */ };

struct portal_ended {          /* how an attempt of a portal's log-in ended, for its breaker */
    uint64_t ended_ms, job_id; /* clock_ms() */
    uint32_t robot_id, took_ms;
    uint8_t how;   /* enum breaker_how */
    uint8_t taken; /* enum breaker_taken */
    char error[65];
};
struct portal_change { /* what became of the breaker */
    char portal[PORTAL_ROOM], why[65];
    enum breaker_state from, to;
    unsigned n_given_back; /* attempts */
};

/* The state of a job and its item that wait for another attempt: one whose attempt was given back is as one that did not begin. */
static inline const char *later_state(bool is_uncounted)
{
    return is_uncounted ? "queued" : "retrying";
}
struct store_login_failed {
    uint64_t job_id, session_ref;
    uint8_t token[ID_TOKEN_BYTES];
    char error[41], message[1001]; /* for the job; base URLs replaced already */
    struct attempt_end attempt;
    enum place_fate place;  /* KEEP_PENDING: session -> lost, reason abandoned; else closed, reason login_failed */
    struct queued item;     /* set: with retry_ms >= 0 the job is retried after it */
    bool uncounted;         /* this attempt does not count: the robots were full */
    bool cancelled;         /* the job ends as cancelled */
    bool is_refused_before; /* no robot was called: the stored credentials are refused */
    /* queued: while its portal's breaker is open such an attempt does not count, and is followed by another */
    bool blames_portal;
    struct portal_ended fault; /* with blames_portal: what its breaker is told; `taken` is set here */
    struct breaker_times breaker;
    char holder[NAME_ROOM];
    unsigned tries; /* of jobs that get their last attempt back */
    /* the stored credentials of that time (microseconds since 1970) were refused for good; 0 = not */
    uint64_t refused_us;
    /* with blames_portal: retry_ms in that case and in the other; retry_ms tells which it was */
    int64_t retry_down_ms, retry_up_ms;
    /* kind migrate: the migration row stays, attempts+1, available again after retry_ms; session stays opening, without robot and place
     * (with KEEP_PENDING a closed-off generation row of the old robot stays behind as lost and a new opening generation is made). */
    int64_t retry_ms; /* < 0: no further try; a migration's session is lost */
    /* out */
    bool lost;
    struct portal_change portal; /* with blames_portal */
    enum store_rc rc;
};
void store_login_failed(struct db *db, void *op);

/* ---- actions in a session (never repeated) ------------------------------------------------------------------ */

struct store_action_start {
    char job_uid[ID_JOB_UID_BYTES];
    uint64_t company_id;
    char portal[PORTAL_ROOM], action[65], session_id[SESSION_ID_ROOM], worker[NAME_ROOM];
    uint8_t priority;
    uint64_t token_id, user_id;
    char request_id[129];
    struct lease lease;
    struct idempotency key;
    /* replayed: job_id is the key's job */
    uint64_t job_id;
    bool dup_uid, replayed, mismatch;
    enum store_rc rc;
};
void store_action_start(struct db *db, void *op);
struct store_action_end {
    /* error "" = done */
    uint64_t job_id;
    uint8_t token[ID_TOKEN_BYTES];
    char error[41], message[1001];
    struct attempt_end attempt;
    bool cancelled; /* it was asked to stop: cancelled rather than failed */
    bool lost;
    enum store_rc rc;
};
void store_action_end(struct db *db, void *op);

/* ---- ends of sessions --------------------------------------------------------------------------------------- */

struct store_close_begin { /* active -> closing with a lease of kind close; CAS on state and epoch */
    uint64_t session_ref, epoch;
    struct lease lease;
    /* not ok: the row as it is now (found) */
    bool ok;
    struct session_row row;
    bool is_at_work; /* not ok: a round works in it */
    bool found;
    enum store_rc rc;
};
void store_close_begin(struct db *db, void *op);
struct store_close_end { /* by lease token: closing -> `to` (closed | expired | active again | lost) */
    uint64_t job_id, session_ref;
    uint8_t token[ID_TOKEN_BYTES];
    enum session_state to;
    char reason[REASON_ROOM];
    enum place_fate place;
    struct actor by;
    bool lost;
    enum store_rc rc;
};
void store_close_end(struct db *db, void *op);

struct
    store_session_end { /* active (or closing without us) -> expired | lost, CAS on state active and epoch; job done -> failed */
    uint64_t session_ref, epoch;
    enum session_state to;
    char reason[REASON_ROOM];
    enum place_fate place;
    /* as it is now */
    bool ok;
    bool found;
    struct session_row row;
    enum store_rc rc;
};
void store_session_end(struct db *db, void *op);

#define ACTIVITY_MAX 200
struct store_activity {
    unsigned n;
    uint64_t ref[ACTIVITY_MAX];
    enum store_rc rc;
};
void store_activity(struct db *db, void *op); /* one statement: last_activity_at = NOW(6) of active ones */

#define CLAIM_MAX 64
struct
    store_idle_claim { /* active -> closing (lease kind close) of what idled over idle_ms; SKIP LOCKED; not migrating ones */
    /* its token is used for all of them */
    int64_t idle_ms;
    struct lease lease;
    unsigned n;
    struct session_row row[CLAIM_MAX];
    enum store_rc rc;
};
void store_idle_claim(struct db *db, void *op);

/* ---- leases and rescue -------------------------------------------------------------------------------------- */

enum lease_news { LEASE_HELD, LEASE_LOST, LEASE_CANCELLED /* held, and its job is to stop */ };
struct store_renew { /* one statement for all; then which of ours remain */
    char holder[NAME_ROOM], boot_id[65];
    int64_t ttl_ms;
    unsigned n;
    uint64_t *job_id;
    uint8_t (*token)[ID_TOKEN_BYTES]; /* n entries each, owned by the caller */
    enum lease_news *news;            /* likewise; out */
    enum store_rc rc;
};
void store_renew(struct db *db, void *op);

enum lease_kind { LEASE_LOGIN, LEASE_ACTION, LEASE_CLOSE, LEASE_MIGRATE, LEASE_ROUND };
extern const char *const lease_kind_name[];
struct rescued {
    /* row.ref 0 for actions */
    uint64_t job_id;
    enum lease_kind kind;
    struct session_row row;
    char job_uid[ID_JOB_UID_BYTES];
    int64_t limit_left_ms; /* until the action's limit; <= 0 passed */
    /* sealed; for remember after a rescued success */
    bool remember;
    struct buf params;
    bool cancelled; /* its job is to stop */
    struct queued item;
};
struct store_rescue { /* takes over expired leases (new token), SKIP LOCKED */
    /* calloc'ed by the callee, max CLAIM_MAX, freed by the caller */
    struct lease lease;
    unsigned max;
    unsigned n;
    struct rescued *job;
    enum store_rc rc;
};
void store_rescue(struct db *db, void *op);
struct store_leases_expire { /* leases of `holder` expire now */
    char holder[NAME_ROOM], boot_id[65];
    bool is_own; /* those of this boot, which ends; else those of its other boots, which have ended */
    uint64_t n;
    enum store_rc rc;
};
void store_leases_expire(struct db *db, void *op);

/* ---- robots ------------------------------------------------------------------------------------------------- */

struct robot_record {
    uint32_t id;
    char name[NAME_ROOM], base_url[URL_ROOM], viewer_url[URL_ROOM];
    char boot_id[65];
    /* -1 = NULL */ int8_t fenced; /* -1 NULL */
    enum wanted wanted;
    int64_t capacity, reported_capacity;
    enum down down; /* as the dispatchers recorded it */
};
struct store_robots { /* all of them when the revision differs from `known`, else nothing */
    /* malloc'ed, freed by the caller */
    uint64_t known;
    uint64_t revision;
    bool changed;
    unsigned n;
    struct robot_record *robot;
    enum store_rc rc;
};
void store_robots(struct db *db, void *op);
struct
    store_robot_seen { /* what a robot told; -1 / "" / -1 = nothing new. Adds missing place rows; frees close_pending rows
                           * opened under another boot ("proved gone"). */
    uint32_t robot_id;
    int64_t reported_capacity;
    char boot_id[65];
    int8_t fenced;
    unsigned freed;
    enum store_rc rc;
};
void store_robot_seen(struct db *db, void *op);
struct store_robot_want {
    char name[NAME_ROOM];
    enum wanted wanted;
    int64_t deadline_in_ms; /* from now, of a drain; 0 = none */
    struct actor by;
    char detail[201];
    bool force; /* disable it though it holds sessions */
    bool found;
    char refused[400]; /* out; "" = done */
    enum store_rc rc;
};
void store_robot_want(struct db *db, void *op); /* raises the revision, audit row */
struct
    store_robot_change { /* a new robot, or what an operator says of one that is there; URLs normalised, viewer_url "" = none, capacity 0 =
                             * what the robot reports */
    char name[NAME_ROOM];
    bool is_new;
    bool has_base_url, has_viewer_url, has_capacity;
    char base_url[URL_ROOM], viewer_url[URL_ROOM];
    uint64_t capacity;
    struct actor by;
    bool is_found, is_changed;
    uint64_t capacity_stays; /* as robot_row_change.stays */
    char refused[400];       /* why nothing was written; "" = done */
    enum store_rc rc;
};
void store_robot_change(struct db *db, void *op); /* raises the revision, audit row */

#define ROBOT_SESSIONS_MAX 4096
struct store_robot_sessions { /* rows on a robot: live ones and close_pending ones */
    /* malloc'ed */
    uint32_t robot_id;
    unsigned n;
    struct session_row *row;
    enum store_rc rc;
};
void store_robot_sessions(struct db *db, void *op);
struct store_pending_done { /* close_pending row proved gone: frees its place, close_pending=0 */
    uint64_t session_ref;
    bool ok;
    enum store_rc rc;
};
void store_pending_done(struct db *db, void *op);
struct
    store_fade { /* close_pending=2 rows of a robot: frees oldest first until used <= `robot_count`, and those older than idle_ms */
    uint32_t robot_id;
    int64_t robot_count;
    int64_t idle_ms;
    unsigned freed;
    enum store_rc rc;
};
void store_fade(struct db *db, void *op);

/* ---- migrations --------------------------------------------------------------------------------------------- */

struct store_migrate_plan {
    /* The active sessions of a robot that is down (boot_now "" = by verdict) or restarted (boot_now set: those opened under another,
     * known boot). With stored credentials: a migration row (idempotent). Without: -> lost, job failed, place kept
     * pending (down) or freed (restarted). One session only when session_ref is set (operator's migrate: any robot). At most 500 a call. */
    uint32_t robot_id;
    char boot_now[65];
    char reason[REASON_ROOM];
    uint64_t session_ref;
    bool is_only_stored; /* those without stored credentials stay as they are */
    struct actor by;
    unsigned planned, lost;
    bool more;
    enum store_rc rc;
};
void store_migrate_plan(struct db *db, void *op);
struct store_migrate_unplan {
    uint32_t robot_id;
    unsigned n;
    enum store_rc rc;
};
void store_migrate_unplan(
    struct db *db,
    void *
        op); /* the robot is back (same boot): forget those not begun (reason robot_down or robot_silent, state active) */
struct store_migrate_urgent {
    uint64_t job_id;
    enum store_rc rc;
};
void store_migrate_urgent(struct db *db, void *op);
struct migrate_claimed {
    uint64_t job_id, session_ref, epoch, company_id;
    uint32_t robot_id;
    char portal[PORTAL_ROOM], action[65], job_uid[ID_JOB_UID_BYTES];
    uint32_t attempts;
    struct buf credentials;
    /* the generation left behind, by this turn or an earlier one that could not end it; to be closed on its robot
                          * when that is reachable; ref 0 = none */
    struct session_row old;
};
struct store_migrate_claim {
    /* Due migration rows (urgent first), one target each: at most 4 opening generation>1 sessions a target robot (its row is
     * locked), not the robot it is on. In one transaction for each: epoch raised; old generation -> migrated (close_pending=1 when its robot did
     * not restart, its place kept; else freed), new generation opening with a place and a lease of kind migrate. Rows over
     * timeout_ms -> lost (job failed). The first 16 due rows are tried, and 16 that come `skip` rows behind them. */
    /* <= 16 */
    struct lease lease;
    int64_t timeout_ms;
    unsigned max;
    unsigned skip;         /* in: 0 at first, then what came out */
    int64_t lost_after_ms; /* on a robot that is only silent, and not for so long, nothing is given up */
    unsigned n_candidates;
    struct candidate candidate[CANDIDATES_MAX];
    unsigned n;
    struct migrate_claimed got[16];
    unsigned timed_out;
    enum store_rc rc;
};
void store_migrate_claim(struct db *db, void *op);

/* ---- control ------------------------------------------------------------------------------------------------ */

struct store_token {
    uint64_t token_id;
    uint8_t secret_sha256[32];
    bool valid, is_ours; /* ours: the secret is that of the id, good or not */
    struct buf json;     /* out: body of TOKEN_VERIFY */
};
struct store_job {
    uint64_t job_id;
    char job_uid[ID_JOB_UID_BYTES];
    uint64_t company_id; /* out: company of the row, caller checks */
    bool found, terminal;
    char status[21], error[41], message[1001], kind[8];
    uint64_t session_ref;
    struct session_row session; /* the job's current session when there is one (ref != 0) */
    struct buf json;            /* the job object with its timeline */
    enum store_rc rc;
};
void store_job(struct db *db, void *op);
struct store_sessions {
    char state[21];
    uint64_t company_id;
    char worker[NAME_ROOM], session_id[SESSION_ID_ROOM];
    uint64_t cursor;
    unsigned limit;
    struct buf json; /* body: {"ok":true,"sessions":[...],"next_cursor":...}; worker names, no base URLs */
    enum store_rc rc;
};
void store_sessions(struct db *db, void *op);
struct store_workers {
    /* array of {name,wanted,capacity,places_used,places_total,sessions,abandoned,boot_id,fenced} */
    struct buf json;
    enum store_rc rc;
};
void store_workers(struct db *db, void *op);
/* A session as clients see it (design section 4, shapes). The caller frees it. No database. */
struct jv *session_jv(const struct session_row *row, const char *worker);

#endif
