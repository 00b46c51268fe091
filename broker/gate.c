/* SPDX-License-Identifier: MIT */
/*
 * gate.c - admits a request head that has exactly one reading.
 *
 * Owns nothing and keeps nothing. Must never read outside the head, and must never admit a head with a byte
 * unaccounted for. Every part must begin exactly after the CR LF of the part before it. This catches bare LFs,
 * NULs in values and folded lines, which the library hides. (A NUL in place of a line's CR leaves no trace; the
 * library and we then read the same end of the line.) Fails closed: a library with a different memory layout would
 * have every request refused.
 */
#include "broker/gate.h"

#include <string.h>
#include <strings.h>

static bool is_token_char(unsigned char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
        return true;
    return c && strchr("!#$%&'*+-.^_`|~", c);
}

static bool is_token(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (!is_token_char((unsigned char)*s))
            return false;
    return true;
}

static bool is_field_value(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < ' ' ? *s != '\t' : *s == 0x7f)
            return false;
    return true;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

const char *gate_authority(const char *target, size_t *len)
{
    size_t scheme = strncasecmp(target, "http://", 7) == 0 ? 7 : strncasecmp(target, "https://", 8) == 0 ? 8 : 0;
    *len = scheme ? strcspn(target + scheme, "/?") : 0;
    return *len ? target + scheme : NULL;
}

/* Checks a host with an optional port, without a user. */
static bool is_authority(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_token_char((unsigned char)s[i]) && !strchr(":[]", s[i]))
            return false;
    return true;
}

/* Returns NULL, or what is wrong with it. */
static const char *target_wrong(const char *s)
{
    size_t len;
    const char *authority = *s == '/' ? NULL : gate_authority(s, &len);
    if (*s != '/' && !authority)
        return "The request target must begin with '/', or be a whole http URL.";
    if (authority && !is_authority(authority, len))
        return "The request target's host is not one.";
    for (; *s; s++) {
        if (*s <= ' ' || *s >= 0x7f || *s == '#')
            return "The request target holds a byte that must be escaped.";
        if (*s != '%')
            continue;
        if (!is_hex(s[1]) || !is_hex(s[2]))
            return "The request target holds a bad %-escape.";
        if (s[1] == '0' && s[2] == '0')
            return "The request target holds %00.";
    }
    return NULL;
}

/* Whether a line ends at `end` with CR LF (now two NULs). */
static bool is_line_end(const char *end, const char *limit)
{
    return limit - end >= 2 && !end[0] && !end[1];
}

/* Whether every byte of the head belongs to a checked part, in order. */
static bool is_seamless(const struct gate_head *h)
{
    const char *limit = h->method + h->bytes;
    const char *at = h->method + strlen(h->method) + 1;
    if (h->target_at != at)
        return false;
    at += strlen(h->target) + 1;
    if (h->version != at || !is_line_end(at + 8, limit))
        return false;
    at += 10;
    for (unsigned i = 0; i < h->n; i++) {
        const struct gate_field *f = &h->fields[i];
        if (f->name != at || f->value < at || f->value >= limit)
            return false;
        at += strlen(f->name) + 1;
        while (at < f->value && (*at == ' ' || *at == '\t'))
            at++;
        if (at != f->value)
            return false;
        at += strlen(at);
        if (!is_line_end(at, limit))
            return false;
        at += 2;
    }
    return is_line_end(at, limit) && at + 2 == limit;
}

struct framing_fields {
    const char *length, *coding;
    unsigned lengths, codings, hosts, authorizations, types;
};

static void field_count(struct framing_fields *seen, const struct gate_field *f)
{
    if (strcasecmp(f->name, "Content-Length") == 0) {
        seen->length = f->value;
        seen->lengths++;
    } else if (strcasecmp(f->name, "Transfer-Encoding") == 0) {
        seen->coding = f->value;
        seen->codings++;
    } else if (strcasecmp(f->name, "Host") == 0) {
        seen->hosts++;
    } else if (strcasecmp(f->name, "Authorization") == 0) {
        seen->authorizations++;
    } else if (strcasecmp(f->name, "Content-Type") == 0) {
        seen->types++;
    }
}

static bool read_length(const char *s, uint64_t *out)
{
    size_t len = strlen(s);
    *out = 0;
    if (len < 1 || len > 18 || strspn(s, "0123456789") != len)
        return false;
    for (; *s; s++)
        *out = *out * 10 + (uint64_t)(*s - '0');
    return true;
}

/* Returns NULL, or what is wrong with the fields that determine the body's end. */
static const char *framing_wrong(const struct framing_fields *seen, struct gate_framing *out)
{
    if (seen->lengths > 1 || seen->codings > 1 || seen->hosts > 1 || seen->authorizations > 1 || seen->types > 1)
        return "A header that may stand once stands twice.";
    if (seen->lengths && seen->codings)
        return "Content-Length and Transfer-Encoding stand together.";
    if (seen->codings && (out->is_http10 || strcasecmp(seen->coding, "chunked") != 0))
        return "Transfer-Encoding is not chunked, or not in HTTP/1.1.";
    if (seen->lengths && !read_length(seen->length, &out->content_length))
        return "Content-Length is not a number.";
    if (!seen->hosts && !out->is_http10)
        return "HTTP/1.1 needs a Host.";
    out->is_chunked = seen->codings;
    return NULL;
}

static enum gate_verdict bad(const char **why, const char *text)
{
    *why = text;
    return GATE_BAD;
}

enum gate_verdict gate_check(const struct gate_head *h, struct gate_framing *framing, const char **why)
{
    struct framing_fields seen = {0};
    *framing = (struct gate_framing){0};
    *why = "";
    if (h->bytes > GATE_HEAD_BYTES_MAX) {
        *why = "The request's head is larger than 16 KiB.";
        return GATE_TOO_LARGE;
    }
    if (strcmp(h->version, "HTTP/1.1") != 0 && strcmp(h->version, "HTTP/1.0") != 0)
        return bad(why, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    framing->is_http10 = h->version[7] == '0';
    if (!is_token(h->method))
        return bad(why, "The method is not a token.");
    const char *wrong = target_wrong(h->target);
    if (wrong)
        return bad(why, wrong);
    if (!is_seamless(h))
        return bad(why, "A line of the head is folded, does not end with CR LF or holds a NUL.");
    for (unsigned i = 0; i < h->n; i++) {
        if (!is_token(h->fields[i].name))
            return bad(why, "A header's name is not a token.");
        if (!is_field_value(h->fields[i].value))
            return bad(why, "A header's value holds a control character.");
        field_count(&seen, &h->fields[i]);
    }
    wrong = framing_wrong(&seen, framing);
    return wrong ? bad(why, wrong) : GATE_PASS;
}
