/* SPDX-License-Identifier: MIT */
/* store_place.h - places of robots, as parts of transactions. */
#ifndef CHASQUI_STORE_PLACE_H
#define CHASQUI_STORE_PLACE_H

#include "dispatcher/store/store_sql.h"

/* What becomes of the place that a session row holds. */
enum db_rc place_let_go(struct db *db, uint64_t session_ref, enum place_fate fate);
/* Takes a place for session_ref on the best candidate; *robot_id 0 = none free. `migrating`: at most 4 opening
 * migrations a robot (its row is locked). */
enum db_rc place_take(struct db *db, const struct candidate *c, unsigned n, bool migrating, uint64_t session_ref,
                      uint32_t *robot_id, uint32_t *slot);
/* An adopted session takes a place of its robot: a free one, else one more than the robot has. Counts nothing. */
enum db_rc place_adopt(struct db *db, uint32_t robot_id, uint64_t session_ref);
/* What a robot holds right now. */
struct load {
    uint32_t robot_id;
    uint32_t capacity;
    uint32_t used;
    bool over; /* it holds sessions in places above its capacity: free places do not tell the whole */
    uint8_t rank;
    bool tried;
};
/* The candidates that have a free place; robots that are not wanted or have unfenced sessions are left out. `out` has room for
 * CANDIDATES_MAX and is sorted by id. `used` is a count of this database thread that may be as old as a second when tens of thousands of places are held: it tells
 * which robot is best, and whoever takes a place sees at the place whether it is free. That all are full is said by a count of now. */
enum db_rc loads_read(struct db *db, const struct candidate *c, unsigned n, struct load *out, unsigned *n_out);
/* The next loads_read() of this thread counts. */
void loads_forget(void);
/* This thread took a place there. */
void loads_taken(uint32_t robot_id);
/* Fewest sessions for the capacity first, within the lower rank. */
bool load_is_better(const struct load *a, const struct load *b);
/* Counts again behind the robot's lock: two who find the last places below the capacity must not both have them when
 * sessions above it (adopted ones, a lowered capacity) count as well. *used = what it holds. */
enum db_rc load_count_locked(struct db *db, uint32_t robot_id, uint64_t *used);
/* The log-ins under way there, likewise behind the robot's lock. Whoever locks several robots does so by ascending id, as loads_read() has them. */
enum db_rc opening_count_locked(struct db *db, uint32_t robot_id, uint64_t *opening);

#endif
