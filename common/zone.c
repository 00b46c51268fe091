/* SPDX-License-Identifier: MIT */
/*
 * zone.c - time zones from tzdata's files, without the process-wide TZ of libc, because a program may need two
 * zones and threads read them. Owns the table that it read.
 */
#include "common/zone.h"

#include "common/check.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZONE_DIR "/usr/share/zoneinfo/"
#define FILE_MOST 262144
#define CHANGES_MOST 5000

struct zone {
    int64_t first_s; /* before the first change */
    unsigned n;
    struct change {
        int64_t at, offset_s;
    } * change;
};

static int64_t big_endian(const unsigned char *p, unsigned bytes)
{
    uint64_t n = bytes == 4 && p[0] & 0x80 ? UINT64_MAX << 32 : 0;
    for (unsigned i = 0; i < bytes; i++)
        n |= (uint64_t)p[i] << 8 * (bytes - 1 - i);
    return (int64_t)n;
}

struct head { /* the six counts of a TZif header */
    int64_t isut, isstd, leap, time, type, chars;
};

static bool head_read(const unsigned char *p, const unsigned char *end, struct head *h)
{
    if (end - p < 44 || memcmp(p, "TZif", 4) != 0)
        return false;
    *h = (struct head){big_endian(p + 20, 4), big_endian(p + 24, 4), big_endian(p + 28, 4),
                       big_endian(p + 32, 4), big_endian(p + 36, 4), big_endian(p + 40, 4)};
    return h->isut >= 0 && h->isstd >= 0 && h->leap >= 0 && h->time >= 0 && h->time <= CHANGES_MOST &&
           h->type >= 1 && h->type <= 256 && h->chars >= 0 && h->chars < 10000 && h->leap < 1000 &&
           h->isut <= 256 && h->isstd <= 256;
}

static int64_t block_bytes(const struct head *h, unsigned time_bytes)
{
    return h->time * (time_bytes + 1) + h->type * 6 + h->chars + h->leap * (time_bytes + 4) + h->isstd + h->isut;
}

/* Version 2 and later: the block of 64-bit times behind the first one. */
static bool file_read(struct zone *z, const unsigned char *p, const unsigned char *end)
{
    struct head h;
    if (!head_read(p, end, &h) || p[4] < '2')
        return false;
    int64_t skip = 44 + block_bytes(&h, 4);
    if (end - p < skip || !head_read(p + skip, end, &h) || end - p - skip - 44 < block_bytes(&h, 8))
        return false;
    const unsigned char *times = p + skip + 44, *kinds = times + 8 * h.time, *types = kinds + h.time;
    z->n = (unsigned)h.time;
    z->change = xcalloc(z->n ? z->n : 1, sizeof(*z->change));
    z->first_s = big_endian(types, 4);
    for (unsigned i = 0; i < z->n; i++) {
        if (kinds[i] >= h.type)
            return false;
        z->change[i] = (struct change){big_endian(times + 8 * i, 8), big_endian(types + 6 * kinds[i], 4)};
    }
    return true;
}

static bool named_read(struct zone *z, const char *name)
{
    char path[120];
    unsigned char *data = xmalloc(FILE_MOST);
    snprintf(path, sizeof(path), ZONE_DIR "%s", name);
    FILE *file = fopen(path, "rbe");
    size_t len = file ? fread(data, 1, FILE_MOST, file) : 0;
    if (file)
        fclose(file);
    bool good = file_read(z, data, data + len);
    free(data);
    return good;
}

/* Reads +HH:MM or -HH:MM, up to 14 hours. */
static bool offset_read(struct zone *z, const char *s)
{
    if ((*s != '+' && *s != '-') || strlen(s) != 6 || s[3] != ':')
        return false;
    for (unsigned i = 1; i < 6; i++)
        if (i != 3 && !isdigit((unsigned char)s[i]))
            return false;
    int hours = (s[1] - '0') * 10 + s[2] - '0', minutes = (s[4] - '0') * 10 + s[5] - '0';
    z->first_s = (hours * 3600 + minutes * 60) * (*s == '-' ? -1 : 1);
    return minutes < 60 && hours * 60 + minutes <= 14 * 60;
}

static bool is_name(const char *s)
{
    size_t n = strlen(s);
    if (n < 1 || n > 60 || !isalpha((unsigned char)*s) || strstr(s, ".."))
        return false;
    return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") == n;
}

struct zone *zone_new(const char *name, const char **why)
{
    struct zone *z = xcalloc(1, sizeof(*z));
    *why = NULL;
    if (strcmp(name, "UTC") == 0 || offset_read(z, name))
        return z;
    if (is_name(name) && named_read(z, name))
        return z;
    *why = "must be UTC, an offset like -05:00, or a name of tzdata like America/Lima";
    zone_destroy(&z);
    return NULL;
}

void zone_destroy(struct zone **zp)
{
    if (*zp)
        free((*zp)->change);
    free(*zp);
    *zp = NULL;
}

int64_t zone_offset_s(const struct zone *z, int64_t unix_s)
{
    unsigned from = 0, to = z->n;
    while (from < to) { /* invariant: changes before `from` are not later than unix_s */
        unsigned at = from + (to - from) / 2;
        if (z->change[at].at <= unix_s)
            from = at + 1;
        else
            to = at;
    }
    return from ? z->change[from - 1].offset_s : z->first_s;
}
