/* SPDX-License-Identifier: MIT */
/*
 * store_lease.c - renewing our leases, taking over those that ran out.
 */
#include "dispatcher/store/store_sql.h"

#include "common/check.h"

#include <string.h>

#define RENEW_AT_ONCE 256

/* op->job_id is ascending. Only the jobs that somebody here works on: a lease that an unknown commit left behind must run out. */
static enum db_rc renew_some(struct db *db, struct store_renew *op, unsigned from, unsigned n)
{
    TRY(db_exec_in_u64(
        db,
        "UPDATE chasqui_leases SET expires_at = GREATEST(expires_at, NOW(6) + INTERVAL ? MICROSECOND) WHERE holder = ? AND "
        "boot_id = ? AND job_id IN (%s)",
        op->job_id + from, n, "iss", op->ttl_ms * 1000, op->holder, op->boot_id));
    return DB_OK;
}

static enum db_rc renew(struct db *db, struct store_renew *op)
{
    for (unsigned i = 0; i < op->n; i++)
        op->news[i] = LEASE_LOST;
    for (unsigned from = 0; from < op->n; from += RENEW_AT_ONCE)
        TRY(renew_some(db, op, from, op->n - from < RENEW_AT_ONCE ? op->n - from : RENEW_AT_ONCE));
    TRY(db_query(
        db, "SELECT job_id, token, cancel FROM chasqui_leases WHERE holder = ? AND boot_id = ? ORDER BY job_id",
        "ss", op->holder, op->boot_id));
    unsigned i = 0; /* both are in the order of job_id */
    while (db_next(db)) {
        uint64_t job_id = db_u64(db, 0);
        size_t len;
        const char *token = db_str(db, 1, &len);
        while (i < op->n && op->job_id[i] < job_id)
            i++;
        if (i < op->n && op->job_id[i] == job_id && len == ID_TOKEN_BYTES && memcmp(op->token[i], token, len) == 0)
            op->news[i] = db_u64(db, 2) ? LEASE_CANCELLED : LEASE_HELD;
    }
    return DB_OK;
}

void store_renew(struct db *db, void *arg)
{
    struct store_renew *op = arg;
    op->rc = store_rc_of(db ? renew(db, op) : DB_GONE);
}

const char *const lease_kind_name[] = {"login", "action", "close", "migrate", "round"};

static enum lease_kind kind_of(const char *name)
{
    for (unsigned i = 0; i <= LEASE_ROUND; i++)
        if (strcmp(lease_kind_name[i], name) == 0)
            return (enum lease_kind)i;
    return LEASE_ACTION;
}

static enum db_rc rescue_tx(struct db *db, void *arg)
{
    struct store_rescue *op = arg;
    uint64_t ref[CLAIM_MAX];
    op->n = 0;
    TRY(db_query(
        db,
        "SELECT job_id, kind, session_ref, CAST(TIMESTAMPDIFF(MICROSECOND, NOW(6), limit_at) / 1000 AS INT), cancel FROM chasqui_leases "
        "WHERE expires_at < NOW(6) ORDER BY expires_at LIMIT 16 FOR UPDATE SKIP LOCKED",
        ""));
    while (op->n < op->max && op->n < CLAIM_MAX && db_next(db)) {
        struct rescued *r = &op->job[op->n];
        r->job_id = db_u64(db, 0);
        r->kind = kind_of(db_str(db, 1, NULL));
        ref[op->n] = db_u64(db, 2);
        r->limit_left_ms = db_i64(db, 3);
        r->cancelled = db_u64(db, 4) != 0;
        op->n++;
    }
    for (unsigned i = 0; i < op->n; i++) {
        struct rescued *r = &op->job[i];
        bool found;
        TRY(db_exec(
            db,
            "UPDATE chasqui_leases SET token = ?, holder = ?, boot_id = ?, expires_at = NOW(6) + INTERVAL ? MICROSECOND WHERE "
            "job_id = ?",
            "bssiu", (const void *)op->lease.token, (size_t)ID_TOKEN_BYTES, op->lease.holder, op->lease.boot_id,
            op->lease.ttl_ms * 1000, r->job_id));
        memset(&r->row, 0, sizeof(r->row));
        if (ref[i])
            TRY(session_by_ref(db, ref[i], &found, &r->row));
        TRY(db_query(
            db,
            "SELECT q.job_uid, q.remember, q.params, q.batch_id IS NOT NULL, q.batch_id, q.idx, COALESCE(j.attempts, 0), q.tries, "
            "COALESCE(b.steps IS NOT NULL OR b.closes, 0) FROM chasqui_jobs q LEFT JOIN portal_jobs j ON j.id = q.job_id LEFT JOIN "
            "chasqui_batches b ON b.id = q.batch_id WHERE q.job_id = ?",
            "u", r->job_id));
        buf_clear(&r->params);
        if (db_next(db)) {
            size_t len;
            db_str_copy(db, 0, r->job_uid, sizeof(r->job_uid));
            r->remember = db_u64(db, 1) != 0;
            const char *params = db_str(db, 2, &len);
            if (params)
                buf_add(&r->params, params, len);
            bool is_item = db_u64(db, 3) && (r->kind == LEASE_LOGIN || r->kind == LEASE_ROUND);
            r->item = (struct queued){
                is_item,           db_u64(db, 4), db_u64(db, 5), (uint32_t)db_u64(db, 6), (uint32_t)db_u64(db, 7),
                db_u64(db, 8) != 0};
        }
        TRY(event_add(db, r->job_id, "rescued", NULL, op->lease.holder, NULL));
    }
    return DB_OK;
}

void store_rescue(struct db *db, void *arg)
{
    struct store_rescue *op = arg;
    op->job = xcalloc(CLAIM_MAX, sizeof(*op->job));
    op->rc = store_tx(db, rescue_tx, NULL, op);
    if (op->rc != STORE_OK) /* an unknown take-over runs out again and is taken over by the next sweep */
        op->n = 0;
    for (unsigned i = op->n; i < CLAIM_MAX; i++)
        buf_free(&op->job[i].params);
}

void store_leases_expire(struct db *db, void *arg)
{
    static const char expire[] =
        "UPDATE chasqui_leases SET expires_at = NOW(6) - INTERVAL 1 SECOND WHERE holder = ? AND (boot_id = ?) = ?";
    struct store_leases_expire *op = arg;
    enum db_rc rc = db ? db_exec(db, expire, "ssu", op->holder, op->boot_id, (uint64_t)op->is_own) : DB_GONE;
    op->n = rc == DB_OK ? db_affected(db) : 0;
    op->rc = store_rc_of(rc);
}
