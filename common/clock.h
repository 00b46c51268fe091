/* SPDX-License-Identifier: MIT */
/* clock.h - monotonic time for deadlines, wall time for people. */
#ifndef CHASQUI_CLOCK_H
#define CHASQUI_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Milliseconds / microseconds since an arbitrary start, never going back. */
uint64_t clock_ms(void);
uint64_t clock_us(void);
/* Unix time in milliseconds. */
int64_t clock_unix_ms(void);

#define CLOCK_TEXT_BYTES 32
/* RFC 3339 UTC with milliseconds ("2026-01-02T03:04:05.678Z"). */
const char *clock_text(int64_t unix_ms, char out[CLOCK_TEXT_BYTES]);
/* The reverse: parses RFC 3339, UTC only ("Z" or "+00:00"); fractions are cut to milliseconds. Returns false when
 * the text is not such a time. */
bool clock_read(const char *text, size_t len, int64_t *unix_ms);

#endif
