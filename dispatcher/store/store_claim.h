/* SPDX-License-Identifier: MIT */
/*
 * store_claim.h - what the files of a claim share: its items on their way from
 * the queue to their robots. store_claim.c leads; store_claim_order.c chooses items,
 * store_claim_company.c looks at companies, store_claim_write.c writes.
 */
#ifndef CHASQUI_STORE_CLAIM_H
#define CHASQUI_STORE_CLAIM_H

#include "dispatcher/store/store_place.h"
#include "dispatcher/store/store_queue.h"

enum fate {
    FATE_GO,     /* begins now */
    FATE_MEET,   /* its company has an active session: done */
    FATE_JOIN,   /* likewise, and its round goes on in that session */
    FATE_BACK,   /* its company is being logged in, closed or moved: later */
    FATE_CANCEL, /* its batch or job was cancelled */
    FATE_LEAVE,  /* no place after all: stays as it is */
    FATE_HOLD    /* a pause, or its portal, holds it: set aside */
};

struct item {
    enum fate fate;
    uint64_t batch_id, idx, company_id, token_id, user_id; /* user_id: Laravel's; 0 = not known */
    uint64_t job_id;                                       /* 0 = its portal_jobs row is made here */
    bool is_new, is_round, is_ours;                        /* is_ours: its row of portal_jobs is locked */
    uint8_t priority;
    uint32_t attempts, tries, generation;
    bool remember;
    char portal[PORTAL_ROOM], action[65], job_uid[ID_JOB_UID_BYTES], request_id[129];
    struct buf params, credentials;
    struct refused_before refused;
    uint64_t created_s, epoch, session_ref;
    int64_t waited_ms; /* since it could have begun */
    bool is_raised;    /* its epoch was made here, and is that of the log-in */
    uint32_t robot_id, slot;
    char worker[NAME_ROOM];
    uint64_t met_job_id, met_ref;
    char met_session_id[SESSION_ID_ROOM];
};

/* The robots of the items, as they are now. */
struct chosen {
    unsigned n;
    uint32_t id[QUEUE_CLAIM_MAX]; /* ascending: locked in this order */
    unsigned wanted[QUEUE_CLAIM_MAX],
        usable[QUEUE_CLAIM_MAX]; /* log-ins that it is to get; slots from 1 to this one */
    struct robot_look look[QUEUE_CLAIM_MAX];
};

struct item_key {
    uint64_t batch_id, idx;
};

struct claim {
    struct store_claim *op;
    const struct item_key *only; /* n_only > 0: these items and no others */
    unsigned n_only;
    uint64_t split_until_ms;
    struct item item[QUEUE_CLAIM_MAX];
    unsigned n;
    struct item *row[QUEUE_CLAIM_MAX]; /* those of the statement that is being filled */
    unsigned n_rows;
    struct load load[CANDIDATES_MAX];
    unsigned room[CANDIDATES_MAX];   /* of load[i]: queued log-ins that it may be given */
    unsigned usable[CANDIDATES_MAX]; /* of load[i]: slots from 1 to this one; those above are kept back */
    unsigned left[CANDIDATES_MAX];   /* of load[i]: log-ins that may run there beside those that do */
    unsigned n_loads;
    struct chosen chosen;
    struct claim_gate *gates; /* store_hold.c's: portals that do not let everything through */
    unsigned n_gates;
};

/* Rows for the next statement: those of that fate; is_new -1 = any, 1 = without a job yet. How many. */
unsigned claim_choose(struct claim *c, enum fate fate, int is_new);
/* Of the chosen rows, the one of that job; NULL = none. */
struct item *claim_row_of_job(struct claim *c, uint64_t job_id);
bool item_is_for(const struct item *it, uint64_t company_id, const char *portal);
void column_bytes(struct db *db, unsigned col, struct buf *out); /* replaces what out holds */

/* The values of a member of the chosen rows, for IN (...). */
#define GATHER(c, member, out)                                                                                    \
    do {                                                                                                          \
        for (unsigned g_ = 0; g_ < (c)->n_rows; g_++)                                                             \
            (out)[g_] = (c)->row[g_]->member;                                                                     \
    } while (0)

/* Locks the items of the claim: those of `only`, or the next `most`. has_room: they are to get places. */
enum db_rc claim_take(struct db *db, struct claim *c, unsigned most, bool has_room);
/* Companies: locks their epochs, finds sessions that are there; what is busy gets another fate. */
enum db_rc claim_companies(struct db *db, struct claim *c);
/* Writes jobs, sessions, places, epochs, leases and items of those that begin. */
enum db_rc claim_begin(struct db *db, struct claim *c);
/* Writes jobs, leases and items of rounds that go on in a session that is there. */
enum db_rc claim_join(struct db *db, struct claim *c);
/* What holds items: pauses; then, of those that may begin, their portals. What is let through is written once it is known what has a
 * place. Then the held ones are set aside. */
enum db_rc claim_pauses(struct db *db, struct claim *c);
enum db_rc claim_gates(struct db *db, struct claim *c);
enum db_rc claim_gates_pass(struct db *db, struct claim *c);
enum db_rc claim_hold(struct db *db, struct claim *c);
void claim_gates_forget(struct claim *c);
/* Writes the items that do not begin: met, cancelled, back in the queue. */
enum db_rc claim_others(struct db *db, struct claim *c);

#endif
