/* SPDX-License-Identifier: MIT */
/*
 * webhook.c - callbacks: signs them, sends them, and tries again.
 *
 * Owns the secret, the time of the next look, and the calls in flight. Must never call a URL that webhook.allow does
 * not let through.
 *
 * Must stay, since receivers depend on it:
 * - X-Chasqui-Signature: v1=<hex of HMAC-SHA256(secret, X-Chasqui-Timestamp "." body)>.
 * - A callback is delivered at least once: it is repeated until the receiver answers 2xx, or until it is given up
 *   (webhook.give_up_s, webhook.max_attempts).
 * - X-Chasqui-Delivery is the same at each try of a callback, so that the receiver recognises a repeated one.
 * Must stay, for safety: webhook.allow is checked at each try.
 *
 * May change: the waits and the number of calls at once. A wait doubles from try to try, up to an hour, and is taken at
 * random from its upper half. A receiver that hangs holds back only its own callbacks (receivers.h).
 */
#include "dispatcher/queue/webhook.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/secret_file.h"
#include "common/url.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/store/store_webhook.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_BYTES_MIN 16
#define SECRET_BYTES_MAX 512
#define LOOK_MS 10000
#define AGAIN_MS 1000
#define SPARE_MS 15000 /* what a try's lease lasts beyond its limit */
#define WAIT_MS_MAX 3600000
#define ANSWER_BYTES_MAX 65536 /* the answer is discarded */

struct attempt { /* a call under way */
    struct webhooks *all;
    struct attempt *next, **link;
    uint64_t batch_id, token_id;
    char url[501];
    unsigned attempts;
    int64_t age_ms; /* of the callback, by the database's clock, when this try began */
    uint8_t token[ID_TOKEN_BYTES];
};

struct webhooks {
    struct dispatcher *d;
    char *secret; /* sodium_malloc'ed; NULL = callbacks are not sent */
    size_t secret_len;
    uint64_t look_at_ms;
    uint64_t retry_at_ms; /* the first of the failed ones is due again; 0 = none since the last look */
    bool is_busy;         /* a claim is under way */
    bool is_held;         /* the last one may have left some to receivers that have enough */
    struct attempt *first;
    struct receivers busy; /* whom they are for */
};

/* ---- the end of a try --------------------------------------------------------------------------------------- */

static void ended(void *arg, void *op_)
{
    struct store_webhook_end *op = op_;
    struct webhooks *w = arg;
    if (op->rc == STORE_OK && !op->is_delivered && op->again_ms >= 0) {
        uint64_t at_ms = clock_ms() + (uint64_t)op->again_ms + 1;
        if (!w->retry_at_ms || at_ms < w->retry_at_ms)
            w->retry_at_ms = at_ms;
        if (at_ms < w->look_at_ms)
            w->look_at_ms = at_ms;
    }
    if (op->rc == STORE_OK && !op->lost && !op->is_delivered && op->again_ms < 0) {
        stat_inc(webhooks_given_up_total);
        log_line(LOG_WARN, "webhook_given_up", "batch", log_i((long long)op->batch_id), "why", op->error, NULL);
    }
    free(op);
}

/* Between half and all of a wait that doubles from try to try, up to an hour. */
int64_t webhook_wait_ms(const struct dispatcher *d, unsigned attempts)
{
    uint64_t most = (uint64_t)d->conf->webhook_backoff_ms << (attempts < 20 ? attempts - 1 : 19);
    most = most < WAIT_MS_MAX ? most : WAIT_MS_MAX;
    return (int64_t)(most - id_random_u64() % (most / 2 + 1));
}

static void settle(struct webhooks *w, const struct attempt *a, const char *error, bool is_final)
{
    struct dispatcher *d = w->d;
    struct store_webhook_end *op = xcalloc(1, sizeof(*op));
    op->batch_id = a->batch_id;
    memcpy(op->token, a->token, sizeof(op->token));
    strcpy(op->holder, d->name);
    op->is_delivered = !error;
    if (error) {
        stat_inc(webhooks_failed_total);
        snprintf(op->error, sizeof(op->error), "%s", error);
        op->again_ms = webhook_wait_ms(d, a->attempts);
        is_final |= d->conf->webhook_max_attempts && a->attempts >= (unsigned)d->conf->webhook_max_attempts;
        is_final |= a->age_ms + op->again_ms > (int64_t)d->conf->webhook_give_up_s * 1000;
        if (is_final)
            op->again_ms = -1;
    } else {
        stat_inc(webhooks_delivered_total);
    }
    log_line(LOG_INFO, error ? "webhook_failed" : "webhook_delivered", "batch", log_i((long long)a->batch_id),
             "attempt", log_i(a->attempts), error ? "why" : NULL, error, NULL);
    store_submit(d->store, store_webhook_end, op, ended, w);
}

const char *webhook_wrong(const struct call_answer *answer, char error[100])
{
    const char *why = error;
    if (answer->status >= 200 && answer->status < 300 &&
        (answer->result == CALL_ANSWERED || answer->result == CALL_TOO_BIG))
        why = NULL;
    else if (answer->result == CALL_NOT_SENT)
        why = "it cannot be reached";
    else if (answer->result == CALL_TIMEOUT)
        why = "no answer in time";
    else if (!answer->status)
        why = "the connection broke";
    else
        snprintf(error, 100,
                 answer->status >= 300 && answer->status < 400 ? "it answered %d; redirects are not followed"
                                                               : "it answered %d",
                 answer->status);
    if (why)
        log_line(LOG_DEBUG, "webhook_curl", "text", answer->curl_text, NULL);
    return why;
}

static void answered(void *arg, struct call_answer *answer)
{
    struct attempt *a = arg;
    char error[100];
    struct webhooks *w = a->all;
    settle(w, a, webhook_wrong(answer, error), false);
    receivers_drop(&w->busy, a->token_id, a->url);
    if ((*a->link = a->next))
        a->next->link = a->link;
    free(a);
    if (w->is_held) /* some wait for a place like the one that is free now */
        webhook_soon(w->d);
}

/* ---- a try -------------------------------------------------------------------------------------------------- */

static void sign(const struct webhooks *w, const char *timestamp, const struct buf *body,
                 char hex[2 * crypto_auth_hmacsha256_BYTES + 1])
{
    crypto_auth_hmacsha256_state state;
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_init(&state, (const uint8_t *)w->secret, w->secret_len);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)timestamp, strlen(timestamp));
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)".", 1);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)body->data, body->len);
    crypto_auth_hmacsha256_final(&state, mac);
    id_hex(mac, sizeof(mac), hex);
}

bool webhook_can_post(const struct dispatcher *d)
{
    return d->webhooks->secret != NULL;
}

void webhook_post(struct dispatcher *d, const char *url, const struct buf *body, const uint8_t id[ID_TOKEN_BYTES],
                  void (*done)(void *arg, struct call_answer *answer), void *arg)
{
    char timestamp[24], hex[2 * crypto_auth_hmacsha256_BYTES + 1], delivery[2 * ID_TOKEN_BYTES + 1], lines[3][120];
    const char *const headers[] = {lines[0], lines[1], lines[2], NULL};
    snprintf(timestamp, sizeof(timestamp), "%lld", (long long)(clock_unix_ms() / 1000));
    sign(d->webhooks, timestamp, body, hex);
    id_hex(id, ID_TOKEN_BYTES, delivery);
    snprintf(lines[0], sizeof(lines[0]), "X-Chasqui-Timestamp: %s", timestamp);
    snprintf(lines[1], sizeof(lines[1]), "X-Chasqui-Signature: v1=%s", hex);
    snprintf(lines[2], sizeof(lines[2]), "X-Chasqui-Delivery: %s", delivery);
    struct call_spec call = {.method = "POST",
                             .url = url,
                             .headers = headers,
                             .body = body->data,
                             .body_len = body->len,
                             .connect_ms = d->conf->webhook_timeout_ms,
                             .total_ms = d->conf->webhook_timeout_ms,
                             .max_bytes = ANSWER_BYTES_MAX,
                             .done = done,
                             .arg = arg};
    call_start(d->robot_http, &call);
}

static void try_begin(struct webhooks *w, const struct webhook *hook)
{
    struct attempt *a = xcalloc(1, sizeof(*a));
    *a = (struct attempt){.all = w,
                          .batch_id = hook->batch_id,
                          .token_id = hook->token_id,
                          .attempts = hook->attempts,
                          .age_ms = hook->age_ms};
    strcpy(a->url, hook->url);
    memcpy(a->token, hook->token, sizeof(a->token));
    if (!url_is_allowed(w->d->conf->webhook_allow, hook->url)) {
        settle(w, a, "webhook.allow has no prefix for its callback_url", true);
        free(a);
        return;
    }
    if ((a->next = w->first))
        a->next->link = &a->next;
    a->link = &w->first;
    w->first = a;
    receivers_add(&w->busy, a->token_id, a->url);
    webhook_post(w->d, hook->url, &hook->body, hook->delivery, answered, a);
}

static void look_in(struct webhooks *w, int64_t in_ms)
{
    w->look_at_ms = clock_ms() + (uint64_t)(in_ms < LOOK_MS && in_ms >= 0 ? in_ms : LOOK_MS);
    if (w->retry_at_ms && w->retry_at_ms < w->look_at_ms) /* a look that was under way did not see it */
        w->look_at_ms = w->retry_at_ms;
}

static void claimed(void *arg, void *op_)
{
    struct webhooks *w = arg;
    struct store_webhook_claim *op = op_;
    w->is_busy = false;
    w->is_held = op->busy.n || op->n;
    for (unsigned i = 0; i < op->n; i++) {
        if (op->rc == STORE_OK && op->got[i].body.len && !w->d->draining)
            try_begin(w, &op->got[i]);
        buf_free(&op->got[i].body);
    }
    if (op->rc != STORE_OK || (!op->n && op->due_in_ms == 0))
        look_in(w, AGAIN_MS);
    else if (op->n)
        look_in(w, 0);
    else
        look_in(w, op->due_in_ms);
    free(op);
}

void webhook_soon(struct dispatcher *d)
{
    d->webhooks->look_at_ms = 0;
    webhook_tick(d);
}

void webhook_tick(struct dispatcher *d)
{
    struct webhooks *w = d->webhooks;
    if (!w->secret || w->is_busy || w->busy.n == RECEIVERS_MAX || d->draining || clock_ms() < w->look_at_ms)
        return;
    struct store_webhook_claim *op = xcalloc(1, sizeof(*op));
    w->is_busy = true;
    if (w->retry_at_ms <= clock_ms())
        w->retry_at_ms = 0;
    op->busy = w->busy;
    look_in(w, LOOK_MS);
    op->lease_ms = d->conf->webhook_timeout_ms + SPARE_MS;
    store_submit(d->store, store_webhook_claim, op, claimed, w);
}

/* ---- start and stop ----------------------------------------------------------------------------------------- */

static bool secret_read(struct webhooks *w, const char *path)
{
    const char *why;
    w->secret = sodium_malloc(SECRET_BYTES_MAX + 1);
    CHECK(w->secret, "guarded memory");
    ssize_t len = secret_file_read(path, w->secret, SECRET_BYTES_MAX + 1, &why);
    while (len > 0 && strchr(" \t\r\n", w->secret[len - 1]))
        len--;
    if (len >= 0 && (len < SECRET_BYTES_MIN || len > SECRET_BYTES_MAX))
        why = "it must hold 16 to 512 bytes; chasqui keys init makes one";
    w->secret_len = (size_t)len;
    if (why)
        log_line(LOG_ERROR, "webhook_secret_refused", "file", path, "why", why, NULL);
    return !why;
}

struct webhooks *webhooks_new(struct dispatcher *d)
{
    struct webhooks *w = xcalloc(1, sizeof(*w));
    w->d = d;
    CHECK(sodium_init() >= 0, "libsodium");
    if (d->conf->webhook_secret_file && !secret_read(w, d->conf->webhook_secret_file)) {
        webhooks_destroy(&w);
        return NULL;
    }
    if (!w->secret && d->conf->webhook_allow)
        log_line(LOG_WARN, "no_webhook_secret", "means",
                 "callbacks are not sent by this dispatcher: set webhook.secret_file", NULL);
    return w;
}

/* After the calls have ended or were dropped. */
void webhooks_destroy(struct webhooks **wp)
{
    struct webhooks *w = *wp;
    if (!w)
        return;
    while (w->first) {
        struct attempt *a = w->first;
        w->first = a->next;
        free(a);
    }
    if (w->secret)
        sodium_free(w->secret);
    free(w);
    *wp = NULL;
}
