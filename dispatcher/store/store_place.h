/* SPDX-License-Identifier: MIT */
/* store_place.h - places of robots, as parts of transactions. */
#ifndef CHASQUI_STORE_PLACE_H
#define CHASQUI_STORE_PLACE_H

#include "dispatcher/store/store_sql.h"

/* Of chasqui_robots r: may it be given a log-in? It is active, and has no session that is to be fenced first. */
#define MAY_BE_GIVEN                                                                                              \
    "(r.removed = 0 AND r.wanted = 'active' AND NOT EXISTS (SELECT 1 FROM chasqui_sessions a WHERE "              \
    "a.close_pending = 1 AND a.robot_id = r.id))"

/* What becomes of the place that a session row holds. */
enum db_rc place_let_go(struct db *db, uint64_t session_ref, enum place_fate fate);
/* Locks a free place of the best candidate; robot_id 0 = none is free. `migrating`: at most 4 opening migrations a robot (its row is
 * locked). What it reads does not grow with the places that are held, if the candidates were counted. */
struct place {
    uint32_t robot_id, slot;
    char worker[NAME_ROOM]; /* the robot's name */
};
enum db_rc place_find(struct db *db, const struct candidate *c, unsigned n, bool migrating, struct place *out);
/* Places for `most` log-ins (at most RESERVES_MAX) at once, as place_find() finds one; *n_out of them have one, out[0] and so on. Robots that hold sessions above
 * their capacity are left to place_find(). Whoever holds them tells loads_taken(). */
enum db_rc places_find(struct db *db, const struct candidate *c, unsigned n, unsigned most, struct place *out,
                       unsigned *n_out);
/* A place that this transaction has locked is session_ref's. */
enum db_rc place_hold(struct db *db, const struct place *p, uint64_t session_ref);
/* Both; robot_id 0 = none is free. */
enum db_rc place_take(struct db *db, const struct candidate *c, unsigned n, bool migrating, uint64_t session_ref,
                      struct place *out);
/* Each adopted session takes a place of its robot: a free one, else one more than the robot has. Counts nothing. n at most ADOPTS_MAX; they
 * are sorted. */
struct adopted_place {
    uint64_t session_ref;
    uint32_t robot_id, slot; /* slot: out; 0 = one more than the robot had */
};
enum db_rc places_adopt(struct db *db, struct adopted_place *p, unsigned n);
/* What a robot holds, as far as it is known. */
struct load {
    uint32_t robot_id;
    uint32_t capacity;
    uint32_t used;
    uint32_t tie; /* the least of equally good ones is chosen */
    uint8_t rank;
    bool tried;
};
/* The candidates that have a free place, by the dispatcher's count when they have one, else by a count of this thread, which is of now when
 * few are held. `out` has room for CANDIDATES_MAX. It tells which robot is best; robots_look() tells whether it may be given a log-in, and
 * whoever takes a place sees at the place whether it is free. */
enum db_rc loads_read(struct db *db, const struct candidate *c, unsigned n, struct load *out, unsigned *n_out);
/* Those that have a free place now, among the places that are not kept back: for when none is, by what was counted. It reads free places
 * only. `used` leaves out what is held above the capacity. */
enum db_rc loads_read_free(struct db *db, const struct candidate *c, unsigned n, unsigned kept_back_percent,
                           struct load *out, unsigned *n_out);
/* The next loads_read() of this thread counts, if it goes by its own count. */
void loads_forget(void);
/* This thread took a place there; it found none. */
void loads_taken(uint32_t robot_id);
void loads_full(uint32_t robot_id);
/* Fewest sessions for the capacity first, within the lower rank. */
bool load_is_better(const struct load *a, const struct load *b);
/* Robots as they are now. */
struct robot_look {
    bool is_wanted; /* it may be given a log-in: it is active, and has nothing to close */
    bool is_over;   /* it holds sessions in places above its capacity: free places do not tell the whole */
    uint32_t capacity;
    uint32_t slot; /* a free place, which is locked; 0 = none */
    char name[NAME_ROOM];
};
/* No place of those that are kept back is locked: so many per cent of the capacity, the last ones. */
enum db_rc robots_look(struct db *db, const uint32_t *robot_id, unsigned n, unsigned kept_back_percent,
                       struct robot_look *out);
/* How many sessions more a robot that is over may be given, at most `most`, without the `kept` last ones: counted behind the robot's lock,
 * since two who find the last places below the capacity must not both have them when those above it count as well. */
enum db_rc room_count_locked(struct db *db, uint32_t robot_id, uint32_t capacity, uint32_t kept, uint32_t most,
                             uint32_t *room);
/* The log-ins under way on n robots, likewise behind their locks; they are ascending, the order of all who lock several. Adds to opening[]. */
enum db_rc opening_count_locked(struct db *db, const uint64_t *robot_id, unsigned n, unsigned *opening);

#endif
