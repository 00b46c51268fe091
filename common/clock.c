/* clock.c - the only place that asks the kernel for the time. */
#include "common/clock.h"

#include <stdio.h>
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
    /* RFC 3339 knows four-digit years only: a time outside is shown as the nearest one it can show. */
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
