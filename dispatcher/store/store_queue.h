/* SPDX-License-Identifier: MIT */
/*
 * store_queue.h - what the dispatcher asks of the database about the durable
 * queue: putting jobs in, claiming many at once with their robots' places,
 * cancelling, retrying by hand, and batches.
 *
 * As in store.h each op is a struct that travels to a database thread and
 * back; each function is one straight function there.
 */
#ifndef CHASQUI_STORE_QUEUE_H
#define CHASQUI_STORE_QUEUE_H

#include "common/steps.h"
#include "dispatcher/store/store.h"

/* ---- Idempotency-Key ---------------------------------------------------------------------------------------- */

enum key_outcome { KEY_NEW, KEY_REPLAY, KEY_MISMATCH };
/* Looks a key up, inside a transaction or outside. KEY_REPLAY: one of *job_id, *batch_id is set. Not set: KEY_NEW. */
enum db_rc key_look(struct db *db, const struct idempotency *key, enum key_outcome *outcome, uint64_t *job_id,
                    uint64_t *batch_id);
/* Part of the transaction that makes the job or batch. DB_DUP: somebody was faster; roll back and look again. */
enum db_rc key_add(struct db *db, const struct idempotency *key, uint64_t job_id, uint64_t batch_id);
#define JOBS_OVER_MAX 256
struct store_jobs_over { /* which of these jobs have ended, or are not there */
    uint64_t job_id[JOBS_OVER_MAX];
    unsigned n;
    bool is_over[JOBS_OVER_MAX];
    enum store_rc rc;
};
void store_jobs_over(struct db *db, void *op);
struct store_key_answer { /* keeps what was answered; no-op when the key is gone or has an answer */
    uint8_t scope[DIGEST_BYTES];
    /* sealed; borrowed */
    const void *answer;
    size_t answer_len;
    enum store_rc rc;
};
void store_key_answer(struct db *db, void *op);
struct store_key_read { /* the kept answer, empty = none yet */
    uint8_t scope[DIGEST_BYTES];
    struct buf answer;
    enum store_rc rc;
};
void store_key_read(struct db *db, void *op);

/* ---- putting a job in --------------------------------------------------------------------------------------- */

enum enqueue_outcome {
    ENQUEUE_OK,          /* queued: job_id */
    ENQUEUE_REUSED,      /* an active session is there: row; nothing was written but its activity and the key */
    ENQUEUE_IN_PROGRESS, /* a log-in runs: row.job_id */
    ENQUEUE_SAME,        /* this job_uid is there already: job_id */
    ENQUEUE_REPLAY,      /* the key stands for a job already: job_id */
    ENQUEUE_MISMATCH     /* the key stands for another body */
};
struct store_enqueue {
    /* in */
    char job_uid[ID_JOB_UID_BYTES];
    uint64_t company_id;
    char portal[PORTAL_ROOM], action[65];
    uint8_t priority;
    bool remember;
    bool force_new; /* an active session is only told (REUSED): nothing is written */
    /* sealed; borrowed, lives as long as the op */
    const void *params;
    size_t params_len;
    uint64_t token_id, user_id;
    char request_id[129];
    unsigned tries;
    int64_t available_at_ms; /* unix, 0 = now */
    int64_t due_in_ms;       /* out: by the database's clock */
    struct idempotency key;
    /* out */
    enum enqueue_outcome outcome;
    uint64_t job_id;
    struct session_row row;
    enum store_rc rc;
};
/* One transaction: the key, what is live, the job, its timeline and its item. */
void store_enqueue(struct db *db, void *op);
/* The turn of what the token (0 = operators) enqueues now, a log-in of its own or a batch: behind the item of that priority that is next,
 * and behind the last one of its kind that this token was given and that still waits. */
enum db_rc turn_next(struct db *db, uint8_t priority, uint64_t token_id, bool is_batch, uint64_t *turn);
/* That turn was given to this item: the batch's first one, or a log-in of its own. */
void turn_given(uint8_t priority, uint64_t token_id, bool is_batch, uint64_t batch_id, uint64_t idx,
                uint64_t turn);

/* ---- claiming ----------------------------------------------------------------------------------------------- */

#define QUEUE_CLAIM_MAX 200

struct claimed { /* a log-in to be begun now: its place, epoch and lease are committed */
    struct queued item;
    uint64_t job_id, session_ref, epoch, company_id;
    uint32_t robot_id;
    uint64_t waited_ms; /* since it could have begun */
    bool remember;
    bool is_met; /* of a round: the session was there, its lease is of kind round; no place, no epoch */
    char portal[PORTAL_ROOM], action[65], job_uid[ID_JOB_UID_BYTES], request_id[129];
    struct buf params, credentials; /* sealed; freed by the caller */
    struct refused_before refused;
};
struct store_claim {
    struct lease lease; /* its token is used for all of them; limit_ms is set from each action */
    unsigned max;       /* 1..QUEUE_CLAIM_MAX */
    unsigned tries;     /* of jobs that are made here */
    /* places kept for interactive work; log-ins at once on a robot */
    unsigned kept_back_percent, logins_per_robot;
    int64_t laravel_max_age_ms;
    const struct action_table *actions;
    const struct portal_conf_table *portals; /* NULL = none has limits */
    struct breaker_times breaker;
    unsigned n_candidates;
    struct candidate candidate[CANDIDATES_MAX];
    /* out */
    /* items that were set aside, and when it is worth looking whether they may begin; 0 = not known */
    unsigned n_held;
    uint64_t hold_wait_us;
    /* calloc'ed by the callee, freed by the caller */
    unsigned n;
    struct claimed *got;
    unsigned n_met;
    struct {
        uint64_t company_id, waited_ms;
    } met[QUEUE_CLAIM_MAX]; /* completed with a session that was there */
    bool is_full;           /* no robot has a place for queued work */
    bool is_paused;
    unsigned n_refused; /* items that ended because the database refuses them */
    bool refuses_all;   /* and it refuses every row: slowly, until somebody mends the table */
    /* batches whose items came to an end here */
    unsigned n_batches;
    uint64_t batch[QUEUE_CLAIM_MAX];
    enum store_rc rc;
};
/* One transaction for all. Items whose company is being logged in go back without an attempt counted. */
void store_claim(struct db *db, void *op);

/* ---- outcomes ----------------------------------------------------------------------------------------------- */

#define LOGINS_DONE_MAX GROUP_MAX
/* A store_group of struct store_login_done, of different jobs: each is set as by store_login_done(), but a batch's has no `row`.
 * No migrations, no rounds, no credentials to remember or to lift. */
void store_logins_done(struct db *db, void *op);

struct store_queue_look { /* the fallback poll: one query. Also makes ready what is due. */
    bool is_ready;        /* something may be claimed */
    int64_t due_in_ms;    /* until the next one becomes ready; -1 = none waits */
    enum store_rc rc;
};
void store_queue_look(struct db *db, void *op);

/* ---- one job ------------------------------------------------------------------------------------------------ */

enum cancel_outcome { CANCEL_DONE, CANCEL_ASKED, CANCEL_NOT_FOUND, CANCEL_ENDED, CANCEL_NOT_OURS };
struct store_cancel {
    /* one of them */
    uint64_t job_id;
    char job_uid[ID_JOB_UID_BYTES];
    /* who may; borrowed */
    bool all;
    const uint64_t *companies;
    unsigned n_companies;
    struct actor by;
    char reason[201];
    /* its state, and what that is now */
    enum cancel_outcome outcome;
    uint64_t company_id, batch_id;
    char before[21], status[21];
    enum store_rc rc;
};
void store_cancel(struct db *db, void *op);
struct
    store_retry { /* a log-in that failed or was cancelled -> queued, attempts 0; back in its batch unless that was cancelled */
    /* one of them */
    uint64_t job_id;
    char job_uid[ID_JOB_UID_BYTES];
    unsigned tries;
    struct actor by;
    char reason[201];
    const char *why; /* for its timeline; NULL = by hand */
    bool found, ok;
    char before[21], status[21];
    uint64_t company_id, batch_id;
    enum store_rc rc;
};
void store_retry(struct db *db, void *op);
/* The same as parts of a transaction; `op` as in those. DB_RETRY: another one was faster, roll back and look again. */
enum db_rc job_cancel_tx(struct db *db, void *op);
enum db_rc job_retry_tx(struct db *db, void *op);

#define BULK_STEP 100
#define BULK_STATES 5
struct bulk_change {
    uint64_t job_id, company_id, batch_id;
    const char *status; /* static */
};
struct store_bulk { /* all jobs that a filter finds: retried, or cancelled, a step at each call; or counted */
    /* in */
    bool is_retry;
    /* "" and 0 = any */
    char status[21], portal[PORTAL_ROOM], worker[NAME_ROOM], error[65], robot_error[257];
    uint64_t company_id, batch_id;
    unsigned tries;
    struct actor by;
    char reason[201];
    /* how far it is: 0 before the first step */
    uint64_t below;
    unsigned state;
    uint64_t audit_id;
    uint64_t n;               /* found, or changed */
    uint64_t n_refused;       /* by the database, each by itself: they stay as they were */
    uint64_t n_still_refused; /* of n, when retried: they end at once as credentials_refused */
    uint64_t n_from[BULK_STATES],
        n_asked; /* of those: by the state they had; how many still run and were asked to stop */
    /* out */
    bool more;   /* call it again */
    bool capped; /* there may be more than it may count or change at once */
    bool asked;  /* who runs one was asked to stop */
    /* in this step */
    unsigned n_changed;
    struct bulk_change changed[BULK_STEP];
    enum store_rc rc;
};
void store_bulk(struct db *db, void *op);
void store_bulk_count(struct db *db, void *op);
struct store_jobs { /* a page of jobs, newest first; those of `companies` unless all */
    /* owned by the caller; sorted here */
    bool all;
    uint64_t *companies;
    unsigned n_companies;
    char status[21], portal[PORTAL_ROOM], worker[NAME_ROOM], error[65], robot_error[257];
    uint64_t company_id, batch_id, cursor;
    unsigned limit;
    char search
        [101]; /* with `all` only, and then without the others: a job's or company's number, a job_uid, a session id */
    /* with `all` only: made from then on (unix, or so long ago) and before then; 0 = any. Not with search */
    int64_t since_ms, for_ms, until_ms;
    uint64_t from;                     /* the first id of those */
    int64_t failed_from, failed_until; /* with status failed the times are of that instead; unix ms, 0 = any */
    struct buf json;
    enum store_rc rc;
};
void store_jobs(struct db *db, void *op);
struct store_why {                           /* what a job waits for */
    const struct portal_conf_table *portals; /* NULL = none has limits */
    struct work_room room;
    /* one of them */
    uint64_t job_id;
    char job_uid[ID_JOB_UID_BYTES];
    bool found;
    struct buf json;
    enum store_rc rc;
};
void store_why(struct db *db, void *op);
/* How many items stand before one that may be claimed; counting stops at QUEUE_BEFORE_MAX. */
#define QUEUE_BEFORE_MAX 10000
enum db_rc queue_before(struct db *db, uint64_t urgency, uint64_t turn, uint64_t *n);
struct store_company { /* all about a company, for operators */
    const struct portal_conf_table *portals;
    struct work_room room;
    uint64_t company_id;
    struct buf json;
    enum store_rc rc;
};
void store_company(struct db *db, void *op);

/* ---- the queue as a whole ----------------------------------------------------------------------------------- */

enum pause_change { PAUSE_LOOK, PAUSE_SET, PAUSE_END };
struct store_queue_state {
    enum pause_change change; /* first, in one transaction with its audit row */
    /* unix, or from now; 0 = until it is resumed */
    char reason[201];
    int64_t until_ms, for_ms;
    /* of a part of the queue; "" and 0 = any, all of them = the whole queue */
    char portal[PORTAL_ROOM], action[65];
    uint64_t batch_id;
    bool is_past;  /* out: until_ms has passed, and nothing was changed */
    bool too_many; /* out: PAUSES_MAX parts are paused, and nothing was changed */
    bool no_batch; /* out: there is no such batch, and nothing was changed */
    struct actor by;
    struct buf json; /* body: {"ok":true,"queue":{...}} */
    enum store_rc rc;
};
void store_queue_state(struct db *db, void *op);
struct
    store_audit { /* a page, newest first; `search` is looked for in actor, action, subject and detail. A session's id finds its job's rows */
    char search[101], actor[161], action[65],
        subject[161];         /* part of an actor, the beginning of an action, a whole subject; "" = all */
    int64_t since_ms, for_ms; /* unix; or so long ago by the database's clock; 0 = not told */
    uint64_t cursor;
    unsigned limit;
    struct buf json;
    enum store_rc rc;
};
void store_audit(struct db *db, void *op);

/* ---- batches ------------------------------------------------------------------------------------------------ */

#define BATCHES_MAX 1000  /* of a token that have not ended */
struct store_batch_open { /* a new batch, or the one that the key stands for */
    uint64_t token_id, user_id;
    char portal[PORTAL_ROOM], action[65];
    uint8_t priority;
    char request_id[129];
    char callback_url[501];  /* "" = none */
    int64_t available_at_ms; /* unix, 0 = now */
    char name[401];          /* "" = none */
    /* of a round (steps.h); sealed, empty = none; freed by the caller */
    char steps[STEPS_NAMES_ROOM];
    struct buf step_params;
    bool closes;
    struct idempotency key; /* always set: the client's, or a random one */
    /* too_many: BATCHES_MAX of the token have not ended */
    uint64_t batch_id;
    bool replayed, mismatch, too_many;
    char status[21];
    enum store_rc rc;
};
void store_batch_open(struct db *db, void *op);

struct batch_item {
    uint64_t idx, company_id;
    uint32_t lap; /* items of the same company that came before it: it waits behind others' first ones */
    bool has_params;
    uint8_t digest[16];           /* of params; nothing without them */
    size_t params_at, params_len; /* sealed, within the op's `params` */
    bool differs;                 /* out */
};
struct
    store_batch_append { /* idempotent by (batch, idx); an item that is there with another digest is marked `differs` */
    uint64_t batch_id, token_id;
    /* 1..DB_BULK_MAX, indexes ascending; owned by the caller */
    unsigned n;
    struct batch_item *item;
    const char *params; /* owned by the caller */
    bool is_gone;       /* no such batch of this token */
    bool is_closed;     /* the batch is not open: what is there was compared, a missing item differs */
    bool is_cancelled;
    unsigned n_added, n_differ;
    enum store_rc rc;
};
void store_batch_append(struct db *db, void *op);
/* Part of an op: the portal of a batch of this token; "" = there is no such batch. */
enum db_rc batch_portal(struct db *db, uint64_t batch_id, uint64_t token_id, char portal[PORTAL_ROOM]);

struct
    store_batch_close { /* the body was whole: total is counted, the batch runs (or is done when nothing of it is left) */
    uint64_t batch_id, token_id;
    uint64_t lines; /* that its body had, rejected ones included */
    /* an item at or beyond `lines` is recorded: it was another body; nothing is changed */
    bool found;
    bool differs;
    uint64_t total;
    char status[21];
    enum store_rc rc;
};
void store_batch_close(struct db *db, void *op);

/* Who asks about a batch. It is seen by the token that made it, by one for all companies, and by one that has every company of
 * the token that made it. */
struct batch_viewer {
    bool all;
    uint64_t token_id;
};
/* May the viewer see it? *found tells. */
enum db_rc batch_is_seen(struct db *db, uint64_t batch_id, const struct batch_viewer *viewer, bool *found);
/* Part of a transaction: locks the batch's row when the viewer may see it. */
enum db_rc batch_lock(struct db *db, uint64_t batch_id, const struct batch_viewer *viewer, bool *found);
struct store_batch {                         /* its shape with counts */
    const struct portal_conf_table *portals; /* as in store_why */
    struct work_room room;
    uint64_t batch_id;
    struct batch_viewer viewer;
    bool with_course; /* and how it goes: store_batch_course.h */
    bool found;
    char status[21];
    struct buf json;
    enum store_rc rc;
};
void store_batch(struct db *db, void *op);
struct
    store_batch_items { /* a page of items by index, from `cursor` on; next_cursor = the index after the last one shown */
    uint64_t batch_id;
    struct batch_viewer viewer;
    char state[21], error[65], robot_error[257];
    uint64_t cursor;
    unsigned limit;
    bool found;
    struct buf json;
    enum store_rc rc;
};
void store_batch_items(struct db *db, void *op);
struct store_batches { /* a page of batches, newest first, for operators */
    const struct portal_conf_table *portals;
    struct work_room room;
    char state[21];
    uint64_t cursor;
    unsigned limit;
    struct buf json;
    enum store_rc rc;
};
void store_batches(struct db *db, void *op);
struct
    store_batch_cancel { /* what is left: waiting items are cancelled, running ones are asked to stop. A step of at most 1000 items a
                             * call: submit it again while `more`. */
    uint64_t batch_id;
    struct batch_viewer viewer;
    struct actor by;
    /* how far it came, for the next step; 0 at first */
    bool begun;     /* it is marked as cancelled */
    bool is_asking; /* nothing waits any more: those that run are asked */
    uint64_t from;  /* the index where it goes on */
    bool found, wrong_state, more, asked /* somebody was asked to stop */;
    char status[21];
    enum store_rc rc;
};
void store_batch_cancel(struct db *db, void *op);
struct
    store_batch_priority { /* what of it waits gets another priority, a step of at most 1000 items a call: submit it again while `more` */
    uint64_t batch_id;
    uint8_t priority;
    struct actor by;
    /* how far it came; 0 at first */
    bool begun;
    uint64_t turn, from;
    bool found, wrong_state, more;
    enum store_rc rc;
};
void store_batch_priority(struct db *db, void *op);
struct
    store_batch_finish { /* those given, or (n 0) a look at batches that have not ended: done when nothing of it is left; what is left of a
                             * cancelled one is cancelled, one that is open for a day runs with what it has */
    unsigned n;
    uint64_t batch[QUEUE_CLAIM_MAX];
    /* n 0: looks at those behind this one; out: the last one looked at, 0 when there are no more */
    uint64_t after;
    /* those that ended here */
    unsigned n_done;
    uint64_t done[QUEUE_CLAIM_MAX];
    bool asked; /* somebody was asked to stop: WAKE "cancel" */
    enum store_rc rc;
};
void store_batch_finish(struct db *db, void *op);

#endif
