/* SPDX-License-Identifier: MIT */
/* csv_out.c - writing comma separated values. They hold words of robots: no text may become a formula. */
#include "ctl/csv_out.h"

#include "ctl/broker.h"

#include <string.h>

static void field_print(FILE *out, const char *text, bool is_text)
{
    bool is_formula = is_text && *text && strchr("=+-@\t\r", *text);
    if (!is_formula && !strpbrk(text, "\",;\r\n")) {
        fputs(text, out);
        return;
    }
    fputs(is_formula ? "\"'" : "\"", out);
    for (; *text; text++) {
        if (*text == '"')
            putc('"', out);
        putc(*text, out);
    }
    putc('"', out);
}

void csv_head(FILE *out, const char *const *keys)
{
    fputs("\xef\xbb\xbf", out); /* a byte order mark: else spreadsheets take it for an older character set */
    for (unsigned k = 0; keys[k]; k++)
        fprintf(out, "%s%s", k ? "," : "", keys[k]);
    fputs("\r\n", out);
}

void csv_rows(FILE *out, const struct jv *list, const char *const *keys)
{
    char room[TEXT_ROOM];
    for (size_t i = 0; i < jv_len(list); i++) {
        for (unsigned k = 0; keys[k]; k++) {
            const struct jv *v = jv_get(jv_at(list, i), keys[k]);
            const char *text = broker_text(jv_at(list, i), keys[k], room);
            if (k)
                putc(',', out);
            field_print(out, text ? text : "", jv_type(v) == JV_STRING);
        }
        fputs("\r\n", out);
    }
}

void csv_print(FILE *out, const struct jv *list, const char *const *keys)
{
    csv_head(out, keys);
    csv_rows(out, list, keys);
}
