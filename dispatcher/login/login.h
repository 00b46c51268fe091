/* SPDX-License-Identifier: MIT */
/*
 * login.h - one log-in in flight (a client's, a queued one or a migration's), from the reserved place to the
 * recorded outcome. Shared by login.c, settle.c, migrate.c and the files that begin or answer log-ins.
 */
#ifndef CHASQUI_LOGIN_H
#define CHASQUI_LOGIN_H

#include "dispatcher/session/login_answer.h"
#include "dispatcher/robot/robot_answer.h"
#include "dispatcher/store/store_queue.h"

#include <sys/queue.h>

#define LOGIN_ROBOTS_MAX 16
#define LOGIN_BEFORE_DEADLINE_MS 300 /* when a waiter gets its early answer */

struct login {
    struct dispatcher *d;
    uint64_t request_key; /* the waiter; looked up each time, may be gone */
    uint64_t job_id, session_ref, epoch, company_id;
    uint32_t robot_id, old_robot_id; /* old: for a migration */
    uint64_t old_ref, old_epoch;
    char old_session_id[SESSION_ID_ROOM];
    bool migrating;
    uint32_t attempts;       /* for a migration */
    struct queued item;      /* for a queued log-in */
    bool is_running;         /* counted by queue.c */
    bool cancelled;          /* the job is to stop */
    struct idempotency key;  /* for a client's log-in */
    struct robot_call *call; /* NULL = none in flight */
    char portal[PORTAL_ROOM], job_uid[ID_JOB_UID_BYTES], request_id[129], traceparent[129];
    char boot_id[65]; /* the robot's boot id when it was called, "" = unknown */
    const struct action *action;
    struct lease lease;
    bool held;
    uint64_t asked_ms;             /* time of the call to the robot */
    uint64_t limit_at_ms;          /* end of the action's time limit */
    uint64_t began_ms;             /* time of the claim of a queued one; else 0 */
    struct refused_before refused; /* refusals of the stored credentials */
    bool uses_stored;              /* the robot gets the stored credentials: nothing in params overrides them */
    bool is_refused_before;        /* they were refused before, and are not used again */
    struct attempt_end attempt;    /* how it ends, as far as known */
    struct buf params;             /* plain text, from a client; wiped at the end */
    struct buf credentials;        /* sealed stored credentials */
    struct buf remember;           /* sealed, stored when the log-in succeeds; empty = not */
    uint32_t tried[LOGIN_ROBOTS_MAX];
    unsigned n_tried, n_stale;
    struct loop_timer timer; /* for the next retry */
    unsigned tries;
    unsigned again; /* consecutive failures of the database to record the outcome */
    /* the outcome */
    char session_id[SESSION_ID_ROOM], title[TITLE_ROOM], url[WORDS_SHOWN_MAX * 4 + 1];
    enum err error;
    char message[501];
    struct jv *extra; /* owned: "robot" of a refusal */
    enum place_fate place;
    bool final;               /* a migration is not retried */
    LIST_ENTRY(login) others; /* all log-ins in flight */
};

/* All log-ins in flight, so that none is left when the dispatcher ends. */
struct logins *logins_new(void);
void logins_destroy(struct dispatcher *d);     /* after the store and the robots' calls, which call back */
struct login *login_new(struct dispatcher *d); /* freed by login_free() */

/* Whether this request's action may log in here. false: answered. */
bool login_may_start(struct dispatcher *d, struct request *r);
void refuse_field(struct dispatcher *d, struct request *r, const char *field, const char *why); /* answers 422 */
/* Begins a claimed log-in; takes the bytes of got's params and credentials. */
void login_queued(struct dispatcher *d, struct claimed *got, const struct lease *lease);

/* In blame.c: how it ended, whose fault that was, and the report to the portals. */
struct attempt_end login_attempt(const struct login *l, enum attempt_outcome outcome);
enum attempt_outcome login_outcome(const struct login *l); /* for a failed log-in */
const char *login_code(const struct login *l);             /* its error, for the job */
enum breaker_how login_blames(const struct login *l, enum attempt_outcome outcome);
struct portal_ended login_ended(const struct login *l,
                                enum attempt_outcome outcome); /* for the breaker of its portal */
void login_tell_portal(
    struct login *l,
    enum attempt_outcome outcome); /* counts it, and reports a success; faults are reported as they are recorded */

void login_free(struct login *l);
struct request *login_waiter(struct login *l); /* NULL = no request waits (any more) */
/* Renews the lease from now on. */
void login_hold(struct login *l);
/* Calls the robot (invariant 7: only after the commit that reserved the place). */
void login_call(struct login *l);
/* The robot has the session: records it, answers. */
void login_succeeded(struct login *l);
/* The robot certainly has no session (or none within reach: place KEEP_PENDING): records that, answers. error,
 * message, extra, place must be set. */
void login_failed(struct login *l);
void login_fail(struct login *l, enum err e, const char *message,
                enum place_fate place); /* sets these and calls login_failed() */
/* Finds out whether there is a session. Ends in one of the two functions above. error = the error if there is
 * none. */
void login_settle(struct login *l, enum err error, const char *message);
/* Another dispatcher holds the job now. Its outcome is awaited like that of any other job. */
void login_lost(struct login *l);
/* Answers a waiter early, near its deadline: the error with its job_id. */
void login_tell_waiter(struct login *l, enum err error);

#endif
