/* SPDX-License-Identifier: MIT */
/*
 * store_refusal.c - ends of jobs and items that the database refuses.
 *
 * Owns nothing. An item whose job cannot be made, and a job whose row cannot be
 * changed, end here all the same: nobody else waits for them, and nothing is tried
 * without an end. What portal_jobs should say is written when it can be, with
 * exponential back-off; a row that somebody deleted meanwhile needs nothing.
 */
#include "dispatcher/store/store_refusal.h"

#include "common/text.h"

#include <stdio.h>
#include <string.h>

#define WORDS_ROOM 500
#define FIRST_S 10 /* until the first try, twice as long before each further one */
#define MOST_S 3600
#define AT_ONCE 20

static const char code[] = "refused_by_database";

static void message_of(const struct db_refusal *why, char out[WORDS_ROOM + 60], char words[WORDS_ROOM])
{
    db_refusal_words(why, words, WORDS_ROOM);
    text_clean_in_place(words, WORDS_ROOM, WORDS_ROOM);
    snprintf(out, WORDS_ROOM + 60, "The database refuses the row: %s.", words);
}

static enum db_rc keep(struct db *db, uint64_t job_id, const struct job_end *end, const char *what)
{
    return db_exec(
        db,
        "INSERT INTO chasqui_refusals (at, job_id, status, error, message, what, due_at) VALUES (NOW(6), ?, ?, ?, LEFT(?, 1000), ?, "
        "NOW(6) + INTERVAL ? SECOND) ON DUPLICATE KEY UPDATE at = VALUES(at), status = VALUES(status), error = VALUES(error), message = "
        "VALUES(message), what = VALUES(what), due_at = VALUES(due_at), tries = 0",
        "ussssu", job_id, end->status, end->error, end->message, what, (uint64_t)FIRST_S);
}

enum db_rc job_written(struct db *db, uint64_t job_id, const struct job_end *end, enum db_rc rc)
{
    char message[WORDS_ROOM + 60], words[WORDS_ROOM];
    if (rc != DB_REFUSED && rc != DB_DUP) /* a unique key of portal_jobs is somebody else's */
        return rc;
    struct db_refusal why = db_forgive(db);
    message_of(&why, message, words);
    return keep(db, job_id, end, words);
}

enum db_rc job_end_write(struct db *db, uint64_t job_id, const struct job_end *end)
{
    return job_written(
        db, job_id, end,
        db_exec(
            db,
            "UPDATE portal_jobs SET {become job.end ?}, error = ?, message = {message ?}{result} WHERE id = ? AND "
            "{from job.end}",
            "sssu", end->status, end->error, end->message, job_id));
}

enum db_rc refusal_forget(struct db *db, uint64_t job_id)
{
    return db_exec(db, "DELETE FROM chasqui_refusals WHERE job_id = ?", "u", job_id);
}

bool refusal_is_of_all(const struct db_refusal *why)
{
    static const unsigned numbers[] = {1054, 1136, 1142, 1143, 1146, 1227, 1288, 1356, 1364, 1423, 1471};
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (why->number == numbers[i])
            return true;
    return false;
}

/* ---- an item ------------------------------------------------------------------------------------------------ */

struct refused_item {
    uint64_t batch_id, idx;
    const char *message, *words;
};

static enum db_rc item_tx(struct db *db, void *arg)
{
    const struct refused_item *r = arg;
    struct job_end end = {"failed", code, r->message};
    TRY(db_query(
        db,
        "SELECT job_id FROM chasqui_items WHERE batch_id = ? AND idx = ? AND state IN ('queued', 'retrying') FOR UPDATE",
        "uu", r->batch_id, r->idx));
    if (!db_next(db)) /* ended meanwhile */
        return DB_OK;
    uint64_t job_id = db_u64(db, 0);
    TRY(db_exec(db, "UPDATE chasqui_items SET {become item.refuse} WHERE batch_id = ? AND idx = ?", "uu",
                r->batch_id, r->idx));
    TRY(db_exec(
        db,
        "INSERT INTO chasqui_refusals (at, batch_id, idx, status, error, message, what) VALUES (NOW(6), ?, ?, 'failed', ?, LEFT(?, 1000), "
        "?) ON DUPLICATE KEY UPDATE at = VALUES(at), message = VALUES(message), what = VALUES(what)",
        "uusss", r->batch_id, r->idx, code, r->message, r->words));
    if (!job_id)
        return DB_OK;
    TRY(job_written(
        db, job_id, &end,
        db_exec(
            db,
            "UPDATE portal_jobs SET {become job.refuse}, error = ?, message = {message ?}{result} WHERE id = ? AND "
            "{from job.refuse}",
            "ssu", end.error, end.message, job_id)));
    TRY(db_exec(db, "UPDATE chasqui_jobs SET params = NULL WHERE job_id = ?", "u", job_id));
    return event_add(db, job_id, "failed", NULL, NULL, code);
}

enum store_rc item_refuse(struct db *db, uint64_t batch_id, uint64_t idx, const struct db_refusal *why)
{
    char message[WORDS_ROOM + 60], words[WORDS_ROOM];
    struct db_refusal kept = *why; /* the next transaction clears it */
    message_of(&kept, message, words);
    struct refused_item r = {batch_id, idx, message, words};
    enum db_rc rc;
    if (db_tx(db, item_tx, NULL, &r, &rc) == TX_DONE)
        return STORE_OK;
    return store_rc_of(rc);
}

/* ---- later -------------------------------------------------------------------------------------------------- */

struct again {
    uint64_t id;
    bool is_written;
};

static enum db_rc again_tx(struct db *db, void *arg)
{
    struct again *a = arg;
    char status[21], error[41], message[1000 * 4 + 1];
    a->is_written = false;
    TRY(db_query(
        db,
        "SELECT job_id, status, error, message, tries FROM chasqui_refusals WHERE id = ? AND due_at IS NOT NULL FOR UPDATE SKIP LOCKED",
        "u", a->id));
    if (!db_next(db))
        return DB_OK;
    uint64_t job_id = db_u64(db, 0), tries = db_u64(db, 4);
    db_str_copy(db, 1, status, sizeof(status));
    db_str_copy(db, 2, error, sizeof(error));
    db_str_copy(db, 3, message, sizeof(message));
    enum db_rc rc = db_exec(
        db,
        "UPDATE portal_jobs SET {become job.make_up ?}, error = NULLIF(?, ''), message = {message NULLIF(?, '')}, "
        "finished_at = COALESCE(finished_at, {now finished_at}){result} WHERE id = ?",
        "sssu", status, error, message, job_id);
    if (rc == DB_REFUSED || rc == DB_DUP) {
        db_forgive(db);
        uint64_t wait_s = (uint64_t)FIRST_S << (tries < 9 ? tries : 9);
        return db_exec(
            db, "UPDATE chasqui_refusals SET tries = tries + 1, due_at = NOW(6) + INTERVAL ? SECOND WHERE id = ?",
            "uu", wait_s < MOST_S ? wait_s : (uint64_t)MOST_S, a->id);
    }
    TRY(rc);
    a->is_written = true;
    return db_exec(db, "DELETE FROM chasqui_refusals WHERE id = ?", "u", a->id);
}

void store_refusals(struct db *db, void *arg)
{
    struct store_refusals *op = arg;
    uint64_t id[AT_ONCE];
    unsigned n = 0;
    op->n_tried = op->n_written = 0;
    enum db_rc rc =
        !db ? DB_GONE
            : db_query(db, "SELECT id FROM chasqui_refusals WHERE due_at <= NOW(6) ORDER BY due_at LIMIT 20", "");
    while (rc == DB_OK && n < AT_ONCE && db_next(db))
        id[n++] = db_u64(db, 0);
    for (unsigned i = 0; i < n && rc == DB_OK; i++) {
        struct again one = {.id = id[i]};
        op->n_tried += db_tx(db, again_tx, NULL, &one, &rc) == TX_DONE;
        op->n_written += one.is_written;
    }
    op->rc = store_rc_of(rc);
}
