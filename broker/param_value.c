/* SPDX-License-Identifier: MIT */
/*
 * param_value.c - single values that clients write: an id, a name, a number, a media type, a callback. Pure, like
 * params.c. Says whether a value is good, never why.
 */
#include "broker/params.h"

#include "common/url.h"

#include <string.h>
#include <strings.h>

#define PORTAL_BYTES_MAX 64
#define DEADLINE_MIN_MS 100
#define DEADLINE_MAX_MS 150000
#define KEY_BYTES_MAX 255
#define URL_BYTES_MAX 500
#define ERROR_BYTES_MAX 64
#define ROBOT_ERROR_BYTES_MAX 256

/* At least one and at most `max` characters from `first` to '~'. */
static bool is_ascii(struct str s, char first, size_t max)
{
    if (s.len < 1 || s.len > max)
        return false;
    for (uint32_t i = 0; i < s.len; i++)
        if (s.p[i] < first || s.p[i] >= 0x7f)
            return false;
    return true;
}

static bool is_plain(struct str s, size_t max)
{
    if (!is_ascii(s, '!', max))
        return false;
    for (uint32_t i = 0; i < s.len; i++)
        if (strchr("/\\%?#", s.p[i]))
            return false;
    return true;
}

bool session_id_ok(struct str s)
{
    return is_plain(s, SESSION_ID_BYTES_MAX);
}

bool file_token_ok(struct str s)
{
    return is_plain(s, FILE_TOKEN_BYTES_MAX) && !str_is(s, ".") && !str_is(s, "..");
}

static bool is_of(struct str s, const char *letters, size_t max)
{
    if (s.len < 1 || s.len > max)
        return false;
    for (uint32_t i = 0; i < s.len; i++)
        if (!s.p[i] || !strchr(letters, s.p[i]))
            return false;
    return true;
}

bool worker_name_ok(struct str s)
{
    return is_of(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", 64);
}

bool portal_ok(struct str s)
{
    return is_of(s, "abcdefghijklmnopqrstuvwxyz0123456789_", PORTAL_BYTES_MAX);
}

bool decimal_read(struct str s, uint64_t min, uint64_t *out)
{
    uint64_t n = 0;
    if (s.len < 1 || s.len > 19)
        return false;
    for (uint32_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(s.p[i] - '0');
    }
    *out = n;
    return n >= min && n <= INT64_MAX;
}

bool deadline_read(const char *text, uint64_t *ms)
{
    return decimal_read(str_of(text), DEADLINE_MIN_MS, ms) && *ms <= DEADLINE_MAX_MS;
}

bool traceparent_ok(const char *s)
{
    static const char form[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
    if (strlen(s) != sizeof form - 1 || strncmp(s, "ff", 2) == 0)
        return false;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == '-' ? s[i] != '-' : !strchr("0123456789abcdef", s[i]))
            return false;
    return strspn(s + 3, "0") < 32 && strspn(s + 36, "0") < 16;
}

/* Whether a charset's bytes are UTF-8. ASCII is a subset of it. */
static bool is_utf8_charset(const char *value, size_t len)
{
    static const char *const names[] = {"utf-8", "utf8", "us-ascii", "ascii"};
    if (len >= 2 && (*value == '"' || *value == '\'') && value[len - 1] == *value) {
        value++;
        len -= 2;
    }
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (len == strlen(names[i]) && strncasecmp(value, names[i], len) == 0)
            return true;
    return false;
}

/* Whether it is the wanted type. Any parameters are allowed, but a charset must mean UTF-8. */
static bool is_type(const char *type, const char *wanted)
{
    if (!type || strncasecmp(type, wanted, strlen(wanted)) != 0)
        return false;
    type += strlen(wanted);
    type += strspn(type, " \t");
    while (*type) {
        if (*type++ != ';')
            return false;
        type += strspn(type, " \t");
        size_t len = strcspn(type, ";"), end = len;
        while (end && (type[end - 1] == ' ' || type[end - 1] == '\t'))
            end--;
        if (end >= 8 && strncasecmp(type, "charset=", 8) == 0 && !is_utf8_charset(type + 8, end - 8))
            return false;
        type += len;
    }
    return true;
}

bool is_json_type(const char *type)
{
    return is_type(type, "application/json");
}

bool is_ndjson_type(const char *type)
{
    return is_type(type, "application/x-ndjson") || is_type(type, "application/ndjson") ||
           is_type(type, "application/jsonl");
}

bool idempotency_key_ok(struct str s)
{
    return is_ascii(s, ' ', KEY_BYTES_MAX);
}

bool callback_url_ok(struct str url, const char *allow)
{
    char text[URL_BYTES_MAX + 1];
    if (!is_ascii(url, '!', URL_BYTES_MAX))
        return false;
    str_copy(text, sizeof text, url);
    return url_is_allowed(allow, text);
}

bool error_ok(struct str s)
{
    return is_of(s, "abcdefghijklmnopqrstuvwxyz_", ERROR_BYTES_MAX);
}

/* A robot's own code: any text of one line. */
bool robot_error_ok(struct str s)
{
    return s.len && s.len <= ROBOT_ERROR_BYTES_MAX && jv_text_ok(s.p, s.len);
}
