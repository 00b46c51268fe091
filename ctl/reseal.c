/* SPDX-License-Identifier: MIT */
/*
 * reseal.c - goes through every table that holds sealed bytes and seals those of older keys again.
 *
 * Each row is one statement that changes it only if its bytes are still those that were read, so it may run beside everything else, twice at
 * once, and again after it was stopped.
 */
#include "ctl/reseal.h"

#include "common/buf.h"

#include <stdlib.h>
#include <string.h>

#define STEP 100

/* SELECT gives: two texts that name the row, company, portal, the bytes. It takes the key's id, and how many rows to pass over. */
static const struct sealed_column {
    const char *purpose, *select, *update;
} columns[] = {
    {"credentials",
     "SELECT company_id, portal, company_id, portal, sealed FROM chasqui_credentials WHERE SUBSTRING(sealed, 2, 4) <> ? ORDER BY company_id, "
     "portal LIMIT 100 OFFSET ?",
     "UPDATE chasqui_credentials SET sealed = ? WHERE company_id = CAST(? AS UNSIGNED) AND portal = ? AND sealed = ?"},
    {"params",
     "SELECT job_id, '', company_id, portal, params FROM chasqui_jobs WHERE params IS NOT NULL AND SUBSTRING(params, 2, 4) <> ? ORDER BY job_id "
     "LIMIT 100 OFFSET ?",
     "UPDATE chasqui_jobs SET params = ? WHERE job_id = CAST(? AS UNSIGNED) AND ? = '' AND params = ?"},
    {"params",
     "SELECT i.batch_id, i.idx, i.company_id, b.portal, i.params FROM chasqui_items i JOIN chasqui_batches b ON b.id = i.batch_id WHERE i.params "
     "IS NOT NULL AND SUBSTRING(i.params, 2, 4) <> ? ORDER BY i.batch_id, i.idx LIMIT 100 OFFSET ?",
     "UPDATE chasqui_items SET params = ? WHERE batch_id = CAST(? AS UNSIGNED) AND idx = CAST(? AS UNSIGNED) AND params = ?"},
    {"params",
     "SELECT i.schedule_id, i.idx, i.company_id, s.portal, i.params FROM chasqui_schedule_items i JOIN chasqui_schedules s ON s.id = "
     "i.schedule_id WHERE i.params IS NOT NULL AND SUBSTRING(i.params, 2, 4) <> ? ORDER BY i.schedule_id, i.idx LIMIT 100 OFFSET ?",
     "UPDATE chasqui_schedule_items SET params = ? WHERE schedule_id = CAST(? AS UNSIGNED) AND idx = CAST(? AS UNSIGNED) AND params = ?"},
    {"answer",
     "SELECT HEX(k.scope), '', j.company_id, j.portal, k.answer FROM chasqui_idempotency k JOIN portal_jobs j ON j.id = k.job_id WHERE k.answer "
     "IS NOT NULL AND SUBSTRING(k.answer, 2, 4) <> ? ORDER BY k.scope LIMIT 100 OFFSET ?",
     "UPDATE chasqui_idempotency SET answer = ? WHERE scope = UNHEX(?) AND ? = '' AND answer = ?"},
};

struct sealed_row {
    char name[2][65], portal[65];
    uint64_t company_id;
    struct buf bytes;
};

static void row_read(struct db *db, struct sealed_row *r)
{
    size_t len;
    db_str_copy(db, 0, r->name[0], sizeof(r->name[0]));
    db_str_copy(db, 1, r->name[1], sizeof(r->name[1]));
    r->company_id = db_u64(db, 2);
    db_str_copy(db, 3, r->portal, sizeof(r->portal));
    const char *bytes = db_str(db, 4, &len);
    buf_add(&r->bytes, bytes, len);
}

static enum db_rc row_seal(struct db *db, struct seal *key, const struct sealed_column *c,
                           const struct sealed_row *r, struct resealed *out)
{
    struct buf plain = {0}, sealed = {0};
    enum db_rc rc = DB_OK;
    if (seal_unwrap(key, r->company_id, r->portal, c->purpose, r->bytes.data, r->bytes.len, &plain)) {
        seal_wrap(key, r->company_id, r->portal, c->purpose, plain.data ? plain.data : "", plain.len, &sealed);
        rc = db_exec(db, c->update, "bssb", (const void *)sealed.data, sealed.len, r->name[0], r->name[1],
                     (const void *)r->bytes.data, r->bytes.len);
        out->done += rc == DB_OK && db_affected(db) == 1;
    } else {
        out->unopened++;
    }
    buf_wipe(&plain);
    buf_free(&sealed);
    return rc;
}

static enum db_rc column_seal(struct db *db, struct seal *key, const struct sealed_column *c, struct resealed *out)
{
    struct sealed_row *rows = calloc(STEP, sizeof(*rows));
    uint8_t id[SEAL_KEY_ID_BYTES];
    uint64_t before = out->unopened;
    enum db_rc rc = rows ? DB_OK : DB_FAIL;
    unsigned n = STEP;
    seal_key_id(key, id);
    while (!rc && n == STEP) {
        n = 0;
        rc = db_query(db, c->select, "bu", (const void *)id, sizeof(id), out->unopened - before);
        while (!rc && n < STEP && db_next(db))
            row_read(db, &rows[n++]);
        for (unsigned i = 0; i < n; i++) {
            rc = rc ? rc : row_seal(db, key, c, &rows[i], out);
            buf_free(&rows[i].bytes);
        }
    }
    free(rows);
    return rc;
}

enum db_rc reseal_all(struct db *db, struct seal *key, struct resealed *out)
{
    *out = (struct resealed){0};
    for (unsigned i = 0; i < sizeof(columns) / sizeof(*columns); i++)
        TRY(column_seal(db, key, &columns[i], out));
    return DB_OK;
}
