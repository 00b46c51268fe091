/* SPDX-License-Identifier: MIT */
/*
 * store_key.c - Idempotency-Keys: what a key stands for, kept 24 h.
 *
 * Owns nothing; runs on database threads. A key is known by its scope, a keyed
 * hash, and its row is written in the transaction that makes the job or batch:
 * the primary key decides between two who are equally fast.
 */
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#include <string.h>

#define KEPT "created_at > NOW(6) - INTERVAL 24 HOUR"

enum db_rc key_look(struct db *db, const struct idempotency *key, enum key_outcome *outcome, uint64_t *job_id,
                    uint64_t *batch_id)
{
    *outcome = KEY_NEW;
    *job_id = *batch_id = 0;
    if (!key->is_set)
        return DB_OK;
    bool found;
    TRY(db_find(db, &found, "SELECT digest, job_id, batch_id FROM chasqui_idempotency WHERE scope = ? AND " KEPT,
                "b", (const void *)key->scope, (size_t)DIGEST_BYTES));
    if (!found)
        return DB_OK;
    size_t len;
    const char *digest = db_str(db, 0, &len);
    *outcome = len == DIGEST_BYTES && memcmp(digest, key->digest, DIGEST_BYTES) == 0 ? KEY_REPLAY : KEY_MISMATCH;
    *job_id = db_u64(db, 1);
    *batch_id = db_u64(db, 2);
    return DB_OK;
}

static enum db_rc key_insert(struct db *db, const struct idempotency *key, uint64_t job_id, uint64_t batch_id)
{
    return db_exec(
        db,
        "INSERT INTO chasqui_idempotency (scope, digest, job_id, batch_id, created_at) VALUES (?, ?, ?, ?, NOW(6))",
        "bbNN", (const void *)key->scope, (size_t)DIGEST_BYTES, (const void *)key->digest, (size_t)DIGEST_BYTES,
        job_id, batch_id);
}

enum db_rc key_add(struct db *db, const struct idempotency *key, uint64_t job_id, uint64_t batch_id)
{
    if (!key->is_set)
        return DB_OK;
    enum db_rc rc = key_insert(db, key, job_id, batch_id);
    if (rc != DB_DUP)
        return rc;
    /* One that was used more than a day ago is new again. */
    TRY(db_exec(db, "DELETE FROM chasqui_idempotency WHERE scope = ? AND NOT " KEPT, "b", (const void *)key->scope,
                (size_t)DIGEST_BYTES));
    return db_affected(db) ? key_insert(db, key, job_id, batch_id) : DB_DUP;
}

void store_key_answer(struct db *db, void *arg)
{
    struct store_key_answer *op = arg;
    op->rc = store_rc_of(
        !db ? DB_GONE
            : db_exec(db, "UPDATE chasqui_idempotency SET answer = ? WHERE scope = ? AND answer IS NULL", "bb",
                      op->answer, op->answer_len, (const void *)op->scope, (size_t)DIGEST_BYTES));
}

static enum db_rc answer_read(struct db *db, struct store_key_read *op)
{
    size_t len;
    bool found;
    TRY(db_find(db, &found,
                "SELECT answer FROM chasqui_idempotency WHERE scope = ? AND answer IS NOT NULL AND " KEPT, "b",
                (const void *)op->scope, (size_t)DIGEST_BYTES));
    const char *answer = found ? db_str(db, 0, &len) : NULL;
    if (answer)
        buf_add(&op->answer, answer, len);
    return DB_OK;
}

void store_key_read(struct db *db, void *arg)
{
    struct store_key_read *op = arg;
    op->rc = store_rc_of(db ? answer_read(db, op) : DB_GONE);
}
