/*
 * jv.c - JSON by jansson, the strictest of the C parsers, made stricter: a
 * depth limit of ours, and \u0000 refused but told apart. Every block that
 * jansson frees is overwritten first, since any value may hold credentials;
 * JSON stands on no hot path. Memory that is out ends the process.
 */
#include "common/jv.h"

#include "common/buf.h"
#include "common/check.h"
#include "common/clock.h"
#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32
#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

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

/* Before the first value is made: every value begins in jv_parse, jv_copy or a jv_new_*. */
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

/* --- parsing ------------------------------------------------------------------ */

struct shape {
    bool is_deep, may_have_nul;
};

/* One pass over the text outside and inside of strings; wrong JSON gives a wrong shape, and jansson's refusal. */
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
        } else if (c == '[' || c == '{') {
            if (++depth > DEPTH_MAX)
                s.is_deep = true;
        } else if ((c == ']' || c == '}') && depth) {
            depth--;
        }
    }
    return s;
}

static bool has_nul(json_t *j)
{
    const char *key;
    json_t *member;
    size_t i;
    if (json_is_string(j))
        return strlen(json_string_value(j)) != json_string_length(j);
    json_array_foreach (j, i, member) {
        if (has_nul(member))
            return true;
    }
    json_object_foreach (j, key, member) {
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
    if (code == json_error_numeric_overflow)
        return JV_RANGE;
    return JV_SYNTAX;
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
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!j) {
        *why = bad_of(&error);
    } else if (shape.may_have_nul && has_nul(j)) {
        *why = JV_NUL;
        json_decref(j);
        j = NULL;
    }
    return out(j);
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
    case JV_RANGE:
        return "a number is out of range";
    }
    return "not JSON";
}

void jv_free(struct jv *v)
{
    json_decref(in(v));
}

/* Whatever jansson frees is overwritten; this name says at the call that it matters. */
void jv_wipe(struct jv *v)
{
    json_decref(in(v));
}

struct jv *jv_copy(const struct jv *v)
{
    ready();
    return out(json_deep_copy(in(v)));
}

/* --- reading -------------------------------------------------------------------- */

enum jv_type jv_type(const struct jv *v)
{
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
        return JV_STRING;
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
    return json_string_value(in(v));
}

size_t jv_str_len(const struct jv *v)
{
    return json_string_length(in(v));
}

bool jv_int(const struct jv *v, int64_t *n)
{
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

bool jv_is_empty_array(const struct jv *v)
{
    return jv_type(v) == JV_ARRAY && !jv_len(v);
}

bool jv_number(const struct jv *v, double *x)
{
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
    json_object_foreach (in(obj), key, member) {
        fn(arg, key, out(member));
    }
}

/* --- writing -------------------------------------------------------------------- */

/* Length of the UTF-8 sequence at s, 0 when it is not one (RFC 3629: no overlong forms, surrogates, > U+10FFFF) or
 * is NUL. */
static size_t utf8_length(const unsigned char *s, size_t len)
{
    size_t n = 0;
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

bool jv_text_ok(const char *s, size_t len)
{
    for (size_t i = 0, n; i < len; i += n) {
        n = utf8_length((const unsigned char *)s + i, len - i);
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
        size_t n = utf8_length((const unsigned char *)s + i, len - i);
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

/* Takes j. */
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
    json_object_foreach (in(over), key, member) {
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

static char *dump(const struct jv *v, size_t *len, size_t flags)
{
    char *text = v ? json_dumps(in(v), flags | JSON_ENCODE_ANY) : xstrdup("null");
    CHECK(text, "type=%d", (int)jv_type(v));
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
