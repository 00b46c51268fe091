/* SPDX-License-Identifier: MIT */
/*
 * jv.c - JSON by jansson, the strictest of the C parsers, made stricter: a depth limit of ours, and \u0000 is
 * refused with a reason of its own. Every block that jansson frees is overwritten first, because any value may
 * hold credentials. No hot path uses JSON. Running out of memory ends the process.
 *
 * Numbers stay as they were written. jansson would turn 0.1 into 0.10000000000000001 and 1e2 into 100.0, and
 * refuse integers beyond 64 bits. So a number that it would not write back unchanged is passed to it as a string
 * that begins with U+0000. No text can begin so (\u0000 is refused). jv_dump() removes the quotes again. All
 * callers see a number.
 */
#include "common/jv.h"

#include "common/buf.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/text.h"
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32
#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
#define AS_WRITTEN "\"\\u0000"     /* jansson's form of the beginning of a number kept as written */
#define PLAIN_DIGITS 18            /* any integer of so many digits fits into 64 bits */

static void *jansson_malloc(size_t size)
{
    return xmalloc(size);
}

static void jansson_free(void *p)
{
    if (p)
        explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

static void set_allocators(void)
{
    json_set_alloc_funcs(jansson_malloc, jansson_free);
}

/* Called before the first value is made: every value begins in jv_parse, jv_copy or a jv_new_*. */
static void ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_allocators);
}

static json_t *in(const struct jv *v)
{
    return (json_t *)v;
}

static struct jv *out(json_t *j)
{
    return (struct jv *)j;
}

/* --- parsing ------------------------------------------------------------------------------------------------- */

struct shape {
    bool is_deep, may_have_nul;
    bool has_numbers; /* numbers that jansson would not write back unchanged */
};

static size_t digits(const char *s, size_t len)
{
    size_t n = 0;
    while (n < len && isdigit((unsigned char)s[n]))
        n++;
    return n;
}

/* Length of the number at s (RFC 8259, 6), 0 when it is not a number. *is_plain: jansson writes it back
 * unchanged. */
static size_t number_length(const char *s, size_t len, bool *is_plain)
{
    size_t at = len && s[0] == '-', n = digits(s + at, len - at);
    if (!n || (n > 1 && s[at] == '0'))
        return 0;
    *is_plain = n <= PLAIN_DIGITS && !(at && s[at] == '0');
    at += n;
    if (at < len && s[at] == '.') {
        n = digits(s + at + 1, len - at - 1);
        if (!n)
            return 0;
        at += 1 + n;
        *is_plain = false;
    }
    if (at < len && (s[at] == 'e' || s[at] == 'E')) {
        size_t sign = at + 1 < len && (s[at + 1] == '+' || s[at + 1] == '-');
        n = digits(s + at + 1 + sign, len - at - 1 - sign);
        if (!n)
            return 0;
        at += 1 + sign + n;
        *is_plain = false;
    }
    return at < len && (isalnum((unsigned char)s[at]) || strchr("+-.", s[at])) ? 0 : at;
}

/* Scans the text once, outside and inside of strings. Invalid JSON yields a meaningless shape, which jansson then
 * refuses. */
static struct shape scan(const char *text, size_t len)
{
    struct shape s = {0};
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') {
                i++;
                if (len - i >= 5 && memcmp(text + i, "u0000", 5) == 0)
                    s.may_have_nul = true;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '-' || isdigit((unsigned char)c)) {
            bool is_plain;
            size_t n = number_length(text + i, len - i, &is_plain);
            s.has_numbers |= n && !is_plain;
            i += n ? n - 1 : 0;
        } else if (c == '[' || c == '{') {
            if (++depth > DEPTH_MAX)
                s.is_deep = true;
        } else if ((c == ']' || c == '}') && depth) {
            depth--;
        }
    }
    return s;
}

/* Copies the text with such numbers as strings. */
static void numbers_quote(struct buf *b, const char *text, size_t len)
{
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool is_plain = true;
        size_t n = in_string || (c != '-' && !isdigit((unsigned char)c))
                       ? 0
                       : number_length(text + i, len - i, &is_plain);
        if (n && !is_plain) {
            buf_adds(b, AS_WRITTEN);
            buf_add(b, text + i, n);
            buf_adds(b, "\"");
        } else {
            buf_add(b, text + i, n ? n : 1);
        }
        if (in_string && c == '\\' && i + 1 < len)
            buf_add(b, text + ++i, 1);
        else if (c == '"')
            in_string = !in_string;
        i += n ? n - 1 : 0;
    }
}

static bool has_nul(json_t *j)
{
    const char *key;
    json_t *member;
    size_t i;
    if (json_is_string(j))
        return strlen(json_string_value(j)) != json_string_length(j);
    json_array_foreach(j, i, member) {
        if (has_nul(member))
            return true;
    }
    json_object_foreach(j, key, member) {
        if (has_nul(member))
            return true;
    }
    return false;
}

static enum jv_bad bad_of(const json_error_t *e)
{
    enum json_error_code code = json_error_code(e);
    if (code == json_error_invalid_utf8)
        return JV_UTF8;
    if (code == json_error_duplicate_key)
        return JV_DUPLICATE;
    if (code == json_error_null_character || code == json_error_null_byte_in_key)
        return JV_NUL;
    if (code == json_error_stack_overflow)
        return JV_DEEP;
    return JV_SYNTAX;
}

static json_t *load(const char *text, size_t len, json_error_t *error)
{
    return json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, error);
}

/* A number in place of a key becomes a key with U+0000 for jansson; it is not JSON. */
static json_t *load_as_written(const char *text, size_t len, enum jv_bad *why)
{
    json_error_t error;
    struct buf quoted = {0};
    numbers_quote(&quoted, text, len);
    json_t *j = load(quoted.data, quoted.len, &error);
    if (!j)
        *why = bad_of(&error) == JV_NUL ? JV_SYNTAX : bad_of(&error);
    buf_wipe(&quoted);
    return j;
}

/* Called for a text that may hold \u0000. Returns what is wrong with the text, if anything. */
static enum jv_bad judge_nul(const char *text, size_t len)
{
    json_error_t error;
    enum jv_bad why = JV_FINE;
    json_t *j = load(text, len, &error);
    if (!j)
        why = bad_of(&error);
    else if (has_nul(j))
        why = JV_NUL;
    json_decref(j);
    return why;
}

struct jv *jv_parse(const char *text, size_t len, enum jv_bad *why)
{
    json_error_t error;
    ready();
    *why = JV_FINE;
    struct shape shape = scan(text, len);
    if (shape.is_deep) {
        *why = JV_DEEP;
        return NULL;
    }
    if (shape.may_have_nul)
        *why = judge_nul(text, len);
    if (*why)
        return NULL;
    if (shape.has_numbers)
        return out(load_as_written(text, len, why));
    json_t *j = load(text, len, &error);
    if (!j)
        *why = bad_of(&error);
    return out(j);
}

struct jv *jv_parse_mended(const char *text, size_t len, enum jv_bad *why)
{
    struct jv *v = NULL;
    *why = JV_SYNTAX;
    if (len)
        v = jv_parse(text, len, why);
    if (v || !len || (*why != JV_SYNTAX && *why != JV_UTF8 && *why != JV_NUL))
        return v;
    struct buf mended = {0};
    text_mend_json(&mended, text, len);
    v = jv_parse(mended.data, mended.len, why);
    buf_wipe(&mended);
    return v;
}

const char *jv_bad_text(enum jv_bad why)
{
    switch (why) {
    case JV_FINE:
        return "fine";
    case JV_SYNTAX:
        return "not JSON";
    case JV_UTF8:
        return "not UTF-8";
    case JV_DUPLICATE:
        return "a key is given twice";
    case JV_DEEP:
        return "nested deeper than 32";
    case JV_NUL:
        return "a string holds \\u0000";
    }
    return "not JSON";
}

void jv_free(struct jv *v)
{
    json_decref(in(v));
}

/* jansson overwrites all it frees; the name of this function shows at the call that it matters. */
void jv_wipe(struct jv *v)
{
    json_decref(in(v));
}

struct jv *jv_copy(const struct jv *v)
{
    ready();
    return out(json_deep_copy(in(v)));
}

/* --- reading ------------------------------------------------------------------------------------------------- */

/* Returns NULL unless v is a number kept as written. */
static const char *as_written(const struct jv *v)
{
    return json_string_length(in(v)) && !json_string_value(in(v))[0] ? json_string_value(in(v)) + 1 : NULL;
}

enum jv_type jv_type(const struct jv *v)
{
    int64_t n;
    if (!v)
        return JV_ABSENT;
    switch (json_typeof(in(v))) {
    case JSON_NULL:
        return JV_NULL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JV_BOOL;
    case JSON_INTEGER:
        return JV_INT;
    case JSON_REAL:
        return JV_REAL;
    case JSON_STRING:
        return !as_written(v) ? JV_STRING : jv_int(v, &n) ? JV_INT : JV_REAL;
    case JSON_ARRAY:
        return JV_ARRAY;
    case JSON_OBJECT:
        return JV_OBJECT;
    }
    return JV_ABSENT;
}

struct jv *jv_get(const struct jv *obj, const char *key)
{
    return out(json_object_get(in(obj), key));
}

const char *jv_str(const struct jv *v)
{
    return as_written(v) ? NULL : json_string_value(in(v));
}

size_t jv_str_len(const struct jv *v)
{
    return as_written(v) ? 0 : json_string_length(in(v));
}

bool jv_int(const struct jv *v, int64_t *n)
{
    const char *text = as_written(v);
    char *end;
    if (text) {
        errno = 0;
        *n = strtoll(text, &end, 10);
        return !errno && !*end;
    }
    if (!json_is_integer(in(v)))
        return false;
    *n = json_integer_value(in(v));
    return true;
}

bool jv_id(const struct jv *v, uint64_t *out)
{
    int64_t n = 0;
    const char *digits = jv_str(v);
    if (digits) {
        size_t len = jv_str_len(v);
        if (len < 1 || len > 19 || strspn(digits, "0123456789") != len)
            return false;
        errno = 0;
        n = strtoll(digits, NULL, 10);
        if (errno)
            return false;
    } else if (!jv_int(v, &n)) {
        return false;
    }
    if (n < 1)
        return false;
    *out = (uint64_t)n;
    return true;
}

bool jv_equal(const struct jv *a, const struct jv *b)
{
    return json_equal(in(a), in(b));
}

bool jv_is_begun(const char *text, size_t len)
{
    size_t depth = 0;
    bool is_string = false;
    for (size_t i = 0; i < len; i++) {
        if (is_string) {
            i += text[i] == '\\';
            is_string = i >= len || text[i] != '"';
        } else if (text[i] == '"') {
            is_string = true;
        } else if (text[i] == '{' || text[i] == '[') {
            depth++;
        } else if (text[i] == '}' || text[i] == ']') {
            if (!depth || !--depth)
                return false;
        } else if (!depth && !memchr(" \t\r\n", text[i], 4)) {
            return false;
        }
    }
    return depth > 0;
}

bool jv_is_empty_array(const struct jv *v)
{
    return jv_type(v) == JV_ARRAY && !jv_len(v);
}

bool jv_number(const struct jv *v, double *x)
{
    const char *text = as_written(v);
    if (text) {
        *x = strtod(text, NULL);
        return isfinite(*x);
    }
    if (!json_is_number(in(v)))
        return false;
    *x = json_number_value(in(v));
    return true;
}

bool jv_bool(const struct jv *v, bool *b)
{
    if (!json_is_boolean(in(v)))
        return false;
    *b = json_is_true(in(v));
    return true;
}

size_t jv_len(const struct jv *v)
{
    return json_is_array(in(v)) ? json_array_size(in(v)) : json_object_size(in(v));
}

struct jv *jv_at(const struct jv *arr, size_t i)
{
    return out(json_array_get(in(arr), i));
}

void jv_each(const struct jv *obj, void (*fn)(void *arg, const char *key, struct jv *v), void *arg)
{
    const char *key;
    json_t *member;
    json_object_foreach(in(obj), key, member) {
        fn(arg, key, out(member));
    }
}

/* --- writing ------------------------------------------------------------------------------------------------- */

bool jv_text_ok(const char *s, size_t len)
{
    for (size_t i = 0, n; i < len; i += n) {
        n = text_char(s + i, len - i);
        if (!n)
            return false;
    }
    return true;
}

static json_t *string_of(const char *s, size_t len)
{
    if (!memchr(s, '\0', len)) {
        json_t *j = json_stringn(s, len);
        if (j)
            return j;
    }
    struct buf clean = {0};
    buf_adds(&clean, "");
    for (size_t i = 0; i < len;) {
        size_t n = text_char(s + i, len - i);
        buf_add(&clean, n ? s + i : REPLACEMENT, n ? n : strlen(REPLACEMENT));
        i += n ? n : 1;
    }
    json_t *j = json_stringn(clean.data, clean.len);
    CHECK(j, "len=%zu", clean.len);
    buf_wipe(&clean);
    return j;
}

struct jv *jv_new_object(void)
{
    ready();
    return out(json_object());
}

struct jv *jv_new_array(void)
{
    ready();
    return out(json_array());
}

/* Takes ownership of j. */
static void set(struct jv *obj, const char *key, json_t *j)
{
    int rc = json_object_set_new(in(obj), key, j);
    CHECK(rc == 0, "key=%s type=%d", key, (int)jv_type(obj));
}

static void push(struct jv *arr, json_t *j)
{
    int rc = json_array_append_new(in(arr), j);
    CHECK(rc == 0, "type=%d", (int)jv_type(arr));
}

void jv_set(struct jv *obj, const char *key, struct jv *v)
{
    set(obj, key, v ? in(v) : json_null());
}

void jv_set_str(struct jv *obj, const char *key, const char *s)
{
    set(obj, key, s ? string_of(s, strlen(s)) : json_null());
}

void jv_set_strn(struct jv *obj, const char *key, const char *s, size_t len)
{
    set(obj, key, s ? string_of(s, len) : json_null());
}

void jv_set_int(struct jv *obj, const char *key, int64_t n)
{
    set(obj, key, json_integer(n));
}

struct jv *jv_new_real(double x)
{
    ready();
    json_t *j = json_real(x);
    CHECK(j, "x=%g", x);
    return out(j);
}

void jv_set_real(struct jv *obj, const char *key, double x)
{
    jv_set(obj, key, jv_new_real(x));
}

void jv_set_bool(struct jv *obj, const char *key, bool b)
{
    set(obj, key, json_boolean(b));
}

void jv_set_time(struct jv *obj, const char *key, int64_t unix_ms)
{
    char text[CLOCK_TEXT_BYTES];
    jv_set_str(obj, key, unix_ms ? clock_text(unix_ms, text) : NULL);
}

void jv_merge(struct jv *obj, const struct jv *over)
{
    const char *key;
    json_t *member;
    json_object_foreach(in(over), key, member) {
        set(obj, key, json_deep_copy(member)); /* never shared: each value has one owner */
    }
}

void jv_push(struct jv *arr, struct jv *v)
{
    push(arr, v ? in(v) : json_null());
}

void jv_push_str(struct jv *arr, const char *s)
{
    push(arr, s ? string_of(s, strlen(s)) : json_null());
}

void jv_push_int(struct jv *arr, int64_t n)
{
    push(arr, json_integer(n));
}

/* Removes the quotes of numbers, in place. A quote followed by \u0000 occurs nowhere else: no string holds
 * U+0000. */
static void numbers_unquote(char *text)
{
    char *from = strstr(text, AS_WRITTEN), *to = from, *end = from ? from + strlen(from) : NULL;
    while (from) {
        from += strlen(AS_WRITTEN);
        size_t n = strcspn(from, "\"");
        memmove(to, from, n);
        to += n;
        from += n + 1;
        char *next = strstr(from, AS_WRITTEN);
        n = next ? (size_t)(next - from) : strlen(from) + 1;
        memmove(to, from, n);
        to += n;
        from = next;
    }
    if (end)
        explicit_bzero(to, (size_t)(end - to));
}

static char *dump(const struct jv *v, size_t *len, size_t flags)
{
    char *text = v ? json_dumps(in(v), flags | JSON_ENCODE_ANY) : xstrdup("null");
    CHECK(text, "type=%d", (int)jv_type(v));
    numbers_unquote(text);
    if (len)
        *len = strlen(text);
    return text;
}

char *jv_dump(const struct jv *v, size_t *len)
{
    return dump(v, len, JSON_COMPACT);
}

char *jv_dump_measured(const struct jv *v, size_t *len)
{
    return dump(v, len, JSON_COMPACT | JSON_REAL_PRECISION(6));
}
