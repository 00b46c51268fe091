/* SPDX-License-Identifier: MIT */
/*
 * store_portal.h - portals in the database: what all dispatchers know of one,
 * pauses of a part of the queue, and items that wait for either. Shared by the
 * files of the store that let log-ins through; on a database thread only.
 *
 * A portal's row is written by compare-and-swap on its version, in the transaction of what it lets through. So no two
 * dispatchers let the same log-in's turn pass twice, whichever servers they write to.
 */
#ifndef CHASQUI_STORE_PORTAL_H
#define CHASQUI_STORE_PORTAL_H

#include "dispatcher/store/breaker.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#define PORTALS_MAX 256

struct portal_state {
    char portal[PORTAL_ROOM];
    uint64_t version;
    bool is_there; /* it has a row */
    struct breaker breaker;
    uint64_t pace_us; /* pace.h */
};

/* Rows of portals: the one named, or with portal NULL all of them (up to PORTALS_MAX, malloc'ed, the caller's). *now_us = the
 * database's clock. */
enum db_rc portal_read(struct db *db, const char *portal, struct portal_state *out, uint64_t *now_us);
enum db_rc portal_lock(struct db *db, const char *portal, struct portal_state *out,
                       uint64_t *now_us); /* and the others wait behind it */
enum db_rc portals_read(struct db *db, struct portal_state **out, unsigned *n, uint64_t *now_us);
/* By compare-and-swap; DB_RETRY: somebody was faster. */
enum db_rc portal_write(struct db *db, struct portal_state *p);
/* Log-ins of a portal that are under way. */
enum db_rc portal_opening(struct db *db, const char *portal, uint64_t *n);

/* May log-ins of it have to wait at all? */
bool portal_is_gated(const struct portal_state *p, const struct portal_conf *conf);
enum portal_gate { GATE_OPEN, GATE_BREAKER, GATE_PACE, GATE_AT_ONCE };
/* How many queued ones may begin now (BREAKER_ANY = any number); fewer than any: *wait_us = until it is worth asking again, *why = what holds. */
unsigned portal_may(const struct portal_state *p, const struct portal_conf *conf, uint64_t opening,
                    uint64_t now_us, uint64_t *wait_us, enum portal_gate *why);
/* Part of the transaction that begins n of them: writes the row. */
enum db_rc portal_begin(struct db *db, struct portal_state *p, const struct portal_conf *conf,
                        const struct breaker_times *t, unsigned n, uint64_t now_us);
/* One that somebody waits for, likewise: *why = GATE_OPEN, and it was counted; else it may not begin for *wait_us. */
enum db_rc portal_begin_sync(struct db *db, const char *portal, const struct portal_conf *conf,
                             const struct breaker_times *t, enum portal_gate *why, uint64_t *wait_us,
                             char error[65]);
/* Of n such ones, *may may begin now, as one after another; then the part of the transaction that begins some of these: writes the row. */
enum db_rc portal_read_sync(struct db *db, const char *portal, const struct portal_conf *conf,
                            const struct breaker_times *t, unsigned n, struct portal_state *out, uint64_t *now_us,
                            unsigned *may);
enum db_rc portal_begun_sync(struct db *db, struct portal_state *p, const struct portal_conf *conf,
                             const struct breaker_times *t, unsigned n, uint64_t now_us);
/* Is its breaker open, as far as attempts go: those that fail now are not counted? */
enum db_rc portal_is_down(struct db *db, const char *portal, bool *is_down);

/* A part of the queue: "" and 0 = any. */
struct scope {
    char portal[PORTAL_ROOM], action[65];
    uint64_t batch_id;
};
struct scope_pause {
    struct scope scope;
    char by[ACTOR_MAX * 4 + 1], reason[801]; /* reason "" = none */
    int64_t since_ms, until_ms;              /* unix; until 0 = until it is ended */
};
#define PAUSES_MAX 200
/* Those that hold now, up to PAUSES_MAX; malloc'ed, the caller's. */
enum db_rc scope_pauses_read(struct db *db, struct scope_pause **out, unsigned *n);
/* The first that holds this; NULL = none. */
const struct scope_pause *scope_pause_of(const struct scope_pause *pauses, unsigned n, const char *portal,
                                         const char *action, uint64_t batch_id);

/* ---- how attempts ended ------------------------------------------------------------------------------------- */

struct portal_telling {
    const char *portal, *holder;
    const struct portal_ended *ended; /* n of them; none: only time went by */
    unsigned n, tries;                /* tries: of jobs that get their last attempt back */
    struct breaker_times times;
};
/* Tells the breaker, as part of a transaction; attempts that were lost to a portal that is known to be down now are given back in it. A
 * fault is told in the transaction that frees its log-in's place: nobody takes that place without knowing. */
enum db_rc portal_tell(struct db *db, const struct portal_telling *t, struct portal_change *out);

/* ---- the dispatcher's tick ---------------------------------------------------------------------------------- */

#define NEWS_MAX 48 /* attempts of a portal that are told at once; of more the last ones count */
struct portal_news {
    char portal[PORTAL_ROOM];
    unsigned n;
    struct portal_ended ended[NEWS_MAX];
    uint64_t count[OUTCOME_COUNT];
};
struct
    store_portals { /* tells how attempts ended, learns what others know, and lets go of held items that may begin */
    const struct portal_conf_table *conf;
    struct breaker_times times;
    char holder[NAME_ROOM];
    unsigned tries;    /* of jobs that are put back */
    bool is_releasing; /* false: this dispatcher stops */
    /* the caller's */
    unsigned n_news;
    struct portal_news *news;
    /* out */
    /* malloc'ed, the caller's; not when rc is not STORE_OK */
    unsigned n;
    struct portal_state *portal;
    unsigned n_changes;
    struct portal_change change[16];
    unsigned n_released;
    bool is_held;     /* items are held */
    uint64_t wait_us; /* until it is worth looking again; 0 = no earlier than ever */
    enum store_rc rc;
};
void store_portals(struct db *db, void *op);

struct store_portal_list { /* as operators see them */
    const struct portal_conf_table *conf;
    const struct action_table *actions;
    struct buf json;
    enum store_rc rc;
};
void store_portal_list(struct db *db, void *op);
/* [{portal,action,batch_id,by,reason,since,until}], null where a scope names none. */
struct jv *scope_pauses_jv(const struct scope_pause *pauses, unsigned n);
/* Held items by portal, as far as `most` are looked at: calls fn for each portal. */
enum db_rc held_count(struct db *db, uint64_t most, void (*fn)(void *arg, const char *portal, uint64_t n),
                      void *arg);

#endif
