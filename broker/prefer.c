/* SPDX-License-Identifier: MIT */
/* prefer.c - the preferences of Prefer headers (RFC 7240). Pure, like params.c. */
#include "broker/params.h"

#include <string.h>
#include <strings.h>

#define WAIT_MAX_S 120

/* Reads a token or a quoted string; *at advances past it. */
static struct str prefer_word(const char **at)
{
    const char *s = *at;
    if (*s == '"') {
        size_t len = strcspn(s + 1, "\"");
        *at = s + 1 + len + (s[1 + len] == '"');
        return (struct str){s + 1, (uint32_t)len};
    }
    size_t len = strcspn(s, " \t,;=\"");
    *at = s + len;
    return (struct str){s, (uint32_t)len};
}

static bool is_word(struct str s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.p, word, s.len) == 0;
}

static void prefer_take(struct prefer *p, struct str name, struct str value)
{
    if (is_word(name, "respond-async")) {
        p->is_async = true;
    } else if (is_word(name, "wait") && !p->has_wait) {
        p->has_wait = true;
        p->is_bad = !decimal_read(value, 0, &p->wait_s) || p->wait_s > WAIT_MAX_S;
    }
}

void prefer_read(struct prefer *p, const char *s)
{
    while (*s) {
        s += strspn(s, " \t,");
        struct str name = prefer_word(&s), value = {"", 0};
        s += strspn(s, " \t");
        if (*s == '=') {
            s += 1 + strspn(s + 1, " \t");
            value = prefer_word(&s);
        }
        prefer_take(p, name, value);
        while (*s && *s != ',') { /* its parameters, all of them unknown to us */
            if (*s == '"')
                prefer_word(&s);
            else
                s++;
        }
    }
}
