/* SPDX-License-Identifier: MIT */
/*
 * store_webhook.c - callbacks that wait. A try is a lease: its row is due again
 * when the lease ends, and only the try whose token stands there settles it. So
 * a callback is made at least once, by whichever dispatcher.
 */
#include "dispatcher/store/store_webhook.h"

#include "dispatcher/store/store_events.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum db_rc webhook_add(struct db *db, uint64_t batch_id)
{
    uint8_t delivery[ID_TOKEN_BYTES];
    id_random(delivery, sizeof(delivery));
    TRY(batch_finished_add(db, batch_id));
    return db_exec(
        db,
        "INSERT INTO chasqui_webhooks (batch_id, state, due_at, delivery, created_at) SELECT id, 'waiting', NOW(6), ?, NOW(6) FROM "
        "chasqui_batches WHERE id = ? AND callback_url IS NOT NULL ON DUPLICATE KEY UPDATE state = 'waiting', attempts = 0, due_at "
        "= VALUES(due_at), delivery = VALUES(delivery), created_at = VALUES(created_at), token = NULL, last_error = NULL, settled_at = NULL",
        "bu", (const void *)delivery, sizeof(delivery), batch_id);
}

/* ---- a try begins ------------------------------------------------------------------------------------------- */

static void fill_try(void *arg, unsigned row, struct db_cell *cells)
{
    struct store_webhook_claim *op = arg;
    cells[0].data = op->got[row].token;
    cells[0].len = ID_TOKEN_BYTES;
    cells[1].n = (uint64_t)op->lease_ms * 1000;
    cells[2].n = op->got[row].batch_id;
}

static enum db_rc next_due(struct db *db, struct store_webhook_claim *op)
{
    TRY(db_query(
        db,
        "SELECT CAST(CEIL((UNIX_TIMESTAMP(MIN(due_at)) - UNIX_TIMESTAMP(NOW(6))) * 1000) AS INT) FROM chasqui_webhooks WHERE due_at IS "
        "NOT NULL",
        ""));
    bool waits = db_next(db) && !db_is_null(db, 0);
    int64_t in_ms = db_i64(db, 0);
    op->due_in_ms = !waits ? -1 : in_ms > 0 ? in_ms : 0;
    return DB_OK;
}

#define LOOK_ROWS "32"
#define ORIGIN "LEFT(SUBSTRING_INDEX(b.callback_url, '/', 3), 299)"

/* Those that are due longest, but for those whose receiver has enough. Nothing is locked. */
static enum db_rc due_look(struct db *db, struct store_webhook_claim *op)
{
    struct receivers busy = op->busy;
    struct buf full = {0};
    receivers_full(&busy, &full);
    const char *enough = full.len ? full.data : "";
    enum db_rc rc = db_query(
        db,
        "SELECT w.batch_id, b.token_id, b.callback_url, TIMESTAMPDIFF(MICROSECOND, w.created_at, NOW(6)) DIV 1000 FROM chasqui_webhooks w "
        "FORCE INDEX (due) JOIN chasqui_batches b ON b.id = w.batch_id WHERE w.due_at <= NOW(6) AND "
        "INSTR(?, CONCAT('\ntoken ', b.token_id, '\n')) = 0 AND INSTR(?, CONCAT('\nreceiver ', " ORIGIN
        ", '\n')) = 0 AND "
        "INSTR(?, CONCAT('\ntoken ', b.token_id, ' receiver ', " ORIGIN
        ", '\n')) = 0 ORDER BY w.due_at LIMIT " LOOK_ROWS,
        "sss", enough, enough, enough);
    buf_free(&full);
    TRY(rc);
    while (op->n < WEBHOOK_CLAIM_MAX && db_next(db)) {
        struct webhook *w = &op->got[op->n];
        *w = (struct webhook){.batch_id = db_u64(db, 0), .token_id = db_u64(db, 1), .age_ms = db_i64(db, 3)};
        db_str_copy(db, 2, w->url, sizeof(w->url));
        if (!receivers_may(&busy, w->token_id, w->url))
            continue;
        receivers_add(&busy, w->token_id, w->url);
        op->n++;
    }
    return DB_OK;
}

/* Of those that were found, the ones that nobody else takes. */
static enum db_rc found_lock(struct db *db, struct store_webhook_claim *op)
{
    uint64_t ids[WEBHOOK_CLAIM_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < op->n; i++)
        ids[i] = op->got[i].batch_id;
    TRY(db_query_in_u64(
        db,
        "SELECT batch_id, attempts, delivery FROM chasqui_webhooks WHERE batch_id IN (%s) AND due_at <= NOW(6) FOR UPDATE SKIP LOCKED",
        ids, op->n, ""));
    while (db_next(db)) {
        uint64_t batch_id = db_u64(db, 0);
        for (unsigned i = n; i < op->n; i++)
            if (op->got[i].batch_id == batch_id) {
                struct webhook w = op->got[i];
                size_t len;
                const char *delivery = db_str(db, 2, &len);
                w.attempts = (unsigned)db_u64(db, 1) + 1;
                memcpy(w.delivery, delivery, len < sizeof(w.delivery) ? len : sizeof(w.delivery));
                id_random(w.token, sizeof(w.token));
                op->got[i] = op->got[n];
                op->got[n++] = w;
                break;
            }
    }
    op->n = n;
    return DB_OK;
}

static enum db_rc claim_tx(struct db *db, void *arg)
{
    struct store_webhook_claim *op = arg;
    op->n = 0;
    TRY(due_look(db, op));
    if (op->n)
        TRY(found_lock(db, op));
    if (!op->n)
        return DB_OK;
    return db_bulk(
        db,
        "UPDATE chasqui_webhooks SET attempts = attempts + 1, token = ?, due_at = NOW(6) + INTERVAL ? MICROSECOND WHERE batch_id = ?",
        "buu", op->n, fill_try, op);
}

/* What is told: the batch as GET /batches/{id} shows it. */
static enum store_rc body_make(struct db *db, struct webhook *w)
{
    struct store_batch look = {.batch_id = w->batch_id, .viewer = {.all = true}};
    enum jv_bad bad;
    store_batch(db, &look);
    if (look.rc == STORE_OK && look.found) {
        struct jv *answer = jv_parse(look.json.data, look.json.len, &bad), *body = jv_new_object();
        jv_set_str(body, "event", "batch.finished");
        jv_set(body, "batch", jv_copy(jv_get(answer, "batch")));
        json_take(body, &w->body);
        jv_free(answer);
    }
    buf_free(&look.json);
    return look.rc;
}

void store_webhook_claim(struct db *db, void *arg)
{
    struct store_webhook_claim *op = arg;
    op->n = 0;
    op->rc = store_rc_of(db ? next_due(db, op) : DB_GONE); /* mostly nothing is: one query and no transaction */
    if (op->rc != STORE_OK || op->due_in_ms != 0)
        return;
    op->rc = store_tx(db, claim_tx, NULL, op);
    for (unsigned i = 0; op->rc == STORE_OK && i < op->n; i++)
        op->rc = body_make(db, &op->got[i]); /* what cannot be read now is due again when its lease ends */
}

/* ---- and ends ----------------------------------------------------------------------------------------------- */

static enum db_rc give_up(struct db *db, struct store_webhook_end *op)
{
    char actor[NAME_ROOM + 12], subject[40];
    TRY(db_exec(
        db,
        "UPDATE chasqui_webhooks SET state = 'given_up', settled_at = NOW(6), due_at = NULL WHERE batch_id = ?",
        "u", op->batch_id));
    snprintf(actor, sizeof(actor), "dispatcher:%s", op->holder);
    snprintf(subject, sizeof(subject), "batch:%llu", (unsigned long long)op->batch_id);
    return audit_add(db, actor, NULL, NULL, "webhook_given_up", subject, op->error);
}

static enum db_rc end_tx(struct db *db, void *arg)
{
    struct store_webhook_end *op = arg;
    TRY(db_exec(
        db,
        "UPDATE chasqui_webhooks SET token = NULL, state = IF(?, 'delivered', state), settled_at = IF(?, NOW(6), NULL), last_error = "
        "IF(?, NULL, LEFT(?, 200)), due_at = IF(?, NULL, NOW(6) + INTERVAL ? MICROSECOND) WHERE batch_id = ? AND token = ?",
        "uuusuiub", (uint64_t)op->is_delivered, (uint64_t)op->is_delivered, (uint64_t)op->is_delivered, op->error,
        (uint64_t)op->is_delivered, op->again_ms < 0 ? INT64_C(0) : op->again_ms * 1000, op->batch_id,
        (const void *)op->token, (size_t)ID_TOKEN_BYTES));
    op->lost = db_affected(db) == 0;
    return !op->lost && !op->is_delivered && op->again_ms < 0 ? give_up(db, op) : DB_OK;
}

void store_webhook_end(struct db *db, void *arg)
{
    struct store_webhook_end *op = arg;
    op->rc = store_tx(db, end_tx, NULL, op);
}
