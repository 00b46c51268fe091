/* SPDX-License-Identifier: MIT */
/*
 * items.c - boundaries of JSON values. Must never read past the text's end. Must never mistake a quote inside a
 * string for its end. Must never leave a copy of an item behind, because it may hold credentials.
 */
#include "broker/items.h"

#include "common/clock.h"
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32
#define DEPTH_AROUND 2 /* the body and its array of items */

static const char *space_end(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* Returns the address after the string that begins at p; NULL when it does not end. */
static const char *string_end(const char *p, const char *end)
{
    for (p++; p < end; p++) {
        if (*p == '"')
            return p + 1;
        if (*p == '\\')
            p++;
    }
    return NULL;
}

/* Returns the address after the value that begins at p; NULL when it does not end, or there is none. *deepest =
 * its depth. */
static const char *value_end(const char *p, const char *end, unsigned *deepest)
{
    unsigned depth = 0;
    const char *first = p;
    *deepest = 0;
    while (p && p < end) {
        switch (*p) {
        case '"':
            p = string_end(p, end);
            if (!depth)
                return p;
            continue;
        case '[':
        case '{':
            if (++depth > *deepest)
                *deepest = depth;
            break;
        case ']':
        case '}':
            if (!depth)
                return p > first ? p : NULL; /* a number ends where its array does */
            if (!--depth)
                return p + 1;
            break;
        case ',':
        case ' ':
        case '\t':
        case '\n':
        case '\r':
            if (!depth)
                return p > first ? p : NULL;
            break;
        default:
            break;
        }
        p++;
    }
    return p && !depth && p > first ? p : NULL;
}

bool items_find(const char *text, size_t len, size_t *from, size_t *to)
{
    static const char wanted[] = "\"items\"";
    const char *end = text + len, *p = space_end(text, end);
    unsigned depth;
    if (p == end || *p != '{')
        return false;
    p = space_end(p + 1, end);
    while (p < end && *p == '"') {
        const char *key = p;
        p = string_end(p, end);
        bool is_items = p && (size_t)(p - key) == sizeof wanted - 1 && memcmp(key, wanted, sizeof wanted - 1) == 0;
        p = p ? space_end(p, end) : end;
        if (p == end || *p != ':')
            return false;
        const char *value = space_end(p + 1, end);
        p = value_end(value, end, &depth);
        if (!p)
            return false;
        if (is_items && *value == '[' && p[-1] == ']') {
            *from = (size_t)(value - text);
            *to = (size_t)(p - text);
            return true;
        }
        p = space_end(p, end);
        if (p == end || *p != ',')
            return false;
        p = space_end(p + 1, end);
    }
    return false;
}

/* `array` includes the brackets. */
static void items_begin(struct items *it, const char *array, size_t len)
{
    it->end = array + len - 1;
    it->at = space_end(array + 1, it->end);
}

enum items_next { ITEMS_ONE, ITEMS_END, ITEMS_BAD, ITEMS_DEEP };
/* Returns the next element, borrowed. ITEMS_DEEP: together with its object and array it is nested deeper than
 * 32. */
static enum items_next items_next(struct items *it, const char **item, size_t *len)
{
    unsigned depth;
    if (it->at == it->end)
        return ITEMS_END;
    const char *p = value_end(it->at, it->end, &depth);
    if (!p)
        return ITEMS_BAD;
    *item = it->at;
    *len = (size_t)(p - it->at);
    if (depth + DEPTH_AROUND > DEPTH_MAX)
        return ITEMS_DEEP;
    p = space_end(p, it->end);
    if (p < it->end && (*p != ',' || space_end(p + 1, it->end) == it->end))
        return ITEMS_BAD; /* two values without a comma, or a comma at the end */
    it->at = p < it->end ? space_end(p + 1, it->end) : p;
    return ITEMS_ONE;
}

/* ---- judging ------------------------------------------------------------------------------------------------ */

/* A key "items" written with escapes is found by the second reading. */
struct jv *judging_begin(struct judging *j, struct buf *text, enum jv_bad *why)
{
    size_t from, to;
    struct buf about = {0};
    struct jv *v;
    buf_adds(text, ""); /* it may be empty */
    j->text = *text;
    *text = (struct buf){0};
    if (!items_find(j->text.data, j->text.len, &from, &to)) {
        v = jv_parse(j->text.data, j->text.len, why);
        if (jv_type(jv_get(v, "items")) != JV_ARRAY)
            return v;
        buf_wipe(&j->text);
        j->text.data = jv_dump(v, &j->text.len);
        j->text.room = j->text.len + 1;
        jv_wipe(v);
        if (!items_find(j->text.data, j->text.len, &from, &to))
            return NULL;
    }
    items_begin(&j->left, j->text.data + from, to - from);
    buf_room(&j->lines, to - from);
    buf_add(&about, j->text.data, from);
    buf_adds(&about, "[]");
    buf_add(&about, j->text.data + to, j->text.len - to);
    v = jv_parse(about.data, about.len, why);
    buf_free(&about);
    return v;
}

enum judged judging_go(struct judging *j, uint64_t until_us, enum jv_bad *why)
{
    const char *item;
    size_t len;
    do {
        enum items_next next = items_next(&j->left, &item, &len);
        if (next == ITEMS_END)
            return JUDGED_GOOD;
        *why = next == ITEMS_DEEP ? JV_DEEP : JV_SYNTAX;
        struct jv *v = next == ITEMS_ONE ? jv_parse(item, len, why) : NULL;
        if (!v)
            return JUDGED_BAD;
        char *line = jv_dump(v, &len);
        buf_add(&j->lines, line, len);
        buf_add(&j->lines, "\n", 1);
        explicit_bzero(line, len);
        free(line);
        jv_wipe(v);
    } while (clock_us() < until_us);
    return JUDGED_MORE;
}

void judging_end(struct judging *j)
{
    buf_wipe(&j->text);
    buf_wipe(&j->lines);
}
