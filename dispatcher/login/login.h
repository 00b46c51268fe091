/* SPDX-License-Identifier: MIT */
/*
 * login.h - one log-in under way, a client's, a queued one or a migration's: from the
 * reserved place to the recorded outcome. Shared by login.c, settle.c, migrate.c and those who begin or answer log-ins.
 */
#ifndef CHASQUI_LOGIN_H
#define CHASQUI_LOGIN_H

#include "dispatcher/session/login_answer.h"
#include "dispatcher/robot/robot_answer.h"
#include "dispatcher/store/store_queue.h"

#include <sys/queue.h>

#define LOGIN_ROBOTS_MAX 16
#define LOGIN_BEFORE_DEADLINE_MS 300 /* what a waiter is told early is told then */

struct login {
    struct dispatcher *d;
    uint64_t request_key; /* who waits; looked up each time, may be gone */
    uint64_t job_id, session_ref, epoch, company_id;
    uint32_t robot_id, old_robot_id; /* old: of a migration */
    uint64_t old_ref, old_epoch;
    char old_session_id[SESSION_ID_ROOM];
    bool migrating;
    uint32_t attempts;       /* of a migration */
    struct queued item;      /* of a queued log-in */
    bool is_running;         /* queue.c counts it */
    bool cancelled;          /* somebody asked the job to stop */
    struct idempotency key;  /* a client's */
    struct robot_call *call; /* NULL = none under way */
    char portal[PORTAL_ROOM], job_uid[ID_JOB_UID_BYTES], request_id[129], traceparent[129];
    char boot_id[65]; /* the robot's when it was called, "" = unknown */
    const struct action *action;
    struct lease lease;
    bool held;
    uint64_t asked_ms;             /* the robot was called */
    uint64_t limit_at_ms;          /* end of the action's limit */
    uint64_t began_ms;             /* of a queued one: claimed; else 0 */
    struct refused_before refused; /* of the stored credentials */
    bool uses_stored;           /* they are what the robot gets: nothing in the params stands in place of them */
    bool is_refused_before;     /* they were refused before, and are not used again */
    struct attempt_end attempt; /* how it ends, as far as it is known */
    struct buf params;          /* plain, a client's; wiped at the end */
    struct buf credentials;     /* sealed, stored ones */
    struct buf remember;        /* sealed, kept when the log-in succeeds; empty = not */
    uint32_t tried[LOGIN_ROBOTS_MAX];
    unsigned n_tried, n_stale;
    struct loop_timer timer; /* the next try of something */
    unsigned tries;
    unsigned again; /* how often in a row the database did not take its outcome */
    /* the outcome */
    char session_id[SESSION_ID_ROOM], title[TITLE_ROOM], url[WORDS_SHOWN_MAX * 4 + 1];
    enum err error;
    char message[501];
    struct jv *extra; /* owned: "robot" of a refusal */
    enum place_fate place;
    bool final;               /* a migration is not tried again */
    LIST_ENTRY(login) others; /* all that are under way */
};

/* All log-ins under way, so that none is left when the dispatcher ends. */
struct logins *logins_new(void);
void logins_destroy(struct dispatcher *d); /* after the store and the robots' calls: nothing calls back any more */
struct login *login_new(struct dispatcher *d); /* ends in login_free() */

/* May this request's action log in here? false: answered. */
bool login_may_start(struct dispatcher *d, struct request *r);
void refuse_field(struct dispatcher *d, struct request *r, const char *field, const char *why); /* answers 422 */
/* Begins a log-in that was claimed; takes the bytes of got's params and credentials. */
void login_queued(struct dispatcher *d, struct claimed *got, const struct lease *lease);

/* blame.c: how it ended, whose fault that was, and telling the portals. */
struct attempt_end login_attempt(const struct login *l, enum attempt_outcome outcome);
enum attempt_outcome login_outcome(const struct login *l); /* of one that failed */
const char *login_code(const struct login *l);             /* its error, for the job */
enum breaker_how login_blames(const struct login *l, enum attempt_outcome outcome);
struct portal_ended login_ended(const struct login *l,
                                enum attempt_outcome outcome); /* for its portal's breaker */
void login_tell_portal(
    struct login *l,
    enum attempt_outcome outcome); /* counts it, and tells what went well; faults are told as they are recorded */

void login_free(struct login *l);
struct request *login_waiter(struct login *l); /* NULL = nobody waits (any more) */
/* Keeps the lease renewed from now on. */
void login_hold(struct login *l);
/* Calls the robot (invariant 7: only after the commit that reserved the place). */
void login_call(struct login *l);
/* The robot has the session: record it, answer. */
void login_succeeded(struct login *l);
/* It certainly has none (or none we could reach: place KEEP_PENDING): record it, answer. error, message, extra, place are set. */
void login_failed(struct login *l);
void login_fail(struct login *l, enum err e, const char *message,
                enum place_fate place); /* sets those and calls it */
/* Is there a session or not? Ends in one of the two above. error = what it is called if there is none. */
void login_settle(struct login *l, enum err error, const char *message);
/* Somebody else holds the job now: its outcome is asked for like anybody would. */
void login_lost(struct login *l);
/* Tells a waiter early, when its deadline is near: the error with its job_id. */
void login_tell_waiter(struct login *l, enum err error);

#endif
