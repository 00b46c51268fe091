/*
 * disposition.c - reading Content-Disposition. Pure: bytes in, a harmless name
 * out. Never trusts a quote to be closed, an escape to be complete or a byte to
 * be UTF-8; what is not UTF-8 is read as Latin-1. The name is only a
 * suggestion: the broker builds its own header from it.
 */
#include "dispatcher/disposition.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define NAME_BYTES 1024 /* raw bytes of a name that are looked at */

struct text {
    const char *p, *end;
};

struct name {
    char bytes[NAME_BYTES];
    size_t len;
};

static void name_add(struct name *n, int byte)
{
    if (n->len < sizeof(n->bytes))
        n->bytes[n->len++] = (char)byte;
}

static void spaces_skip(struct text *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\t'))
        t->p++;
}

/* A parameter's value: a quoted string, or everything up to the next ';'. */
static void value_read(struct text *t, struct name *out)
{
    out->len = 0;
    if (t->p < t->end && *t->p == '"') {
        for (t->p++; t->p < t->end && *t->p != '"'; t->p++) {
            if (*t->p == '\\' && t->p + 1 < t->end)
                t->p++;
            name_add(out, *t->p);
        }
    } else {
        for (; t->p < t->end && *t->p != ';'; t->p++)
            name_add(out, *t->p);
        while (out->len && (out->bytes[out->len - 1] == ' ' || out->bytes[out->len - 1] == '\t'))
            out->len--;
    }
    while (t->p < t->end && *t->p != ';')
        t->p++;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* charset'language'percent-encoded; false when it is not of that form. */
static bool extended_decode(struct name *n)
{
    const char *end = n->bytes + n->len;
    const char *first = memchr(n->bytes, '\'', n->len);
    const char *second = first ? memchr(first + 1, '\'', (size_t)(end - first - 1)) : NULL;
    size_t charset = first ? (size_t)(first - n->bytes) : 0;
    bool known = (charset == 5 && strncasecmp(n->bytes, "utf-8", 5) == 0) ||
                 (charset == 10 && strncasecmp(n->bytes, "iso-8859-1", 10) == 0);
    size_t len = 0;
    if (!second || !known)
        return false;
    for (const char *p = second + 1; p < end; p++) {
        int high = *p == '%' && end - p > 2 ? hex_digit(p[1]) : -1, low = high >= 0 ? hex_digit(p[2]) : -1;
        n->bytes[len++] = low >= 0 ? (char)(high << 4 | low) : *p;
        if (low >= 0)
            p += 2;
    }
    n->len = len;
    return len > 0;
}

/* One character of UTF-8 (RFC 3629); 0 = these bytes are none. */
static unsigned char_len(const char *s, size_t left, uint32_t *code)
{
    const uint8_t *p = (const uint8_t *)s;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (!n || n > left)
        return 0;
    *code = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
    for (unsigned i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (p[i] & 0x3f);
    }
    return *code < least[n] || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000) ? 0 : n;
}

static bool is_utf8(const struct name *n)
{
    uint32_t code;
    for (size_t at = 0, step; at < n->len; at += step)
        if (!(step = char_len(n->bytes + at, n->len - at, &code)))
            return false;
    return true;
}

static bool is_harmful(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == '"' || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

static void clean(const struct name *n, char *out, size_t room)
{
    bool utf8 = is_utf8(n);
    size_t at = 0, len = 0;
    for (size_t i = 0; i < n->len; i++) /* both are ASCII: no character of UTF-8 holds them */
        if (n->bytes[i] == '/' || n->bytes[i] == '\\')
            at = i + 1;
    while (at < n->len) {
        uint32_t code = (uint8_t)n->bytes[at];
        unsigned step = utf8 ? char_len(n->bytes + at, n->len - at, &code) : 1;
        char wide[2] = {(char)(0xc0 | code >> 6), (char)(0x80 | (code & 0x3f))};
        bool widen = !utf8 && code >= 0x80;
        size_t need = widen ? 2 : step;
        if (!is_harmful(code) && !(code == ' ' && !len)) {
            if (len + need + 1 > room)
                break;
            memcpy(out + len, widen ? wide : n->bytes + at, need);
            len += need;
        }
        at += step;
    }
    while (len && out[len - 1] == ' ')
        len--;
    out[len] = 0;
    if (strcmp(out, ".") == 0 || strcmp(out, "..") == 0)
        out[0] = 0;
}

void disposition_name(const char *value, size_t len, char *out, size_t room)
{
    struct text t = {value, value + len};
    struct name plain = {.len = 0}, extended = {.len = 0};
    while (t.p < t.end && *t.p != ';') /* the type: inline, attachment */
        t.p++;
    while (t.p < t.end) {
        struct name v;
        t.p++;
        spaces_skip(&t);
        const char *key = t.p;
        while (t.p < t.end && !strchr(";= \t\"", *t.p))
            t.p++;
        size_t key_len = (size_t)(t.p - key);
        spaces_skip(&t);
        if (t.p == t.end || *t.p != '=') {
            while (t.p < t.end && *t.p != ';')
                t.p++;
            continue;
        }
        t.p++;
        spaces_skip(&t);
        value_read(&t, &v);
        if (key_len == 8 && strncasecmp(key, "filename", 8) == 0 && !plain.len)
            plain = v;
        else if (key_len == 9 && strncasecmp(key, "filename*", 9) == 0 && !extended.len && extended_decode(&v))
            extended = v;
    }
    out[0] = 0;
    if (extended.len)
        clean(&extended, out, room);
    if (!out[0] && plain.len)
        clean(&plain, out, room);
}
