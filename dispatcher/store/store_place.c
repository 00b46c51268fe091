/* SPDX-License-Identifier: MIT */
/*
 * store_place.c - places: how full robots are, taking a place on the best one, and letting it go.
 *
 * Must stay: a place has at most one session, and a session has at most one place (unique keys of chasqui_places). A
 * place is taken in a transaction that is committed before the robot is called. May change: which robot is the best
 * one. Queued log-ins take many places at once: slots_take() in store_claim.c locks them, claim_begin() in
 * store_claim_write.c writes them. Executes of one moment: places_find() locks them, store_reserves.c writes them.
 */
#include "dispatcher/store/store_place.h"

#include "common/check.h"
#include "common/clock.h"
#include "db/db_list.h"
#include "db/robot_row.h"

#include <stdlib.h>
#include <string.h>

/* ---- how full robots are ------------------------------------------------------------------------------------ */

/* used_a / capacity_a < used_b / capacity_b */
bool load_is_better(const struct load *a, const struct load *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    uint64_t left = (uint64_t)a->used * b->capacity, right = (uint64_t)b->used * a->capacity;
    return left != right ? left < right : a->tie < b->tie;
}

/* How many places of each robot are held, as counted lately by this database thread: for log-ins whose dispatcher has not counted them
 * (store_held()), which is when few are held. It only says which robot is the best one. That a place is free is seen at the place. */
struct held {
    const struct db *of;
    uint64_t until_ms; /* 0 = to be counted */
    bool is_old;       /* the last loads_read() went by an earlier count */
    uint32_t counted;  /* the dispatcher's count that it went by; 0 = none */
    unsigned n;
    struct robot_held row[CANDIDATES_MAX];
};
static _Thread_local struct held held;
#define HELD_A_MS 50 /* places that make a count good for 1 ms more */

/* What this thread took since the dispatcher's count. Two robots that share a cell forget each other's. */
#define TAKEN_CELLS 2048
static _Thread_local struct taken {
    uint32_t robot_id, counted, n;
} taken[TAKEN_CELLS];

static struct taken *taken_of(uint32_t robot_id)
{
    struct taken *t = &taken[robot_id % TAKEN_CELLS];
    if (t->robot_id != robot_id || t->counted != held.counted)
        *t = (struct taken){robot_id, held.counted, 0};
    return t;
}

/* It reads each place that is held, once. */
static enum db_rc held_read(struct db *db, struct store_held *out)
{
    out->all = out->n = 0;
    TRY(db_query(
        db,
        "SELECT r.id, " ROBOT_CAPACITY
        ", (SELECT COUNT(*) FROM chasqui_places p FORCE INDEX (free_places) WHERE p.robot_id = r.id AND p.session_ref IS NOT NULL), " MAY_BE_GIVEN
        " FROM chasqui_robots r WHERE r.removed = 0 ORDER BY r.id LIMIT ?",
        "u", (uint64_t)HELD_MAX));
    while (out->n < HELD_MAX && db_next(db)) {
        struct robot_held *row = &out->row[out->n++];
        *row = (struct robot_held){(uint32_t)db_u64(db, 0), db_u64(db, 3) ? (uint32_t)db_u64(db, 1) : 0,
                                   (uint32_t)db_u64(db, 2)};
        out->all += row->used;
    }
    return DB_OK;
}

void store_held(struct db *db, void *arg)
{
    struct store_held *op = arg;
    uint64_t begun_us = clock_us();
    op->rc = store_rc_of(db ? held_read(db, op) : DB_GONE);
    op->took_us = clock_us() - begun_us;
}

static enum db_rc held_count(struct db *db)
{
    struct store_held *now = xcalloc(1, sizeof(*now));
    enum db_rc rc = held_read(db, now);
    held.of = db;
    held.n = now->n < CANDIDATES_MAX ? now->n : CANDIDATES_MAX;
    memcpy(held.row, now->row, held.n * sizeof(*held.row));
    held.until_ms = rc != DB_OK || now->all < HELD_A_MS ? 0 : clock_ms() + now->all / HELD_A_MS;
    free(now);
    return rc;
}

static struct robot_held *held_of(uint32_t robot_id)
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
    struct robot_held *row = held.counted ? NULL : held_of(robot_id);
    if (row)
        row->used++;
    if (held.counted)
        taken_of(robot_id)->n++;
}

void loads_full(uint32_t robot_id)
{
    if (held.counted)
        taken_of(robot_id)->n = UINT32_MAX / 2;
    else
        loads_forget();
}

/* Candidates that have a place by what was counted. */
static void loads_keep(const struct candidate *c, unsigned n, struct load *out, unsigned *n_out)
{
    *n_out = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct robot_held *row = held_of(c[i].robot_id);
        if (row && row->used < row->capacity)
            out[(*n_out)++] = (struct load){.robot_id = row->robot_id,
                                            .capacity = row->capacity,
                                            .used = row->used,
                                            .rank = c[i].rank,
                                            .tie = row->robot_id};
    }
}

/* By the dispatcher's count, which its threads share: each has its own order of robots that are equally good, or all would take the same. */
static void loads_estimate(const struct candidate *c, unsigned n, struct load *out, unsigned *n_out)
{
    static _Thread_local uint32_t salt;
    held.is_old = true;
    if (held.counted != c[0].counted)
        salt = (uint32_t)id_random_u64();
    held.counted = c[0].counted;
    for (unsigned i = 0; i < n; i++) {
        uint64_t used = (uint64_t)c[i].used + taken_of(c[i].robot_id)->n;
        if (used < c[i].capacity)
            out[(*n_out)++] = (struct load){.robot_id = c[i].robot_id,
                                            .capacity = c[i].capacity,
                                            .used = (uint32_t)used,
                                            .rank = c[i].rank,
                                            .tie = (c[i].robot_id ^ salt) * 2654435761u};
    }
}

enum db_rc loads_read(struct db *db, const struct candidate *c, unsigned n, struct load *out, unsigned *n_out)
{
    *n_out = 0;
    if (n && c[0].counted) {
        loads_estimate(c, n, out, n_out);
        return DB_OK;
    }
    held.counted = 0;
    held.is_old = held.of == db && clock_ms() < held.until_ms;
    if (!held.is_old)
        TRY(held_count(db));
    loads_keep(c, n, out, n_out);
    if (!*n_out && held.is_old) { /* all were full: some place may be free by now */
        held.is_old = false;
        TRY(held_count(db));
        loads_keep(c, n, out, n_out);
    }
    return DB_OK;
}

static const struct candidate *candidate_of(const struct candidate *c, unsigned n, uint32_t robot_id)
{
    for (unsigned i = 0; i < n; i++)
        if (c[i].robot_id == robot_id)
            return &c[i];
    return NULL;
}

enum db_rc loads_read_free(struct db *db, const struct candidate *c, unsigned n, unsigned kept_back_percent,
                           struct load *out, unsigned *n_out)
{
    const struct candidate *of;
    *n_out = 0;
    held.is_old = false;
    TRY(db_query(db,
                 "SELECT r.id, " ROBOT_CAPACITY
                 ", (SELECT COUNT(*) FROM chasqui_places p FORCE INDEX (free_places) WHERE p.robot_id = r.id AND "
                 "p.session_ref IS NULL AND p.slot <= " ROBOT_CAPACITY " - " ROBOT_CAPACITY
                 " * ? DIV 100) AS free FROM chasqui_robots r WHERE " MAY_BE_GIVEN
                 " HAVING free > 0 ORDER BY r.id",
                 "u", (uint64_t)kept_back_percent));
    while (*n_out < CANDIDATES_MAX && db_next(db))
        if ((of = candidate_of(c, n, (uint32_t)db_u64(db, 0)))) {
            uint32_t capacity = (uint32_t)db_u64(db, 1),
                     kept = (uint32_t)((uint64_t)capacity * kept_back_percent / 100);
            out[(*n_out)++] = (struct load){.robot_id = of->robot_id,
                                            .capacity = capacity,
                                            .used = capacity - kept - (uint32_t)db_u64(db, 2),
                                            .rank = of->rank,
                                            .tie = of->robot_id};
        }
    return DB_OK;
}

/* Transactions that count a robot's sessions follow one another: on one server by the row's lock, over the nodes of a cluster because both wrote the
 * row, and the later COMMIT is aborted. */
static enum db_rc robots_count_begin(struct db *db, const uint64_t *robot_id, unsigned n)
{
    if (db_is_node(db))
        return db_exec_in_u64(
            db, "UPDATE chasqui_robots FORCE INDEX (PRIMARY) SET counted = counted + 1 WHERE id IN (%s)", robot_id,
            n, "");
    return db_query_in_u64(db, "SELECT id FROM chasqui_robots FORCE INDEX (PRIMARY) WHERE id IN (%s) FOR UPDATE",
                           robot_id, n, "");
}

static enum db_rc robot_count_begin(struct db *db, uint32_t robot_id)
{
    uint64_t id = robot_id;
    return robots_count_begin(db, &id, 1);
}

/* A robot whose capacity was lowered, or that holds more than it has, has places above it: are some of them held? */
static enum db_rc over_look(struct db *db, uint32_t robot_id, struct robot_look *look)
{
    TRY(db_query(
        db,
        "SELECT EXISTS (SELECT 1 FROM chasqui_places FORCE INDEX (PRIMARY) WHERE robot_id = ? AND slot > ? AND session_ref IS NOT NULL)",
        "uu", (uint64_t)robot_id, (uint64_t)look->capacity));
    look->is_over = db_next(db) && db_u64(db, 0) != 0;
    return DB_OK;
}

enum db_rc robots_look(struct db *db, const uint32_t *robot_id, unsigned n, unsigned kept_back_percent,
                       struct robot_look *out)
{
    uint64_t ids[DB_LIST_MAX];
    CHECK(n <= DB_LIST_MAX, "%u robots at once", n);
    for (unsigned i = 0; i < n; i++) {
        ids[i] = robot_id[i];
        out[i] = (struct robot_look){.is_wanted = false};
    }
    if (!n)
        return DB_OK;
    TRY(db_query_in_u64(
        db,
        "SELECT r.id, r.name, " ROBOT_CAPACITY
        ", (SELECT p.slot FROM chasqui_places p FORCE INDEX (PRIMARY) WHERE p.robot_id = r.id ORDER BY p.slot "
        "DESC LIMIT 1) > " ROBOT_CAPACITY
        ", (SELECT p.slot FROM chasqui_places p FORCE INDEX (free_places) WHERE p.robot_id = r.id AND p.session_ref IS NULL AND p.slot <= " ROBOT_CAPACITY
        " - " ROBOT_CAPACITY " * ? DIV 100 ORDER BY p.slot LIMIT 1 FOR UPDATE SKIP LOCKED)"
        " FROM chasqui_robots r FORCE INDEX (PRIMARY) WHERE r.id IN (%s) AND " MAY_BE_GIVEN,
        ids, n, "u", (uint64_t)kept_back_percent));
    while (db_next(db)) {
        uint64_t id = db_u64(db, 0);
        for (unsigned i = 0; i < n; i++)
            if (ids[i] == id) {
                out[i].is_wanted = true;
                db_str_copy(db, 1, out[i].name, sizeof(out[i].name));
                out[i].capacity = (uint32_t)db_u64(db, 2);
                out[i].is_over = db_u64(db, 3) != 0;
                out[i].slot = (uint32_t)db_u64(db, 4);
            }
    }
    for (unsigned i = 0; i < n; i++)
        if (out[i].is_over)
            TRY(over_look(db, robot_id[i], &out[i]));
    return DB_OK;
}

/* Each place from 1 to the capacity has a row: what is held is the capacity, without those that are free, and with those above it. No more
 * free ones are read than it takes. */
enum db_rc room_count_locked(struct db *db, uint32_t robot_id, uint32_t capacity, uint32_t kept, uint32_t most,
                             uint32_t *room)
{
    *room = 0;
    TRY(robot_count_begin(db, robot_id));
    TRY(db_query(db,
                 "SELECT COUNT(*) FROM chasqui_places WHERE robot_id = ? AND slot > ? AND session_ref IS NOT NULL",
                 "uu", (uint64_t)robot_id, (uint64_t)capacity));
    uint64_t taken_up = (db_next(db) ? db_u64(db, 0) : capacity) + kept;
    TRY(db_query(
        db,
        "SELECT COUNT(*) FROM (SELECT 1 FROM chasqui_places FORCE INDEX (free_places) WHERE robot_id = ? AND session_ref IS NULL AND slot <= ? "
        "LIMIT ?) f",
        "uuu", (uint64_t)robot_id, (uint64_t)capacity, taken_up + most));
    uint64_t free_ones = db_next(db) ? db_u64(db, 0) : 0;
    *room = free_ones > taken_up ? (uint32_t)(free_ones - taken_up) : 0;
    return DB_OK;
}

enum db_rc opening_count_locked(struct db *db, const uint64_t *robot_id, unsigned n, unsigned *opening)
{
    TRY(robots_count_begin(db, robot_id, n));
    TRY(db_query_in_u64(
        db,
        "SELECT robot_id FROM chasqui_sessions FORCE INDEX (idle) WHERE state = 'opening' AND robot_id IN (%s)",
        robot_id, n, ""));
    while (db_next(db)) {
        uint64_t id = db_u64(db, 0);
        for (unsigned i = 0; i < n; i++)
            opening[i] += robot_id[i] == id;
    }
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

/* Locks a free place of the best robot. *robot_id stays 0 when there is none. */
static enum db_rc place_of_best(struct db *db, struct load *loads, unsigned n_loads, bool migrating,
                                struct place *out)
{
    for (;;) {
        struct load *best = NULL;
        for (unsigned i = 0; i < n_loads; i++)
            if (!loads[i].tried && (!best || load_is_better(&loads[i], best)))
                best = &loads[i];
        if (!best)
            return DB_OK;
        struct robot_look look;
        best->tried = true;
        TRY(robots_look(db, &best->robot_id, 1, 0, &look));
        bool may = look.is_wanted;
        if (may && migrating)
            TRY(may_migrate_to(db, best->robot_id, &may));
        if (may && look.is_over) {
            uint32_t room;
            TRY(room_count_locked(db, best->robot_id, look.capacity, 0, 1, &room));
            may = room > 0;
        }
        if (!may)
            continue;
        if (!look.slot) {
            loads_full(best->robot_id);
            continue;
        }
        *out = (struct place){best->robot_id, look.slot, ""};
        strcpy(out->worker, look.name);
        return DB_OK;
    }
}

enum db_rc place_find(struct db *db, const struct candidate *c, unsigned n, bool migrating, struct place *out)
{
    struct load loads[CANDIDATES_MAX];
    unsigned n_loads;
    *out = (struct place){0};
    if (!n)
        return DB_OK;
    TRY(loads_read(db, c, n, loads, &n_loads));
    TRY(place_of_best(db, loads, n_loads, migrating, out));
    if (out->robot_id || !held.is_old)
        return DB_OK;
    TRY(loads_read_free(db, c, n, 0, loads, &n_loads)); /* none is said only by a look of now */
    return place_of_best(db, loads, n_loads, migrating, out);
}

struct share { /* of a robot, in the places that are looked for */
    struct load *load;
    unsigned n; /* places that it is to give */
};

static int by_robot(const void *a, const void *b)
{
    uint32_t x = ((const struct share *)a)->load->robot_id, y = ((const struct share *)b)->load->robot_id;
    return x < y ? -1 : x > y;
}

/* The robots that are the best for `most` log-ins, one after another; ascending. */
static unsigned shares_choose(struct load *loads, unsigned n_loads, unsigned most, struct share *out)
{
    unsigned n = 0, i;
    for (; most; most--) {
        struct load *best = NULL;
        for (i = 0; i < n_loads; i++)
            if (loads[i].used < loads[i].capacity && (!best || load_is_better(&loads[i], best)))
                best = &loads[i];
        if (!best)
            break;
        for (i = 0; i < n && out[i].load != best;)
            i++;
        if (i == n)
            out[n++] = (struct share){best, 0};
        out[i].n++;
        best->used++;
    }
    qsort(out, n, sizeof(*out), by_robot);
    return n;
}

/* Locks free places of a robot, at most `most`: the first ones behind a slot, up to another. Those that others have locked are passed over. */
static enum db_rc free_places_lock(struct db *db, uint32_t robot_id, uint32_t behind, uint32_t up_to,
                                   unsigned most, struct place *out, unsigned *n)
{
    *n = 0;
    TRY(db_query(
        db,
        "SELECT slot FROM chasqui_places FORCE INDEX (free_places) WHERE robot_id = ? AND session_ref IS NULL AND slot > ? AND slot <= ? "
        "ORDER BY slot LIMIT ? FOR UPDATE SKIP LOCKED",
        "uuuu", (uint64_t)robot_id, (uint64_t)behind, (uint64_t)up_to, (uint64_t)most));
    while (*n < most && db_next(db))
        out[(*n)++] = (struct place){robot_id, (uint32_t)db_u64(db, 0), ""};
    return DB_OK;
}

/* Locks a robot's free places for its share; one is locked with the robot. */
static enum db_rc share_take(struct db *db, const struct share *s, const struct robot_look *look,
                             struct place *out, unsigned *n_out)
{
    unsigned n = 0, more;
    if (!look->is_wanted || look->is_over)
        return DB_OK;
    struct place *p = out + *n_out;
    if (look->slot)
        p[n++] = (struct place){s->load->robot_id, look->slot, ""};
    if (look->slot && s->n > 1) {
        TRY(free_places_lock(db, s->load->robot_id, look->slot, look->capacity, s->n - 1, p + 1, &more));
        n += more;
    }
    if (n < s->n)
        loads_full(s->load->robot_id);
    for (unsigned i = 0; i < n; i++)
        strcpy(p[i].worker, look->name);
    *n_out += n;
    return DB_OK;
}

enum db_rc places_find(struct db *db, const struct candidate *c, unsigned n, unsigned most, struct place *out,
                       unsigned *n_out)
{
    struct load loads[CANDIDATES_MAX];
    struct share share[RESERVES_MAX];
    struct robot_look look[RESERVES_MAX];
    uint32_t ids[RESERVES_MAX] = {0};
    unsigned n_loads;
    CHECK(most <= RESERVES_MAX, "%u places", most);
    *n_out = 0;
    if (!n)
        return DB_OK;
    TRY(loads_read(db, c, n, loads, &n_loads));
    unsigned n_shares = shares_choose(loads, n_loads, most, share);
    for (unsigned i = 0; i < n_shares; i++)
        ids[i] = share[i].load->robot_id;
    TRY(robots_look(db, ids, n_shares, 0, look));
    for (unsigned i = 0; i < n_shares; i++)
        TRY(share_take(db, &share[i], &look[i], out, n_out));
    return DB_OK;
}

enum db_rc place_hold(struct db *db, const struct place *p, uint64_t session_ref)
{
    TRY(db_exec(
        db,
        "UPDATE chasqui_places FORCE INDEX (PRIMARY) SET {become place.take} WHERE robot_id = ? AND slot = ? AND {from place.take}",
        "uuu", session_ref, (uint64_t)p->robot_id, (uint64_t)p->slot));
    if (db_affected(db) != 1)
        return DB_RETRY;
    loads_taken(p->robot_id);
    return DB_OK;
}

enum db_rc place_take(struct db *db, const struct candidate *c, unsigned n, bool migrating, uint64_t session_ref,
                      struct place *out)
{
    TRY(place_find(db, c, n, migrating, out));
    return out->robot_id ? place_hold(db, out, session_ref) : DB_OK;
}

/* ---- places of adopted sessions ----------------------------------------------------------------------------- */

/* Of several that add a place to one robot, one after another has the next slot; the others look again. */
#define ADD_TRIES 64

static enum db_rc place_add(struct db *db, const struct adopted_place *p)
{
    for (unsigned tries = 0; tries < ADD_TRIES; tries++) {
        enum db_rc rc = db_exec(
            db,
            "INSERT INTO chasqui_places (robot_id, slot, session_ref) SELECT ?, COALESCE(MAX(slot), 0) + 1, {new place.add} FROM "
            "chasqui_places WHERE robot_id = ?",
            "uuu", (uint64_t)p->robot_id, p->session_ref, (uint64_t)p->robot_id);
        if (rc != DB_DUP)
            return rc;
    }
    return DB_RETRY;
}

static int by_robot_and_ref(const void *a, const void *b)
{
    const struct adopted_place *x = a, *y = b;
    if (x->robot_id != y->robot_id)
        return x->robot_id < y->robot_id ? -1 : 1;
    return x->session_ref < y->session_ref ? -1 : x->session_ref > y->session_ref;
}

/* The sessions of one robot, as far as it has free places. */
static enum db_rc free_places_find(struct db *db, struct adopted_place *p, unsigned n)
{
    struct place free_ones[ADOPTS_MAX];
    unsigned n_free;
    TRY(free_places_lock(db, p->robot_id, 0, UINT32_MAX, n, free_ones, &n_free));
    for (unsigned i = 0; i < n; i++)
        p[i].slot = i < n_free ? free_ones[i].slot : 0;
    return DB_OK;
}

struct adopted_places { /* those of a statement that is being filled */
    const struct adopted_place *p[ADOPTS_MAX];
    unsigned n;
};

static void fill_adopted(void *arg, unsigned row, struct db_cell *cells)
{
    const struct adopted_place *p = ((struct adopted_places *)arg)->p[row];
    cells[0].n = p->session_ref;
    cells[1].n = p->robot_id;
    cells[2].n = p->slot;
}

enum db_rc places_adopt(struct db *db, struct adopted_place *p, unsigned n)
{
    struct adopted_places found = {.n = 0};
    CHECK(n <= ADOPTS_MAX, "%u places", n);
    qsort(p, n, sizeof(*p), by_robot_and_ref); /* one order of all who take places of several robots */
    for (unsigned from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && p[to].robot_id == p[from].robot_id;)
            to++;
        TRY(free_places_find(db, p + from, to - from));
    }
    for (unsigned i = 0; i < n; i++)
        if (p[i].slot)
            found.p[found.n++] = &p[i];
    if (found.n)
        TRY(db_bulk(
            db,
            "UPDATE chasqui_places FORCE INDEX (PRIMARY) SET {become place.take} WHERE robot_id = ? AND slot = ? AND {from place.take}",
            "uuu", found.n, fill_adopted, &found));
    if (found.n && db_affected(db) != found.n)
        return DB_RETRY;
    for (unsigned i = 0; i < found.n; i++)
        loads_taken(found.p[i]->robot_id);
    for (unsigned i = 0; i < n; i++)
        if (!p[i].slot)
            TRY(place_add(db, &p[i]));
    return DB_OK;
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
