/* SPDX-License-Identifier: MIT */
/*
 * robot_head.c - reads the header lines of a robot's answer. Pure. A value that is too long, or that would be
 * passed on and is not printable ASCII, counts as absent.
 */
#include "dispatcher/robot/robot_head.h"

#include "common/text.h"
#include "dispatcher/robot/disposition.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* The value of a header line with that name, NULL when the line has another name. */
static const char *value_of(const char *line, size_t len, const char *name, size_t *value_len)
{
    size_t n = strlen(name);
    if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
        return NULL;
    const char *p = line + n + 1, *end = line + len;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *value_len = (size_t)(end - p);
    return p;
}

static void value_copy(char *out, size_t room, const char *value, size_t len)
{
    bool good = len < room;
    for (size_t i = 0; i < len && good; i++)
        good = value[i] >= 0x20 && value[i] < 0x7f;
    memcpy(out, value, good ? len : 0);
    out[good ? len : 0] = 0;
}

/* Proxies and frameworks drop characters of an id, cut it or change its case. So only letters and digits are
 * compared. */
static bool is_echo(const char *ours, const char *value, size_t len)
{
    size_t at = 0, n_same = 0;
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)value[i]))
            continue;
        while (ours[at] && !isalnum((unsigned char)ours[at]))
            at++;
        if (!ours[at] || tolower((unsigned char)ours[at]) != tolower((unsigned char)value[i]))
            return false;
        at++;
        n_same++;
    }
    while (ours[at] && !isalnum((unsigned char)ours[at]))
        at++;
    return n_same && (!ours[at] || n_same >= 32);
}

static void line_take(struct head *h, struct call_answer *a, const char *line, size_t len)
{
    const char *value;
    size_t n;
    if ((value = value_of(line, len, "Content-Type", &n))) {
        value_copy(a->content_type, sizeof(a->content_type), value, n);
    } else if ((value = value_of(line, len, "Content-Disposition", &n))) {
        disposition_name(value, n, a->disposition_name, sizeof(a->disposition_name));
    } else if ((value = value_of(line, len, "Content-Encoding", &n))) {
        bool is_identity = n == 8 && strncasecmp(value, "identity", 8) == 0;
        value_copy(a->content_encoding, sizeof(a->content_encoding), value, is_identity ? 0 : n);
    } else if ((value = value_of(line, len, "X-Robot-Boot", &n))) {
        text_token(a->boot_id, value, n);
    } else if (h->request_id && *h->request_id && (value = value_of(line, len, "X-Request-Id", &n)) && n) {
        if (is_echo(h->request_id, value, n))
            a->echo = ECHO_OURS;
        else if (a->echo == ECHO_NONE)
            a->echo = ECHO_OTHER;
    }
}

static void held_take(struct head *h, struct call_answer *a)
{
    if (h->held.len)
        line_take(h, a, h->held.data, h->held.len);
    buf_clear(&h->held);
}

bool head_line(struct head *h, struct call_answer *a, const char *line, size_t len)
{
    size_t text = len;
    while (text && (line[text - 1] == '\r' || line[text - 1] == '\n'))
        text--;
    if (len && (line[0] == ' ' || line[0] == '\t')) {
        if (h->held.len)
            buf_add(&h->held, line, text);
        return false;
    }
    held_take(h, a);
    switch (len ? line[0] | 0x20 : 0) { /* most lines have another name */
    case 'h':
        if (len < 5 || memcmp(line, "HTTP/", 5) != 0)
            return false;
        a->content_type[0] = a->disposition_name[0] = a->content_encoding[0] = a->boot_id[0] = 0;
        a->echo = ECHO_NONE;
        const char *status = memchr(line, ' ', len);
        h->is_final = !status || status + 1 == line + len || status[1] != '1';
        return true;
    case 'c':
    case 'x':
        buf_add(&h->held, line, text);
        return false;
    default:
        return false;
    }
}
