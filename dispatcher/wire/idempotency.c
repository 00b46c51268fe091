/* SPDX-License-Identifier: MIT */
/*
 * idempotency.c - Idempotency-Key: the job of a key, the answer kept under it, and the replay of that answer.
 *
 * Owns nothing. Keys and bodies are stored as keyed hashes, answers sealed. An answer is stored before it is sent,
 * so that every later request with the key gets the same bytes. An answer that could not be stored is made again
 * from its job (job_wait.c).
 */
#include "dispatcher/wire/idempotency.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>

bool idempotency_of(struct dispatcher *d, struct request *r, const char *route, uint64_t who,
                    struct idempotency *key)
{
    memset(key, 0, sizeof(*key));
    if (!r->idempotency_key[0])
        return true;
    if (!d->seal) {
        struct jv *extra = jv_new_object(), *errors = jv_new_object(), *list = jv_new_array();
        jv_push_str(list, "cannot be kept: the dispatcher has no seal.key_file");
        jv_set(errors, "Idempotency-Key", list);
        jv_set(extra, "errors", errors);
        reply_error(d, r, ERR_VALIDATION_FAILED, NULL, extra);
        return false;
    }
    struct buf scope = {0};
    buf_addf(&scope, "%s %llu %s", route, (unsigned long long)who, r->idempotency_key);
    key->is_set = true;
    seal_hash(d->seal, "idempotency-scope", scope.data, scope.len, key->scope, sizeof(key->scope));
    seal_hash(d->seal, "idempotency-body", r->body_digest, sizeof(r->body_digest), key->digest,
              sizeof(key->digest));
    buf_free(&scope);
    return true;
}

/* ---- keeping an answer -------------------------------------------------------------------------------------- */

struct kept {
    struct dispatcher *d;
    uint64_t request_key;
    int status;
    enum err error;
    char message[501];
    struct jv *body; /* of a success; else members merged into the error's body */
    struct buf sealed;
    struct store_key_answer op;
};

static void give(struct dispatcher *d, struct request *r, int status, enum err e, const char *message,
                 struct jv *body)
{
    if (e)
        reply_error(d, r, e, message, body);
    else
        reply_jv(d, r, status, body);
}

static void kept_done(void *arg, void *op_arg)
{
    struct kept *k = arg;
    struct request *r = request_find(k->d, k->request_key);
    (void)op_arg; /* an answer that could not be stored is sent all the same */
    if (r)
        give(k->d, r, k->status, k->error, k->message, k->body);
    else
        jv_free(k->body);
    buf_free(&k->sealed);
    free(k);
}

void answer_keep(struct dispatcher *d, const struct idempotency *key, uint64_t company_id, const char *portal,
                 uint64_t request_key, int status, enum err e, const char *message, struct jv *body)
{
    struct request *r = request_key ? request_find(d, request_key) : NULL;
    if (!key->is_set || !d->seal) {
        if (r)
            give(d, r, status, e, message, body);
        else
            jv_free(body);
        return;
    }
    struct kept *k = xcalloc(1, sizeof(*k));
    struct jv *whole = jv_new_object();
    size_t len;
    *k = (struct kept){.d = d, .request_key = request_key, .status = status, .error = e, .body = body};
    str_copy(k->message, sizeof(k->message), str_of(message));
    jv_set_int(whole, "status", status);
    jv_set_str(whole, "error", e ? err_code(e) : "");
    jv_set_str(whole, "message", k->message);
    jv_set(whole, "body", jv_copy(body));
    char *text = jv_dump(whole, &len);
    jv_free(whole);
    seal_wrap(d->seal, company_id, portal, "answer", text, len, &k->sealed);
    free(text);
    memcpy(k->op.scope, key->scope, sizeof(k->op.scope));
    k->op.answer = k->sealed.data;
    k->op.answer_len = k->sealed.len;
    store_submit(d->store, store_key_answer, &k->op, kept_done, k);
}

bool answer_again(struct dispatcher *d, struct request *r, const struct buf *sealed)
{
    struct buf plain = {0};
    enum jv_bad why;
    struct jv *whole = NULL;
    if (seal_unwrap(d->seal, r->company_id, r->portal, "answer", sealed->data, sealed->len, &plain))
        whole = jv_parse(plain.data, plain.len, &why);
    buf_wipe(&plain);
    const char *code = jv_str(jv_get(whole, "error")), *message = jv_str(jv_get(whole, "message"));
    enum err e = code && *code ? err_from_code(code, (unsigned)strlen(code)) : ERR_OK;
    int64_t status = 0;
    bool is_good = jv_int(jv_get(whole, "status"), &status) && e != ERR_COUNT;
    if (is_good)
        give(d, r, (int)status, e, message, jv_copy(jv_get(whole, "body")));
    jv_free(whole);
    return is_good;
}
