/* SPDX-License-Identifier: MIT */
/*
 * cors.c - pages of other origins that may call (Fetch, "CORS protocol").
 *
 * Owns nothing. An origin is compared with broker.cors_origins. The answer repeats the configured spelling, never
 * the client's. Must never allow credentials: a calling page presents a token of its own, and the dashboard's
 * cookie is not sent.
 */
#include "broker/cors.h"
#include "broker/exchange.h"
#include "broker/reply.h"

#include "common/log.h"
#include <string.h>
#include <strings.h>

#define MAX_AGE_S "600" /* how long a browser keeps the answer of a preflight */
#define ORIGIN_BYTES_MAX 255

const char cors_exposed[] =
    "X-Request-Id, X-Session-Id, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, Location, "
    "Preference-Applied, Idempotency-Replayed, Content-Disposition, Content-Length";

/* Reads the next item of a comma list; *at advances past it. Empty at the list's end. */
static struct str origin_next(const char **at)
{
    *at += strspn(*at, ", \t");
    struct str one = {*at, (uint32_t)strcspn(*at, ",")};
    *at += one.len;
    while (one.len && (one.p[one.len - 1] == ' ' || one.p[one.len - 1] == '\t'))
        one.len--;
    return one;
}

const char *cors_origin(const struct exchange *x, size_t *len)
{
    const char *at = x->b->conf->broker_cors_origins;
    if (!at || !x->origin)
        return NULL;
    for (struct str one = origin_next(&at); one.len; one = origin_next(&at)) {
        if (!str_is(one, "*") && (one.len != strlen(x->origin) || strncasecmp(one.p, x->origin, one.len) != 0))
            continue;
        *len = one.len;
        return one.p;
    }
    return NULL;
}

void cors_preflight(struct exchange *x, const char *allow)
{
    size_t len;
    if (!cors_origin(x, &len))
        return;
    reply_header(x, "Access-Control-Allow-Methods", "%s", allow);
    reply_header(x, "Access-Control-Allow-Headers", "%s",
                 "Authorization, Content-Type, Idempotency-Key, Prefer, X-Deadline-Ms, X-Request-Id, traceparent");
    reply_header(x, "Access-Control-Max-Age", "%s", MAX_AGE_S);
}

/* scheme://host[:port], as browsers write it: no path, not even "/". */
static bool is_origin(struct str s)
{
    if (str_is(s, "*") || str_is(s, "null"))
        return true;
    if (s.len > ORIGIN_BYTES_MAX)
        return false;
    const char *colon = memchr(s.p, ':', s.len);
    if (!colon || colon == s.p || s.p + s.len - colon < 4 || strncmp(colon, "://", 3) != 0)
        return false;
    for (const char *p = colon + 3; p < s.p + s.len; p++)
        if (*p <= ' ' || *p >= 0x7f || strchr("/?#@\"", *p))
            return false;
    return true;
}

bool cors_check(const struct conf *conf)
{
    const char *at = conf->broker_cors_origins;
    for (struct str one = {"*", 1}; at && one.len;) {
        one = origin_next(&at);
        if (!one.len || is_origin(one))
            continue;
        char text[ORIGIN_BYTES_MAX + 1];
        str_copy(text, sizeof text, one);
        log_line(LOG_ERROR, "bad_origin", "key", "broker.cors_origins", "value", text, "why",
                 "an origin is scheme://host[:port] without a path, like https://app.example.com", NULL);
        return false;
    }
    return true;
}
