/*
 * robot_head.c - reading the header lines of a robot's answer. Pure. A value
 * that is too long, or is not printable ASCII where it would be passed on,
 * counts as absent.
 */
#include "dispatcher/robot_head.h"

#include "dispatcher/disposition.h"

#include <string.h>
#include <strings.h>

/* The value of a header line of that name, NULL when it is another. */
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

bool head_line(struct call_answer *a, const char *line, size_t len)
{
    const char *value;
    size_t value_len;
    switch (len ? line[0] | 0x20 : 0) { /* most lines are none of these */
    case 'h':
        if (len < 5 || memcmp(line, "HTTP/", 5) != 0)
            return false;
        a->content_type[0] = a->disposition_name[0] = a->boot_id[0] = 0;
        return true;
    case 'c':
        if ((value = value_of(line, len, "Content-Type", &value_len)))
            value_copy(a->content_type, sizeof(a->content_type), value, value_len);
        else if ((value = value_of(line, len, "Content-Disposition", &value_len)))
            disposition_name(value, value_len, a->disposition_name, sizeof(a->disposition_name));
        return false;
    case 'x':
        if ((value = value_of(line, len, "X-Robot-Boot", &value_len)))
            value_copy(a->boot_id, sizeof(a->boot_id), value, value_len);
        return false;
    default:
        return false;
    }
}
