/* SPDX-License-Identifier: MIT */
/*
 * auth.c - authenticates requests, by verdicts on their tokens. A dispatcher gives the verdict: dispatcher/ops/verify.c
 * takes it from the database (dispatcher/store/store_verify.c) or from the application (introspect.c).
 *
 * Owns: the dispatchers' verdicts on tokens. A verdict, good or bad, is kept for less than 5 s from the moment of
 * its question: this bound must stay, since a revoked token is admitted until then. Requests that carry the same
 * token while the question is in flight wait for its answer. Must never admit a token
 * that no dispatcher vouched for. Must never compare a secret: only its SHA-256, in constant time. The text of a
 * token is kept only while a dispatcher that needs it is being asked (tokens of the application, introspected),
 * then wiped. Fails closed: an unverifiable token gets another error than a wrong one, and neither is admitted.
 *
 * A good verdict in use is renewed before it expires, so that a busy token never waits. May change: how verdicts are
 * stored, and when they are renewed.
 */
#include "broker/auth.h"
#include "broker/exchange.h"
#include "broker/flight.h"
#include "broker/peer.h"
#include "broker/ratelimit.h"
#include "broker/reply.h"
#include "broker/route.h"
#include "broker/web_session.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/map.h"
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#define KEEP_MS 4500
#define RENEW_MS 3000 /* age of a verdict at its renewal */
#define ASK_MS 5000
#define VOUCHES_MAX 20000
#define SWEEP_MS 500
#define SECRET_BYTES_MAX 512
#define HASH_BYTES 32

struct vouch {
    struct broker *b;
    struct map_node by_secret; /* key: a hash of token_id and hash */
    TAILQ_ENTRY(vouch) by_age;
    uint64_t token_id;
    uint8_t hash[HASH_BYTES]; /* hash of the secret */
    uint64_t until_ms;        /* the verdict holds until then; 0 = no verdict */
    uint64_t asked_at_ms;
    struct token *token; /* NULL = refused, while the verdict holds */
    struct flight flight;
    bool is_first;   /* counted in n_first */
    struct buf text; /* token text while its question is in flight, if the dispatchers need it */
    struct exchange *waiting;
};

struct auth {
    struct map by_secret;
    TAILQ_HEAD(vouches, vouch) by_age; /* oldest first */
    unsigned n_first;                  /* n_first: questions in flight about tokens never seen before */
    struct loop_timer sweep;
};

/* ---- tokens ------------------------------------------------------------------------------------------------- */

void token_drop(struct token **tp)
{
    struct token *t = *tp;
    *tp = NULL;
    if (!t || --t->refs)
        return;
    free(t->companies);
    free(t);
}

bool token_may_see(const struct token *t, uint64_t company_id)
{
    if (t->all_companies)
        return true;
    for (uint32_t i = 0; i < t->n_companies; i++)
        if (t->companies[i] == company_id)
            return true;
    return false;
}

uint64_t token_owner(const struct token *t)
{
    return !t->all_companies && t->n_companies == 1 ? t->companies[0] : t->id | 1ull << 63;
}

static unsigned abilities_read(const struct jv *list)
{
    unsigned abilities = 0;
    for (size_t i = 0; i < jv_len(list); i++) {
        const char *word = jv_str(jv_at(list, i));
        if (word && strcmp(word, "app") == 0)
            abilities |= ABILITY_APP;
        else if (word && strcmp(word, "ops:read") == 0)
            abilities |= ABILITY_OPS_READ;
        else if (word && strcmp(word, "ops") == 0)
            abilities |= ABILITY_OPS | ABILITY_OPS_READ;
    }
    return abilities;
}

/* Returns NULL when the payload is not a valid answer to TOKEN_VERIFY. */
static struct token *token_read(uint64_t id, struct str payload, int64_t *left_ms)
{
    enum jv_bad why;
    struct jv *v = jv_parse(payload.p, payload.len, &why), *companies = jv_get(v, "companies");
    int64_t told_id, rate, expires_at_ms = 0;
    *left_ms = KEEP_MS;
    bool is_fit = jv_int(jv_get(v, "id"), &told_id) &&
                  ((uint64_t)told_id == id || (uint64_t)told_id >= TOKEN_FOREIGN) && told_id > 0 &&
                  jv_int(jv_get(v, "rate_per_minute"), &rate) && rate >= 0 && jv_len(companies) <= 1000;
    /* Remaining time by the database's clock. A dispatcher of an older version sends only the time of expiry. */
    if (!jv_int(jv_get(v, "expires_in_ms"), left_ms) && jv_int(jv_get(v, "expires_at_ms"), &expires_at_ms) &&
        expires_at_ms)
        *left_ms = expires_at_ms - clock_unix_ms();
    if (!is_fit) {
        jv_free(v);
        return NULL;
    }
    struct token *t = xcalloc(1, sizeof *t);
    t->refs = 1;
    t->id = (uint64_t)told_id;
    str_copy(t->name, sizeof t->name, str_of(jv_str(jv_get(v, "name"))));
    t->abilities = abilities_read(jv_get(v, "abilities"));
    if (t->id >= TOKEN_FOREIGN)
        t->abilities &= ABILITY_APP; /* even if a dispatcher grants more */
    t->rate_per_minute = (uint64_t)rate;
    if (t->id >= TOKEN_FOREIGN)
        jv_id(jv_get(v, "user_id"), &t->user_id);
    jv_bool(jv_get(v, "all"), &t->all_companies);
    t->companies = xcalloc(jv_len(companies) + 1, sizeof *t->companies);
    for (size_t i = 0; i < jv_len(companies) && i < PROTO_COMPANIES_MAX; i++) {
        int64_t company;
        if (jv_int(jv_at(companies, i), &company) && company > 0)
            t->companies[t->n_companies++] = (uint64_t)company;
    }
    jv_free(v);
    return t;
}

/* ---- the table ---------------------------------------------------------------------------------------------- */

static uint64_t secret_key(uint64_t token_id, const uint8_t hash[HASH_BYTES])
{
    uint8_t fields[sizeof token_id + HASH_BYTES];
    memcpy(fields, &token_id, sizeof token_id);
    memcpy(fields + sizeof token_id, hash, HASH_BYTES);
    return map_hash(fields, sizeof fields);
}

static struct vouch *vouch_find(const struct auth *a, uint64_t token_id, const uint8_t hash[HASH_BYTES])
{
    for (struct map_node *n = map_find(&a->by_secret, secret_key(token_id, hash)); n; n = map_find_next(n)) {
        struct vouch *v = map_value(n, struct vouch, by_secret);
        if (v->token_id == token_id && sodium_memcmp(v->hash, hash, HASH_BYTES) == 0)
            return v;
    }
    return NULL;
}

static void vouch_free(struct auth *a, struct vouch *v)
{
    CHECK(!v->waiting, "token=%llu", (unsigned long long)v->token_id);
    map_remove(&a->by_secret, &v->by_secret);
    TAILQ_REMOVE(&a->by_age, v, by_age);
    flight_end(&v->flight);
    buf_wipe(&v->text);
    token_drop(&v->token);
    free(v);
}

static bool is_idle(const struct vouch *v)
{
    return !v->waiting && v->flight.state == FLIGHT_NONE;
}

static bool oldest_idle_free(struct auth *a)
{
    struct vouch *v;
    TAILQ_FOREACH(v, &a->by_age, by_age)
        if (is_idle(v)) {
            vouch_free(a, v);
            return true;
        }
    return false;
}

/* Returns NULL when the table is full of questions. */
static struct vouch *vouch_new(struct broker *b, uint64_t token_id, const uint8_t hash[HASH_BYTES])
{
    struct auth *a = b->auth;
    if (a->by_secret.n >= VOUCHES_MAX && !oldest_idle_free(a))
        return NULL;
    struct vouch *v = xcalloc(1, sizeof *v);
    v->b = b;
    v->token_id = token_id;
    memcpy(v->hash, hash, HASH_BYTES);
    map_add(&a->by_secret, &v->by_secret, secret_key(token_id, hash));
    TAILQ_INSERT_TAIL(&a->by_age, v, by_age);
    return v;
}

/* ---- asking ------------------------------------------------------------------------------------------------- */

static void first_over(struct vouch *v)
{
    v->b->auth->n_first -= v->is_first;
    v->is_first = false;
}

/* Notifies the waiting requests: they look again, or learn that the token could not be verified. */
static void tell(struct vouch *v, enum err e, const char *cause)
{
    struct exchange *x;
    buf_wipe(&v->text);
    while ((x = v->waiting)) {
        auth_leave(x);
        exchange_verified(x, e, cause);
    }
}

/* A dispatcher could not decide whether the token is good. */
static void tell_unverified(struct vouch *v, const struct msg_REPLY *m)
{
    static const enum err causes[] = {ERR_AUTH_UNAVAILABLE, ERR_DATABASE_UNAVAILABLE};
    char words[201];
    str_copy(words, sizeof words, m->message);
    for (unsigned i = 0; i < sizeof causes / sizeof causes[0]; i++)
        if (str_is(m->error, err_code(causes[i]))) {
            tell(v, causes[i], *words ? words : NULL);
            return;
        }
    tell(v, ERR_NO_DISPATCHER, NULL);
}

static void ask_replied(void *arg, const struct msg_REPLY *m, struct str payload)
{
    struct vouch *v = arg;
    uint64_t until_ms = v->asked_at_ms + KEEP_MS;
    int64_t left_ms;
    struct token *t = NULL;
    first_over(v);
    if (m->error.len && !str_is(m->error, err_code(ERR_UNAUTHENTICATED))) {
        tell_unverified(v, m);
        return;
    }
    if (!m->error.len) {
        t = token_read(v->token_id, payload, &left_ms);
        if (!t) {
            stat_inc(replies_refused_total);
            tell(v, ERR_NO_DISPATCHER, NULL);
            return;
        }
        uint64_t now = loop_now_ms(v->b->loop);
        if (left_ms <= 0)
            token_drop(&t);
        else if (now + (uint64_t)left_ms < until_ms)
            until_ms = now + (uint64_t)left_ms;
    }
    token_drop(&v->token);
    v->token = t;
    v->until_ms = until_ms;
    tell(v, ERR_OK, NULL);
}

static void ask_failed(void *arg, enum err e)
{
    first_over(arg);
    tell(arg, e == ERR_DEADLINE_EXCEEDED ? ERR_DATABASE_UNAVAILABLE : e, NULL);
}

static const struct flight_user asker = {.reply = ask_replied, .failed = ask_failed};

/* The fair-queue key of the question. A token in use has a key of its own. Tokens never seen before share the key
 * of their address, whatever number they name, so a guesser delays only its own address. */
static uint64_t turn_of(const struct vouch *v, const struct exchange *x)
{
    unsigned char address[16] = {0};
    if (v->token)
        return v->token->id | 1ull << 63;
    peer_address(x->peer, address);
    return map_hash(address, sizeof address) >> 2 | 1ull << 62;
}

static void ask(struct vouch *v, const struct token_key *key, const struct exchange *x)
{
    buf_wipe(&v->text);
    if (key->text.len && (peers_foreign(v->b) & FOREIGN_TEXT))
        buf_add(&v->text, key->text.p, key->text.len);
    v->flight.payload = (struct str){v->text.data ? v->text.data : "", (uint32_t)v->text.len};
    v->asked_at_ms = loop_now_ms(v->b->loop);
    v->is_first = !v->token;
    v->b->auth->n_first += v->is_first;
    v->flight.user = &asker;
    v->flight.arg = v;
    v->flight.op = OP_TOKEN_VERIFY;
    v->flight.request =
        (struct msg_REQUEST){.token_id = v->token_id, .secret_hash = {(const char *)v->hash, HASH_BYTES}};
    v->flight.fair_key = turn_of(v, x);
    v->flight.deadline_at_ms = v->asked_at_ms + ASK_MS;
    flight_start(v->b, &v->flight);
}

bool token_key_read(const char *text, struct token_key *out)
{
    const char *bar = strchr(text, '|'), *secret = bar ? bar + 1 : "";
    *out = (struct token_key){.id = 0};
    size_t digits = bar ? (size_t)(bar - text) : 0, secret_len = strlen(secret);
    while (secret_len &&
           (secret[secret_len - 1] == ' ' || secret[secret_len - 1] == '\t')) /* trailing blanks of the field */
        secret_len--;
    bool is_good = digits >= 1 && digits <= 18 && secret_len >= 1 && secret_len <= SECRET_BYTES_MAX;
    for (size_t i = 0; is_good && i < digits; i++) {
        is_good = text[i] >= '0' && text[i] <= '9' && (i || text[0] != '0');
        out->id = out->id * 10 + (uint64_t)(text[i] - '0');
    }
    id_sha256(secret, secret_len <= SECRET_BYTES_MAX ? secret_len : SECRET_BYTES_MAX, out->hash);
    return is_good;
}

/* Reads a bearer token without trailing blanks; empty when there is none (RFC 6750). */
static struct str text_of(const char *text)
{
    size_t len = strlen(text);
    while (len && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    bool is_good = len <= TOKEN_TEXT_MAX;
    for (size_t i = 0; is_good && i < len; i++)
        is_good = text[i] > ' ' && text[i] < 0x7f;
    return (struct str){text, is_good ? (uint32_t)len : 0};
}

/* Reads the credential of x: a bearer token, or on the operators' listener a cookie. Returns false when it cannot
 * be valid. */
static bool key_of(const struct exchange *x, struct token_key *key)
{
    static const char scheme[] = "Bearer ";
    key->text = text_of("");
    if (!x->authorization)
        return x->listener == LISTENER_OPS && web_session_read(x, key);
    bool is_bearer = strncasecmp(x->authorization, scheme, sizeof scheme - 1) == 0;
    const char *shown = is_bearer ? x->authorization + sizeof scheme - 1 : "";
    bool is_ours = token_key_read(shown, key);
    key->text = text_of(shown);
    if (is_ours || !key->text.len || !(peers_foreign(x->b) & FOREIGN_FORM))
        return is_ours;
    key->id = 0;
    id_sha256(key->text.p, key->text.len, key->hash);
    return true;
}

enum auth_result auth_check(struct exchange *x)
{
    struct token_key key;
    return key_of(x, &key) ? auth_ask(x, &key) : AUTH_REFUSED;
}

enum auth_result auth_ask(struct exchange *x, const struct token_key *key)
{
    struct auth *a = x->b->auth;
    uint64_t now = loop_now_ms(x->b->loop);
    struct vouch *v = vouch_find(a, key->id, key->hash);
    if (v && v->until_ms > now) {
        stat_inc(token_cache_hits_total);
        if (v->token && now >= v->asked_at_ms + RENEW_MS && v->flight.state == FLIGHT_NONE)
            ask(v, key, x);
        if (!v->token)
            return AUTH_REFUSED;
        x->token = v->token;
        x->token->refs++;
        return AUTH_KNOWN;
    }
    stat_inc(token_cache_misses_total);
    bool is_crowded = a->n_first > (uint64_t)x->b->conf->queue_max_depth / 2; /* guesses leave room */
    if (!v && !is_crowded)
        v = vouch_new(x->b, key->id, key->hash);
    if (!v) {
        reply_error(x, ERR_QUEUE_FULL, NULL, NULL);
        return AUTH_WAITS;
    }
    x->awaited = v;
    x->wait_prev = NULL;
    x->wait_next = v->waiting;
    if (v->waiting)
        v->waiting->wait_prev = x;
    v->waiting = x;
    if (v->flight.state == FLIGHT_NONE)
        ask(v, key, x);
    return AUTH_WAITS;
}

bool auth_refused(struct exchange *x)
{
    struct token_key key;
    uint64_t now = loop_now_ms(x->b->loop);
    if (!key_of(x, &key))
        return true;
    struct vouch *v = vouch_find(x->b->auth, key.id, key.hash);
    if (!v)
        v = vouch_new(x->b, key.id, key.hash);
    if (!v)
        return false;
    bool is_old = v->until_ms <= now || now >= v->asked_at_ms + RENEW_MS;
    if (is_old && v->flight.state == FLIGHT_NONE)
        ask(v, &key, x);
    return v->until_ms > now && !v->token;
}

void auth_leave(struct exchange *x)
{
    struct vouch *v = x->awaited;
    if (!v)
        return;
    *(x->wait_prev ? &x->wait_prev->wait_next : &v->waiting) = x->wait_next;
    if (x->wait_next)
        x->wait_next->wait_prev = x->wait_prev;
    x->awaited = NULL;
}

void auth_forget(struct broker *b, uint64_t token_id)
{
    struct vouch *v;
    TAILQ_FOREACH(v, &b->auth->by_age, by_age)
        if (v->token_id == token_id) {
            v->until_ms = 0;
            token_drop(&v->token);
        }
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

static void sweep(void *arg)
{
    struct broker *b = arg;
    uint64_t now = loop_now_ms(b->loop);
    for (struct vouch *v = TAILQ_FIRST(&b->auth->by_age), *next; v; v = next) {
        next = TAILQ_NEXT(v, by_age);
        if (is_idle(v) && v->until_ms <= now)
            vouch_free(b->auth, v);
    }
    loop_timer_in(b->loop, &b->auth->sweep, SWEEP_MS);
}

struct auth *auth_new(struct broker *b)
{
    struct auth *a = xcalloc(1, sizeof *a);
    TAILQ_INIT(&a->by_age);
    a->sweep.fn = sweep;
    a->sweep.arg = b;
    loop_timer_in(b->loop, &a->sweep, SWEEP_MS);
    return a;
}

void auth_destroy(struct auth **ap)
{
    struct auth *a = *ap;
    if (!a)
        return;
    *ap = NULL;
    loop_timer_stop(((struct broker *)a->sweep.arg)->loop, &a->sweep);
    while (!TAILQ_EMPTY(&a->by_age))
        vouch_free(a, TAILQ_FIRST(&a->by_age));
    map_free(&a->by_secret);
    free(a);
}
