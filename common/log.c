/* SPDX-License-Identifier: MIT */
/*
 * log.c - one fact a line on standard error, at most LINE_BYTES (PIPE_BUF, so that lines of several processes on
 * one pipe never mix). Values are cut at VALUE_BYTES. A line that cannot be written is dropped: logging never
 * fails its caller.
 *
 * After log_detach() logging never blocks its caller either. Lines go into a pipe of our own, which is never
 * waited for, and a thread writes them out. A stalled reader, a slow disk or a stopped terminal blocks only that
 * thread. When the pipe is full, lines are dropped and counted; once standard error works again, one line reports
 * how many. O_NONBLOCK would not be enough: regular files ignore it, and on a pipe or terminal it would apply to
 * every process that shares it.
 */
#include "common/log.h"

#include "common/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 4096
#define RING_BYTES (1024 * 1024) /* requested; the kernel's limit for a user may keep it at 64 KiB */
#define EXIT_MS 500              /* how long the end of a process waits for the last lines */
#define VALUE_BYTES 1000         /* before escaping, which may make it four times as long */

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *program_name = "chasqui";
static enum log_level least_level = LOG_INFO;
static enum log_format line_format = LOG_TEXT;
static _Thread_local char number_slots[16][24]; /* used by log_i() */

static int ring = -1; /* write end of the pipe to the thread; -1 = callers write their lines themselves */
static atomic_ullong ring_in, ring_out; /* bytes */
static atomic_ullong n_dropped, n_told; /* lines */

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

/* Reserves room for the mandatory rest of the line: a value that may not fit is not begun. */
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

/* Bytes outside printable ASCII are written as \xHH, so that they cannot deceive a terminal, a line reader or a
 * human. */
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
        } else if (c < ' ' || c >= 0x7f) { /* in JSON a backslash needs its own escape */
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

/* A pair that may not fit whole is omitted, so that the line stays an object. */
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

static void line_end(struct line *l)
{
    if (line_format == LOG_JSON)
        adds(l, "}");
    l->text[l->len++] = '\n';
}

/* A write of at most PIPE_BUF to the ring is atomic: whole or not at all. */
static void line_send(const struct line *l)
{
    ssize_t n;
    if (ring < 0) {
        n = write(STDERR_FILENO, l->text, l->len);
        (void)n; /* no way is left to report it */
        return;
    }
    atomic_fetch_add(&ring_in, l->len);
    do
        n = write(ring, l->text, l->len);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)l->len)
        return;
    atomic_fetch_sub(&ring_in, l->len);
    atomic_fetch_add(&n_dropped, 1);
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
    line_end(&l);
    line_send(&l);
}

unsigned long long log_dropped(void)
{
    return atomic_load(&n_dropped);
}

bool log_is_blocked(void)
{
    return atomic_load(&n_dropped) != atomic_load(&n_told);
}

/* ---- the thread --------------------------------------------------------------------------------------------- */

struct writer {
    int fd;
    bool is_torn; /* the last write ended inside a line */
    size_t have;
    char text[16 * LINE_BYTES];
};

static bool put(struct writer *w, const char *text, size_t len)
{
    if (w->is_torn) {
        if (write(STDERR_FILENO, "\n", 1) != 1)
            return false;
        w->is_torn = false;
    }
    for (size_t at = 0; at < len;) {
        ssize_t n = write(STDERR_FILENO, text + at, len - at);
        if (n > 0) {
            at += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) { /* a process that shares it made it non-blocking */
            struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
            poll(&room, 1, -1);
        } else if (n == 0 || errno != EINTR) {
            w->is_torn = at > 0;
            return false;
        }
    }
    return true;
}

static unsigned count_lines(const char *text, size_t len)
{
    unsigned n = 0;
    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    return n;
}

static void tell_dropped(struct writer *w)
{
    unsigned long long now = atomic_load(&n_dropped), told = atomic_load(&n_told);
    struct line l = {.len = 0};
    if (now == told)
        return;
    add_head(&l, LOG_WARN, "log_lines_dropped");
    add_pair(&l, "n", log_i((long long)(now - told)));
    add_pair(&l, "why", "standard error took no more");
    line_end(&l);
    if (put(w, l.text, l.len))
        atomic_store(&n_told, now);
}

/* Whole lines only, at most LINE_BYTES at once. */
static void write_lines(struct writer *w, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t n = len - at < LINE_BYTES ? len - at : LINE_BYTES;
        n = (size_t)((const char *)memrchr(w->text + at, '\n', n) - (w->text + at)) + 1;
        if (put(w, w->text + at, n))
            tell_dropped(w);
        else
            atomic_fetch_add(&n_dropped, count_lines(w->text + at, n));
        atomic_fetch_add(&ring_out, n);
        at += n;
    }
}

static void *writer_run(void *arg)
{
    struct writer *w = arg;
    for (;;) {
        ssize_t n = read(w->fd, w->text + w->have, sizeof w->text - w->have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return NULL;
        w->have += (size_t)n;
        const char *end = memrchr(w->text, '\n', w->have);
        size_t whole = end ? (size_t)(end - w->text) + 1 : 0;
        write_lines(w, whole);
        w->have -= whole;
        memmove(w->text, w->text + whole, w->have);
    }
}

void log_flush(unsigned within_ms)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    for (unsigned i = 0; ring >= 0 && i < within_ms && atomic_load(&ring_in) != atomic_load(&ring_out); i++)
        nanosleep(&moment, NULL);
}

static void flush_at_exit(void)
{
    log_flush(EXIT_MS);
}

void log_detach(void)
{
    static struct writer writer;
    int ends[2];
    pthread_t thread;
    sigset_t all, before;
    if (ring >= 0 || pipe2(ends, O_CLOEXEC) != 0)
        return;
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETPIPE_SZ, RING_BYTES);
    writer.fd = ends[0];
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_started = pthread_create(&thread, NULL, writer_run, &writer) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!is_started) {
        close(ends[0]);
        close(ends[1]);
        return;
    }
    pthread_detach(thread);
    ring = ends[1];
    atexit(flush_at_exit);
}

const char *log_i(long long n)
{
    static _Thread_local unsigned next;
    char *slot = number_slots[next++ % 16];
    snprintf(slot, sizeof number_slots[0], "%lld", n);
    return slot;
}
