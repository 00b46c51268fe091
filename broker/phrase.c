/* SPDX-License-Identifier: MIT */
/* phrase.c - fills in the sentences of words.def. */
#include "broker/phrase.h"

#include "common/check.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const word_level_name[3] = {[WORD_OK] = "ok", [WORD_WARN] = "warn", [WORD_BAD] = "bad"};

const struct word_row word_table[WORD_COUNT] = {
#define WORD(symbol, code, level, en, es, todo, todo_es)                                                          \
    [WORD_##symbol] = {code, level, {en, es}, {todo, todo_es}},
#include "broker/words.def"
#undef WORD
};

/* 1204 -> 1,204 or 1.204 */
static void add_number(struct buf *out, int64_t n, enum language language)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRId64, n < 0 ? 0 : n);
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            buf_adds(out, language == SPANISH ? "." : ",");
        buf_add(out, &digits[i], 1);
    }
}

/* 12 s, 3 min, 2 h, 4 d: the same in both languages. */
static void add_time(struct buf *out, int64_t ms)
{
    int64_t s = ms > 0 ? ms / 1000 : 0;
    if (!s)
        buf_adds(out, "< 1 s");
    else if (s < 120)
        buf_addf(out, "%" PRId64 " s", s);
    else if (s < 120 * 60)
        buf_addf(out, "%" PRId64 " min", s / 60);
    else if (s < 48 * 3600)
        buf_addf(out, "%" PRId64 " h", s / 3600);
    else
        buf_addf(out, "%" PRId64 " d", s / 86400);
}

static bool is_name(const char *at, size_t len, const char *name)
{
    return strlen(name) == len && memcmp(at, name, len) == 0;
}

/* The text of a field, "" = it has none; NULL = no field of texts is called so. */
static const char *text_of(const char *at, size_t len, const struct phrase_args *a)
{
    static const char none[] = "";
    if (is_name(at, len, "who"))
        return a->who ? a->who : none;
    if (is_name(at, len, "why"))
        return a->why ? a->why : none;
    if (is_name(at, len, "how"))
        return a->how ? a->how : none;
    return NULL;
}

/* "... ({why})" without a cause: the parentheses go with it. `plain` is the text before the field, of `len` bytes. */
static bool is_empty_aside(const char *plain, size_t len, const struct phrase_args *a)
{
    const char *at = plain + len + 1;
    size_t name = strcspn(at, "}");
    if (len < 2 || memcmp(plain + len - 2, " (", 2) != 0 || at[name] != '}' || at[name + 1] != ')')
        return false;
    const char *text = text_of(at, name, a);
    return text && !*text;
}

/* Adds the value of the field between braces. */
static void add_field(struct buf *out, const char *at, size_t len, enum language language,
                      const struct phrase_args *a)
{
    const char *bar = memchr(at, '|', len);
    size_t name = bar ? (size_t)(bar - at) : len;
    const int64_t *number = is_name(at, name, "n")   ? &a->n
                            : is_name(at, name, "m") ? &a->m
                            : is_name(at, name, "k") ? &a->k
                                                     : NULL;
    if (bar) {
        const char *one = bar + 1, *end = at + len, *second = memchr(one, '|', (size_t)(end - one));
        CHECK(number && second, "field=%.*s", (int)len, at);
        if (*number == 1)
            buf_add(out, one, (size_t)(second - one));
        else
            buf_add(out, second + 1, (size_t)(end - second - 1));
    } else if (number) {
        add_number(out, *number, language);
    } else if (is_name(at, len, "time")) {
        add_time(out, a->time_ms);
    } else {
        const char *text = text_of(at, len, a);
        CHECK(text, "field=%.*s", (int)len, at);
        buf_adds(out, text);
    }
}

void phrase_fill(struct buf *out, const char *text, enum language language, const struct phrase_args *args)
{
    buf_adds(out, "");
    while (*text) {
        size_t plain = strcspn(text, "{");
        if (text[plain] && is_empty_aside(text, plain, args)) {
            buf_add(out, text, plain - 2);
            text += plain + strcspn(text + plain, "}") + 2;
            continue;
        }
        buf_add(out, text, plain);
        text += plain;
        if (!*text)
            break;
        size_t len = strcspn(text + 1, "}");
        add_field(out, text + 1, len, language, args);
        text += len + 2;
    }
}
