/* SPDX-License-Identifier: MIT */
/*
 * reply.c - the form of answers: error bodies, a dispatcher's reply as HTTP, names of files. Must never put an
 * unchecked byte into a header. Must never pass on an error code that is not in errors.def.
 */
#include "broker/reply.h"
#include "broker/exchange.h"
#include "broker/flight.h"
#include "broker/pull.h"
#include "broker/stream.h"

#include "common/check.h"
#include "common/log.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char json_type[] = "application/json";

static void decide(struct exchange *x, unsigned status, const char *type, char *body, size_t len)
{
    CHECK(!x->answer.status, "request=%s status=%u then %u", x->request_id, x->answer.status, status);
    x->answer.status = status;
    x->answer.content_type = type;
    x->answer.body = body;
    x->answer.len = len;
}

void reply_header(struct exchange *x, const char *name, const char *fmt, ...)
{
    struct answer *a = &x->answer;
    va_list ap;
    CHECK(a->n < ANSWER_HEADERS_MAX, "header=%s", name);
    va_start(ap, fmt);
    int len = vasprintf(&a->header[a->n].value, fmt, ap);
    va_end(ap);
    CHECK(len >= 0, "header=%s", name);
    a->header[a->n++].name = name;
}

void answer_clear(struct answer *a)
{
    free(a->body);
    pull_destroy(&a->pull);
    for (unsigned i = 0; i < a->n; i++)
        free(a->header[i].value);
    *a = (struct answer){0};
}

static void error_set(struct jv *body, const struct exchange *x, enum err e, const char *message)
{
    jv_set_bool(body, "ok", false);
    jv_set_str(body, "error", err_code(e));
    jv_set_str(body, "message", message && *message ? message : err_text(e));
    jv_set_str(body, "request_id", x->request_id);
}

void reply_error(struct exchange *x, enum err e, const char *message, struct jv *extra)
{
    struct jv *body = jv_new_object();
    size_t len;
    error_set(body, x, e, message);
    if (extra) {
        jv_merge(body, extra);
        error_set(body, x, e, message); /* no member of extra replaces these */
        jv_free(extra);
    }
    char *text = jv_dump(body, &len);
    jv_free(body);
    if (e == ERR_UNAUTHENTICATED)
        reply_header(x, "WWW-Authenticate", "Bearer");
    if (err_retry_after_s(e))
        reply_header(x, "Retry-After", "%d", err_retry_after_s(e));
    decide(x, (unsigned)err_http(e), json_type, text, len);
}

void reply_jv(struct exchange *x, unsigned status, struct jv *body)
{
    size_t len;
    char *text = jv_dump(body, &len);
    jv_free(body);
    decide(x, status, json_type, text, len);
}

void reply_empty(struct exchange *x, unsigned status)
{
    decide(x, status, NULL, NULL, 0);
}

void reply_text(struct exchange *x, unsigned status, const char *type, struct buf *body)
{
    size_t len;
    char *text = buf_take(body, &len);
    decide(x, status, type, text, len);
}

/* ---- a dispatcher's ----------------------------------------------------------------------------------------- */

static bool is_printable(struct str s)
{
    for (uint32_t i = 0; i < s.len; i++)
        if (s.p[i] < ' ' || s.p[i] >= 0x7f)
            return false;
    return s.len;
}

static const char *type_keep(struct exchange *x, struct str type)
{
    if (!type.len)
        return json_type;
    if (!is_printable(type) || !memchr(type.p, '/', type.len))
        return "application/octet-stream";
    str_copy(x->answer.text, sizeof x->answer.text, type);
    return x->answer.text;
}

static void session_header(struct exchange *x, struct str session_id)
{
    if (is_printable(session_id))
        reply_header(x, "X-Session-Id", "%.*s", (int)session_id.len, session_id.p);
}

static void replayed_header(struct exchange *x, const struct msg_REPLY *m)
{
    if (m->replayed)
        reply_header(x, "Idempotency-Replayed", "true");
}

/* The reply is well-formed but invalid. It is treated as if no dispatcher had answered. */
void reply_refuse(struct exchange *x, const char *what)
{
    stat_inc(replies_refused_total);
    log_line(LOG_WARN, "reply_refused", "request", x->request_id, "why", what, NULL);
    reply_error(x, ERR_NO_DISPATCHER, NULL, NULL);
}

static void take_error(struct exchange *x, const struct msg_REPLY *m, struct str payload)
{
    enum err e = err_from_answer(m->error.p, m->error.len, (unsigned)m->status);
    struct jv *extra = NULL;
    enum jv_bad why;
    if (e == ERR_COUNT || e == ERR_OK) {
        reply_refuse(x, "unknown error code");
        return;
    }
    if (payload.len) {
        extra = jv_parse(payload.p, payload.len, &why);
        if (jv_type(extra) != JV_OBJECT) {
            jv_free(extra);
            reply_refuse(x, "an error's payload is no object");
            return;
        }
    }
    char message[1001];
    str_copy(message, sizeof message, m->message);
    session_header(x, m->session_id);
    replayed_header(x, m);
    reply_error(x, e, message, extra);
}

/* Passes on a robot's content codings (RFC 9110, 8.4.1), if they are tokens. */
static void encoding_header(struct exchange *x, struct str codings)
{
    if (!codings.len)
        return;
    for (uint32_t i = 0; i < codings.len; i++)
        if (!isalnum((unsigned char)codings.p[i]) && !strchr("-_.+, ", codings.p[i]))
            return;
    reply_header(x, "Content-Encoding", "%.*s", (int)codings.len, codings.p);
}

void reply_take(struct exchange *x, const struct msg_REPLY *m, struct str payload)
{
    if (m->error.len) {
        take_error(x, m, payload);
        return;
    }
    if (m->status < 200) {
        reply_refuse(x, "no status");
        return;
    }
    char *body = NULL;
    if (payload.len) {
        body = xmalloc(payload.len);
        memcpy(body, payload.p, payload.len);
    }
    session_header(x, m->session_id);
    replayed_header(x, m);
    encoding_header(x, m->content_encoding);
    decide(x, (unsigned)m->status, type_keep(x, m->content_type), body, payload.len);
}

/* RFC 6266: a name of plain letters for all clients, and the full name for clients that support RFC 8187. */
static void disposition_header(struct exchange *x, struct str name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    static const char hex[] = "0123456789ABCDEF";
    char ascii[513], whole[3 * 512 + 1];
    size_t n = 0, w = 0;
    for (uint32_t i = 0; i < name.len && i < 512; i++) {
        unsigned char c = (unsigned char)name.p[i];
        bool is_plain = c && strchr(plain, c);
        if (is_plain || c < 0x80 || c >= 0xc0) /* one '_' per character, not per byte */
            ascii[n++] = is_plain || c == ' ' ? (char)c : '_';
        if (is_plain) {
            whole[w++] = (char)c;
        } else {
            whole[w++] = '%';
            whole[w++] = hex[c >> 4];
            whole[w++] = hex[c & 15];
        }
    }
    ascii[n] = whole[w] = '\0';
    if (n)
        reply_header(x, "Content-Disposition", "attachment; filename=\"%s\"; filename*=UTF-8''%s", ascii, whole);
    else
        reply_header(x, "Content-Disposition", "attachment");
}

void reply_events(struct exchange *x, struct pull *events)
{
    reply_header(x, "X-Accel-Buffering", "no"); /* for proxies that would buffer the events */
    decide(x, 200, "text/event-stream; charset=utf-8", NULL, 0);
    x->answer.pull = events;
}

void reply_stream(struct exchange *x, const struct msg_REPLY_HEAD *m)
{
    if (m->status < 200) {
        flight_end(&x->flight);
        reply_refuse(x, "no status");
        return;
    }
    session_header(x, m->session_id);
    encoding_header(x, m->content_encoding);
    if (m->attachment)
        disposition_header(x, m->filename);
    decide(x, (unsigned)m->status, type_keep(x, m->content_type), NULL, 0);
    x->answer.pull = stream_new(&x->flight, m->has_length, m->length);
}
