/* SPDX-License-Identifier: MIT */
/*
 * store_claim.c - claiming queued work: many items in one short transaction that also reserves their robots' places.
 * dispatcher/queue/queue.c decides when a claim is made, and begins what was claimed.
 *
 * claim_tx(), below, has the order of the steps: which items, which are locked (store_claim_order.c), what holds them back (store_hold.c),
 * their companies (store_claim_company.c), places (here), and what is written (store_claim_write.c). Owns nothing; runs
 * on database threads.
 *
 * Must stay:
 * - A claim is one short transaction, and it is committed before a robot is called.
 * - Items, free places and the companies' epoch rows are locked with SKIP LOCKED. Claims of several dispatchers
 *   therefore do not wait for these rows, and no claim waits for a log-in of the same company.
 * - An item is locked by a statement that asks for ready = 1: work that runs is never locked here.
 * - What a step writes is written by one statement for many items, never by one for each item.
 *
 * May change: which items come first, how many a claim takes, and which robots they get.
 */
#include "dispatcher/store/store_claim.h"

#include "dispatcher/store/store_refusal.h"

#include "common/check.h"
#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

/* leases are counted from the claim's beginning: what is left after this comes with the next one */
#define SPLIT_MS 2000

static void items_forget(struct claim *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        buf_free(&c->item[i].params);
        buf_free(&c->item[i].credentials);
    }
    memset(c->item, 0, sizeof(c->item));
    c->n = 0;
}

/* ---- what there is room for --------------------------------------------------------------------------------- */

static uint32_t usable_of(const struct store_claim *op, uint32_t capacity)
{
    return capacity - (uint32_t)((uint64_t)capacity * op->kept_back_percent / 100);
}

/* -1 = it is not there. */
static int load_index(const struct claim *c, uint32_t robot_id)
{
    for (unsigned i = 0; i < c->n_loads; i++)
        if (c->load[i].robot_id == robot_id)
            return (int)i;
    return -1;
}

/* The log-ins under way by robot, which are counted here: with GROUP BY the server reads each once more. */
static enum db_rc room_without_opening(struct db *db, struct claim *c)
{
    TRY(db_query(
        db,
        "SELECT robot_id FROM chasqui_sessions FORCE INDEX (idle) WHERE state = 'opening' AND robot_id IS NOT NULL",
        ""));
    while (db_next(db)) {
        int i = load_index(c, (uint32_t)db_u64(db, 0));
        if (i >= 0 && c->left[i])
            c->left[i]--;
    }
    for (unsigned i = 0; i < c->n_loads; i++)
        if (c->room[i] > c->left[i])
            c->room[i] = c->left[i];
    return DB_OK;
}

static enum db_rc room_by(struct db *db, struct claim *c, unsigned *room)
{
    struct store_claim *op = c->op;
    *room = 0;
    if (!c->n_loads)
        return DB_OK;
    for (unsigned i = 0; i < c->n_loads; i++) {
        struct load *l = &c->load[i];
        c->usable[i] = usable_of(op, l->capacity);
        c->room[i] = c->usable[i] > l->used ? c->usable[i] - l->used : 0;
        c->left[i] = op->logins_per_robot;
        *room += c->room[i];
    }
    if (!*room)
        return DB_OK;
    TRY(room_without_opening(db, c));
    *room = 0;
    for (unsigned i = 0; i < c->n_loads; i++)
        *room += c->room[i];
    return DB_OK;
}

static enum db_rc room_read(struct db *db, struct claim *c, unsigned *room)
{
    struct store_claim *op = c->op;
    bool is_counted = op->n_candidates && op->candidate[0].counted;
    TRY(loads_read(db, op->candidate, op->n_candidates, c->load, &c->n_loads));
    TRY(room_by(db, c, room));
    if (*room || !is_counted)
        return DB_OK;
    TRY(loads_read_free(db, op->candidate, op->n_candidates, op->kept_back_percent, c->load, &c->n_loads));
    return room_by(db, c, room); /* that there is none is said only by a look of now */
}

/* ---- the items ---------------------------------------------------------------------------------------------- */

static enum db_rc batches_read(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX];
    if (!claim_choose(c, FATE_GO, 1))
        return DB_OK;
    GATHER(c, batch_id, ids);
    TRY(db_query_in_u64(
        db,
        "SELECT id, portal, action, status, token_id, request_id, UNIX_TIMESTAMP(created_at) DIV 1, "
        "TIMESTAMPDIFF(MICROSECOND, COALESCE(available_at, created_at), NOW(6)) DIV 1000, steps IS NOT NULL OR closes, COALESCE(user_id, 0) FROM chasqui_batches "
        "WHERE id IN (%s)",
        ids, c->n_rows, ""));
    while (db_next(db)) {
        uint64_t batch_id = db_u64(db, 0);
        for (unsigned i = 0; i < c->n_rows; i++) {
            struct item *it = c->row[i];
            if (it->batch_id != batch_id)
                continue;
            db_str_copy(db, 1, it->portal, sizeof(it->portal));
            db_str_copy(db, 2, it->action, sizeof(it->action));
            it->token_id = db_u64(db, 4);
            db_str_copy(db, 5, it->request_id, sizeof(it->request_id));
            it->created_s = db_u64(db, 6);
            it->waited_ms = db_i64(db, 7);
            it->is_round = db_u64(db, 8) != 0;
            it->user_id = db_u64(db, 9);
            if (strcmp(db_str(db, 3, NULL), "cancelled") == 0)
                it->fate = FATE_CANCEL;
        }
    }
    return DB_OK;
}

/* Rows that a transaction of Laravel holds are not waited for: their items come back. */
static enum db_rc jobs_read(struct db *db, struct claim *c)
{
    uint64_t ids[QUEUE_CLAIM_MAX];
    if (!claim_choose(c, FATE_GO, 0))
        return DB_OK;
    GATHER(c, job_id, ids);
    for (unsigned i = 0; i < c->n_rows; i++)
        c->row[i]->is_ours = false;
    TRY(portal_rows_lock(db, ids, c->n_rows));
    for (struct item *it; db_next(db);)
        if ((it = claim_row_of_job(c, db_u64(db, 0))))
            it->is_ours = true;
    for (unsigned i = 0; i < c->n_rows; i++)
        c->row[i]->fate = FATE_CANCEL; /* unless its job waits */
    TRY(db_query_in_u64(
        db,
        "SELECT j.id, j.portal, j.action, j.job_uid, j.attempts, q.tries, q.remember, q.request_id, q.params, q.token_id, "
        "COALESCE((SELECT MAX(s.generation) FROM chasqui_sessions s WHERE s.job_id = j.id), 0), TIMESTAMPDIFF(MICROSECOND, "
        "COALESCE({utc j.available_at}, {utc j.created_at}), NOW(6)) DIV 1000, COALESCE(b.steps IS NOT NULL OR b.closes, 0) FROM portal_jobs j JOIN "
        "chasqui_jobs q ON q.job_id = j.id LEFT JOIN chasqui_batches b ON b.id = q.batch_id WHERE j.id IN (%s) AND j.status IN ({queued}, {retrying})",
        ids, c->n_rows, ""));
    while (db_next(db)) {
        struct item *it = claim_row_of_job(c, db_u64(db, 0));
        if (!it)
            continue;
        it->fate = it->is_ours ? FATE_GO : FATE_BACK;
        db_str_copy(db, 1, it->portal, sizeof(it->portal));
        db_str_copy(db, 2, it->action, sizeof(it->action));
        db_str_copy(db, 3, it->job_uid, sizeof(it->job_uid));
        it->attempts = (uint32_t)db_u64(db, 4);
        it->tries = (uint32_t)db_u64(db, 5);
        it->remember = db_u64(db, 6) != 0;
        db_str_copy(db, 7, it->request_id, sizeof(it->request_id));
        if (!it->params.len)
            column_bytes(db, 8, &it->params);
        it->token_id = db_u64(db, 9);
        it->generation = (uint32_t)db_u64(db, 10) + 1;
        it->waited_ms = db_i64(db, 11);
        it->is_round = db_u64(db, 12) != 0;
    }
    return DB_OK;
}

/* ---- places ------------------------------------------------------------------------------------------------- */

/* The next item's robot: the best of those with room. */
static struct load *load_choose(struct claim *c)
{
    struct load *best = NULL;
    for (unsigned i = 0; i < c->n_loads; i++)
        if (c->room[i] && (!best || load_is_better(&c->load[i], best)))
            best = &c->load[i];
    if (best) {
        best->used++;
        c->room[best - c->load]--;
    }
    return best;
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static unsigned chosen_index(const struct chosen *r, uint32_t robot_id)
{
    const uint32_t *at = bsearch(&robot_id, r->id, r->n, sizeof(*r->id), by_id);
    CHECK(at, "robot %u was not chosen", robot_id);
    return (unsigned)(at - r->id);
}

/* A robot that may not be given a log-in any more gets none. */
static enum db_rc chosen_look(struct db *db, struct claim *c, struct chosen *r)
{
    unsigned n = 0;
    r->n = 0;
    for (unsigned i = 0; i < c->n; i++)
        if (c->item[i].fate == FATE_GO)
            r->id[n++] = c->item[i].robot_id;
    qsort(r->id, n, sizeof(*r->id), by_id);
    for (unsigned i = 0; i < n; i++)
        if (!i || r->id[i] != r->id[i - 1])
            r->id[r->n++] = r->id[i];
    memset(r->wanted, 0, sizeof(r->wanted));
    for (unsigned i = 0; i < c->n; i++)
        if (c->item[i].fate == FATE_GO)
            r->wanted[chosen_index(r, c->item[i].robot_id)]++;
    TRY(robots_look(db, r->id, r->n, c->op->kept_back_percent, r->look));
    for (unsigned i = 0; i < r->n; i++) {
        r->usable[i] = usable_of(c->op, r->look[i].capacity);
        if (!r->look[i].is_wanted)
            r->wanted[i] = 0;
    }
    return DB_OK;
}

/* Sessions above a robot's capacity take places that look free. */
static enum db_rc over_limit(struct db *db, struct chosen *r)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->look[i].is_over && r->wanted[i])
            TRY(room_count_locked(db, r->id[i], r->look[i].capacity, r->look[i].capacity - r->usable[i],
                                  r->wanted[i], &r->wanted[i]));
    return DB_OK;
}

/* Of the log-ins wanted, those that each robot may be given beside what other claims gave it meanwhile. Where its places are the limit
 * nothing is counted. */
static enum db_rc logins_limit(struct db *db, const struct claim *c, struct chosen *r)
{
    uint64_t id[QUEUE_CLAIM_MAX];
    unsigned at[QUEUE_CLAIM_MAX], opening[QUEUE_CLAIM_MAX] = {0}, n = 0, most = c->op->logins_per_robot;
    for (unsigned i = 0; i < r->n; i++)
        if (r->wanted[i] && most < r->usable[i]) {
            at[n] = i;
            id[n++] = r->id[i];
        }
    if (!n)
        return DB_OK;
    TRY(opening_count_locked(db, id, n, opening));
    for (unsigned i = 0; i < n; i++) {
        unsigned left = most > opening[i] ? most - opening[i] : 0;
        if (r->wanted[at[i]] > left)
            r->wanted[at[i]] = left;
    }
    return DB_OK;
}

/* The robot's free places for these log-ins. One is found with the robot already. What another claim takes meanwhile is not counted yet:
 * that no claim looks above `usable` keeps the others' places for them. */
static enum db_rc slots_find(struct db *db, const struct chosen *r, unsigned at, uint32_t *slot, unsigned *n)
{
    *n = r->wanted[at] && r->look[at].slot;
    slot[0] = r->look[at].slot;
    if (!*n || r->wanted[at] == 1)
        return DB_OK;
    TRY(db_query(
        db,
        "SELECT slot FROM chasqui_places FORCE INDEX (free_places) WHERE robot_id = ? AND session_ref IS NULL AND slot > ? AND slot <= ? ORDER "
        "BY slot LIMIT ? FOR UPDATE SKIP LOCKED",
        "uuuu", (uint64_t)r->id[at], (uint64_t)slot[0], (uint64_t)r->usable[at], (uint64_t)r->wanted[at] - 1));
    while (*n < r->wanted[at] && db_next(db))
        slot[(*n)++] = (uint32_t)db_u64(db, 0);
    return DB_OK;
}

static enum db_rc slots_take(struct db *db, struct claim *c, const struct chosen *r, unsigned at)
{
    uint32_t slot[QUEUE_CLAIM_MAX];
    unsigned n, found = 0;
    TRY(slots_find(db, r, at, slot, &n));
    for (unsigned i = 0; i < c->n; i++) {
        struct item *it = &c->item[i];
        if (it->fate != FATE_GO || it->robot_id != r->id[at])
            continue;
        strcpy(it->worker, r->look[at].name);
        if (found < n) {
            it->slot = slot[found];
            loads_taken(it->robot_id);
            found++;
        } else {
            it->fate = FATE_LEAVE;
            if (r->look[at].is_wanted && found < r->wanted[at])
                loads_full(it->robot_id);
        }
    }
    return DB_OK;
}

static enum db_rc places_take(struct db *db, struct claim *c)
{
    struct chosen *r = &c->chosen;
    for (unsigned i = 0; i < c->n; i++) {
        struct item *it = &c->item[i];
        if (it->fate != FATE_GO)
            continue;
        struct load *l = load_choose(c);
        if (l)
            it->robot_id = l->robot_id;
        else
            it->fate = FATE_LEAVE;
    }
    TRY(chosen_look(db, c, r));
    TRY(over_limit(db, r));
    TRY(logins_limit(db, c, r));
    for (unsigned i = 0; i < r->n; i++)
        TRY(slots_take(db, c, r, i));
    return DB_OK;
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

static enum db_rc claim_tx(struct db *db, void *arg)
{
    struct claim *c = arg;
    struct store_claim *op = c->op;
    struct pause pause;
    unsigned room;
    items_forget(c);
    op->is_full = op->is_paused = false;
    op->n_held = 0;
    TRY(pause_read(db, &pause));
    if ((op->is_paused = pause.is_on))
        return DB_OK;
    TRY(room_read(db, c, &room));
    op->is_full = room == 0;
    TRY(claim_take(db, c, room && room < op->max ? room : op->max,
                   room > 0)); /* without room: those whose company has a session */
    if (!c->n)
        return DB_OK;
    TRY(batches_read(db, c));
    TRY(jobs_read(db, c));
    TRY(claim_pauses(db, c));
    TRY(claim_companies(db, c));
    TRY(claim_gates(db, c));
    TRY(places_take(db, c));
    TRY(claim_gates_pass(db, c));
    TRY(claim_begin(db, c));
    TRY(claim_join(db, c));
    TRY(claim_hold(db, c));
    return claim_others(db, c);
}

static int claim_done(struct db *db, void *arg)
{
    struct claim *c = arg;
    bool is_any = claim_choose(c, FATE_GO, -1) || claim_choose(c, FATE_JOIN, -1);
    return is_any ? lease_is_there(db, c->row[0]->job_id, c->op->lease.token) : 0;
}

static void batch_note(struct store_claim *op, uint64_t batch_id)
{
    for (unsigned i = 0; i < op->n_batches; i++)
        if (op->batch[i] == batch_id)
            return;
    if (batch_id)
        op->batch[op->n_batches++] = batch_id;
}

/* What was committed, for the loop. */
static void hand_over(struct claim *c)
{
    struct store_claim *op = c->op;
    for (unsigned i = 0; i < c->n; i++) {
        struct item *it = &c->item[i];
        if (it->fate == FATE_MEET || it->fate == FATE_CANCEL)
            batch_note(op, it->batch_id);
        uint64_t waited_ms = it->waited_ms > 0 ? (uint64_t)it->waited_ms : 0;
        if (it->fate == FATE_MEET) {
            op->met[op->n_met].company_id = it->company_id;
            op->met[op->n_met++].waited_ms = waited_ms;
        }
        if (it->fate != FATE_GO && it->fate != FATE_JOIN)
            continue;
        struct claimed *got = &op->got[op->n++];
        *got = (struct claimed){.item = {true, it->batch_id, it->idx, it->attempts, it->tries, it->is_round},
                                .is_met = it->fate == FATE_JOIN,
                                .job_id = it->job_id,
                                .session_ref = it->session_ref,
                                .epoch = it->epoch,
                                .company_id = it->company_id,
                                .robot_id = it->robot_id,
                                .waited_ms = waited_ms,
                                .remember = it->remember,
                                .params = it->params,
                                .credentials = it->credentials,
                                .refused = it->refused};
        strcpy(got->portal, it->portal);
        strcpy(got->action, it->action);
        strcpy(got->job_uid, it->job_uid);
        strcpy(got->request_id, it->request_id);
        it->params = it->credentials = (struct buf){0};
    }
}

/* ---- what the database refuses ------------------------------------------------------------------------------ */

static enum store_rc group_claim(struct db *db, struct claim *c, const struct item_key *key, unsigned n);

/* A refused item ends by itself; what refuses every row is not tried with the others. */
static enum store_rc one_refuse(struct db *db, struct claim *c, const struct item_key *key)
{
    struct db_refusal why = *db_refusal(db);
    enum store_rc rc = item_refuse(db, key->batch_id, key->idx, &why);
    if (rc != STORE_OK)
        return rc;
    batch_note(c->op, key->batch_id);
    c->op->n_refused++;
    c->op->refuses_all = refusal_is_of_all(&why);
    return STORE_OK;
}

static enum store_rc group_split(struct db *db, struct claim *c, const struct item_key *key, unsigned n)
{
    unsigned half = refusal_is_of_all(db_refusal(db)) ? 1 : n / 2;
    if (n == 1)
        return one_refuse(db, c, key);
    enum store_rc rc = group_claim(db, c, key, half);
    if (rc == STORE_OK && !c->op->refuses_all && clock_ms() < c->split_until_ms)
        rc = group_claim(db, c, key + half, n - half);
    return rc;
}

/* What is committed is handed over even when a later part fails. */
static enum store_rc group_claim(struct db *db, struct claim *c, const struct item_key *key, unsigned n)
{
    c->only = key;
    c->n_only = n;
    enum store_rc rc = store_tx(db, claim_tx, claim_done, c);
    if (rc == STORE_OK)
        hand_over(c);
    return rc == STORE_REFUSED ? group_split(db, c, key, n) : rc;
}

/* The items of the group that was refused, halved until those that are refused are alone. */
static enum store_rc refused_split(struct db *db, struct claim *c)
{
    struct item_key key[QUEUE_CLAIM_MAX];
    unsigned n = c->n;
    for (unsigned i = 0; i < n; i++)
        key[i] = (struct item_key){c->item[i].batch_id, c->item[i].idx};
    c->split_until_ms = clock_ms() + SPLIT_MS;
    enum store_rc rc = n ? group_split(db, c, key, n) : STORE_REFUSED;
    return c->op->n || c->op->n_refused ? STORE_OK : rc;
}

void store_claim(struct db *db, void *arg)
{
    struct store_claim *op = arg;
    struct claim *c = xcalloc(1, sizeof(*c));
    c->op = op;
    op->got = xcalloc(QUEUE_CLAIM_MAX, sizeof(*op->got));
    op->rc = store_tx(db, claim_tx, claim_done, c);
    if (op->rc == STORE_OK)
        hand_over(c);
    else if (op->rc == STORE_REFUSED)
        op->rc = refused_split(db, c);
    items_forget(c);
    claim_gates_forget(c);
    free(c);
}
