/* SPDX-License-Identifier: MIT */
/*
 * verify.c - verifies tokens: our own and those of the application's table by store_verify.c, others by
 * introspect.c. Brokers
 * keep the verdict (broker/auth.c).
 *
 * Owns the cause for which tokens of the application cannot be verified, while there is one.
 *
 * Must stay: a token is never called bad when nobody could be asked: that is auth_unavailable, and its cause is told to
 * operators, in words that hold no token. May change: which further sources are asked.
 */
#include "dispatcher/ops/verify.h"
#include "dispatcher/ops/introspect.h"
#include "dispatcher/store/store_verify.h"
#include "dispatcher/wire/asked.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct verifier {
    struct introspector *introspector;
    struct troubles troubles; /* at most one of them */
};

static const char duty[] = "tokens of the application";

static void refuse_unverified(struct dispatcher *d, struct request *r, const char *why)
{
    struct troubles *t = &d->verifier->troubles;
    char message[300];
    if (strcmp(t->row[0].why, why) != 0 || clock_ms() > t->row[0].last_ms + TROUBLE_KEPT_MS)
        log_line(LOG_WARN, "tokens_unverified", "why", why, NULL);
    stat_inc(tokens_unverified_total);
    trouble_note(t, duty, "auth", why, clock_ms());
    snprintf(message, sizeof(message), "The token cannot be verified: %s.", why);
    if (r)
        reply_error(d, r, ERR_AUTH_UNAVAILABLE, message, NULL);
}

static void foreign_verified(struct dispatcher *d)
{
    stat_inc(tokens_foreign_total);
    trouble_over(&d->verifier->troubles, duty, clock_ms());
}

static void introspection_done(struct dispatcher *d, uint64_t key, enum introspected verdict, struct jv *body,
                               const char *why)
{
    struct request *r = request_find(d, key);
    if (verdict == INTROSPECTED_NOT) {
        refuse_unverified(d, r, why);
        return;
    }
    foreign_verified(d);
    if (!r)
        jv_free(body);
    else if (verdict == INTROSPECTED_GOOD)
        reply_jv(d, r, 200, body);
    else
        reply_error(d, r, ERR_UNAUTHENTICATED, NULL, NULL);
}

/* Neither table nor view knows it. */
static void ask_further(struct dispatcher *d, struct request *r)
{
    struct introspector *i = d->verifier->introspector;
    if (introspector_is_on(i) && r->params_len)
        introspect(i, r, introspection_done);
    else
        reply_error(d, r, ERR_UNAUTHENTICATED, NULL, NULL);
}

static void verified(void *arg, void *op_arg)
{
    struct store_verify *op = op_arg;
    struct dispatcher *d = ((struct asked *)arg)->d;
    struct request *r = asked_answer(arg, op->rc);
    if (op->rc == STORE_OK && op->outcome == VERIFIED_NOT)
        refuse_unverified(d, r, op->why);
    else if (op->rc == STORE_OK && op->is_foreign)
        foreign_verified(d);
    if (r && op->outcome == VERIFIED_GOOD)
        reply_take(d, r, 200, "application/json", NULL, &op->json);
    else if (r && op->outcome == VERIFIED_REFUSED)
        reply_error(d, r, ERR_UNAUTHENTICATED, NULL, NULL);
    else if (r && op->outcome == VERIFIED_UNKNOWN)
        ask_further(d, r);
    buf_free(&op->own.json);
    buf_free(&op->json);
    free(op);
}

void verify_start(struct dispatcher *d, struct request *r)
{
    struct store_verify *op = xcalloc(1, sizeof(*op));
    op->own.token_id = r->token_id;
    op->conf = d->conf;
    memcpy(op->own.secret_sha256, r->secret_hash, sizeof(op->own.secret_sha256));
    store_submit(d->store, store_verify, op, verified, asked_new(d, r));
}

/* ---- start and stop ----------------------------------------------------------------------------------------- */

unsigned verifier_foreign(const struct dispatcher *d)
{
    bool introspects = introspector_is_on(d->verifier->introspector);
    return d->conf->auth_laravel_view || introspects ? FOREIGN_FORM | (introspects ? FOREIGN_TEXT : 0) : 0;
}

void verifier_trouble(const struct dispatcher *d, char text[TROUBLE_TEXT_MAX + 1])
{
    char line[TROUBLE_TEXT_MAX + 1];
    trouble_text(&d->verifier->troubles, clock_ms(), line);
    if (strlen(text) + strlen(line) <= TROUBLE_TEXT_MAX)
        strcat(text, line);
}

/* NAME or SCHEMA.NAME: it becomes part of an SQL text. */
static bool is_view_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t n = strspn(name, letters);
    if (n && n <= 64 && name[n] == '.') {
        name += n + 1;
        n = strspn(name, letters);
    }
    return n && n <= 64 && !name[n];
}

struct verifier *verifier_new(struct dispatcher *d)
{
    const char *view = d->conf->auth_laravel_view;
    if (view && !is_view_name(view)) {
        log_line(
            LOG_ERROR, "laravel_view_refused", "why",
            "auth.laravel_view must be a view's name of letters, digits and _, perhaps after a database's and a dot",
            NULL);
        return NULL;
    }
    struct introspector *i = introspector_new(d);
    if (!i)
        return NULL;
    struct verifier *v = xcalloc(1, sizeof(*v));
    v->introspector = i;
    return v;
}

void verifier_destroy(struct verifier **vp)
{
    struct verifier *v = *vp;
    *vp = NULL;
    if (!v)
        return;
    introspector_destroy(&v->introspector);
    free(v);
}
