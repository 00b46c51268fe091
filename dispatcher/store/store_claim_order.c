/* SPDX-License-Identifier: MIT */
/*
 * store_claim_order.c - which items a claim takes: by urgency, then by turn. So that
 * urgent work that never ends does not keep the other waiting for ever, each
 * SHARE-th place of the claims that are full goes to less urgent items that have
 * waited for AGED_S, one of each urgency in turn. Runs inside the claim's transaction.
 *
 * Must stay: an item is locked by a statement that asks for ready = 1, with SKIP LOCKED. May change: which items come
 * first.
 */
#include "dispatcher/store/store_claim.h"

#include "dispatcher/store/store.h"

#include <string.h>

#define SHARE 8
#define AGED_S 60
#define URGENCIES 10
#define AGED_MAX (QUEUE_CLAIM_MAX / SHARE + 1)
#define LOOK_ROWS 32 /* of each urgency: the next ones, among which those that waited long enough are */

#define ITEM_COLUMNS "SELECT batch_id, idx, company_id, job_id, urgency, params FROM chasqui_items "

struct aged { /* of one urgency */
    struct item_key key[AGED_MAX];
    unsigned n, used;
};

static void items_take(struct db *db, struct claim *c)
{
    while (c->n < QUEUE_CLAIM_MAX && db_next(db)) {
        struct item *it = &c->item[c->n++];
        it->batch_id = db_u64(db, 0);
        it->idx = db_u64(db, 1);
        it->company_id = db_u64(db, 2);
        it->job_id = db_u64(db, 3);
        it->is_new = it->job_id == 0;
        it->priority = (uint8_t)(9 - db_u64(db, 4));
        it->tries = c->op->tries;
        it->generation = 1;
        column_bytes(db, 5, &it->params);
    }
}

static enum db_rc one_lock(struct db *db, struct claim *c, const struct item_key *key)
{
    TRY(db_query(db, ITEM_COLUMNS "WHERE batch_id = ? AND idx = ? AND ready = 1 FOR UPDATE SKIP LOCKED", "uu",
                 key->batch_id, key->idx));
    items_take(db, c);
    return DB_OK;
}

/* The next ones of an urgency that have waited long enough, at most `most`. */
static enum db_rc aged_look(struct db *db, uint64_t urgency, unsigned most, struct aged *a)
{
    TRY(db_query(
        db,
        "SELECT i.batch_id, i.idx, COALESCE(b.available_at, b.created_at, {utc j.available_at}, {utc j.created_at}) < NOW(6) - INTERVAL ? SECOND FROM "
        "(SELECT batch_id, idx, job_id, turn FROM chasqui_items FORCE INDEX (ready) WHERE ready = 1 AND urgency = ? ORDER BY turn LIMIT ?) i "
        "LEFT JOIN chasqui_batches b ON b.id = i.batch_id LEFT JOIN portal_jobs j ON j.id = i.job_id ORDER BY i.turn",
        "uuu", (uint64_t)AGED_S, urgency, (uint64_t)LOOK_ROWS));
    while (db_next(db))
        if (a->n < most && db_u64(db, 2))
            a->key[a->n++] = (struct item_key){db_u64(db, 0), db_u64(db, 1)};
    return DB_OK;
}

/* Places that are due to the less urgent, of n that a claim fills. */
static unsigned share_due(unsigned n)
{
    static _Thread_local unsigned counted;
    counted += n;
    unsigned due = counted / SHARE;
    counted %= SHARE;
    return due;
}

static void last_drop(struct claim *c)
{
    struct item *it = &c->item[--c->n];
    buf_free(&it->params);
    memset(it, 0, sizeof(*it));
}

/* The claim's last items give their places to less urgent ones. */
static enum db_rc share_give(struct db *db, struct claim *c, unsigned due)
{
    struct aged aged[URGENCIES];
    unsigned n = 0, found = 0;
    uint64_t urgency = 9 - c->item[c->n - 1].priority;
    while (n < URGENCIES) {
        TRY(db_query(
            db,
            "SELECT urgency FROM chasqui_items FORCE INDEX (ready) WHERE ready = 1 AND urgency > ? ORDER BY urgency LIMIT 1",
            "u", urgency));
        if (!db_next(db))
            break;
        urgency = db_u64(db, 0);
        aged[n] = (struct aged){0};
        TRY(aged_look(db, urgency, due, &aged[n]));
        found += aged[n].n;
        n += aged[n].n > 0;
    }
    due = found < due ? found : due;
    for (unsigned i = 0; i < due; i++)
        last_drop(c);
    for (unsigned i = due ? (unsigned)(id_random_u64() % n) : 0; due; i++) {
        struct aged *a = &aged[i % n];
        if (a->used == a->n)
            continue;
        due--;
        TRY(one_lock(db, c, &a->key[a->used++]));
    }
    return DB_OK;
}

enum db_rc claim_take(struct db *db, struct claim *c, unsigned most, bool has_room)
{
    for (unsigned i = 0; i < c->n_only; i++)
        TRY(one_lock(db, c, &c->only[i]));
    if (c->n_only)
        return DB_OK;
    TRY(db_query(db,
                 ITEM_COLUMNS
                 "FORCE INDEX (ready) WHERE ready = 1 ORDER BY urgency, turn LIMIT ? FOR UPDATE SKIP LOCKED",
                 "u", (uint64_t)most));
    items_take(db, c);
    unsigned due = has_room && c->n == most ? share_due(c->n) : 0;
    return due ? share_give(db, c, due) : DB_OK;
}
