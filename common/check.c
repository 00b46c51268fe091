/* SPDX-License-Identifier: MIT */
/*
 * check.c - ends the process on failed assertions and exhausted memory. Writes one line to standard error; never
 * returns, allocates or locks. If standard error accepts nothing, the process ends after END_S.
 */
#include "common/check.h"

#include "common/log.h"
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 1024
#define END_S 2
#define LAST_LINES_MS 200

static void say(const char *line, size_t len)
{
    signal(SIGALRM, SIG_DFL);
    alarm(END_S);
    log_flush(LAST_LINES_MS); /* the lines that led here come first */
    ssize_t n = write(STDERR_FILENO, line, len);
    (void)n; /* no one is left to report to */
}

void check_failed(const char *file, int line, const char *cond, const char *fmt, ...)
{
    char text[LINE_BYTES];
    int n = snprintf(text, sizeof text, "CHECK failed at %s:%d: %s: ", file, line, cond);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    va_list ap;
    va_start(ap, fmt);
    n = vsnprintf(text + len, sizeof text - len, fmt, ap);
    va_end(ap);
    if (n > 0)
        len += (size_t)n < sizeof text - len ? (size_t)n : sizeof text - len - 1;
    text[len++] = '\n'; /* replaces the terminator */
    say(text, len);
    abort();
}

static _Noreturn void out_of_memory(void)
{
    static const char line[] = "out of memory, stopping\n";
    say(line, sizeof line - 1);
    _exit(1);
}

void *xmalloc(unsigned long size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *xcalloc(unsigned long n, unsigned long size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *xrealloc(void *p, unsigned long size)
{
    void *q = realloc(p, size ? size : 1);
    if (!q)
        out_of_memory();
    return q;
}

char *xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, unsigned long n)
{
    size_t len = strnlen(s, n);
    char *copy = xmalloc(len + 1);
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}
