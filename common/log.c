/*
 * log.c - one fact a line on standard error, one write(2) a line of at most
 * LINE_BYTES (PIPE_BUF, so that lines of several processes on one pipe never
 * mix). Values are cut at VALUE_BYTES. A line that cannot be written is lost:
 * logging never blocks on an error and never fails its caller.
 */
#include "common/log.h"

#include "common/clock.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 4096
#define VALUE_BYTES 1000 /* of the value itself; escaped it may be four times as long */

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *program_name = "chasqui";
static enum log_level least_level = LOG_INFO;
static enum log_format line_format = LOG_TEXT;
static _Thread_local char number_slots[16][24]; /* log_i()'s */

struct line {
    char text[LINE_BYTES];
    size_t len; /* always leaves one byte for the newline */
};

static void add(struct line *l, const char *s, size_t len)
{
    size_t room = sizeof l->text - 1 - l->len;
    if (len > room)
        len = room;
    memcpy(l->text + l->len, s, len);
    l->len += len;
}

static void adds(struct line *l, const char *s)
{
    add(l, s, strlen(s));
}

/* Room for what must still come is kept by not starting what may not fit. */
static bool has_room(const struct line *l, size_t len)
{
    return sizeof l->text - 1 - l->len >= len;
}

static bool is_plain(const char *s)
{
    for (const char *p = s; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || *p == '"' || *p == '\\' || *p == '=')
            return false;
    return *s != '\0';
}

/* Bytes outside printable ASCII are shown as \xHH: no terminal, no reader of lines and no Unicode trick is fooled.
 */
static void add_quoted(struct line *l, const char *s)
{
    size_t n = 0;
    adds(l, "\"");
    for (; *s && n < VALUE_BYTES; s++, n++) {
        unsigned char c = (unsigned char)*s;
        char hex[8];
        if (c == '"' || c == '\\') {
            add(l, (char[]){'\\', (char)c}, 2);
        } else if (c == '\n') {
            adds(l, "\\n");
        } else if (c == '\r') {
            adds(l, "\\r");
        } else if (c == '\t') {
            adds(l, "\\t");
        } else if (c < ' ' || c >= 0x7f) { /* in JSON a backslash is one of its own */
            snprintf(hex, sizeof hex, line_format == LOG_JSON ? "\\\\x%02x" : "\\x%02x", c);
            adds(l, hex);
        } else {
            add(l, s, 1);
        }
    }
    adds(l, *s ? "...\"" : "\"");
}

static void add_value(struct line *l, const char *s)
{
    if (!s)
        adds(l, "-");
    else if (is_plain(s) && strlen(s) <= VALUE_BYTES)
        adds(l, s);
    else
        add_quoted(l, s);
}

void log_open(const char *program, enum log_level least)
{
    program_name = program;
    least_level = least;
}

bool log_is_on(enum log_level level)
{
    return level >= least_level;
}

bool log_level_from(const char *word, enum log_level *out)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (strcmp(word, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_format(enum log_format format)
{
    line_format = format;
}

bool log_format_from(const char *word, enum log_format *out)
{
    *out = strcmp(word, "json") == 0 ? LOG_JSON : LOG_TEXT;
    return *out == LOG_JSON || strcmp(word, "text") == 0;
}

static bool is_number(const char *s)
{
    return s >= number_slots[0] && s < number_slots[0] + sizeof number_slots;
}

/* A pair that may not fit whole is left out: the line stays an object. */
static void add_member(struct line *l, const char *key, const char *value)
{
    if (!has_room(l, strlen(key) + (value ? 5 * strnlen(value, VALUE_BYTES) : 4) + 12))
        return;
    adds(l, ",\"");
    adds(l, key);
    adds(l, "\":");
    if (!value)
        adds(l, "null");
    else if (is_number(value))
        adds(l, value);
    else
        add_quoted(l, value);
}

static void add_pair(struct line *l, const char *key, const char *value)
{
    if (line_format == LOG_JSON) {
        add_member(l, key, value);
        return;
    }
    adds(l, " ");
    adds(l, key);
    adds(l, "=");
    add_value(l, value);
}

static void add_head(struct line *l, enum log_level level, const char *event)
{
    char time_text[CLOCK_TEXT_BYTES], pid_text[16]; /* not log_i(): its slots belong to our caller's values */
    bool is_json = line_format == LOG_JSON;
    snprintf(pid_text, sizeof pid_text, "%d", (int)getpid());
    adds(l, is_json ? "{\"time\":\"" : "");
    adds(l, clock_text(clock_unix_ms(), time_text));
    adds(l, is_json ? "\",\"level\":\"" : " ");
    adds(l, level_names[level]);
    adds(l, is_json ? "\",\"program\":\"" : " ");
    adds(l, program_name);
    adds(l, is_json ? "\",\"pid\":" : " pid=");
    adds(l, pid_text);
    add_pair(l, "event", event);
}

void log_line(enum log_level level, const char *event, ...)
{
    if (!log_is_on(level))
        return;
    struct line l;
    l.len = 0;
    add_head(&l, level, event);
    va_list ap;
    va_start(ap, event);
    for (const char *key; (key = va_arg(ap, const char *));)
        add_pair(&l, key, va_arg(ap, const char *));
    va_end(ap);
    if (line_format == LOG_JSON)
        adds(&l, "}");
    l.text[l.len++] = '\n';
    ssize_t n = write(STDERR_FILENO, l.text, l.len);
    (void)n; /* a log that cannot be written has nobody to tell */
}

const char *log_i(long long n)
{
    static _Thread_local unsigned next;
    char *slot = number_slots[next++ % 16];
    snprintf(slot, sizeof number_slots[0], "%lld", n);
    return slot;
}
