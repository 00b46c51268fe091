/* SPDX-License-Identifier: MIT */
/*
 * store_verify.c - verdicts on tokens from the database: our own (token_read()), and those of the application's view
 * (view_ask()).
 *
 * Must stay: secrets are compared in constant time. The view is the application's: it is looked at before it is
 * believed, since one whose hashes are not hashes would make every good token a bad one. Whatever is wrong with it is
 * VERIFIED_NOT with a cause, never a verdict. May change: which columns the view may have besides.
 */
#include "dispatcher/store/store_verify.h"

#include "db/portal_shape.h"
#include "dispatcher/store/store_sql.h"

#include "common/clock.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ROWS_MAX 1000 /* companies of a token that count */
#define HEX_LEN 64

/* ---- our own ------------------------------------------------------------------------------------------------ */

static struct jv *abilities_of(const char *list)
{
    struct jv *out = jv_new_array();
    char copy[65];
    str_copy(copy, sizeof(copy), str_of(list));
    for (char *save = NULL, *word = strtok_r(copy, ", ", &save); word; word = strtok_r(NULL, ", ", &save))
        jv_push_str(out, word);
    return out;
}

/* Compares in constant time; an unknown id does the same work. */
static enum db_rc token_read(struct db *db, struct store_token *op)
{
    uint8_t secret[32] = {0};
    bool known, fit;
    op->valid = op->is_ours = false;
    buf_clear(&op->json);
    TRY(db_find(
        db, &known,
        "SELECT secret_sha256, name, abilities, all_companies, rate_per_minute, CAST(UNIX_TIMESTAMP(expires_at) * 1000 AS INT), "
        "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > NOW(6)), TIMESTAMPDIFF(MICROSECOND, NOW(6), expires_at) DIV 1000 FROM chasqui_tokens WHERE id = ?",
        "u", op->token_id));
    struct jv *body = jv_new_object();
    fit = known && db_u64(db, 6);
    bool all = known && db_u64(db, 3);
    if (known) {
        size_t len;
        const char *stored = db_str(db, 0, &len);
        memcpy(secret, stored, len < 32 ? len : 32);
        jv_set_int(body, "id", (int64_t)op->token_id);
        jv_set_str(body, "name", db_str(db, 1, NULL));
        jv_set(body, "abilities", abilities_of(db_str(db, 2, NULL)));
        jv_set_bool(body, "all", all);
        jv_set_int(body, "rate_per_minute", db_i64(db, 4));
        jv_set_int(body, "expires_at_ms", db_i64(db, 5));
        if (db_str(db, 7, NULL))
            jv_set_int(body, "expires_in_ms", db_i64(db, 7));
    }
    /* The same work for an unknown id: compare and read. */
    bool same = sodium_memcmp(secret, op->secret_sha256, 32) == 0;
    struct jv *companies = jv_new_array();
    enum db_rc rc = db_query(
        db, "SELECT company_id FROM chasqui_token_companies WHERE token_id = ? ORDER BY company_id LIMIT 1000",
        "u", op->token_id);
    while (rc == DB_OK && db_next(db))
        jv_push_int(companies, db_i64(db, 0));
    jv_set(body, "companies", companies);
    op->is_ours = rc == DB_OK && known && same;
    op->valid = op->is_ours && fit;
    if (op->valid)
        json_take(body, &op->json);
    else
        jv_free(body);
    return rc;
}

/* ---- what the view is like: looked at again every few seconds, on each connection's thread ------------------ */

struct view {
    uint64_t until_ms;
    int64_t expires_wall_s;    /* how far its expires_at is from UTC */
    bool has_user;             /* a column user_id, which may be missing */
    char why[VERIFY_WHY_ROOM]; /* "" = it is good */
};
static _Thread_local struct view view_;

enum kind { KIND_INTEGER, KIND_HASH, KIND_TEXT, KIND_TIME };
static const struct {
    const char *name;
    enum kind kind;
} columns[] = {{"id", KIND_INTEGER},
               {"secret_sha256", KIND_HASH},
               {"company_id", KIND_INTEGER},
               {"abilities", KIND_TEXT},
               {"expires_at", KIND_TIME}};
#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

static bool is_among(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcasecmp(word, *list) == 0)
            return true;
    return false;
}

/* NULL = fit. A column that is NULL in every row has a type of no length. */
static const char *unfit(enum kind kind, const char *type, uint64_t length)
{
    static const char *const integers[] = {"tinyint", "smallint", "mediumint", "int", "bigint", NULL};
    static const char *const texts[] = {"char",       "varchar",  "tinytext", "text",
                                        "mediumtext", "longtext", "json",     NULL};
    static const char *const times[] = {"timestamp", "datetime", NULL};
    static const char *const bytes[] = {"binary", "varbinary", NULL};
    bool is_nothing = is_among(type, bytes) && !length;
    switch (kind) {
    case KIND_INTEGER:
        return is_among(type, integers) ? NULL : "is no integer";
    case KIND_HASH:
        return is_among(type, texts) && length >= HEX_LEN ? NULL : "is no text of 64 hex digits";
    case KIND_TEXT:
        return is_among(type, texts) || is_nothing ? NULL : "is no text";
    case KIND_TIME:
        return is_among(type, times) || is_nothing ? NULL : "is no TIMESTAMP or DATETIME";
    }
    return NULL;
}

static void column_look(struct view *v, const struct conf *conf, unsigned i, const char *type, uint64_t length)
{
    const char *wrong = unfit(columns[i].kind, type, length);
    if (wrong && !v->why[0])
        snprintf(v->why, sizeof(v->why), "the view %s: column %s %s", conf->auth_laravel_view, columns[i].name,
                 wrong);
    if (columns[i].kind == KIND_TIME) {
        struct portal_shape s;
        shape_begin(&s);
        shape_row(&s, "created_at", type, NULL, NULL); /* it is written as Laravel writes that column */
        shape_zones(&s, conf, clock_unix_ms() / 1000);
        v->expires_wall_s = s.wall_s[0];
    }
}

static enum db_rc view_look(struct db *db, const struct conf *conf, struct view *v)
{
    const char *name = conf->auth_laravel_view, *dot = strchr(name, '.');
    bool seen[N_COLUMNS] = {false}, is_any = false;
    char schema[65] = "";
    snprintf(schema, sizeof(schema), "%.*s", dot ? (int)(dot - name) : 0, name);
    v->why[0] = '\0';
    v->has_user = false;
    TRY(db_query(
        db,
        "SELECT COLUMN_NAME, DATA_TYPE, COALESCE(CHARACTER_MAXIMUM_LENGTH, 0) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = "
        "COALESCE(NULLIF(?, ''), DATABASE()) AND TABLE_NAME = ?",
        "ss", schema, dot ? dot + 1 : name));
    while (db_next(db)) {
        is_any = true;
        v->has_user |= strcasecmp(db_str(db, 0, NULL), "user_id") == 0;
        for (unsigned i = 0; i < N_COLUMNS; i++)
            if (strcasecmp(db_str(db, 0, NULL), columns[i].name) == 0) {
                seen[i] = true;
                column_look(v, conf, i, db_str(db, 1, NULL), db_u64(db, 2));
            }
    }
    if (!is_any)
        snprintf(v->why, sizeof(v->why), "the view %s is not there, or may not be read", name);
    for (unsigned i = 0; i < N_COLUMNS && !v->why[0]; i++)
        if (!seen[i])
            snprintf(v->why, sizeof(v->why), "the view %s has no column %s", name, columns[i].name);
    v->until_ms = clock_ms() + SHAPE_EVERY_MS;
    return DB_OK;
}

/* ---- a token in it ------------------------------------------------------------------------------------------ */

struct found {
    uint64_t id;
    bool is_any, is_app, is_endless;
    /* whose it is; 0 = that is not known */
    bool has_user;
    uint64_t user_id;
    int64_t left_ms; /* until its last row ends */
    struct jv *companies;
};

/* A JSON array, or words with blanks or commas between. Only `app` is of use; Sanctum's `*` is every ability, so that one too. */
static bool has_app(const char *text)
{
    enum jv_bad bad;
    bool is_app = false;
    struct jv *list = text && *text == '[' ? jv_parse(text, strlen(text), &bad) : NULL;
    for (size_t i = 0; i < jv_len(list); i++) {
        const char *word = jv_str(jv_at(list, i));
        is_app |= word && (strcmp(word, "app") == 0 || strcmp(word, "*") == 0);
    }
    for (const char *at = text; at && !list && *at;) {
        size_t len = strcspn(at, ", ");
        is_app |= (len == 3 && memcmp(at, "app", 3) == 0) || (len == 1 && *at == '*');
        at += len + (at[len] != '\0');
    }
    jv_free(list);
    return is_app;
}

static bool same_hash(const char *stored, const uint8_t sha256[32])
{
    char hex[HEX_LEN + 1], low[HEX_LEN + 1] = "";
    id_hex(sha256, 32, hex);
    if (!stored || strlen(stored) != HEX_LEN)
        return false;
    for (unsigned i = 0; i < HEX_LEN; i++)
        low[i] = (char)(stored[i] >= 'A' && stored[i] <= 'F' ? stored[i] + ('a' - 'A') : stored[i]);
    return sodium_memcmp(low, hex, HEX_LEN) == 0;
}

/* An unsigned integer, or none. The rows of a token that disagree name nobody. */
static void user_take(struct found *f, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    bool is_number = len >= 1 && len <= 19 && strspn(text, "0123456789") == len;
    uint64_t id = is_number ? strtoull(text, NULL, 10) : 0;
    if (id > INT64_MAX)
        id = 0;
    f->user_id = !f->has_user || f->user_id == id ? id : 0;
    f->has_user = true;
}

/* One row: a company of the token. */
static void row_take(struct db *db, const struct store_verify *op, struct found *f)
{
    if (!same_hash(db_str(db, 1, NULL), op->own.secret_sha256) || (f->is_any && db_u64(db, 0) != f->id))
        return;
    f->is_any = true;
    f->id = db_u64(db, 0);
    bool is_endless = db_u64(db, 4) != 0;
    int64_t left_ms = db_i64(db, 5);
    if (!is_endless && left_ms <= 0)
        return;
    f->is_app |= has_app(db_str(db, 3, NULL));
    user_take(f, db_str(db, 6, NULL));
    f->is_endless |= is_endless;
    f->left_ms = left_ms > f->left_ms ? left_ms : f->left_ms;
    if (db_i64(db, 2) > 0)
        jv_push_int(f->companies, db_i64(db, 2));
}

static void verdict_write(struct store_verify *op, struct found *f)
{
    char name[40];
    op->outcome = f->is_endless || f->left_ms > 0 ? VERIFIED_GOOD : VERIFIED_REFUSED;
    op->is_foreign = op->outcome == VERIFIED_GOOD;
    if (!op->is_foreign)
        return;
    struct jv *body = jv_new_object(), *abilities = jv_new_array();
    snprintf(name, sizeof(name), "laravel:%llu", (unsigned long long)f->id);
    if (f->is_app)
        jv_push_str(abilities, "app");
    jv_set_int(body, "id", (int64_t)(TOKEN_FOREIGN | (f->id & (TOKEN_FOREIGN / 2 - 1))));
    jv_set_str(body, "name", name);
    jv_set(body, "abilities", abilities);
    jv_set_bool(body, "all", false);
    jv_set(body, "companies", jv_copy(f->companies));
    jv_set_int(body, "rate_per_minute", op->conf->auth_rate_per_minute);
    if (!f->is_endless)
        jv_set_int(body, "expires_in_ms", f->left_ms);
    if (f->user_id)
        jv_set_int(body, "user_id", (int64_t)f->user_id);
    json_take(body, &op->json);
}

static enum db_rc rows_look(struct db *db, struct store_verify *op, const struct view *v)
{
    char hex[HEX_LEN + 1];
    struct buf sql = {0};
    struct found f = {.companies = jv_new_array()};
    id_hex(op->own.secret_sha256, 32, hex);
    buf_addf(
        &sql,
        "SET STATEMENT max_statement_time = %.1f FOR SELECT v.id, v.secret_sha256, v.company_id, v.abilities, v.expires_at IS NULL, "
        "TIMESTAMPDIFF(MICROSECOND, NOW(6), v.expires_at - INTERVAL ? SECOND) DIV 1000, %s FROM %s v WHERE v.secret_sha256 = ? AND (? = 0 OR v.id = ?) "
        "LIMIT %d",
        (double)op->conf->auth_timeout_ms / 1000, v->has_user ? "LEFT(CAST(v.user_id AS CHAR), 20)" : "NULL",
        op->conf->auth_laravel_view, ROWS_MAX);
    enum db_rc rc = db_query(db, sql.data, "isuu", v->expires_wall_s, hex, op->own.token_id, op->own.token_id);
    while (rc == DB_OK && db_next(db))
        row_take(db, op, &f);
    if (rc == DB_OK && f.is_any)
        verdict_write(op, &f);
    jv_free(f.companies);
    buf_free(&sql);
    return rc;
}

static enum db_rc view_read(struct db *db, struct store_verify *op, struct view *v)
{
    if (clock_ms() >= v->until_ms)
        TRY(view_look(db, op->conf, v));
    return v->why[0] ? DB_OK : rows_look(db, op, v);
}

/* A connection that is lost is told as such; what the view itself is to blame for is a cause. */
static enum db_rc view_ask(struct db *db, struct store_verify *op)
{
    struct view *v = &view_;
    op->outcome = VERIFIED_UNKNOWN;
    enum db_rc rc = view_read(db, op, v);
    if (rc == DB_REFUSED && v->has_user) { /* perhaps user_id was taken away, which may be missing */
        v->until_ms = 0;
        rc = view_read(db, op, v);
    }
    if (rc == DB_GONE || rc == DB_NOT_HERE)
        return rc;
    if (rc == DB_OK && !v->why[0])
        return DB_OK;
    op->outcome = VERIFIED_NOT;
    memcpy(op->why, v->why, sizeof(op->why));
    if (rc == DB_RETRY)
        snprintf(op->why, sizeof(op->why), "the view %s takes too long", op->conf->auth_laravel_view);
    else if (rc != DB_OK)
        snprintf(op->why, sizeof(op->why), "the view %s: %.100s", op->conf->auth_laravel_view, db_error(db));
    v->until_ms = 0; /* it may be mended any moment */
    db_news_clear(db);
    return DB_OK;
}

static enum db_rc verify(struct db *db, struct store_verify *op)
{
    if (op->own.token_id)
        TRY(token_read(db, &op->own));
    if (op->own.valid) {
        op->outcome = VERIFIED_GOOD;
        op->json = op->own.json;
        op->own.json = (struct buf){0};
        return DB_OK;
    }
    op->outcome = op->own.is_ours ? VERIFIED_REFUSED : VERIFIED_UNKNOWN;
    return op->outcome == VERIFIED_UNKNOWN && op->conf->auth_laravel_view ? view_ask(db, op) : DB_OK;
}

void store_verify(struct db *db, void *arg)
{
    struct store_verify *op = arg;
    op->rc = store_rc_of(db ? verify(db, op) : DB_GONE);
}
