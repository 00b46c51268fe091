/* SPDX-License-Identifier: MIT */
/*
 * web_session.c - sessions of people who logged in with a browser.
 *
 * Showing an operator's token at /login yields a cookie for 12 h. The cookie does not hold the token. It holds a
 * random id, the token's number, the SHA-256 of its secret and the time of expiry, sealed (XChaCha20-Poly1305)
 * with a key that only brokers have. So sessions take no memory here, survive a restart of the broker, and are
 * valid at every broker behind a load balancer. The token is verified as with every request (auth.c): a revoked
 * token ends its cookies within 5 s.
 *
 * Owns: the key, the ids of sessions that were logged out, and how often each address failed to log in. A log-out
 * is known only to the broker that received it, until it stops. At other brokers the cookie, which the browser has
 * deleted, expires by its time.
 *
 * The key is derived from the brokers' CURVE key. Without one it is random, and a restart logs all people out.
 * After a rotation (chasqui keys rotate) cookies of the previous key are good until that key is forgotten. A
 * cookie that our key does not open makes us read the key files again, at most once a second, because another
 * broker may use a newer key already.
 *
 * A browser sends a cookie whatever page caused the request. So a request that changes something must come from a
 * page of our own (SameSite, and Origin).
 */
#include "broker/web_session.h"
#include "broker/auth.h"
#include "broker/exchange.h"
#include "broker/params.h"
#include "broker/ratelimit.h"
#include "broker/reply.h"
#include "broker/route.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/key.h"
#include "common/log.h"
#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COOKIE "chasqui_ops"
#define LIFETIME_S (12 * 3600)
#define ID_BYTES 16
#define ENDED_MAX 4096
#define FAILURES_PER_MINUTE 10
#define ADDRESSES 4096 /* rows of failures; several addresses may share one */
#define READ_AGAIN_MS 1000
#define SEAL_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define BASE64 sodium_base64_VARIANT_URLSAFE_NO_PADDING

struct web_session { /* sealed in the cookie; without padding */
    uint8_t id[ID_BYTES];
    uint8_t hash[32];
    uint64_t token_id;
    int64_t ends_unix_ms;
};

#define SEALED_BYTES (NONCE_BYTES + sizeof(struct web_session) + SEAL_BYTES)
#define COOKIE_BYTES sodium_base64_ENCODED_LEN(SEALED_BYTES, BASE64) /* with NUL */

struct ended {
    uint8_t id[ID_BYTES];
    int64_t until_unix_ms;
};

struct web_sessions {
    uint8_t key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
    uint8_t other_key
        [crypto_aead_xchacha20poly1305_ietf_KEYBYTES]; /* also opens cookies: the previous key, or a newer one */
    const char *curve_dir;                             /* NULL = no CURVE */
    uint64_t read_ms;
    struct ended ended[ENDED_MAX]; /* until_unix_ms 0 = free */
    struct ratelimit *failures;    /* by row of address + 1 */
    uint8_t address_key[crypto_shorthash_KEYBYTES];
};

/* ---- the cookie --------------------------------------------------------------------------------------------- */

static void seal(const struct web_sessions *w, const struct web_session *s, char out[COOKIE_BYTES])
{
    uint8_t sealed[SEALED_BYTES];
    id_random(sealed, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + NONCE_BYTES, NULL, (const uint8_t *)s, sizeof *s,
                                               (const uint8_t *)COOKIE, sizeof COOKIE - 1, NULL, sealed, w->key);
    sodium_bin2base64(out, COOKIE_BYTES, sealed, sizeof sealed, BASE64);
}

static struct ended *ended_find(struct web_sessions *w, const uint8_t id[ID_BYTES])
{
    for (unsigned i = 0; i < ENDED_MAX; i++)
        if (w->ended[i].until_unix_ms && memcmp(w->ended[i].id, id, ID_BYTES) == 0)
            return &w->ended[i];
    return NULL;
}

static void other_key_read(struct web_sessions *w);

static bool opens(const uint8_t *key, const uint8_t sealed[SEALED_BYTES], struct web_session *out)
{
    return crypto_aead_xchacha20poly1305_ietf_decrypt((uint8_t *)out, NULL, NULL, sealed + NONCE_BYTES,
                                                      SEALED_BYTES - NONCE_BYTES, (const uint8_t *)COOKIE,
                                                      sizeof COOKIE - 1, sealed, key) == 0;
}

static bool opens_somehow(struct web_sessions *w, const uint8_t sealed[SEALED_BYTES], struct web_session *out)
{
    if (opens(w->key, sealed, out))
        return true;
    if (!w->curve_dir)
        return false;
    if (!w->read_ms || clock_ms() >= w->read_ms + READ_AGAIN_MS)
        other_key_read(w); /* there may be a newer key, and the previous one may have been forgotten */
    return opens(w->other_key, sealed, out);
}

static bool unseal(struct web_sessions *w, const char *text, size_t len, struct web_session *out)
{
    uint8_t sealed[SEALED_BYTES];
    size_t n = 0;
    return len == COOKIE_BYTES - 1 &&
           sodium_base642bin(sealed, sizeof sealed, text, len, NULL, &n, NULL, BASE64) == 0 &&
           n == sizeof sealed && opens_somehow(w, sealed, out) && out->ends_unix_ms > clock_unix_ms() &&
           !ended_find(w, out->id);
}

/* Reads the session of the first valid one of our cookies (RFC 6265: pairs, separated by "; "). */
static bool session_of(const struct exchange *x, struct web_session *out)
{
    static const char name[] = COOKIE "=";
    for (const char *at = x->cookie; at; at = strchr(at, ';')) {
        at += strspn(at, "; ");
        if (strncmp(at, name, sizeof name - 1) != 0)
            continue;
        at += sizeof name - 1;
        if (unseal(x->b->web_sessions, at, strcspn(at, "; "), out))
            return true;
    }
    return false;
}

bool web_session_read(const struct exchange *x, struct token_key *key)
{
    struct web_session s;
    bool is_good = session_of(x, &s);
    if (is_good) {
        key->id = s.token_id;
        memcpy(key->hash, s.hash, sizeof key->hash);
    }
    sodium_memzero(&s, sizeof s);
    return is_good;
}

/* Sets `Secure` when the browser uses https. TLS ends at a proxy in front of us, so we see only http. */
static void cookie_set(struct exchange *x, const char *value, int lifetime_s)
{
    bool is_https = x->origin && strncmp(x->origin, "https://", 8) == 0;
    reply_header(x, "Set-Cookie", COOKIE "=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Strict%s", value, lifetime_s,
                 is_https ? "; Secure" : "");
}

bool web_is_same_origin(const struct exchange *x)
{
    const char *at = x->origin ? strstr(x->origin, "://") : NULL;
    if (!at || !x->host)
        return false;
    if (strcasecmp(at + 3, x->host) == 0)
        return true;
    const char *port = strrchr(x->host, ':'); /* some proxies write the default port, browsers never do */
    bool is_default = port && strcmp(port, strncmp(x->origin, "https:", 6) == 0 ? ":443" : ":80") == 0;
    return is_default && strlen(at + 3) == (size_t)(port - x->host) &&
           strncasecmp(at + 3, x->host, (size_t)(port - x->host)) == 0;
}

/* Makes a client's text fit for a message. */
static void shown(const char *text, char *out, size_t room)
{
    size_t n = 0;
    for (; text && text[n] && n + 1 < room; n++)
        out[n] = text[n] >= ' ' && text[n] < 0x7f ? text[n] : '?';
    out[n] = '\0';
}

void web_refuse_origin(struct exchange *x)
{
    char origin[120], host[120], text[500];
    shown(x->origin, origin, sizeof origin);
    shown(x->host, host, sizeof host);
    snprintf(
        text, sizeof text,
        "This request does not come from the dashboard's own page: Origin is '%s', Host is '%s'. A proxy in front must pass the "
        "browser's Host on (nginx: proxy_set_header Host $http_host).",
        origin, host);
    reply_error(x, ERR_FORBIDDEN, text, NULL);
}

/* An item without a port matches all ports. */
static bool is_host(struct str item, const char *host)
{
    size_t len = strlen(host), bare = len;
    const char *colon = strrchr(host, ':');
    if (colon && !strchr(colon, ']'))
        bare = (size_t)(colon - host);
    return (item.len == len || item.len == bare) && strncasecmp(item.p, host, item.len) == 0;
}

bool web_host_ok(const struct exchange *x)
{
    const char *at = x->b->conf->broker_ops_hosts;
    while (at && x->host && *at) {
        at += strspn(at, ", \t");
        struct str item = {at, (uint32_t)strcspn(at, ", \t")};
        at += item.len;
        if (item.len && is_host(item, x->host))
            return true;
    }
    return !x->b->conf->broker_ops_hosts;
}

void web_refuse_host(struct exchange *x)
{
    char host[120], text[600];
    shown(x->host, host, sizeof host);
    snprintf(text, sizeof text, "The Host '%s' is not among broker.ops_hosts: '%.300s'.", host,
             x->b->conf->broker_ops_hosts);
    reply_error(x, ERR_FORBIDDEN, text, NULL);
}

/* ---- logging in and out ------------------------------------------------------------------------------------- */

void peer_address(const char *peer, uint8_t address[16])
{
    char host[64];
    const char *colon = strrchr(peer, ':');
    str_copy(host, sizeof host, (struct str){peer, colon ? (uint32_t)(colon - peer) : 0});
    if (inet_pton(AF_INET, host, address) != 1 && inet_pton(AF_INET6, host, address) == 1)
        memset(address + 8, 0, 8);
}

/* The row of failures for an address. */
static uint64_t row_of_address(const struct web_sessions *w, const char *peer)
{
    uint8_t address[16] = {0};
    uint64_t n;
    peer_address(peer, address);
    crypto_shorthash((unsigned char *)&n, address, sizeof address, w->address_key);
    return n % ADDRESSES + 1;
}

/* Returns false when x was answered. */
static bool may_try(struct exchange *x, uint64_t row)
{
    struct rate rate =
        ratelimit_look(x->b->web_sessions->failures, row, FAILURES_PER_MINUTE, loop_now_ms(x->b->loop));
    if (rate.remaining)
        return true;
    stat_inc(rate_limited_total);
    reply_header(x, "Retry-After", "%llu", (unsigned long long)(rate.left_ms + 999) / 1000);
    reply_error(x, ERR_RATE_LIMITED, "Too many failed log-ins from this address.", NULL);
    return false;
}

static void refuse(struct exchange *x, uint64_t row, enum err e, const char *message)
{
    struct rate rate;
    ratelimit_take(x->b->web_sessions->failures, row, FAILURES_PER_MINUTE, loop_now_ms(x->b->loop), &rate);
    log_line(LOG_WARN, "web_login_refused", "request", x->request_id, "peer", x->peer, "why", err_code(e), NULL);
    reply_error(x, e, message, NULL);
}

static const char *ability_word(const struct token *t)
{
    return t->abilities & ABILITY_OPS ? "ops" : "ops:read";
}

static void me_reply(struct exchange *x)
{
    struct jv *body = jv_new_object(), *token = jv_new_object();
    jv_set_int(token, "id", (int64_t)x->token->id);
    jv_set_str(token, "name", x->token->name);
    jv_set_bool(body, "ok", true);
    jv_set(body, "token", token);
    jv_set_str(body, "ability", ability_word(x->token));
    jv_set_str(body, "broker", x->b->name);
    jv_set_str(body, "version", CHASQUI_VERSION);
    reply_jv(x, 200, body);
}

static void session_begin(struct exchange *x, const struct token_key *key)
{
    struct web_session s = {.token_id = key->id, .ends_unix_ms = clock_unix_ms() + LIFETIME_S * 1000LL};
    char cookie[COOKIE_BYTES];
    id_random(s.id, sizeof s.id);
    memcpy(s.hash, key->hash, sizeof s.hash);
    seal(x->b->web_sessions, &s, cookie);
    sodium_memzero(&s, sizeof s);
    cookie_set(x, cookie, LIFETIME_S);
    log_line(LOG_INFO, "web_login", "request", x->request_id, "peer", x->peer, "token",
             log_i((long long)x->token->id), NULL);
    me_reply(x);
}

void web_login(struct exchange *x)
{
    struct jv *errors = NULL;
    struct token_key key;
    const char *text = jv_str(jv_get(x->json, "token"));
    uint64_t row = row_of_address(x->b->web_sessions, x->peer);
    if (!web_is_same_origin(x)) {
        web_refuse_origin(x);
        return;
    }
    if (!text)
        errors_add(&errors, "token", "must be a text");
    if (!exchange_fields(x, errors) || !may_try(x, row))
        return;
    enum auth_result known = token_key_read(text, &key) ? auth_ask(x, &key) : AUTH_REFUSED;
    if (known == AUTH_REFUSED)
        refuse(x, row, ERR_UNAUTHENTICATED, "This token is not known, has expired or was revoked.");
    else if (known == AUTH_KNOWN && (!(x->token->abilities & ABILITY_OPS_READ) || !x->token->all_companies))
        refuse(x, row, ERR_FORBIDDEN, "The dashboard needs a token with the ability ops or ops:read.");
    else if (known == AUTH_KNOWN)
        session_begin(x, &key);
}

/* When there is no room, the entry that would expire first is evicted. */
static void session_end(struct web_sessions *w, const struct web_session *s)
{
    struct ended *at = &w->ended[0];
    for (unsigned i = 1; i < ENDED_MAX; i++)
        if (w->ended[i].until_unix_ms < at->until_unix_ms)
            at = &w->ended[i];
    memcpy(at->id, s->id, sizeof at->id);
    at->until_unix_ms = s->ends_unix_ms;
}

void web_logout(struct exchange *x)
{
    struct web_session s;
    struct jv *body;
    if (!web_is_same_origin(x)) {
        web_refuse_origin(x);
        return;
    }
    if (session_of(x, &s))
        session_end(x->b->web_sessions, &s);
    cookie_set(x, "", 0);
    body = jv_new_object();
    jv_set_bool(body, "ok", true);
    reply_jv(x, 200, body);
}

void web_me(struct exchange *x)
{
    if (exchange_fields(x, NULL))
        me_reply(x);
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

static void key_from(uint8_t key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES], const uint8_t secret_key[KEY_BYTES])
{
    static const char purpose[] = "chasqui dashboard sessions";
    crypto_generichash(key, crypto_aead_xchacha20poly1305_ietf_KEYBYTES, (const uint8_t *)purpose,
                       sizeof purpose - 1, secret_key, KEY_BYTES);
}

/* Reads the key pair of the files if it is not ours any more, else the previous one. With neither the key opens
 * nothing. */
static void other_key_read(struct web_sessions *w)
{
    uint8_t public_key[KEY_BYTES], secret_key[KEY_BYTES];
    w->read_ms = clock_ms();
    sodium_memzero(w->other_key, sizeof w->other_key);
    if (key_read_pair(w->curve_dir, "broker", public_key, secret_key))
        key_from(w->other_key, secret_key);
    if (sodium_memcmp(w->other_key, w->key, sizeof w->key) == 0) {
        sodium_memzero(w->other_key, sizeof w->other_key);
        if (key_read_old_pair(w->curve_dir, "broker", public_key, secret_key))
            key_from(w->other_key, secret_key);
    }
    if (sodium_is_zero(w->other_key, sizeof w->other_key))
        id_random(w->other_key, sizeof w->other_key);
    sodium_memzero(secret_key, sizeof secret_key);
}

/* Returns false after logging why. */
static bool key_make(struct web_sessions *w, const struct conf *conf)
{
    uint8_t public_key[KEY_BYTES], secret_key[KEY_BYTES];
    w->curve_dir = conf->curve_dir;
    if (!conf->curve_dir) {
        id_random(w->key, sizeof w->key);
        return true;
    }
    bool is_read = key_read_pair(conf->curve_dir, "broker", public_key, secret_key);
    if (is_read)
        key_from(w->key, secret_key);
    sodium_memzero(secret_key, sizeof secret_key);
    return is_read;
}

struct web_sessions *web_sessions_new(struct broker *b)
{
    struct web_sessions *w = b->web_sessions = xcalloc(1, sizeof *w);
    w->failures = ratelimit_new();
    id_random(w->address_key, sizeof w->address_key);
    if (!key_make(w, b->conf))
        web_sessions_destroy(&b->web_sessions);
    return b->web_sessions;
}

void web_sessions_destroy(struct web_sessions **wp)
{
    struct web_sessions *w = *wp;
    if (!w)
        return;
    *wp = NULL;
    ratelimit_destroy(&w->failures);
    sodium_memzero(w->key, sizeof w->key);
    sodium_memzero(w->other_key, sizeof w->other_key);
    free(w);
}
