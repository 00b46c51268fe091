/* SPDX-License-Identifier: MIT */
/*
 * log.h - one fact a line on standard error:
 *   2026-01-02T03:04:05.678Z info broker pid=12 event=job_done job=12 request=ab12 ms=17
 * or, with log.format json, as an object. Values with spaces, quotes or control characters are quoted and escaped,
 * so that no input can forge a line. Never pass credentials, bodies or users' text.
 */
#ifndef CHASQUI_LOG_H
#define CHASQUI_LOG_H

#include <stdbool.h>
#include <syslog.h> /* libraries' headers include it: now, its LOG_INFO cannot shadow ours later */
#undef LOG_DEBUG
#undef LOG_INFO

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_format { LOG_TEXT, LOG_JSON };

void log_open(const char *program, enum log_level least);
/* LOG_JSON: one object a line, {"time","level","program","pid","event",...}; values made by log_i() are
 * numbers. */
void log_format(enum log_format format);
/* "text" or "json"; false for any other word. */
bool log_format_from(const char *word, enum log_format *out);
/* `event` is a fixed word. Pairs of a key and a string value follow, ended by NULL: log_line(LOG_INFO, "went",
 * "robot", name, "to", "down", NULL). Values are not printf formats. For numbers, log_i() formats into a rotating
 * static buffer of 16. Thread-safe: one write(2) a line. */
void log_line(enum log_level level, const char *event, ...) __attribute__((sentinel));
const char *log_i(long long n);
/* From now on a thread writes the lines, and no caller waits for standard error. Lines that standard error does
 * not accept are dropped and counted. For processes with a loop; called once, before anything is served. */
void log_detach(void);
unsigned long long log_dropped(void); /* lines, since the start */
bool log_is_blocked(void);            /* lines were dropped, and standard error has not recovered since */
void log_flush(unsigned within_ms);   /* waits for lines to be written, at most this long; exit does so too */
bool log_is_on(enum log_level level);
/* "debug", "info", "warn", "error"; false for any other word. */
bool log_level_from(const char *word, enum log_level *out);

#endif
