/* SPDX-License-Identifier: MIT */
/* plain.c - C.UTF-8 says what can be printed; the rest is written down. */
#include "ctl/plain.h"

#include "common/buf.h"
#include "common/check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define CHARACTER_BYTES 4

static bool read_one(const char *text, wchar_t *wide, size_t *bytes)
{
    mbstate_t state = {0};
    *bytes = mbrtowc(wide, text, strnlen(text, CHARACTER_BYTES), &state);
    if (*bytes != (size_t)-1 && *bytes != (size_t)-2 && *bytes != 0)
        return true;
    *bytes = 1;
    return false;
}

bool plain_character(const char *text, size_t *bytes, int *columns)
{
    wchar_t wide;
    *columns = read_one(text, &wide, bytes) ? wcwidth(wide) : -1;
    if (*columns >= 0)
        return true;
    *columns = 1;
    return false;
}

static void write_down(struct buf *out, const char *text)
{
    wchar_t wide;
    size_t bytes;
    bool is_control = read_one(text, &wide, &bytes) && (wide < 0x20 || (wide >= 0x7f && wide < 0xa0));
    if (!is_control)
        buf_adds(out, "?");
    else if (wide == '\n')
        buf_adds(out, "\\n");
    else if (wide == '\r')
        buf_adds(out, "\\r");
    else if (wide == '\t')
        buf_adds(out, "\\t");
    else
        buf_addf(out, "\\x%02x", (unsigned)wide);
}

char *plain_text(const char *text)
{
    struct buf out = {0};
    size_t bytes;
    int columns;
    buf_adds(&out, "");
    for (; *text; text += bytes)
        if (plain_character(text, &bytes, &columns))
            buf_add(&out, text, bytes);
        else
            write_down(&out, text);
    return buf_take(&out, NULL);
}

void plain_line(FILE *out, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    CHECK(vasprintf(&text, fmt, ap) >= 0, "%s", fmt);
    va_end(ap);
    char *plain = plain_text(text);
    fprintf(out, "%s\n", plain);
    free(plain);
    free(text);
}

void plain_json(FILE *out, const char *json, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)json[i], next = i + 1 < len ? (unsigned char)json[i + 1] : 0;
        if (byte == 0x7f) {
            fputs("\\u007f", out);
        } else if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {
            fprintf(out, "\\u%04x", next);
            i++;
        } else {
            fputc(byte, out);
        }
    }
    fputc('\n', out);
}
