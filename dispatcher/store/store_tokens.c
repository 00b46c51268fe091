/* SPDX-License-Identifier: MIT */
/*
 * store_tokens.c - tokens for operators. A secret is never here, only its
 * SHA-256; no row that is read back holds even that.
 */
#include "dispatcher/store/store_tokens.h"

#include "dispatcher/store/store_sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows --------------------------------------------------------------------------------------------------- */

#define COLUMNS                                                                                                                     \
    "SELECT t.id, t.name, t.abilities, t.all_companies, t.rate_per_minute, CAST(UNIX_TIMESTAMP(t.expires_at) * 1000 AS INT), "      \
    "CAST(UNIX_TIMESTAMP(t.created_at) * 1000 AS INT), CAST(UNIX_TIMESTAMP(t.revoked_at) * 1000 AS INT), COALESCE(t.expires_at <= " \
    "NOW(6), 0), (SELECT GROUP_CONCAT(p.company_id ORDER BY p.company_id SEPARATOR ' ' LIMIT 1000) FROM chasqui_token_companies p " \
    "WHERE p.token_id = t.id) FROM chasqui_tokens t "

static struct jv *words_jv(const char *list)
{
    struct jv *out = jv_new_array();
    for (const char *at = list; at && *at;) {
        char word[16];
        size_t len = strcspn(at, ",");
        snprintf(word, sizeof(word), "%.*s", (int)len, at);
        jv_push_str(out, word);
        at += len + (at[len] == ',');
    }
    return out;
}

static struct jv *companies_jv(const char *list)
{
    struct jv *out = jv_new_array();
    for (char *end; list && *list; list = end + (*end == ' '))
        jv_push_int(out, strtoll(list, &end, 10));
    return out;
}

static struct jv *row_jv(struct db *db)
{
    struct jv *t = jv_new_object();
    bool is_revoked = !db_is_null(db, 7);
    jv_set_int(t, "id", db_i64(db, 0));
    jv_set_str(t, "name", db_str(db, 1, NULL));
    jv_set_str(t, "state", is_revoked ? "revoked" : db_u64(db, 8) ? "expired" : "good");
    jv_set(t, "abilities", words_jv(db_str(db, 2, NULL)));
    jv_set_bool(t, "all_companies", db_u64(db, 3) != 0);
    jv_set(t, "companies", companies_jv(db_str(db, 9, NULL)));
    jv_set_int(t, "rate_per_minute", db_i64(db, 4));
    jv_set_time(t, "expires_at", db_i64(db, 5));
    jv_set_time(t, "created_at", db_i64(db, 6));
    jv_set_time(t, "revoked_at", db_i64(db, 7));
    return t;
}

static enum db_rc tokens_read(struct db *db, struct store_tokens *op)
{
    unsigned n = 0, limit = op->limit ? op->limit : 50;
    uint64_t below = op->cursor ? op->cursor : INT64_MAX, last = 0;
    TRY(db_query(db, COLUMNS "WHERE t.id < ? ORDER BY t.id DESC LIMIT ?", "uu", below, (uint64_t)limit + 1));
    struct jv *list = jv_new_array(), *body = jv_new_object();
    for (; n < limit && db_next(db); n++) {
        last = db_u64(db, 0);
        jv_push(list, row_jv(db));
    }
    jv_set_bool(body, "ok", true);
    jv_set(body, "tokens", list);
    if (n == limit && db_next(db))
        jv_set_int(body, "next_cursor", (int64_t)last);
    else
        jv_set(body, "next_cursor", NULL);
    json_take(body, &op->json);
    return DB_OK;
}

void store_tokens(struct db *db, void *arg)
{
    struct store_tokens *op = arg;
    op->rc = store_rc_of(db ? tokens_read(db, op) : DB_GONE);
}

/* ---- made and revoked --------------------------------------------------------------------------------------- */

static void fill_company(void *arg, unsigned row, struct db_cell *cells)
{
    struct store_token_create *op = arg;
    cells[0].n = op->id;
    cells[1].n = op->companies[row];
}

static enum db_rc create_tx(struct db *db, void *arg)
{
    struct store_token_create *op = arg;
    char subject[40];
    struct buf detail = {0};
    buf_clear(&op->json);
    TRY(db_exec(
        db,
        "INSERT INTO chasqui_tokens (name, secret_sha256, abilities, all_companies, rate_per_minute, expires_at, created_at) VALUES (?, "
        "?, ?, ?, ?, IF(? > 0, FROM_UNIXTIME(? / 1000), NOW(6) + INTERVAL ? SECOND), NOW(6))",
        "sbsuuuuN", op->name, (const void *)op->sha256, sizeof(op->sha256), op->abilities, (uint64_t)op->all,
        op->rate, op->expires_at_ms, op->expires_at_ms, op->expires_s));
    op->id = db_insert_id(db);
    if (op->n_companies)
        TRY(db_bulk(db, "INSERT IGNORE INTO chasqui_token_companies (token_id, company_id) VALUES (?, ?)", "uu",
                    op->n_companies, fill_company, op));
    snprintf(subject, sizeof(subject), "token:%llu", (unsigned long long)op->id);
    buf_addf(&detail, "%s; %s%s%s", op->abilities, op->name, *op->by.why ? ": " : "", op->by.why);
    enum db_rc rc =
        audit_add(db, op->by.name, op->by.peer, op->by.request_id, "token_create", subject, detail.data);
    buf_free(&detail);
    TRY(rc);
    TRY(db_query(db, COLUMNS "WHERE t.id = ?", "u", op->id));
    if (db_next(db))
        json_take(row_jv(db), &op->json);
    return DB_OK;
}

/* After a commit whose outcome is unknown. */
static int create_done(struct db *db, void *arg)
{
    struct store_token_create *op = arg;
    if (db_query(db, "SELECT id FROM chasqui_tokens WHERE id = ? AND secret_sha256 = ? LOCK IN SHARE MODE WAIT 5",
                 "ub", op->id, (const void *)op->sha256, sizeof(op->sha256)))
        return -1;
    return db_next(db);
}

void store_token_create(struct db *db, void *arg)
{
    struct store_token_create *op = arg;
    op->rc = store_tx(db, create_tx, create_done, op);
}

static enum db_rc revoke_tx(struct db *db, void *arg)
{
    struct store_token_revoke *op = arg;
    char subject[40];
    op->found = op->was_revoked = false;
    TRY(db_query(db, "SELECT revoked_at IS NOT NULL FROM chasqui_tokens WHERE id = ? FOR UPDATE", "u", op->id));
    if (!db_next(db))
        return DB_OK;
    op->found = true;
    op->was_revoked = db_u64(db, 0) != 0;
    if (op->was_revoked)
        return DB_OK;
    TRY(db_exec(db, "UPDATE chasqui_tokens SET revoked_at = NOW(6) WHERE id = ?", "u", op->id));
    snprintf(subject, sizeof(subject), "token:%llu", (unsigned long long)op->id);
    return audit_add(db, op->by.name, op->by.peer, op->by.request_id, "token_revoke", subject,
                     *op->by.why ? op->by.why : NULL);
}

void store_token_revoke(struct db *db, void *arg)
{
    struct store_token_revoke *op = arg;
    op->rc = store_tx(db, revoke_tx, NULL, op);
}
