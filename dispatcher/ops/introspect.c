/* SPDX-License-Identifier: MIT */
/*
 * introspect.c - tokens that an authorisation server knows (RFC 7662). Owns our
 * credential there and the calls under way, at most INTROSPECT_MAX. Must never
 * take an answer for a verdict that is not one: what is slow, down, redirects,
 * is larger than 64 KiB, is not JSON or leaves out what matters is "cannot be
 * verified", with a cause. Must never log a token or the credential.
 *
 * An answer is {"active": bool, "exp"?, "nbf"?, "scope"?: words, "companies": [ids] or "*", "username"?, "sub"?, "user_id"?}. Only the
 * scope `app` (or `*`) is of use here: such a token is never an operator's.
 */
#include "dispatcher/ops/introspect.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/secret_file.h"
#include "common/text.h"
#include "common/url.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECRET_BYTES_MAX 2048
#define ANSWER_BYTES_MAX 65536
#define TIME_S_MAX 1e12 /* what is beyond it is in other units */
#define USED 1024       /* rows of tokens that were good a moment ago */
#define HEADER_ROOM (SECRET_BYTES_MAX * 2 + 64)

struct asking { /* a call under way */
    struct introspector *all;
    struct asking *next, **link;
    uint64_t key;      /* of the request */
    uint64_t token_id; /* what it is called here */
    introspected_fn *fn;
};

struct introspector {
    struct dispatcher *d;
    char *authorization; /* the header line, sodium_malloc'ed; NULL = none */
    unsigned n;
    struct asking *first;
    uint64_t used
        [USED]; /* token ids, at their last bits: who guesses tokens takes nothing from those that are in use */
};

/* ---- what an answer says ------------------------------------------------------------------------------------ */

/* NULL = fit, else what is wrong. */
static const char *companies_read(const struct jv *v, struct jv *out, bool *all)
{
    const char *text = jv_str(v), *first = jv_str(jv_at(v, 0));
    if ((text && strcmp(text, "*") == 0) || (jv_len(v) == 1 && first && strcmp(first, "*") == 0)) {
        *all = true;
        return NULL;
    }
    if (jv_type(v) != JV_ARRAY)
        return "its answer does not name the token's companies";
    for (size_t i = 0; i < jv_len(v); i++) {
        uint64_t id;
        if (!jv_id(jv_at(v, i), &id))
            return "its answer names companies that are no numbers";
        if (i < PROTO_COMPANIES_MAX)
            jv_push_int(out, (int64_t)id);
    }
    return NULL;
}

static bool is_app(const char *word, size_t len)
{
    return (len == 3 && memcmp(word, "app", 3) == 0) || (len == 1 && *word == '*');
}

/* The scope's words (RFC 6749 3.3), or an array of them as some servers write it. */
static bool scope_has_app(const struct jv *v)
{
    bool found = false;
    for (size_t i = 0; i < jv_len(v); i++)
        if (jv_str(jv_at(v, i)))
            found |= is_app(jv_str(jv_at(v, i)), jv_str_len(jv_at(v, i)));
    for (const char *at = jv_str(v); at && *at;) {
        size_t len = strcspn(at, " ");
        found |= is_app(at, len);
        at += len + (at[len] != '\0');
    }
    return found;
}

/* A time in seconds, as integer or real. False: there is something else. *s stays when it is absent. */
static bool time_read(const struct jv *v, int64_t *s)
{
    double x;
    if (jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL)
        return true;
    if (!jv_number(v, &x) || x < -TIME_S_MAX || x > TIME_S_MAX)
        return false;
    *s = (int64_t)x;
    return true;
}

static void name_write(const struct jv *v, struct jv *body)
{
    static const char *const names[] = {"username", "sub", "client_id"};
    char clean[80 * 4 + 1], name[sizeof(clean) + 16];
    const char *text = NULL;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]) && !text; i++)
        text = jv_str(jv_get(v, names[i]));
    text_clean(clean, sizeof(clean), text ? text : "", text ? strlen(text) : 0, 80);
    snprintf(name, sizeof(name), "introspected:%s", clean);
    jv_set_str(body, "name", name);
}

/* Whose it is: `user_id`, else `sub`, when that is an unsigned integer. */
static void user_write(const struct jv *v, struct jv *body)
{
    const struct jv *user = jv_get(v, "user_id");
    uint64_t id;
    if (jv_id(jv_type(user) == JV_ABSENT ? jv_get(v, "sub") : user, &id))
        jv_set_int(body, "user_id", (int64_t)id);
}

/* What an active token is, into body; NULL, or what is wrong with the answer. */
static const char *active_read(const struct introspector *i, const struct jv *v, uint64_t token_id, bool *is_over,
                               struct jv *body)
{
    int64_t now_ms = clock_unix_ms(), until_s = 0, from_s = 0;
    struct jv *companies = jv_new_array(), *abilities = jv_new_array();
    bool all = false;
    const char *wrong = companies_read(jv_get(v, "companies"), companies, &all);
    if (!wrong && (!time_read(jv_get(v, "exp"), &until_s) || !time_read(jv_get(v, "nbf"), &from_s)))
        wrong = "its answer has a time that is none";
    *is_over = (until_s && until_s * 1000 <= now_ms) || from_s * 1000 > now_ms;
    if (scope_has_app(jv_get(v, "scope")))
        jv_push_str(abilities, "app");
    jv_set_int(body, "id", (int64_t)token_id);
    name_write(v, body);
    user_write(v, body);
    jv_set(body, "abilities", abilities);
    jv_set_bool(body, "all", all);
    jv_set(body, "companies", companies);
    jv_set_int(body, "rate_per_minute", i->d->conf->auth_rate_per_minute);
    if (until_s)
        jv_set_int(body, "expires_in_ms", until_s * 1000 - now_ms);
    return wrong;
}

/* NULL = a whole answer of status 200. */
static const char *call_wrong(const struct call_answer *a, char out[80])
{
    switch (a->result) {
    case CALL_ANSWERED:
        break;
    case CALL_TOO_BIG:
        return "its answer is larger than 64 KiB";
    case CALL_NOT_SENT:
        return "it cannot be reached";
    case CALL_TIMEOUT:
        return "it does not answer in time";
    case CALL_BROKEN:
    case CALL_STOPPED:
        return "the connection broke";
    }
    if (a->status == 401 || a->status == 403)
        snprintf(out, 80, "it refuses our credential (%d)", a->status);
    else if (a->status != 200)
        snprintf(out, 80, "it answered %d", a->status);
    return a->status == 200 ? NULL : out;
}

static void answered(void *arg, struct call_answer *a)
{
    struct asking *q = arg;
    struct introspector *i = q->all;
    char words[80], cause[140];
    enum jv_bad bad;
    bool is_active = false, is_over = false;
    struct jv *v = NULL, *body = NULL;
    const char *wrong = call_wrong(a, words);
    if (!wrong && !(v = jv_parse(a->body->data ? a->body->data : "", a->body->len, &bad)))
        wrong = "its answer is not JSON";
    else if (!wrong && (jv_type(v) != JV_OBJECT || !jv_bool(jv_get(v, "active"), &is_active)))
        wrong = "its answer does not say whether the token is active";
    if (!wrong && is_active) {
        body = jv_new_object();
        wrong = active_read(i, v, q->token_id, &is_over, body);
    }
    if (wrong)
        log_line(LOG_DEBUG, "introspect_curl", "text", a->curl_text, "status", log_i(a->status), NULL);
    jv_wipe(v);
    bool is_good = !wrong && is_active && !is_over;
    if (!wrong)
        i->used[q->token_id % USED] = is_good ? q->token_id : 0;
    if (!is_good) {
        jv_free(body);
        body = NULL;
    }
    snprintf(cause, sizeof(cause), "the introspection server: %s", wrong ? wrong : "");
    if ((*q->link = q->next))
        q->next->link = q->link;
    i->n--;
    q->fn(i->d, q->key,
          wrong     ? INTROSPECTED_NOT
          : is_good ? INTROSPECTED_GOOD
                    : INTROSPECTED_REFUSED,
          body, cause);
    free(q);
}

/* ---- asking ------------------------------------------------------------------------------------------------- */

static uint64_t foreign_id(const uint8_t hash[32])
{
    uint64_t n = 0;
    for (unsigned i = 0; i < 8; i++)
        n = n << 8 | hash[i];
    return TOKEN_FOREIGN | TOKEN_FOREIGN / 2 | (n & (TOKEN_FOREIGN / 2 - 1));
}

void introspect(struct introspector *i, const struct request *r, introspected_fn *fn)
{
    struct dispatcher *d = i->d;
    uint64_t token_id = foreign_id(r->secret_hash);
    unsigned room = i->used[token_id % USED] == token_id ? INTROSPECT_MAX : INTROSPECT_MAX / 2;
    if (i->n >= room) {
        fn(d, r->key, INTROSPECTED_NOT, NULL, "the introspection server: too many tokens are being asked for");
        return;
    }
    struct asking *q = xcalloc(1, sizeof(*q));
    *q = (struct asking){.all = i, .key = r->key, .token_id = token_id, .fn = fn};
    if ((q->next = i->first))
        i->first->link = &q->next;
    q->link = &i->first;
    i->first = q;
    i->n++;
    struct buf body = {0};
    const char *const headers[] = {"Accept: application/json", i->authorization, NULL};
    buf_adds(&body, "token_type_hint=access_token&token=");
    url_encode(&body, r->params);
    struct call_spec call = {.method = "POST",
                             .url = d->conf->auth_introspect_url,
                             .headers = headers,
                             .body = body.data,
                             .body_len = body.len,
                             .body_type = "application/x-www-form-urlencoded",
                             .request_id = r->request_id,
                             .traceparent = r->traceparent,
                             .connect_ms = d->conf->auth_timeout_ms,
                             .total_ms = d->conf->auth_timeout_ms,
                             .max_bytes = ANSWER_BYTES_MAX,
                             .is_decoded = true,
                             .done = answered,
                             .arg = q};
    call_start(d->robot_http, &call);
    buf_wipe(&body);
}

/* ---- start and stop ----------------------------------------------------------------------------------------- */

bool introspector_is_on(const struct introspector *i)
{
    return i->d->conf->auth_introspect_url != NULL;
}

static bool credential_read(struct introspector *i, const char *path)
{
    char text[SECRET_BYTES_MAX + 1];
    const char *why;
    ssize_t len = secret_file_read(path, text, sizeof(text), &why);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]))
        len--;
    bool is_line = len > 0 && len <= SECRET_BYTES_MAX;
    for (ssize_t n = 0; is_line && n < len; n++)
        is_line = (unsigned char)text[n] >= ' ' && text[n] != 0x7f;
    if (len >= 0 && !is_line)
        why = "it must hold one line: client_id:secret, or a bearer token";
    if (is_line) {
        text[len] = 0;
        i->authorization = sodium_malloc(HEADER_ROOM);
        CHECK(i->authorization, "guarded memory");
        if (strchr(text, ':')) {
            strcpy(i->authorization, "Authorization: Basic ");
            size_t at = strlen(i->authorization);
            sodium_bin2base64(i->authorization + at, HEADER_ROOM - at, (const uint8_t *)text, (size_t)len,
                              sodium_base64_VARIANT_ORIGINAL);
        } else {
            snprintf(i->authorization, HEADER_ROOM, "Authorization: Bearer %s", text);
        }
    } else {
        log_line(LOG_ERROR, "introspect_secret_refused", "file", path, "why", why, NULL);
    }
    explicit_bzero(text, sizeof(text));
    return is_line;
}

struct introspector *introspector_new(struct dispatcher *d)
{
    struct introspector *i = xcalloc(1, sizeof(*i));
    const char *url = d->conf->auth_introspect_url, *file = d->conf->auth_introspect_secret_file;
    i->d = d;
    CHECK(sodium_init() >= 0, "libsodium");
    bool is_fit = !url || strncasecmp(url, "https://", 8) == 0 || strncasecmp(url, "http://", 7) == 0;
    if (!is_fit)
        log_line(LOG_ERROR, "introspect_url_refused", "why", "it must begin with https:// or http://", NULL);
    if (url && is_fit && !file)
        log_line(LOG_WARN, "no_introspect_secret", "means",
                 "the introspection server is asked without a credential: set auth.introspect_secret_file", NULL);
    if (!is_fit || (url && file && !credential_read(i, file)))
        introspector_destroy(&i);
    return i;
}

void introspector_destroy(struct introspector **ip)
{
    struct introspector *i = *ip;
    *ip = NULL;
    if (!i)
        return;
    while (i->first) {
        struct asking *q = i->first;
        i->first = q->next;
        free(q);
    }
    if (i->authorization)
        sodium_free(i->authorization);
    free(i);
}
