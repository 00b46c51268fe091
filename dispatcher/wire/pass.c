/* SPDX-License-Identifier: MIT */
/*
 * pass.c - decides which requests are passed on to robots unchanged, and in what form. Pure.
 *
 * A path is judged in every way that a server in front of a robot could read it: decoded repeatedly until nothing
 * is left to decode, and without the parameters that some servers cut from a segment. The path itself is passed on
 * as received.
 */
#include "dispatcher/wire/pass.h"

#include "common/check.h"
#include "common/url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_printable(struct str s)
{
    for (uint32_t i = 0; i < s.len; i++)
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    return true;
}

static char *text_of(struct str s)
{
    char *text = xmalloc(s.len + 1);
    str_copy(text, s.len + 1, s);
    return text;
}

static char *header_of(const char *name, struct str value)
{
    struct buf line = {0};
    size_t len;
    buf_addf(&line, "%s: %.*s", name, (int)value.len, value.p);
    return buf_take(&line, &len);
}

static bool is_method(struct str s)
{
    static const char *const known[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
        if (str_is(s, known[i]))
            return true;
    return false;
}

static bool has_bad_byte(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s > '~' || *s == '#')
            return true;
    return false;
}

struct pass *pass_new(const struct msg_REQUEST *m)
{
    if (!is_method(m->method) || !is_printable(m->content_type) || !is_printable(m->accept) ||
        !is_printable(m->accept_language))
        return NULL;
    struct pass *p = xcalloc(1, sizeof(*p));
    unsigned n = 0;
    p->method = text_of(m->method);
    p->path = text_of(m->path);
    p->query = text_of(m->query);
    p->content_type = text_of(m->content_type);
    if (m->accept.len)
        p->header[n++] = header_of("Accept", m->accept);
    if (m->accept_language.len)
        p->header[n++] = header_of("Accept-Language", m->accept_language);
    if (!has_bad_byte(p->path) && !has_bad_byte(p->query) && !strchr(p->path, '?'))
        return p;
    pass_free(p);
    return NULL;
}

void pass_free(struct pass *p)
{
    if (!p)
        return;
    for (unsigned i = 0; p->header[i]; i++)
        free(p->header[i]);
    free(p->method);
    free(p->path);
    free(p->query);
    free(p->content_type);
    free(p);
}

/* ---- paths -------------------------------------------------------------------------------------------------- */

static int hex_of(char c)
{
    return isdigit((unsigned char)c)    ? c - '0'
           : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
                                        : -1;
}

/* Decodes once, in place. Returns true when something was decoded. *is_bad: the result must not occur in a
 * path. */
static bool decode(char *s, bool *is_bad)
{
    char *out = s;
    bool was_any = false;
    while (*s) {
        if (*s != '%' || hex_of(s[1]) < 0 || hex_of(s[2]) < 0) {
            *out++ = *s++;
            continue;
        }
        unsigned char c = (unsigned char)(hex_of(s[1]) * 16 + hex_of(s[2]));
        *is_bad |= c < ' ' || c == 0x7f || c == '/' || c == '\\';
        was_any = true;
        *out++ = (char)c;
        s += 3;
    }
    *out = 0;
    return was_any;
}

/* Whether a segment is empty or leaves the path: "", ".", "..", each also with a suffix that some servers cut off
 * first. */
static bool is_bad_segment(const char *s, size_t len)
{
    size_t n = 0;
    while (n < len && s[n] != ';')
        n++;
    return n == 0 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.');
}

static bool has_bad_segment(const char *path)
{
    for (;;) {
        size_t len = strcspn(path, "/");
        if (is_bad_segment(path, len))
            return true;
        if (!path[len] || !path[len + 1]) /* a trailing slash is allowed */
            return false;
        path += len + 1;
    }
}

/* Whether path is at or below `at`. Both lack the first slash. */
static bool is_below(const char *path, const char *at, size_t len)
{
    while (len && at[len - 1] == '/')
        len--;
    return strncmp(path, at, len) == 0 && (!len || !path[len] || path[len] == '/');
}

static bool is_listed(const char *list, const char *path)
{
    while (list && *list) {
        size_t len = strcspn(list, ",");
        const char *at = list;
        size_t n = len;
        while (n && isspace((unsigned char)*at)) {
            at++;
            n--;
        }
        while (n && isspace((unsigned char)at[n - 1]))
            n--;
        bool is_some = n;
        while (n && *at == '/') {
            at++;
            n--;
        }
        if (is_some && is_below(path, at, n))
            return true;
        list += len + (list[len] != 0);
    }
    return false;
}

/* Whether a server may read path as `at` or a path below it. Some servers cut off parameters (;), formats (.json)
 * and blanks after a name. */
static bool may_mean(const char *path, const char *at, size_t len)
{
    while (len && at[len - 1] == '/')
        len--;
    unsigned char next = strncasecmp(path, at, len) == 0 ? (unsigned char)path[len] : 'x';
    return !isalnum(next) && next != '-' && next != '_' && next < 0x80;
}

/* Only Chasqui itself opens, ends and lists sessions. */
static bool is_ours(const struct action_table *actions, const char *path)
{
    if (may_mean(path, "sessions", 8))
        return true;
    for (unsigned i = 0; i < actions->n; i++) {
        const char *at = actions->rows[i].path + 1;
        if (actions->rows[i].session == ACTION_CREATE && may_mean(path, at, strlen(at)))
            return true;
    }
    return false;
}

bool pass_path_ok(const char *list, const struct action_table *actions, const char *path)
{
    if (!list || strchr(path, '\\'))
        return false;
    char *whole = xstrdup(path);
    bool is_bad = has_bad_segment(whole), is_ok = false, is_first = true;
    while (!is_bad) {
        bool was_any = decode(whole, &is_bad);
        is_bad |= has_bad_segment(whole) || is_ours(actions, whole);
        if (is_first)
            is_ok = is_listed(list, whole);
        is_first = false;
        if (!was_any)
            break;
    }
    free(whole);
    return is_ok && !is_bad;
}

void pass_target(const struct pass *p, const char *session_id, struct buf *out)
{
    buf_addf(out, "/%s?session_id=", p->path);
    url_encode(out, session_id);
    if (*p->query)
        buf_addf(out, "&%s", p->query);
}
