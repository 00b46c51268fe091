/* SPDX-License-Identifier: MIT */
/* receivers.c - whom callbacks are on their way to. See receivers.h. */
#include "dispatcher/store/receivers.h"

#include "common/check.h"

#include <stdio.h>
#include <string.h>

/* Up to the third slash, as SUBSTRING_INDEX(url, '/', 3) in store_webhook.c. */
static struct receiver receiver_of(uint64_t token_id, const char *url)
{
    struct receiver r = {.token_id = token_id};
    const char *end = url;
    for (unsigned slashes = 0; *end && (slashes += *end == '/') < 3; end++)
        ;
    snprintf(r.origin, sizeof(r.origin), "%.*s", (int)(end - url), url);
    return r;
}

struct counts {
    unsigned of_token, of_origin, of_both;
};

static struct counts count(const struct receivers *r, const struct receiver *one)
{
    struct counts n = {0};
    for (unsigned i = 0; i < r->n; i++) {
        bool is_token = r->of[i].token_id == one->token_id, is_origin = strcmp(r->of[i].origin, one->origin) == 0;
        n.of_token += is_token;
        n.of_origin += is_origin;
        n.of_both += is_token && is_origin;
    }
    return n;
}

bool receivers_may(const struct receivers *r, uint64_t token_id, const char *url)
{
    struct receiver one = receiver_of(token_id, url);
    struct counts n = count(r, &one);
    return r->n < RECEIVERS_MAX && n.of_token < RECEIVER_CALLS && n.of_origin < RECEIVER_CALLS &&
           n.of_both < RECEIVER_PAIR_CALLS;
}

void receivers_add(struct receivers *r, uint64_t token_id, const char *url)
{
    CHECK(r->n < RECEIVERS_MAX, "a callback too many");
    r->of[r->n++] = receiver_of(token_id, url);
}

void receivers_drop(struct receivers *r, uint64_t token_id, const char *url)
{
    struct receiver one = receiver_of(token_id, url);
    for (unsigned i = 0; i < r->n; i++)
        if (r->of[i].token_id == token_id && strcmp(r->of[i].origin, one.origin) == 0) {
            r->of[i] = r->of[--r->n];
            return;
        }
}

void receivers_full(const struct receivers *r, struct buf *out)
{
    for (unsigned i = 0; i < r->n; i++) {
        const struct receiver *one = &r->of[i];
        struct counts n = count(r, one);
        if (n.of_token >= RECEIVER_CALLS)
            buf_addf(out, "\ntoken %llu\n", (unsigned long long)one->token_id);
        if (n.of_origin >= RECEIVER_CALLS)
            buf_addf(out, "\nreceiver %s\n", one->origin);
        if (n.of_both >= RECEIVER_PAIR_CALLS)
            buf_addf(out, "\ntoken %llu receiver %s\n", (unsigned long long)one->token_id, one->origin);
    }
}
