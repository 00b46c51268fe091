/* SPDX-License-Identifier: MIT */
/* clock.c - the only place that asks the kernel for the time. */
#include "common/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t monotonic_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_ms(void)
{
    return monotonic_ns() / 1000000u;
}

uint64_t clock_us(void)
{
    return monotonic_ns() / 1000u;
}

int64_t clock_unix_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

const char *clock_text(int64_t unix_ms, char out[CLOCK_TEXT_BYTES])
{
    /* RFC 3339 has four-digit years only. A time outside them is shown as the nearest one that can be shown. */
    const int64_t first_ms = -62167219200000, last_ms = 253402300799999;
    if (unix_ms < first_ms)
        unix_ms = first_ms;
    if (unix_ms > last_ms)
        unix_ms = last_ms;
    int64_t ms = unix_ms % 1000;
    if (ms < 0)
        ms += 1000;
    time_t s = (time_t)((unix_ms - ms) / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    snprintf(out, CLOCK_TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)(tm.tm_year + 1900) % 10000u,
             (unsigned)(tm.tm_mon + 1) % 100u, (unsigned)tm.tm_mday % 100u, (unsigned)tm.tm_hour % 100u,
             (unsigned)tm.tm_min % 100u, (unsigned)tm.tm_sec % 100u, (unsigned)ms % 1000u);
    return out;
}

/* Reads n digits as a number; -1 when they are not all digits. */
static int digits(const char *at, size_t n)
{
    int value = 0;
    for (size_t i = 0; i < n; i++) {
        if (at[i] < '0' || at[i] > '9')
            return -1;
        value = value * 10 + (at[i] - '0');
    }
    return value;
}

bool clock_read(const char *text, size_t len, int64_t *unix_ms)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    const size_t form_len = sizeof form - 1;
    if (len <= form_len || len > 64)
        return false;
    for (size_t i = 0; i < form_len; i++)
        if (form[i] == 'd' ? digits(text + i, 1) < 0 : text[i] != form[i])
            return false;
    struct tm tm = {.tm_year = digits(text, 4) - 1900,
                    .tm_mon = digits(text + 5, 2) - 1,
                    .tm_mday = digits(text + 8, 2),
                    .tm_hour = digits(text + 11, 2),
                    .tm_min = digits(text + 14, 2),
                    .tm_sec = digits(text + 17, 2)};
    struct tm same = tm;
    time_t s = timegm(&same);
    if (same.tm_mon != tm.tm_mon || same.tm_mday != tm.tm_mday || same.tm_hour != tm.tm_hour ||
        same.tm_min != tm.tm_min || same.tm_sec != tm.tm_sec)
        return false; /* a 30th of February, a 25th hour */
    size_t at = form_len, ms = 0;
    if (text[at] == '.') {
        size_t first = ++at;
        for (unsigned weight = 100; at < len && digits(text + at, 1) >= 0; at++, weight /= 10)
            ms += weight * (unsigned)digits(text + at, 1);
        if (at == first)
            return false;
    }
    bool is_utc =
        (len - at == 1 && text[at] == 'Z') ||
        (len - at == 6 && (strncmp(text + at, "+00:00", 6) == 0 || strncmp(text + at, "-00:00", 6) == 0));
    *unix_ms = (int64_t)s * 1000 + (int64_t)ms;
    return is_utc;
}
