/* SPDX-License-Identifier: MIT */
/* fold.c - counts one column for every byte that begins a UTF-8 character; our texts hold no wide characters. */
#include "common/fold.h"

#include <stdbool.h>
#include <string.h>

#define SPACE " \n"

static size_t prose_word(const char *text)
{
    return strcspn(text, SPACE);
}

static int columns(const char *text, size_t len)
{
    int n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

void fold(FILE *out, const char *text, int indent, int at, fold_word_fn *word)
{
    bool is_first = true;
    for (text += strspn(text, SPACE); *text; text += strspn(text, SPACE)) {
        size_t len = word ? word(text) : prose_word(text);
        int width = columns(text, len);
        if (!is_first && at + 1 + width > FOLD_COLUMNS) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
        } else if (!is_first) {
            fputc(' ', out);
            at++;
        }
        fprintf(out, "%.*s", (int)len, text);
        at += width;
        text += len;
        is_first = false;
    }
    fputc('\n', out);
}
