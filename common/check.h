/* SPDX-License-Identifier: MIT */
/*
 * check.h - assertions about our own code, always compiled in.
 *
 * CHECK() is for our bugs only, never for the actions of a peer, a robot, the database or the machine. A failed
 * CHECK prints file, line, condition and a printf-style state line to standard error and aborts.
 */
#ifndef CHASQUI_CHECK_H
#define CHASQUI_CHECK_H

_Noreturn void check_failed(const char *file, int line, const char *cond, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#define CHECK(cond, ...)                                                                                          \
    do {                                                                                                          \
        if (__builtin_expect(!(cond), 0))                                                                         \
            check_failed(__FILE__, __LINE__, #cond, __VA_ARGS__);                                                 \
    } while (0)

/* malloc, calloc, realloc and strdup that never return NULL. Running out of memory ends the process (work in the
 * database survives it). */
void *xmalloc(unsigned long size);
void *xcalloc(unsigned long n, unsigned long size);
void *xrealloc(void *p, unsigned long size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, unsigned long n);

#endif
