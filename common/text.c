/* SPDX-License-Identifier: MIT */
/*
 * text.c - makes texts storable in a column. Owns nothing. Never refuses: any input yields a storable output.
 */
#include "common/text.h"

#include "common/id.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"
#define SESSION_ID_MAX 100

size_t text_char(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t n = 0;
    if (!len)
        return 0;
    if (s[0] >= 0x01 && s[0] < 0x80)
        n = 1;
    else if (s[0] >= 0xc2 && s[0] < 0xe0)
        n = 2;
    else if (s[0] >= 0xe0 && s[0] < 0xf0)
        n = 3;
    else if (s[0] >= 0xf0 && s[0] < 0xf5)
        n = 4;
    if (n > len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

static bool is_control(const char *s, size_t n)
{
    unsigned char c = (unsigned char)s[0];
    return (n == 1 && (c < 0x20 || c == 0x7f)) || (n == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

/* Length of an ill-formed byte run: the first byte, and the bytes that would have continued it (Unicode 15,
 * section 3.9, "maximal subpart", simplified: a cut character gives one replacement). */
static size_t ill_formed(const char *in, size_t len)
{
    unsigned char c = (unsigned char)in[0];
    size_t want = c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 && c < 0xe0 ? 2 : 1, n = 1;
    while (n < want && n < len && ((unsigned char)in[n] & 0xc0) == 0x80)
        n++;
    return n < want ? n : 1; /* a complete but invalid run (overlong, surrogate): byte by byte */
}

void text_clean(char *out, size_t room, const char *in, size_t len, size_t most)
{
    size_t used = 0, at = 0, count = 0;
    while (in && at < len && count < most) {
        size_t n = text_char(in + at, len - at), add = n ? n : sizeof(REPLACEMENT) - 1;
        const char *from = n ? in + at : REPLACEMENT;
        if (!n && !in[at]) { /* NUL is treated as a control character */
            at++;
            continue;
        }
        at += n ? n : ill_formed(in + at, len - at);
        if (n && is_control(from, n))
            continue;
        if (used + add + 1 > room)
            break;
        memmove(out + used, from, add);
        used += add;
        count++;
    }
    if (room)
        out[used] = 0;
}

void text_clean_in_place(char *text, size_t room, size_t most)
{
    struct buf copy = {0};
    buf_adds(&copy, text);
    text_clean(text, room, copy.data, copy.len, most);
    buf_free(&copy);
}

/* ---- tokens ------------------------------------------------------------------------------------------------- */

static bool is_utf8(const char *s, size_t len)
{
    for (size_t i = 0, n; i < len; i += n)
        if (!(n = text_char(s + i, len - i)))
            return false;
    return true;
}

static bool is_plain_token(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] < 0x20 || s[i] >= 0x7f)
            return false;
    return len >= 1 && len < TEXT_TOKEN_BYTES && s[0] != ' ' && s[len - 1] != ' ' && s[0] != '~';
}

void text_token(char out[TEXT_TOKEN_BYTES], const char *in, size_t len)
{
    uint8_t hash[32];
    struct buf wide = {0};
    out[0] = 0;
    if (!in || !len)
        return;
    if (is_plain_token(in, len)) {
        memcpy(out, in, len);
        out[len] = 0;
        return;
    }
    bool is_latin1 = !is_utf8(in, len);
    for (size_t i = 0; is_latin1 && i < len; i++) {
        unsigned char c = (unsigned char)in[i];
        char two[2] = {(char)(c >= 0xc0 ? 0xc3 : 0xc2), (char)(0x80 | (c & 0x3f))};
        buf_add(&wide, c < 0x80 ? in + i : two, c < 0x80 ? 1 : 2);
    }
    id_sha256(is_latin1 ? wide.data : in, is_latin1 ? wide.len : len, hash);
    buf_free(&wide);
    out[0] = '~';
    id_hex(hash, 20, out + 1);
}

bool text_session_id_ok(const char *id)
{
    size_t n = id ? strlen(id) : 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)id[i] <= 0x20 || (unsigned char)id[i] >= 0x7f || strchr("/\\%?#", id[i]))
            return false;
    return n >= 1 && n <= SESSION_ID_MAX && strcmp(id, ".") != 0 && strcmp(id, "..") != 0;
}

/* ---- JSON --------------------------------------------------------------------------------------------------- */

/* Returns the code unit of \uXXXX at s; -1 when there is none. */
static int unit_of(const char *s, size_t len)
{
    int code = 0;
    if (len < 6 || s[0] != '\\' || s[1] != 'u')
        return -1;
    for (unsigned i = 2; i < 6; i++) {
        char c = s[i];
        int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
        if (digit < 0)
            return -1;
        code = code << 4 | digit;
    }
    return code;
}

static size_t escape_mend(struct buf *out, const char *in, size_t len)
{
    int unit = unit_of(in, len), low = unit >= 0xd800 && unit < 0xdc00 ? unit_of(in + 6, len - 6) : -1;
    if (unit == 0)
        return 6;
    if (low >= 0xdc00 && low < 0xe000) {
        buf_add(out, in, 12);
        return 12;
    }
    if (unit >= 0xd800 && unit < 0xe000) {
        buf_adds(out, REPLACEMENT);
        return 6;
    }
    size_t n = len < 2 || !text_char(in + 1, 1) || (unsigned char)in[1] < 0x20 ? 1 : 2;
    buf_add(out, in, n);
    return n;
}

/* Length of a float that JSON cannot express, as Python writes it; 0 = none. Outside of strings only. */
static size_t no_number(const char *in, size_t len)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (len >= strlen(words[i]) && memcmp(in, words[i], strlen(words[i])) == 0)
            return strlen(words[i]);
    return 0;
}

void text_mend_json(struct buf *out, const char *in, size_t len)
{
    size_t at = len >= 3 && memcmp(in, "\xef\xbb\xbf", 3) == 0 ? 3 : 0, word;
    bool is_string = false;
    buf_adds(out, "");
    while (at < len) {
        size_t n = text_char(in + at, len - at);
        unsigned char c = (unsigned char)in[at];
        is_string ^= c == '"'; /* a quote after a backslash was consumed with it */
        if (!is_string && (word = no_number(in + at, len - at))) {
            buf_adds(out, "null");
            at += word;
        } else if (c == '\\') {
            at += escape_mend(out, in + at, len - at);
        } else if (c < 0x20) {
            if (c == '\t' || c == '\n' || c == '\r')
                buf_adds(out, " ");
            at++;
        } else if (n) {
            buf_add(out, in + at, n);
            at += n;
        } else {
            buf_adds(out, REPLACEMENT);
            at += ill_formed(in + at, len - at);
        }
    }
}
