/*
 * store_audit.c - the audit trail, page by page, newest first. Its rows are
 * written by whoever does what they tell, in the same transaction.
 */
#include "dispatcher/store_queue.h"
#include "dispatcher/store_sql.h"

#include "common/jv.h"

#define WINDOW 20000 /* rows that one search looks through */

static struct jv *audit_jv(struct db *db)
{
    static const char *const texts[] = {"actor", "peer", "request_id", "action", "subject", "detail"};
    struct jv *row = jv_new_object();
    jv_set_int(row, "id", db_i64(db, 0));
    jv_set_time(row, "at", db_i64(db, 1));
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        jv_set_str(row, texts[i], db_str(db, 2 + i, NULL));
    return row;
}

static enum db_rc audit_read(struct db *db, struct store_audit *op)
{
    unsigned n = 0, limit = op->limit ? op->limit : 50;
    uint64_t below = op->cursor ? op->cursor : INT64_MAX, floor = 0, next = 0;
    if (op->search[0]) { /* looks through a bounded part; the cursor goes on behind it */
        TRY(db_query(db, "SELECT id FROM chasqui_audit WHERE id < ? ORDER BY id DESC LIMIT 1 OFFSET ?", "uu", below, (uint64_t)WINDOW));
        floor = db_next(db) ? db_u64(db, 0) : 0;
    }
    TRY(db_query(db,
                 "SELECT id, CAST(UNIX_TIMESTAMP(at) * 1000 AS INT), actor, peer, request_id, action, subject, detail FROM chasqui_audit WHERE id < ? "
                 "AND id > ? AND (? = '' OR LOCATE(?, CONCAT_WS(' ', actor, action, subject, detail)) > 0) ORDER BY id DESC LIMIT ?",
                 "uussu", below, floor, op->search, op->search, (uint64_t)limit + 1));
    struct jv *list = jv_new_array(), *body = jv_new_object();
    while (n < limit && db_next(db)) {
        next = db_u64(db, 0);
        jv_push(list, audit_jv(db));
        n++;
    }
    bool more = n == limit && db_next(db);
    if (!more && floor) {
        more = true;
        next = floor + 1;
    }
    jv_set_bool(body, "ok", true);
    jv_set(body, "audit", list);
    if (more)
        jv_set_int(body, "next_cursor", (int64_t)next);
    else
        jv_set(body, "next_cursor", NULL);
    json_take(body, &op->json);
    return DB_OK;
}

void store_audit(struct db *db, void *arg)
{
    struct store_audit *op = arg;
    op->rc = store_rc_of(db ? audit_read(db, op) : DB_GONE);
}
