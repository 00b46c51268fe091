/* SPDX-License-Identifier: MIT */
/*
 * pass.c - requests passed on unchanged to the robot of a session.
 *
 * Removes the session from the query; the dispatcher inserts the current session. Must never pass another query
 * pair that a robot could take for the session, because the token was checked for that session only. Of the head
 * only fields about the body and the answer are passed on: no credential, no cookie, nothing of the connection.
 */
#include "broker/exchange.h"
#include "broker/flight.h"
#include "broker/params.h"
#include "broker/reply.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES_MAX 2048
#define QUERY_BYTES_MAX 8192
#define ACCEPT_BYTES_MAX 500
#define LANGUAGE_BYTES_MAX 200
#define TYPE_BYTES_MAX 200
#define NAME_BYTES_MAX 256

/* Frameworks vary in how they read names of pairs: case, "session.id", "session_id[]". Only letters and digits are
 * compared. */
static bool is_like_session(const char *name, size_t len)
{
    static const char wanted[] = "sessionid";
    size_t n = 0;
    for (size_t i = 0; i < len && wanted[n]; i++) {
        if (!isalnum((unsigned char)name[i]))
            continue;
        if (tolower((unsigned char)name[i]) != wanted[n])
            return false;
        n++;
    }
    return !wanted[n];
}

/* Reads one pair, not decoded. true: it is the session, and is not passed on. */
static bool pair_take(struct exchange *x, const char *pair, size_t len, struct jv **errors)
{
    struct msg_REQUEST *r = &x->flight.request;
    char name[NAME_BYTES_MAX];
    const char *mark = memchr(pair, '=', len);
    size_t n = mark ? (size_t)(mark - pair) : len, value_len = mark ? len - n - 1 : 0;
    if (n >= sizeof name) {
        errors_add(errors, "query", "has a name that is longer than 255 bytes");
        return false;
    }
    memcpy(name, pair, n);
    n = escapes_decode(name, n, true);
    if (!is_like_session(name, n))
        return false;
    if (strcmp(name, "session_id") != 0) {
        errors_add_named(errors, name, "must be written session_id");
    } else if (x->params) {
        errors_add(errors, "session_id", "is given twice");
    } else {
        x->params = strndup(mark ? mark + 1 : "", value_len);
        r->session_id = (struct str){x->params, (uint32_t)escapes_decode(x->params, value_len, true)};
    }
    return true;
}

/* Some robots also end a pair at ';'. */
static void query_take(struct exchange *x, struct jv **errors)
{
    char *out = x->query, *at = x->query;
    while (at && *at) {
        size_t len = strcspn(at, "&;");
        char end = at[len];
        if (!pair_take(x, at, len, errors)) {
            memmove(out, at, len);
            out += len;
            if (end)
                *out++ = end;
        }
        at += len + (end != 0);
    }
    while (out && out > x->query && strchr("&;", out[-1]))
        out--;
    if (out)
        *out = 0;
    x->flight.request.query = str_of(x->query);
    if (x->flight.request.query.len > QUERY_BYTES_MAX)
        errors_add(errors, "query", "is longer than 8192 bytes");
    if (!x->params)
        errors_add(errors, "session_id", "is needed");
    else if (!session_id_ok(x->flight.request.session_id))
        errors_add(errors, "session_id", why_session_id);
}

static struct str header_of(const char *value, size_t max)
{
    struct str s = str_of(value);
    return s.len <= max ? s : str_of("");
}

void app_robot_pass(struct exchange *x)
{
    struct msg_REQUEST *r = &x->flight.request;
    struct jv *errors = NULL;
    query_take(x, &errors);
    r->idempotency_key = exchange_key(x, &errors);
    if (!exchange_fields(x, errors))
        return;
    if (x->body.len > REQUEST_PAYLOAD_MAX) {
        reply_error(x, ERR_PAYLOAD_TOO_LARGE, NULL, NULL);
        return;
    }
    if (x->arg.len > PATH_BYTES_MAX) {
        reply_error(x, ERR_NOT_FOUND, NULL, NULL);
        return;
    }
    r->method = str_of(strcmp(x->method, "HEAD") == 0 ? "GET" : x->method);
    r->path = x->arg;
    r->content_type = header_of(x->content_type, TYPE_BYTES_MAX);
    r->accept = header_of(x->accept, ACCEPT_BYTES_MAX);
    r->accept_language = header_of(x->accept_language, LANGUAGE_BYTES_MAX);
    x->flight.payload = (struct str){x->body.data ? x->body.data : "", (uint32_t)x->body.len};
    exchange_ask(x, OP_ROBOT_PASS, key_of_token(x));
}
