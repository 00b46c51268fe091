/* SPDX-License-Identifier: MIT */
/*
 * store_place.c - places: how full robots are, taking a place on the best one,
 * and letting it go. One session holds a place, and it is taken before its robot is called; both must stay. Which robot is best
 * may change. Queued log-ins take many places in one statement: store_claim.c, slots_take().
 */
#include "dispatcher/store/store_place.h"

#include "common/clock.h"
#include "db/robot_row.h"

/* ---- how full robots are ------------------------------------------------------------------------------------ */

/* used_a / capacity_a < used_b / capacity_b */
bool load_is_better(const struct load *a, const struct load *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    uint64_t left = (uint64_t)a->used * b->capacity, right = (uint64_t)b->used * a->capacity;
    return left != right ? left < right : a->robot_id < b->robot_id;
}

/* How many places of each robot are held, as counted lately by this database thread. Counting reads all that are held, so the more they
 * are, the longer a count is good for: a hundred for 2 ms, 50,000 for a second. It only says which robot is the best one. That a place is
 * free is seen at the place. */
struct held {
    const struct db *of;
    uint64_t until_ms; /* 0 = to be counted */
    bool is_old;       /* the last loads_read() went by an earlier count */
    unsigned n;
    struct held_row {
        uint32_t robot_id, used, top; /* top: the highest slot that is held */
    } row[CANDIDATES_MAX];
};
static _Thread_local struct held held;
#define HELD_A_MS 50 /* places that make a count good for 1 ms more */

static enum db_rc held_count(struct db *db)
{
    uint64_t all = 0;
    held.of = db;
    held.n = 0;
    held.until_ms = 0;
    TRY(db_query(
        db, /* by the index of what is held: free places are not read */
        "SELECT robot_id, COUNT(*), MAX(slot) FROM chasqui_places FORCE INDEX (session_ref) WHERE session_ref IS NOT NULL GROUP BY robot_id ORDER BY NULL",
        ""));
    while (held.n < CANDIDATES_MAX && db_next(db)) {
        held.row[held.n] =
            (struct held_row){(uint32_t)db_u64(db, 0), (uint32_t)db_u64(db, 1), (uint32_t)db_u64(db, 2)};
        all += held.row[held.n++].used;
    }
    held.until_ms = all < HELD_A_MS ? 0 : clock_ms() + all / HELD_A_MS;
    return DB_OK;
}

static struct held_row *held_of(uint32_t robot_id)
{
    for (unsigned i = 0; i < held.n; i++)
        if (held.row[i].robot_id == robot_id)
            return &held.row[i];
    return NULL;
}

void loads_forget(void)
{
    held.until_ms = 0;
}

void loads_taken(uint32_t robot_id)
{
    struct held_row *row = held_of(robot_id);
    if (row)
        row->used++;
}

/* Candidates that have a place by what was counted. */
static void loads_keep(const struct load *all, unsigned n, struct load *out, unsigned *n_out)
{
    *n_out = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct held_row *row = held_of(all[i].robot_id);
        out[*n_out] = all[i];
        out[*n_out].used = row ? row->used : 0;
        out[*n_out].over = row && row->top > all[i].capacity;
        *n_out += out[*n_out].used < all[i].capacity;
    }
}

enum db_rc loads_read(struct db *db, const struct candidate *c, unsigned n, struct load *out, unsigned *n_out)
{
    static _Thread_local struct load all[CANDIDATES_MAX];
    unsigned n_all = 0;
    *n_out = 0;
    held.is_old = held.of == db && clock_ms() < held.until_ms;
    if (!held.is_old)
        TRY(held_count(db));
    TRY(db_query(
        db,
        "SELECT r.id, " ROBOT_CAPACITY
        " FROM chasqui_robots r WHERE r.removed = 0 AND r.wanted = 'active' AND NOT EXISTS "
        "(SELECT 1 FROM chasqui_sessions a WHERE a.close_pending = 1 AND a.robot_id = r.id) ORDER BY r.id",
        ""));
    while (db_next(db)) {
        uint32_t id = (uint32_t)db_u64(db, 0);
        for (unsigned i = 0; i < n; i++)
            if (c[i].robot_id == id && n_all < CANDIDATES_MAX) {
                all[n_all++] = (struct load){id, (uint32_t)db_u64(db, 1), 0, false, c[i].rank, false};
                break;
            }
    }
    loads_keep(all, n_all, out, n_out);
    if (n_all && !*n_out && held.is_old) { /* all were full: some place may be free by now */
        held.is_old = false;
        TRY(held_count(db));
        loads_keep(all, n_all, out, n_out);
    }
    return DB_OK;
}

/* Transactions that count a robot's sessions follow one another: on one server by the row's lock, over the nodes of a cluster because both wrote the
 * row, and the later COMMIT is aborted. */
static enum db_rc robot_count_begin(struct db *db, uint32_t robot_id)
{
    return db_exec(db, "UPDATE chasqui_robots SET counted = counted + 1 WHERE id = ?", "u", (uint64_t)robot_id);
}

enum db_rc load_count_locked(struct db *db, uint32_t robot_id, uint64_t *used)
{
    TRY(robot_count_begin(db, robot_id));
    TRY(db_query(db, "SELECT COUNT(*) FROM chasqui_places WHERE robot_id = ? AND session_ref IS NOT NULL", "u",
                 (uint64_t)robot_id));
    *used = db_next(db) ? db_u64(db, 0) : UINT64_MAX;
    return DB_OK;
}

enum db_rc opening_count_locked(struct db *db, uint32_t robot_id, uint64_t *opening)
{
    TRY(robot_count_begin(db, robot_id));
    TRY(db_query(
        db, "SELECT COUNT(*) FROM chasqui_sessions FORCE INDEX (idle) WHERE state = 'opening' AND robot_id = ?",
        "u", (uint64_t)robot_id));
    *opening = db_next(db) ? db_u64(db, 0) : UINT64_MAX;
    return DB_OK;
}

/* ---- a place is taken --------------------------------------------------------------------------------------- */

#define MIGRATIONS_AT_ONCE 4

static enum db_rc may_migrate_to(struct db *db, uint32_t robot_id, bool *may)
{
    TRY(robot_count_begin(db, robot_id));
    TRY(db_query(
        db,
        "SELECT COUNT(*) FROM chasqui_sessions s JOIN chasqui_session_migrations m ON m.job_id = s.job_id WHERE s.robot_id = ? "
        "AND s.live = 1 AND s.state = 'opening'",
        "u", (uint64_t)robot_id));
    *may = db_next(db) && db_u64(db, 0) < MIGRATIONS_AT_ONCE;
    return DB_OK;
}

static enum db_rc place_of_best(struct db *db, struct load *loads, unsigned n_loads, bool migrating,
                                uint64_t session_ref, uint32_t *robot_id, uint32_t *slot)
{
    for (;;) {
        struct load *best = NULL;
        for (unsigned i = 0; i < n_loads; i++)
            if (!loads[i].tried && (!best || load_is_better(&loads[i], best)))
                best = &loads[i];
        if (!best)
            return DB_OK;
        best->tried = true;
        bool may = true;
        if (migrating)
            TRY(may_migrate_to(db, best->robot_id, &may));
        if (may && best->over) {
            uint64_t used;
            TRY(load_count_locked(db, best->robot_id, &used));
            may = used < best->capacity;
        }
        if (!may)
            continue;
        TRY(db_query(
            db,
            "SELECT slot FROM chasqui_places FORCE INDEX (free_places) WHERE robot_id = ? AND session_ref IS NULL AND slot <= ? ORDER BY "
            "slot LIMIT 1 FOR UPDATE SKIP LOCKED",
            "uu", (uint64_t)best->robot_id, (uint64_t)best->capacity));
        if (!db_next(db)) {
            loads_forget();
            continue;
        }
        uint64_t found = db_u64(db, 0);
        TRY(db_exec(
            db,
            "UPDATE chasqui_places SET {become place.take} WHERE robot_id = ? AND slot = ? AND {from place.take}",
            "uuu", session_ref, (uint64_t)best->robot_id, found));
        if (db_affected(db) != 1)
            continue;
        loads_taken(best->robot_id);
        *robot_id = best->robot_id;
        *slot = (uint32_t)found;
        return DB_OK;
    }
}

enum db_rc place_take(struct db *db, const struct candidate *c, unsigned n, bool migrating, uint64_t session_ref,
                      uint32_t *robot_id, uint32_t *slot)
{
    struct load loads[CANDIDATES_MAX];
    unsigned n_loads;
    *robot_id = *slot = 0;
    while (n) {
        TRY(loads_read(db, c, n, loads, &n_loads));
        TRY(place_of_best(db, loads, n_loads, migrating, session_ref, robot_id, slot));
        if (*robot_id || !held.is_old)
            break;
        loads_forget(); /* none is said only by a count of now */
    }
    return DB_OK;
}

/* Of several that add a place to one robot, one after another has the next slot; the others look again. */
#define ADD_TRIES 64

static enum db_rc place_add(struct db *db, uint32_t robot_id, uint64_t session_ref)
{
    for (unsigned tries = 0; tries < ADD_TRIES; tries++) {
        enum db_rc rc = db_exec(
            db,
            "INSERT INTO chasqui_places (robot_id, slot, session_ref) SELECT ?, COALESCE(MAX(slot), 0) + 1, {new place.add} FROM "
            "chasqui_places WHERE robot_id = ?",
            "uuu", (uint64_t)robot_id, session_ref, (uint64_t)robot_id);
        if (rc != DB_DUP)
            return rc;
    }
    return DB_RETRY;
}

enum db_rc place_adopt(struct db *db, uint32_t robot_id, uint64_t session_ref)
{
    TRY(db_query(
        db,
        "SELECT slot FROM chasqui_places FORCE INDEX (free_places) WHERE robot_id = ? AND session_ref IS NULL ORDER BY slot LIMIT 1 FOR "
        "UPDATE SKIP LOCKED",
        "u", (uint64_t)robot_id));
    if (!db_next(db))
        return place_add(db, robot_id, session_ref);
    uint64_t slot = db_u64(db, 0);
    loads_taken(robot_id);
    TRY(db_exec(
        db, "UPDATE chasqui_places SET {become place.take} WHERE robot_id = ? AND slot = ? AND {from place.take}",
        "uuu", session_ref, (uint64_t)robot_id, slot));
    return db_affected(db) == 1 ? DB_OK : DB_RETRY;
}

/* ---- a place is let go -------------------------------------------------------------------------------------- */

enum db_rc place_let_go(struct db *db, uint64_t session_ref, enum place_fate fate)
{
    switch (fate) {
    case PLACE_FREE:
        TRY(db_exec(db, "UPDATE chasqui_places SET {become place.free} WHERE session_ref = ?", "u", session_ref));
        return db_exec(db, "UPDATE chasqui_sessions SET {become remains.free} WHERE id = ?", "u", session_ref);
    case PLACE_KEEP_PENDING:
        return db_exec(db, "UPDATE chasqui_sessions SET {become remains.keep} WHERE id = ?", "u", session_ref);
    case PLACE_FADE:
        break;
    }
    return db_exec(db, "UPDATE chasqui_sessions SET {become remains.fade} WHERE id = ?", "u", session_ref);
}
