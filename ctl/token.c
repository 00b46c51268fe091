/* SPDX-License-Identifier: MIT */
/*
 * token.c - `chasqui token`: who may call the API. A token's secret is shown
 * once and stored only as its SHA-256; no message and no row ever holds it.
 */
#include "ctl/ctl.h"

#include "common/check.h"
#include "common/id.h"
#include "ctl/broker.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define SECRET_LETTERS 48 /* of 62: 285 bits */
#define COMPANIES_MAX 1000
#define NAME_CHARACTERS_MAX 100
#define RATE_MAX 10000000
#define EXPIRES_DAYS_MAX 36600 /* 100 years */
#define USE_ASK_MS 3000

struct create {
    const char *actor;
    uint64_t company[COMPANIES_MAX];
    unsigned n_companies;
    bool all;
    char abilities[32]; /* in a fixed order */
    char name[4 * NAME_CHARACTERS_MAX + 1];
    uint64_t rate, expires_s; /* 0 = never */
    char secret[SECRET_LETTERS + 1];
    uint8_t sha256[32];
    uint64_t id;
};

static void secret_make(struct create *t)
{
    static const char letters[63] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    id_random_u64(); /* libsodium is ready */
    for (unsigned i = 0; i < SECRET_LETTERS; i++)
        t->secret[i] = letters[randombytes_uniform(62)];
    id_sha256(t->secret, SECRET_LETTERS, t->sha256);
}

static bool companies_read(struct ctl *c, struct create *t)
{
    const struct args *a = &c->args;
    if (!a->n[OPT_COMPANY]) /* an operator's token is for all */
        return true;
    if (a->n[OPT_COMPANY] > COMPANIES_MAX)
        return ctl_usage(c, "a token is for at most %d companies; use '*' for all", COMPANIES_MAX), false;
    for (unsigned i = 0; i < a->n[OPT_COMPANY]; i++) {
        const char *text = a->value[OPT_COMPANY][i];
        if (strcmp(text, "*") == 0)
            t->all = true;
        else if (!args_number(c, "--company (or '*')", text, 1, INT64_MAX, &t->company[t->n_companies++]))
            return false;
    }
    if (t->all && t->n_companies)
        return ctl_usage(c, "--company '*' is every company already; leave the others away"), false;
    return true;
}

static bool abilities_read(struct ctl *c, struct create *t)
{
    static const char *const known[] = {"app", "ops:read", "ops"};
    bool has[3] = {false};
    const char *list = args_value(&c->args, OPT_ABILITY);
    if (!list)
        return ctl_usage(c, "--ability is missing: a comma list of app, ops:read, ops"), false;
    for (const char *p = list;; p++) {
        size_t len = strcspn(p, ",");
        unsigned i = 0;
        while (i < 3 && (strlen(known[i]) != len || strncmp(known[i], p, len) != 0))
            i++;
        if (i == 3)
            return ctl_usage(c, "--ability is a comma list of app, ops:read, ops; not %.40s", list), false;
        has[i] = true;
        p += len;
        if (!*p)
            break;
    }
    bool is_told = t->all || t->n_companies, is_ops = has[1] || has[2];
    if (!is_told && has[0])
        return ctl_usage(c, "--company is missing: a company's id, or '*' for all"), false;
    if (is_ops && t->n_companies)
        return ctl_usage(c, "ops and ops:read see every company: they need --company '*'"), false;
    t->all |= is_ops;
    for (unsigned i = 0; i < 3; i++)
        if (has[i])
            sprintf(t->abilities + strlen(t->abilities), "%s%s", *t->abilities ? "," : "", known[i]);
    return true;
}

/* Printable UTF-8 of at most 100 characters. */
static bool name_ok(const char *name)
{
    mbstate_t state = {0};
    wchar_t wide;
    unsigned n = 0;
    for (const char *p = name; *p; n++) {
        size_t len = mbrtowc(&wide, p, strlen(p), &state);
        if (len == (size_t)-1 || len == (size_t)-2 || wcwidth(wide) < 0)
            return false;
        p += len;
    }
    return n <= NAME_CHARACTERS_MAX;
}

static bool name_read(struct ctl *c, struct create *t)
{
    const char *name = args_value(&c->args, OPT_NAME);
    if (name && !name_ok(name))
        return ctl_usage(c, "--name must be printable UTF-8 of up to %d characters", NAME_CHARACTERS_MAX), false;
    if (name && *name)
        snprintf(t->name, sizeof(t->name), "%s", name);
    else if (t->all)
        strcpy(t->name, "all companies");
    else if (t->n_companies == 1)
        snprintf(t->name, sizeof(t->name), "company %llu", (unsigned long long)t->company[0]);
    else
        snprintf(t->name, sizeof(t->name), "%u companies", t->n_companies);
    return true;
}

static enum db_rc create_tx(struct db *db, void *arg)
{
    struct create *t = arg;
    char subject[40];
    struct buf detail = {0};
    TRY(db_exec(db,
                "INSERT INTO chasqui_tokens (name, secret_sha256, abilities, all_companies, rate_per_minute, "
                "expires_at, created_at) VALUES "
                "(?, ?, ?, ?, ?, NOW(6) + INTERVAL ? SECOND, NOW(6))",
                "sbsuuN", t->name, (const void *)t->sha256, sizeof(t->sha256), t->abilities, (uint64_t)t->all,
                t->rate, t->expires_s));
    t->id = db_insert_id(db);
    for (unsigned i = 0; i < t->n_companies; i++)
        TRY(db_exec(db, "INSERT IGNORE INTO chasqui_token_companies (token_id, company_id) VALUES (?, ?)", "uu",
                    t->id, t->company[i]));
    snprintf(subject, sizeof(subject), "token:%llu", (unsigned long long)t->id);
    buf_addf(&detail, "%s; %s", t->abilities, t->name);
    enum db_rc rc = ctl_audit(db, t->actor, "token_create", subject, detail.data);
    buf_free(&detail);
    return rc;
}

static int create_done(struct db *db, void *arg)
{
    struct create *t = arg;
    if (db_query(db, "SELECT id FROM chasqui_tokens WHERE id = ? AND secret_sha256 = ?", "ub", t->id,
                 (const void *)t->sha256, sizeof(t->sha256)))
        return -1;
    return db_next(db);
}

static enum ctl_exit create_answer(struct ctl *c, const struct create *t)
{
    if (!c->args.json) {
        printf("%llu|%s\n", (unsigned long long)t->id, t->secret);
        fflush(stdout);
        fprintf(stderr, "keep it now: it is not shown again\n");
        return CTL_DONE;
    }
    char token[SECRET_LETTERS + 24];
    struct jv *body = jv_new_object();
    snprintf(token, sizeof(token), "%llu|%s", (unsigned long long)t->id, t->secret);
    jv_set_int(body, "id", (int64_t)t->id);
    jv_set_str(body, "token", token);
    jv_set_str(body, "name", t->name);
    return ctl_json(body);
}

enum ctl_exit token_create(struct ctl *c)
{
    struct create *t = xcalloc(1, sizeof(*t));
    const char *rate = args_value(&c->args, OPT_RATE), *expires = args_value(&c->args, OPT_EXPIRES);
    enum ctl_exit code = CTL_USAGE;
    t->actor = c->actor;
    t->rate = (uint64_t)c->conf->ratelimit_per_minute;
    if (companies_read(c, t) && abilities_read(c, t) &&
        (!rate || args_number(c, "--rate", rate, 0, RATE_MAX, &t->rate)) &&
        (!expires || args_duration(c, "--expires", expires, EXPIRES_DAYS_MAX, &t->expires_s)) && name_read(c, t)) {
        secret_make(t);
        code = ctl_tx(c, create_tx, create_done, t, "");
        if (code == CTL_DONE)
            code = create_answer(c, t);
    }
    explicit_bzero(t, sizeof(*t));
    free(t);
    return code;
}

/* ---- list --------------------------------------------------------------------------------------------------- */

static const char *state_name(struct db *db, unsigned revoked, unsigned expired)
{
    return db_u64(db, revoked) ? "revoked" : db_u64(db, expired) ? "expired" : "good";
}

static struct jv *abilities_jv(const char *list)
{
    struct jv *out = jv_new_array();
    unsigned n;
    char **words = conf_list(list, &n);
    for (unsigned i = 0; i < n; i++)
        jv_push_str(out, words[i]);
    free(words);
    return out;
}

/* What each token asked of a broker since that one's start; NULL when none is to be asked, or none answers. */
static struct jv *use_ask(struct ctl *c)
{
    struct http_request request = {.method = "GET",
                                   .base_url = c->conf->ctl_ops_url,
                                   .path = "/api/v1/ops/tokens/use",
                                   .total_ms = USE_ASK_MS};
    struct http_answer answer;
    if (!c->conf->ctl_token)
        return NULL;
    http_ask(c, &request, &answer);
    if (broker_is_good(&answer))
        return answer.body;
    jv_free(answer.body);
    return NULL;
}

static const struct jv *use_of(const struct jv *use, int64_t id)
{
    const struct jv *list = jv_get(use, "tokens");
    int64_t one;
    for (size_t i = 0; i < jv_len(list); i++)
        if (jv_int(jv_get(jv_at(list, i), "id"), &one) && one == id)
            return jv_at(list, i);
    return NULL;
}

static void use_cells(struct table *table, const struct jv *use, int64_t id, struct jv *t)
{
    static const char *const counts[] = {"calls", "limited"}, *const times[] = {"last_at", "last_limited_at"};
    const struct jv *one = use_of(use, id);
    int64_t n;
    for (unsigned i = 0; i < 2; i++) {
        n = 0;
        jv_int(jv_get(one, counts[i]), &n);
        table_addf(table, "%lld", (long long)n);
        jv_set_int(t, counts[i], n);
        jv_set_str(t, times[i], jv_str(jv_get(one, times[i])));
    }
    if (jv_str(jv_get(one, "last_limited_at")))
        broker_cell(table, one, "last_limited_at");
    else
        table_add(table, NULL);
}

enum ctl_exit token_list(struct ctl *c)
{
    static const char *const heads[] = {">ID",           "=STATE",         "ABILITIES", "~COMPANIES", "2>RATE",
                                        "EXPIRES (UTC)", "1CREATED (UTC)", "~NAME",     NULL};
    static const char *const used_heads[] = {
        ">ID",    "=STATE",     "ABILITIES",          "~COMPANIES", "2>RATE", "EXPIRES (UTC)", "1CREATED (UTC)",
        ">CALLS", ">TOO OFTEN", "LAST REFUSED (UTC)", "~NAME",      NULL};
    struct db *db = c->db;
    struct jv *use = use_ask(c);
    enum db_rc rc = db_query(db,
                             "SELECT t.id, t.revoked_at IS NOT NULL, COALESCE(t.expires_at <= NOW(6), 0), "
                             "t.abilities, t.all_companies, (SELECT "
                             "GROUP_CONCAT(p.company_id ORDER BY p.company_id SEPARATOR ' ') FROM "
                             "chasqui_token_companies p WHERE p.token_id = "
                             "t.id), t.rate_per_minute, CAST(UNIX_TIMESTAMP(t.expires_at) * 1000 AS INT), "
                             "CAST(UNIX_TIMESTAMP(t.created_at) * "
                             "1000 AS INT), t.name, DATE_FORMAT(t.expires_at, '%Y-%m-%d %H:%i'), "
                             "DATE_FORMAT(t.created_at, '%Y-%m-%d %H:%i') "
                             "FROM chasqui_tokens t ORDER BY t.id",
                             "");
    if (rc) {
        jv_free(use);
        return ctl_db_fail(c, rc);
    }
    struct table *table = table_new(use ? (const char **)used_heads : (const char **)heads);
    struct jv *body = jv_new_object(), *list = jv_new_array();
    while (db_next(db)) {
        struct jv *t = jv_new_object(), *companies = jv_new_array();
        const char *state = state_name(db, 1, 2);
        bool all = db_u64(db, 4) != 0;
        table_add(table, db_str(db, 0, NULL));
        table_add(table, state);
        table_add(table, db_str(db, 3, NULL));
        table_add(table, all ? "all" : db_str(db, 5, NULL));
        table_add(table, db_u64(db, 6) ? db_str(db, 6, NULL) : "off");
        table_add(table, db_is_null(db, 10) ? "never" : db_str(db, 10, NULL));
        table_add(table, db_str(db, 11, NULL));
        if (use)
            use_cells(table, use, db_i64(db, 0), t);
        table_add(table, db_str(db, 9, NULL));
        jv_set_int(t, "id", db_i64(db, 0));
        jv_set_str(t, "state", state);
        jv_set(t, "abilities", abilities_jv(db_str(db, 3, NULL)));
        jv_set_bool(t, "all_companies", all);
        for (const char *p = db_str(db, 5, NULL); p && *p; p += strcspn(p, " "), p += *p == ' ')
            jv_push_int(companies, strtoll(p, NULL, 10));
        jv_set(t, "companies", companies);
        jv_set_int(t, "rate_per_minute", db_i64(db, 6));
        jv_set_time(t, "expires_at", db_i64(db, 7));
        jv_set_time(t, "created_at", db_i64(db, 8));
        jv_set_str(t, "name", db_str(db, 9, NULL));
        jv_push(list, t);
    }
    jv_set(body, "tokens", list);
    jv_free(use);
    if (c->args.json) {
        table_free(&table);
        return ctl_json(body);
    }
    jv_free(body);
    table_print(&table, "there are no tokens; chasqui token create makes one");
    return CTL_DONE;
}

/* ---- revoke ------------------------------------------------------------------------------------------------- */

struct revoke {
    const char *actor;
    uint64_t id;
    bool found, was_revoked;
};

static enum db_rc revoke_tx(struct db *db, void *arg)
{
    struct revoke *r = arg;
    char subject[40];
    r->found = r->was_revoked = false;
    TRY(db_query(db, "SELECT revoked_at IS NOT NULL FROM chasqui_tokens WHERE id = ? FOR UPDATE", "u", r->id));
    if (!db_next(db))
        return DB_OK;
    r->found = true;
    r->was_revoked = db_u64(db, 0) != 0;
    if (r->was_revoked)
        return DB_OK;
    TRY(db_exec(db, "UPDATE chasqui_tokens SET revoked_at = NOW(6) WHERE id = ?", "u", r->id));
    snprintf(subject, sizeof(subject), "token:%llu", (unsigned long long)r->id);
    return ctl_audit(db, r->actor, "token_revoke", subject, NULL);
}

enum ctl_exit token_revoke(struct ctl *c)
{
    struct revoke r = {.actor = c->actor};
    if (!args_number(c, "ID, the number before the | of the token,", c->args.word[0], 1, INT64_MAX, &r.id))
        return CTL_USAGE;
    enum ctl_exit code = ctl_tx(c, revoke_tx, NULL, &r, "");
    if (code != CTL_DONE)
        return code;
    if (!r.found)
        return ctl_fail(c, "there is no token %llu", (unsigned long long)r.id);
    return ctl_say(
        c, r.was_revoked ? "token %llu was revoked already" : "token %llu is revoked; brokers know within 5 s",
        (unsigned long long)r.id);
}
