/* SPDX-License-Identifier: MIT */
/*
 * disposition.c - reads Content-Disposition. Pure: bytes in, a harmless name out. Accepts the forms that old and
 * new servers write: RFC 8187 (filename*), RFC 2231's pieces (filename*0, filename*1*), RFC 2047's encoded words,
 * percent-encoding and raw bytes in filename. Never relies on a quote being closed, an escape being complete or a
 * byte being UTF-8. Bytes that are not UTF-8 are read as windows-1252. The name is only a suggestion: the broker
 * builds its own header from it.
 */
#include "dispatcher/robot/disposition.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define NAME_BYTES 6144  /* raw bytes of a name that are read: 512 characters of UTF-8, percent-encoded */
#define PIECES_MAX 64    /* of RFC 2231 */
#define EXTENSION_MAX 20 /* bytes, including the dot */

struct text {
    const char *p, *end;
};

struct name {
    char bytes[NAME_BYTES];
    size_t len;
};

enum charset { CHARSET_UTF8, CHARSET_WINDOWS_1252, CHARSET_UNKNOWN };

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

/* ---- characters --------------------------------------------------------------------------------------------- */

/* Length of the UTF-8 character (RFC 3629) at s; 0 = there is none. */
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

static bool is_utf8(const char *s, size_t len)
{
    uint32_t code;
    for (size_t at = 0, step; at < len; at += step)
        if (!(step = char_len(s + at, len - at, &code)))
            return false;
    return true;
}

static uint32_t windows_1252(uint8_t byte)
{
    static const uint16_t high[32] = {0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
                                      0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017d, 0,
                                      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
                                      0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178};
    return byte < 0x80 || byte > 0x9f ? byte : high[byte - 0x80];
}

static void code_add(struct name *n, uint32_t code)
{
    if (code < 0x80) {
        name_add(n, (int)code);
    } else if (code < 0x800) {
        name_add(n, (int)(0xc0 | code >> 6));
        name_add(n, (int)(0x80 | (code & 0x3f)));
    } else {
        name_add(n, (int)(0xe0 | code >> 12));
        name_add(n, (int)(0x80 | (code >> 6 & 0x3f)));
        name_add(n, (int)(0x80 | (code & 0x3f)));
    }
}

static enum charset charset_of(const char *s, size_t len)
{
    static const struct {
        const char *name;
        enum charset charset;
    } known[] = {{"utf-8", CHARSET_UTF8},
                 {"utf8", CHARSET_UTF8},
                 {"us-ascii", CHARSET_UTF8},
                 {"ascii", CHARSET_UTF8},
                 {"", CHARSET_UTF8},
                 {"iso-8859-1", CHARSET_WINDOWS_1252},
                 {"iso8859-1", CHARSET_WINDOWS_1252},
                 {"iso-8859-15", CHARSET_WINDOWS_1252},
                 {"latin1", CHARSET_WINDOWS_1252},
                 {"windows-1252", CHARSET_WINDOWS_1252},
                 {"cp1252", CHARSET_WINDOWS_1252}};
    for (unsigned i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (strlen(known[i].name) == len && strncasecmp(known[i].name, s, len) == 0)
            return known[i].charset;
    return CHARSET_UNKNOWN;
}

/* Converts the bytes from `from` on to UTF-8. For an unknown charset only ASCII is kept, because the extension is
 * worth keeping. */
static void to_utf8(struct name *n, size_t from, enum charset charset)
{
    if (charset == CHARSET_UTF8 && is_utf8(n->bytes + from, n->len - from))
        return;
    struct name raw = *n;
    n->len = from;
    for (size_t i = from; i < raw.len; i++) {
        uint8_t byte = (uint8_t)raw.bytes[i];
        code_add(n, byte >= 0x80 && charset == CHARSET_UNKNOWN ? '_' : windows_1252(byte));
    }
}

/* ---- values ------------------------------------------------------------------------------------------------- */

/* Internet Explorer's servers send whole paths, unescaped: C:\dir\x.pdf. */
static bool is_windows_path(const struct text *t)
{
    return t->end - t->p > 2 && isalpha((unsigned char)t->p[0]) && t->p[1] == ':' && t->p[2] == '\\';
}

/* Reads a parameter's value: a quoted string, or everything up to the next ';'. Text after a quoted string counts
 * only when the string was empty. */
static void value_read(struct text *t, struct name *out)
{
    out->len = 0;
    if (t->p < t->end && *t->p == '"') {
        t->p++;
        bool is_path = is_windows_path(t);
        for (; t->p < t->end && *t->p != '"'; t->p++) {
            if (*t->p == '\\' && t->p + 1 < t->end && (!is_path || t->p[1] == '"'))
                t->p++;
            name_add(out, *t->p);
        }
        t->p += t->p < t->end;
    }
    if (!out->len) {
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

/* Reads the byte written as `sign` and two hexadecimal digits at p; -1 = none. */
static int hex_byte(const char *p, const char *end, char sign)
{
    int high = *p == sign && end - p > 2 ? hex_digit(p[1]) : -1, low = high >= 0 ? hex_digit(p[2]) : -1;
    return low < 0 ? -1 : high << 4 | low;
}

static void percent_decode(struct name *n, size_t from)
{
    const char *end = n->bytes + n->len;
    size_t len = from;
    for (const char *p = n->bytes + from; p < end; p++) {
        int byte = hex_byte(p, end, '%');
        n->bytes[len++] = byte >= 0 ? (char)byte : *p;
        p += byte >= 0 ? 2 : 0;
    }
    n->len = len;
}

/* Cuts off charset'language'… . For any other form it cuts nothing and sets CHARSET_UNKNOWN. */
static bool charset_cut(struct name *n, enum charset *charset)
{
    const char *first = memchr(n->bytes, '\'', n->len);
    const char *second = first ? memchr(first + 1, '\'', (size_t)(n->bytes + n->len - first - 1)) : NULL;
    if (!second)
        return false;
    *charset = charset_of(n->bytes, (size_t)(first - n->bytes));
    n->len -= (size_t)(second + 1 - n->bytes);
    memmove(n->bytes, second + 1, n->len);
    return true;
}

/* ---- RFC 2047 ----------------------------------------------------------------------------------------------- */

static void base64_add(struct name *n, const char *p, const char *end)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, n_bits = 0;
    for (; p < end && *p != '='; p++) {
        const char *at = *p ? strchr(digits, *p) : NULL;
        if (!at)
            continue;
        bits = (bits << 6 | (unsigned)(at - digits)) & 0xffff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            name_add(n, (int)(bits >> n_bits & 0xff));
        }
    }
}

/* Adds the bytes of =?charset?B|Q?text?= at p. Returns the address after it, NULL = there is no such word. */
static const char *word_add(struct name *n, const char *p, const char *end, enum charset *charset)
{
    const char *q1 = end - p > 8 && p[0] == '=' && p[1] == '?' ? memchr(p + 2, '?', (size_t)(end - p - 2)) : NULL;
    if (!q1 || end - q1 < 5 || q1[2] != '?')
        return NULL;
    const char *text = q1 + 3, *close = text;
    while (close + 1 < end && !(close[0] == '?' && close[1] == '='))
        close++;
    if (close + 1 >= end)
        return NULL;
    const char *star = memchr(p + 2, '*', (size_t)(q1 - p - 2)); /* RFC 2231: charset*language */
    *charset = charset_of(p + 2, (size_t)((star ? star : q1) - p - 2));
    if (q1[1] == 'B' || q1[1] == 'b') {
        base64_add(n, text, close);
    } else if (q1[1] == 'Q' || q1[1] == 'q') {
        for (const char *c = text; c < close; c++) {
            int byte = hex_byte(c, close, '=');
            name_add(n, byte >= 0 ? byte : *c == '_' ? ' ' : *c);
            c += byte >= 0 ? 2 : 0;
        }
    } else {
        return NULL;
    }
    return close + 2;
}

/* Adjacent words of one charset may share a character, so their bytes are joined before decoding. */
static bool words_decode(const struct name *in, struct name *out)
{
    const char *p = in->bytes, *end = p + in->len;
    bool is_any = false;
    out->len = 0;
    while (p < end) {
        enum charset charset = CHARSET_UTF8, first = CHARSET_UTF8;
        size_t from = out->len;
        const char *next = word_add(out, p, end, &first);
        if (!next) {
            name_add(out, *p++);
            continue;
        }
        is_any = true;
        for (;;) {
            const char *after = next;
            while (after < end && (*after == ' ' || *after == '\t'))
                after++;
            size_t len = out->len;
            const char *more = after < end ? word_add(out, after, end, &charset) : NULL;
            if (!more || charset != first) {
                out->len = len;
                p = more ? after : next;
                break;
            }
            next = more;
        }
        to_utf8(out, from, first);
    }
    return is_any;
}

/* ---- parameters --------------------------------------------------------------------------------------------- */

/* Decodes filename= as servers write it outside of the standards. */
static void plain_decode(struct name *n)
{
    struct name words;
    bool is_percent = false;
    if (n->len > 2 && n->bytes[0] == '\'' && n->bytes[n->len - 1] == '\'') { /* quotes of another language */
        n->len -= 2;
        memmove(n->bytes, n->bytes + 1, n->len);
    }
    if (words_decode(n, &words)) {
        *n = words;
        return;
    }
    for (const char *p = n->bytes, *end = p + n->len; p < end; p++) {
        if (*p == '%' && hex_byte(p, end, '%') < 0) { /* 50%.pdf */
            is_percent = false;
            break;
        }
        is_percent |= *p == '%';
    }
    if (is_percent)
        percent_decode(n, 0);
    to_utf8(n, 0, CHARSET_UTF8);
}

static bool extended_decode(struct name *n, enum charset *charset)
{
    if (!charset_cut(n, charset))
        return false;
    percent_decode(n, 0);
    to_utf8(n, 0, *charset);
    return n->len > 0;
}

struct piece { /* its position in the header */
    struct text value;
    bool is_there, is_encoded;
};

struct parameters {
    struct text plain, extended, name; /* p NULL = none; the first one counts */
    struct piece piece[PIECES_MAX];    /* filename*N, filename*N* */
};

static bool key_is(const char *key, size_t len, const char *name)
{
    return len == strlen(name) && strncasecmp(key, name, len) == 0;
}

static void piece_note(struct parameters *ps, const char *number, size_t len, const struct text *value)
{
    bool is_encoded = len && number[len - 1] == '*';
    unsigned n = 0;
    len -= is_encoded;
    if (len < 1 || len > 2 || (len > 1 && number[0] == '0'))
        return;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)number[i]))
            return;
        n = n * 10 + (unsigned)(number[i] - '0');
    }
    if (n < PIECES_MAX && !ps->piece[n].is_there)
        ps->piece[n] = (struct piece){*value, true, is_encoded};
}

static void parameter_note(struct parameters *ps, const char *key, size_t len, struct text value)
{
    struct text *to = key_is(key, len, "filename")    ? &ps->plain
                      : key_is(key, len, "filename*") ? &ps->extended
                      : key_is(key, len, "name")      ? &ps->name
                                                      : NULL;
    if (to && !to->p)
        *to = value;
    else if (len > 9 && strncasecmp(key, "filename*", 9) == 0)
        piece_note(ps, key + 9, len - 9, &value);
}

/* Reads one `key=value`, up to its ';'. */
static void parameter_read(struct text *t, struct parameters *ps, struct name *scratch)
{
    spaces_skip(t);
    const char *key = t->p;
    while (t->p < t->end && !strchr(";= \t\"", *t->p))
        t->p++;
    size_t len = (size_t)(t->p - key);
    spaces_skip(t);
    if (t->p == t->end || *t->p != '=') {
        while (t->p < t->end && *t->p != ';')
            t->p++;
        return;
    }
    t->p++;
    spaces_skip(t);
    struct text value = *t;
    value_read(t, scratch);
    parameter_note(ps, key, len, value);
}

static bool pieces_join(const struct parameters *ps, struct name *out, struct name *scratch)
{
    enum charset charset = CHARSET_UTF8;
    out->len = 0;
    for (unsigned i = 0; i < PIECES_MAX && ps->piece[i].is_there; i++) {
        struct text t = ps->piece[i].value;
        value_read(&t, scratch);
        if (i == 0 && ps->piece[i].is_encoded)
            charset_cut(scratch, &charset);
        if (ps->piece[i].is_encoded)
            percent_decode(scratch, 0);
        for (size_t k = 0; k < scratch->len; k++)
            name_add(out, scratch->bytes[k]);
    }
    to_utf8(out, 0, charset);
    return out->len > 0;
}

/* ---- a harmless name ---------------------------------------------------------------------------------------- */

static bool is_harmful(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == '"' || code == 0x61c ||
           (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

/* Length of the name's extension with its dot; 0 = none. */
static size_t extension_of(const struct name *n)
{
    for (size_t i = n->len; i > 1 && n->len - i < EXTENSION_MAX; i--)
        if (n->bytes[i - 1] == '.')
            return n->len - i + 1;
        else if (!isalnum((unsigned char)n->bytes[i - 1]))
            return 0;
    return 0;
}

/* Cuts the name at a character boundary to make it fit, and keeps its extension. */
static void name_put(const struct name *n, char *out, size_t room)
{
    size_t extension = extension_of(n), stem = n->len - extension, most = room - 1;
    if (n->len > most) {
        if (extension >= most)
            extension = 0, stem = n->len;
        size_t len = 0, step;
        uint32_t code;
        while (len < stem && (step = char_len(n->bytes + len, n->len - len, &code)) &&
               len + step + extension <= most)
            len += step;
        stem = len;
    }
    memcpy(out, n->bytes, stem);
    memcpy(out + stem, n->bytes + n->len - extension, extension);
    out[stem + extension] = 0;
}

/* n is UTF-8, except where its end was cut. `scratch` becomes the name without harmful characters. */
static void clean(const struct name *n, struct name *scratch, char *out, size_t room)
{
    size_t at = 0;
    for (size_t i = 0; i < n->len; i++) /* both are ASCII, which never occurs inside a UTF-8 character */
        if (n->bytes[i] == '/' || n->bytes[i] == '\\')
            at = i + 1;
    scratch->len = 0;
    for (unsigned step; at < n->len; at += step) {
        uint32_t code;
        if (!(step = char_len(n->bytes + at, n->len - at, &code)))
            break;
        if (!is_harmful(code) && !(code == ' ' && !scratch->len))
            for (unsigned i = 0; i < step; i++)
                name_add(scratch, n->bytes[at + i]);
    }
    while (scratch->len && scratch->bytes[scratch->len - 1] == ' ')
        scratch->len--;
    name_put(scratch, out, room);
    if (strcmp(out, ".") == 0 || strcmp(out, "..") == 0)
        out[0] = 0;
}

static bool plain_read(const struct text *at, struct name *n, struct name *scratch, char *out, size_t room)
{
    if (!at->p)
        return false;
    struct text t = *at;
    value_read(&t, n);
    plain_decode(n);
    clean(n, scratch, out, room);
    return out[0] != 0;
}

void disposition_name(const char *value, size_t len, char *out, size_t room)
{
    struct text t = {value, value + len};
    struct parameters ps = {0};
    struct name n, scratch;
    enum charset charset = CHARSET_UNKNOWN;
    const char *type_end = memchr(value, ';', len);
    bool is_type =
        !memchr(value, '=', type_end ? (size_t)(type_end - value) : len); /* some omit inline and attachment */
    while (is_type && t.p < t.end && *t.p != ';')
        t.p++;
    t.p += is_type && t.p < t.end;
    while (t.p < t.end) {
        parameter_read(&t, &ps, &scratch);
        t.p += t.p < t.end;
    }
    out[0] = 0;
    n.len = 0;
    bool is_extended = false;
    if (ps.extended.p) {
        t = ps.extended;
        value_read(&t, &n);
        is_extended = extended_decode(&n, &charset);
    }
    if (!is_extended && pieces_join(&ps, &n, &scratch))
        is_extended = true, charset = CHARSET_UTF8;
    if (is_extended && charset != CHARSET_UNKNOWN)
        clean(&n, &scratch, out, room);
    if (out[0] || plain_read(&ps.plain, &n, &scratch, out, room))
        return;
    if (is_extended && charset == CHARSET_UNKNOWN) { /* the best guess left */
        t = ps.extended;
        value_read(&t, &n);
        extended_decode(&n, &charset);
        clean(&n, &scratch, out, room);
    }
    if (!out[0] && !plain_read(&ps.name, &n, &scratch, out, room))
        plain_read(&ps.extended, &n, &scratch, out, room);
}
