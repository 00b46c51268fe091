/* SPDX-License-Identifier: MIT */
/*
 * tokens.c - tokens for operators: OPS_TOKENS, OPS_TOKEN_CREATE,
 * OPS_TOKEN_REVOKE. A secret is made here, goes into one answer, and is wiped;
 * it never reaches a database thread.
 */
#include "dispatcher/ops/tokens.h"
#include "dispatcher/login/login.h"
#include "dispatcher/store/store_tokens.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/peer.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/text.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void listed(void *arg, void *op_arg)
{
    struct store_tokens *op = op_arg;
    asked_json(arg, op->rc, ERR_OK, &op->json);
    free(op);
}

static void list_tokens(struct dispatcher *d, struct request *r)
{
    struct store_tokens *op = xcalloc(1, sizeof(*op));
    op->cursor = r->cursor;
    op->limit = r->limit;
    store_submit(d->store, store_tokens, op, listed, asked_new(d, r));
}

/* ---- a new one ---------------------------------------------------------------------------------------------- */

struct making {
    struct store_token_create op; /* first: the op is the whole of it */
    char secret[TOKEN_SECRET_LETTERS + 1];
};

static void secret_make(struct making *m)
{
    static const char letters[63] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    CHECK(sodium_init() >= 0, "libsodium");
    for (unsigned i = 0; i < TOKEN_SECRET_LETTERS; i++)
        m->secret[i] = letters[randombytes_uniform(62)];
    id_sha256(m->secret, TOKEN_SECRET_LETTERS, m->op.sha256);
}

static void made(void *arg, void *op_arg)
{
    struct making *m = op_arg;
    struct store_token_create *op = &m->op;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    enum jv_bad bad;
    struct jv *body = r ? jv_parse(op->json.data, op->json.len, &bad) : NULL;
    if (r) {
        char token[TOKEN_SECRET_LETTERS + 24];
        if (!body)
            body = jv_new_object(); /* the commit was settled on another connection: the row was not read */
        snprintf(token, sizeof(token), "%llu|%s", (unsigned long long)op->id, m->secret);
        jv_set_bool(body, "ok", true);
        jv_set_int(body, "id", (int64_t)op->id);
        jv_set_str(body, "token", token);
        explicit_bzero(token, sizeof(token));
        reply_jv(d, r, 201, body);
    }
    buf_free(&op->json);
    free(op->companies);
    explicit_bzero(m, sizeof(*m));
    free(m);
}

static void companies_take(struct store_token_create *op, const struct jv *list)
{
    size_t n = jv_len(list) < PROTO_COMPANIES_MAX ? jv_len(list) : PROTO_COMPANIES_MAX;
    op->companies = xcalloc(n + 1, sizeof(*op->companies));
    for (size_t i = 0; i < n; i++) {
        uint64_t id;
        if (jv_id(jv_at(list, i), &id))
            op->companies[op->n_companies++] = id;
    }
}

/* What a broker wrote, bounded again. False: it is no token. */
static bool token_take(const struct dispatcher *d, struct store_token_create *op, const struct jv *v)
{
    const char *abilities = jv_str(jv_get(v, "abilities")), *name = jv_str(jv_get(v, "name"));
    int64_t n;
    if (!abilities || !*abilities || strlen(abilities) >= sizeof(op->abilities) || !name)
        return false;
    strcpy(op->abilities, abilities);
    text_clean(op->name, sizeof(op->name), name, strlen(name), 100);
    jv_bool(jv_get(v, "all"), &op->all);
    companies_take(op, jv_get(v, "companies"));
    op->rate = (uint64_t)d->conf->ratelimit_per_minute;
    if (jv_int(jv_get(v, "rate_per_minute"), &n) && n >= 0 && n <= 10000000)
        op->rate = (uint64_t)n;
    if (jv_int(jv_get(v, "expires_at_ms"), &n) && n > 0)
        op->expires_at_ms = (uint64_t)n;
    if (jv_int(jv_get(v, "expires_s"), &n) && n > 0)
        op->expires_s = (uint64_t)n;
    return op->all != (op->n_companies > 0) && (op->all || !strstr(abilities, "ops"));
}

static void make_token(struct dispatcher *d, struct request *r)
{
    enum jv_bad bad;
    struct making *m = xcalloc(1, sizeof(*m));
    struct jv *v = jv_parse(r->params ? r->params : "", r->params_len, &bad);
    if (token_take(d, &m->op, v)) {
        request_actor(r, &m->op.by);
        secret_make(m);
        store_submit(d->store, store_token_create, m, made, asked_new(d, r));
    } else {
        free(m->op.companies);
        free(m);
        reply_error(d, r, ERR_BAD_REQUEST, NULL, NULL);
    }
    jv_free(v);
}

/* ---- its end ------------------------------------------------------------------------------------------------ */

static void revoked(void *arg, void *op_arg)
{
    struct store_token_revoke *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    if (op->rc == STORE_OK && op->found)
        peers_event(d, "token_revoked", op->id, 0,
                    "revoked"); /* brokers forget it at once rather than within 5 s */
    if (r && op->found) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", true);
        jv_set_int(body, "id", (int64_t)op->id);
        jv_set_str(body, "state", "revoked");
        reply_jv(d, r, 200, body);
    } else if (r) {
        reply_error(d, r, ERR_NOT_FOUND, "There is no such token.", NULL);
    }
    free(op);
}

static void revoke_token(struct dispatcher *d, struct request *r)
{
    struct store_token_revoke *op = xcalloc(1, sizeof(*op));
    op->id = r->index;
    request_actor(r, &op->by);
    store_submit(d->store, store_token_revoke, op, revoked, asked_new(d, r));
}

void tokens_start(struct dispatcher *d, struct request *r)
{
    if (r->op == OP_OPS_TOKENS)
        list_tokens(d, r);
    else if (r->op == OP_OPS_TOKEN_CREATE)
        make_token(d, r);
    else
        revoke_token(d, r);
}
