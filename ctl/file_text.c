/* SPDX-License-Identifier: MIT */
/*
 * file_text.c - the first four bytes say what a file is. A byte order mark is
 * dropped; UTF-16 without one is known by the NULs of its first letters. What is
 * no text at all is said in a sentence that helps. What is read may hold
 * credentials: it is overwritten when it is done with.
 */
#include "ctl/file_text.h"

#include <string.h>

static void utf8_add(struct buf *out, uint32_t c)
{
    char text[4];
    size_t n = 0;
    if (c < 0x80) {
        text[n++] = (char)c;
    } else if (c < 0x800) {
        text[n++] = (char)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        text[n++] = (char)(0xe0 | c >> 12);
        text[n++] = (char)(0x80 | (c >> 6 & 0x3f));
    } else {
        text[n++] = (char)(0xf0 | c >> 18);
        text[n++] = (char)(0x80 | (c >> 12 & 0x3f));
        text[n++] = (char)(0x80 | (c >> 6 & 0x3f));
    }
    if (c >= 0x80)
        text[n++] = (char)(0x80 | (c & 0x3f));
    buf_add(out, text, n);
}

/* ---- UTF-16 ------------------------------------------------------------------------------------------------- */

#define REPLACEMENT 0xfffd

static void unit_take(struct file_text *t, uint32_t unit)
{
    bool is_low = unit >= 0xdc00 && unit < 0xe000, is_high = unit >= 0xd800 && unit < 0xdc00;
    if (t->high && is_low)
        utf8_add(&t->out, 0x10000 + ((t->high - 0xd800) << 10) + (unit - 0xdc00));
    else if (t->high || is_low)
        utf8_add(&t->out, REPLACEMENT);
    if (!is_low && !is_high)
        utf8_add(&t->out, unit);
    t->high = is_high ? unit : 0;
}

static void units_take(struct file_text *t, const unsigned char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!t->half) {
            t->half = data[i] + 1;
            continue;
        }
        uint32_t first = (uint32_t)t->half - 1, second = data[i];
        t->half = 0;
        unit_take(t, t->coding == TEXT_UTF16LE ? first | second << 8 : first << 8 | second);
    }
}

/* ---- the beginning ------------------------------------------------------------------------------------------ */

static bool begins(const struct file_text *t, const char *bytes, unsigned n)
{
    return t->n_head >= n && memcmp(t->head, bytes, n) == 0;
}

/* How many of the first bytes are no text. */
static unsigned coding_find(struct file_text *t)
{
    t->coding = TEXT_BYTES;
    if (begins(t, "PK\3\4", 4) || begins(t, "\xd0\xcf\x11\xe0", 4))
        t->why = "is a spreadsheet, not a text; save it as 'CSV UTF-8' and submit that";
    else if (begins(t, "\x1f\x8b", 2))
        t->why = "is compressed; unpack it first, as with: gunzip -c FILE | chasqui batch submit -";
    if (begins(t, "\xef\xbb\xbf", 3))
        return 3;
    bool is_le = begins(t, "\xff\xfe", 2), is_be = begins(t, "\xfe\xff", 2);
    if (is_le || (t->n_head >= 2 && t->head[0] && !t->head[1]))
        t->coding = TEXT_UTF16LE;
    else if (is_be || (t->n_head >= 2 && !t->head[0] && t->head[1]))
        t->coding = TEXT_UTF16BE;
    return is_le || is_be ? 2 : 0;
}

static void pass_on(struct file_text *t, const unsigned char *data, size_t len, text_fn *fn, void *arg)
{
    if (t->why || !len)
        return;
    if (t->coding == TEXT_BYTES) {
        fn(arg, (const char *)data, len);
        return;
    }
    units_take(t, data, len);
    if (t->out.len)
        fn(arg, t->out.data, t->out.len);
    buf_wipe(&t->out);
}

static void head_end(struct file_text *t, text_fn *fn, void *arg)
{
    unsigned skip = coding_find(t);
    pass_on(t, t->head + skip, t->n_head - skip, fn, arg);
}

void text_feed(struct file_text *t, const char *data, size_t len, text_fn *fn, void *arg)
{
    while (t->coding == TEXT_UNKNOWN && len) {
        t->head[t->n_head++] = (unsigned char)*data++;
        len--;
        if (t->n_head == sizeof(t->head))
            head_end(t, fn, arg);
    }
    pass_on(t, (const unsigned char *)data, len, fn, arg);
}

void text_end(struct file_text *t, text_fn *fn, void *arg)
{
    if (t->coding == TEXT_UNKNOWN)
        head_end(t, fn, arg);
}

void text_wipe(struct file_text *t)
{
    explicit_bzero(t->head, sizeof(t->head));
    buf_wipe(&t->out);
}

/* ---- Windows-1252 ------------------------------------------------------------------------------------------- */

bool text_from_1252(const char *bytes, struct buf *out)
{
    static const uint16_t c1[32] = {0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
                                    0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017d, 0,
                                    0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
                                    0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178};
    for (const unsigned char *p = (const unsigned char *)bytes; *p; p++) {
        uint32_t c = *p >= 0x80 && *p < 0xa0 ? c1[*p - 0x80] : *p;
        if (!c)
            return false;
        utf8_add(out, c);
    }
    buf_add(out, "", 1);
    return true;
}
