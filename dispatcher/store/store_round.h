/* SPDX-License-Identifier: MIT */
/*
 * store_round.h - rounds in the database: how far an item came, what robots
 * answered to its steps, its end. As in store.h each op travels to a database
 * thread and back.
 *
 * The row of the item says which step was begun (`step`, written before the robot is called) and how many ended well
 * (`steps_done`). The lease of kind `round` says who may go on. `ending` says that all is over but the close of the session.
 */
#ifndef CHASQUI_STORE_ROUND_H
#define CHASQUI_STORE_ROUND_H

#include "common/steps.h"
#include "db/seal.h"
#include "dispatcher/store/store_queue.h"

enum round_end { ROUND_ON, ROUND_DONE, ROUND_FAILED, ROUND_RETRYING, ROUND_CANCELLED };

struct store_round_read {
    uint64_t job_id, batch_id, idx, session_ref;
    /* out */
    bool found; /* false: its batch or item is gone */
    char portal[PORTAL_ROOM];
    char names[STEPS_NAMES_ROOM]; /* of its steps */
    struct buf params;            /* sealed; empty = none has any; freed by the caller */
    bool closes;
    int step; /* begun last; -1 = none */
    unsigned steps_done;
    enum round_end ending; /* ROUND_ON: its steps are not over */
    char error[41], message[1001], job_uid[ID_JOB_UID_BYTES], request_id[129]; /* of its job */
    struct session_row row;                                                    /* ref 0 = no such session */
    enum store_rc rc;
};
void store_round_read(struct db *db, void *op);

struct round_answer { /* what the robot said to a step */
    bool is_set;
    bool is_refusal; /* it failed the step: kept when it is JSON */
    unsigned step;
    int status;
    struct buf body; /* as it came; the op makes one line of JSON of it */
};
enum round_verdict { ANSWER_GOOD, ANSWER_REFUSED /* ok: false */, ANSWER_GARBAGE };

struct store_round_turn { /* a step ended, the next one begins, or the round ends. All of it or nothing. */
    uint64_t job_id, batch_id, idx, session_ref, company_id;
    char portal[PORTAL_ROOM];
    uint8_t token[ID_TOKEN_BYTES];
    const struct seal *seal;
    struct round_answer answer; /* owned by the caller */
    int next; /* the step that begins; -1 = none: see `ending`; with ROUND_ON nothing but the answer is recorded */
    unsigned steps_done; /* after this */
    enum round_end ending;
    bool is_unbegun; /* the last step never reached the robot */
    bool may_close;  /* the session is the round's own and is to be closed */
    char error[41], message[1001];
    struct attempt_end said; /* the robot refused a step: its words; status 0 = it did not */
    int64_t retry_ms;        /* of ROUND_RETRYING */
    /* out */
    enum round_verdict verdict; /* not ANSWER_GOOD: nothing was written */
    bool lost;                  /* the lease is another's */
    bool gone;                  /* the session is not active any more: the next step did not begin */
    bool is_closing;            /* row is closing under the lease; store_round_closed() is the end */
    struct session_row row;
    enum store_rc rc;
};
void store_round_turn(struct db *db, void *op);

struct store_round_closed { /* the session is closed on its robot, as far as that can be: the round's end */
    uint64_t job_id, batch_id, idx, session_ref;
    uint8_t token[ID_TOKEN_BYTES];
    enum place_fate place;
    int64_t retry_ms;
    /* out */
    bool lost;
    enum round_end ending; /* what the item became */
    enum store_rc rc;
};
void store_round_closed(struct db *db, void *op);

/* ---- results ------------------------------------------------------------------------------------------------ */

#define RESULTS_AT_ONCE 64
#define RESULTS_BYTES 1048576 /* of sealed bodies that one read brings, unless one alone is longer */
struct round_result {
    uint64_t idx, company_id, job_id;
    unsigned step, status;
    struct buf body; /* sealed */
};
struct store_results { /* the next results of a batch by (index, step) */
    uint64_t batch_id;
    struct batch_viewer viewer;
    /* of that item alone */
    bool is_one;
    uint64_t index;
    /* the first one that is wanted; out: the one behind the last */
    uint64_t from_idx;
    unsigned from_step;
    /* out */
    bool found, item_found;
    char portal[PORTAL_ROOM], names[STEPS_NAMES_ROOM];
    /* bodies freed by the caller */
    unsigned n;
    struct round_result row[RESULTS_AT_ONCE];
    bool more;
    enum store_rc rc;
};
void store_results(struct db *db, void *op);

#endif
