/* SPDX-License-Identifier: MIT */
/*
 * breaker.h - is a portal down? Judged by how its log-ins ended, whichever robot
 * and dispatcher made them. Pure: the caller brings the time and keeps the state,
 * which all dispatchers share (store_portal.c). The states and why they change:
 *
 *   closed     ── a portal's fault, and the next success is awaited ──▶ doubtful
 *   doubtful   ── a success of a log-in that began behind the fault, a minute without a fault, or a second in which it stays one robot's ──▶ closed
 *   any        ── of the last 10 attempts within a minute 8 were faults ──▶ tripped
 *   tripped    ── a success (of a probe: one each 30 s) ──▶ returning
 *   returning  ── more faults than successes ──▶ tripped
 *   returning  ── 1, 2, 4 ... 64 a second went well ──▶ closed
 *
 * A fault is the portal's when the robot named one of the action's portal_errors, or when robots answer 5xx or nothing, and then at
 * least two of them. A robot alone with its faults trips nothing while others do well, or may still do.
 */
#ifndef CHASQUI_BREAKER_H
#define CHASQUI_BREAKER_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BREAKER_RECENT 40 /* attempts that are kept */
#define BREAKER_JUDGED 10
#define BREAKER_FAULTS 8
#define BREAKER_WINDOW_US (60 * UINT64_C(1000000))
#define BREAKER_RATE_MOST 64 /* log-ins a second, of one that returns: more, and it is closed */
#define BREAKER_ANY UINT_MAX

enum breaker_state { BREAKER_CLOSED, BREAKER_DOUBTFUL, BREAKER_TRIPPED, BREAKER_RETURNING, BREAKER_STATES };
extern const char *const breaker_state_name[BREAKER_STATES];

enum breaker_how { BREAKER_WELL, BREAKER_PORTAL, BREAKER_ROBOT };
enum breaker_taken {            /* does it count among its job's attempts? */
                     TAKEN_NOT, /* it never did, or was given back */
                     TAKEN,
                     TAKEN_LAST /* and its job ended by it */
};
struct breaker_attempt { /* one that ended; microseconds since 1970 */
    uint64_t at_us, job_id;
    uint32_t robot_id;
    uint8_t how;      /* enum breaker_how */
    uint8_t taken;    /* enum breaker_taken */
    uint32_t took_ms; /* from its call on; not kept */
};

struct breaker {
    enum breaker_state state;
    uint64_t since_us;
    char why[65];               /* the error of the last fault */
    uint64_t probe_us, sync_us; /* tripped: from when on a queued, or a synchronous, log-in may probe */
    uint32_t rate, let,
        ended;        /* returning: log-ins a second, those of this second, those that ended well at this rate */
    uint64_t rate_us; /* since when the second counts */
    unsigned n;
    struct breaker_attempt recent[BREAKER_RECENT]; /* oldest first */
};

struct breaker_times {
    uint64_t probe_us, sync_us; /* from one probe to the next: queued, synchronous */
    unsigned
        robots; /* that log-ins may go to; of several, one that blames the portal is believed after ten seconds in which none
                                 * of the others ended a log-in */
};

/* An attempt ended. `error` = the robot's word of a fault, NULL or "" = none. True when the state changed. */
bool breaker_ended(struct breaker *b, const struct breaker_times *t, const struct breaker_attempt *a,
                   const char *error, uint64_t now_us);
/* Time went by. True when something changed. */
bool breaker_tick(struct breaker *b, uint64_t now_us);
/* How many queued log-ins may begin now, `opening` being under way. 0: *wait_us = until it is worth asking again. */
unsigned breaker_may(const struct breaker *b, unsigned opening, uint64_t now_us, uint64_t *wait_us);
void breaker_begun(struct breaker *b, const struct breaker_times *t, unsigned n,
                   uint64_t now_us); /* that many did */
/* The same for one that somebody waits for. */
bool breaker_may_sync(const struct breaker *b, uint64_t now_us, uint64_t *wait_us);
void breaker_begun_sync(struct breaker *b, const struct breaker_times *t, uint64_t now_us);
/* Attempts that were lost to the portal, once it is known to be down: their jobs get them back. How many; each is told once, as it was. */
unsigned breaker_give_back(struct breaker *b, uint64_t now_us, struct breaker_attempt *out, unsigned most);

/* The attempts as bytes for the database, and back (what cannot be one is left out). */
#define BREAKER_ATTEMPT_BYTES 22
#define BREAKER_BYTES (BREAKER_RECENT * BREAKER_ATTEMPT_BYTES)
size_t breaker_pack(const struct breaker *b, uint8_t out[BREAKER_BYTES]);
void breaker_unpack(struct breaker *b, const uint8_t *in, size_t len);

#endif
