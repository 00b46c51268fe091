/* SPDX-License-Identifier: MIT */
/* url.c - normalises base URLs (RFC 3986 sections 6.2.2 and 6.2.3, as far as robots need it). */
#include "url.h"

#include "check.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool refuse(const char **why, const char *reason)
{
    if (why)
        *why = reason;
    return false;
}

/* Checks host[:port]; the port must be a number 1..65535. */
static bool authority_ok(const char *host, size_t len, const char **port, size_t *port_len)
{
    const char *colon = NULL, *from = host;
    if (len && *host == '[') { /* IPv6 */
        from = memchr(host, ']', len);
        if (!from)
            return false;
    }
    colon = memchr(from, ':', len - (size_t)(from - host));
    *port = NULL;
    *port_len = 0;
    if (colon) {
        *port = colon + 1;
        *port_len = len - (size_t)(colon + 1 - host);
        if (!*port_len || *port_len > 5)
            return false;
        for (size_t i = 0; i < *port_len; i++)
            if (!isdigit((unsigned char)(*port)[i]))
                return false;
        long n = strtol(*port, NULL, 10);
        if (n < 1 || n > 65535)
            return false;
        len = (size_t)(colon - host);
    }
    return len > 0;
}

bool url_normalise(const char *in, char *out, size_t room, const char **why)
{
    bool secure = strncasecmp(in, "https://", 8) == 0;
    if (!secure && strncasecmp(in, "http://", 7) != 0)
        return refuse(why, "it must begin with http:// or https://");
    for (const char *p = in; *p; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
            return refuse(why, "it must not hold spaces, control or non-ASCII characters");
    if (strpbrk(in, "?#@\\"))
        return refuse(why, "it must not hold user names, a query or a fragment");
    const char *host = in + (secure ? 8 : 7), *port, *path;
    size_t authority = strcspn(host, "/"), port_len, n = 0;
    if (!authority_ok(host, authority, &port, &port_len))
        return refuse(why, "it has no host, or a bad port");
    path = host + authority;
    size_t path_len = strlen(path), host_len = port ? (size_t)(port - 1 - host) : authority;
    while (path_len && path[path_len - 1] == '/')
        path_len--;
    if (port && strtol(port, NULL, 10) == (secure ? 443 : 80))
        port_len = 0;
    if (8 + authority + path_len + 1 > room)
        return refuse(why, "it is too long");
    n = (size_t)(stpcpy(out, secure ? "https://" : "http://") - out);
    for (size_t i = 0; i < host_len; i++)
        out[n++] = (char)tolower((unsigned char)host[i]);
    if (port_len) {
        out[n++] = ':';
        memcpy(out + n, port, port_len);
        n += port_len;
    }
    memcpy(out + n, path, path_len);
    out[n + path_len] = 0;
    return true;
}

/* Decodes once, in place. Returns true when something was decoded. */
static bool decode(char *s)
{
    char *out = s;
    bool was_any = false;
    for (; *s; s++) {
        char digits[3] = {s[0] == '%' ? s[1] : 0, s[0] == '%' && s[1] ? s[2] : 0};
        bool is_code =
            isxdigit((unsigned char)digits[0]) && isxdigit((unsigned char)digits[1]) && strcmp(digits, "00") != 0;
        *out++ = is_code ? (char)strtol(digits, NULL, 16) : *s;
        s += is_code ? 2 : 0;
        was_any |= is_code;
    }
    *out = 0;
    return was_any;
}

/* Whether some server could see a segment "." or "..". Some decode twice, treat \ or an encoded slash as a slash,
 * or cut parameters (;) off first. */
static bool has_dots(const char *path, size_t len)
{
    char *s = xmalloc(len + 1), *at = s;
    bool found = false;
    memcpy(s, path, len);
    s[len] = 0;
    while (decode(s)) {}
    for (;; at++) {
        size_t n = strcspn(at, "/\\"), name = strcspn(at, "/\\;");
        found |= (name == 1 && *at == '.') || (name == 2 && at[0] == '.' && at[1] == '.');
        at += n;
        if (!*at)
            break;
    }
    free(s);
    return found;
}

static bool is_plain(const char *url)
{
    const char *host = strncmp(url, "https://", 8) == 0  ? url + 8
                       : strncmp(url, "http://", 7) == 0 ? url + 7
                                                         : NULL,
               *port;
    size_t port_len;
    if (!host)
        return false;
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f || strchr("\\#\"<>", *p))
            return false;
    size_t authority = strcspn(host, "/?");
    if (memchr(host, '@', authority) || !authority_ok(host, authority, &port, &port_len))
        return false;
    return !has_dots(host + authority, strcspn(host + authority, "?"));
}

bool url_is_allowed(const char *comma_list, const char *url)
{
    if (!comma_list || !is_plain(url))
        return false;
    for (const char *at = comma_list; *at;) {
        at += strspn(at, ", \t");
        size_t len = strcspn(at, ", \t");
        bool is_whole =
            len && (strchr("/?=&:", at[len - 1]) || strchr("/?", url[len < strlen(url) ? len : strlen(url)]));
        if (is_whole && strncmp(url, at, len) == 0)
            return true;
        at += len;
    }
    return false;
}

void url_encode(struct buf *b, const char *s)
{
    for (; *s; s++) {
        size_t plain = 0;
        while (isalnum((unsigned char)s[plain]) || (s[plain] && strchr("-._~", s[plain])))
            plain++;
        buf_add(b, s, plain);
        s += plain;
        if (!*s)
            return;
        buf_addf(b, "%%%02X", (unsigned char)*s);
    }
}
