/* SPDX-License-Identifier: MIT */
/*
 * hidden_urls.c - see the header. Several texts of each answer of a robot come through here, and hardly any holds a
 * base URL. One pass over the text therefore finds out whether it holds any, whatever the number of robots: the
 * beginnings of all needles, cut to the length of the shortest one, are looked up by a rolling hash. Only a text
 * that does hold one is searched for each robot. Owns: the order of the URLs and the index. Pure.
 */
#include "dispatcher/robot/hidden_urls.h"

#include "common/check.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PRIME 16777619u
#define CELLS_EACH 8

struct row {
    const char *url, *name;
    const char *address; /* the URL's host and port, when they are replaced too; else NULL */
    uint32_t next;       /* the next row of its cell + 1; 0 = none */
};

struct hidden_urls {
    struct row *row; /* the longest URL first: one may begin with another */
    unsigned n;
    uint32_t *cell; /* by the hash of the needle's first `stem` bytes: a row + 1 */
    uint32_t mask;
    size_t stem;
    uint32_t first_weight; /* of a stem's first byte in its hash */
};

static int by_length(const void *a, const void *b)
{
    size_t x = strlen(((const struct row *)a)->url), y = strlen(((const struct row *)b)->url);
    return x > y ? -1 : x < y;
}

/* As strcasestr() compares in the C locale. */
static uint32_t folded(char c)
{
    return c >= 'A' && c <= 'Z' ? (uint32_t)(c - 'A' + 'a') : (uint8_t)c;
}

/* What a text holds if anything in it is to be replaced for this row. */
static const char *needle_of(const struct row *r)
{
    return r->address ? r->address : r->url;
}

static uint32_t stem_hash(const struct hidden_urls *h, const char *s)
{
    uint32_t hash = 0;
    for (size_t i = 0; i < h->stem; i++)
        hash = hash * PRIME + folded(s[i]);
    return hash;
}

/* The low bits of a product know nothing of the factors' high ones. */
static uint32_t *cell_of(const struct hidden_urls *h, uint32_t hash)
{
    return &h->cell[(hash ^ hash >> 15) & h->mask];
}

static void index_make(struct hidden_urls *h)
{
    uint32_t room = 16;
    h->stem = SIZE_MAX;
    for (unsigned i = 0; i < h->n; i++) {
        size_t len = strlen(needle_of(&h->row[i]));
        h->stem = len < h->stem ? len : h->stem;
    }
    h->first_weight = 1;
    for (size_t i = 1; i < h->stem; i++)
        h->first_weight *= PRIME;
    while (room < h->n * CELLS_EACH)
        room *= 2;
    h->mask = room - 1;
    h->cell = xcalloc(room, sizeof(*h->cell));
    for (unsigned i = 0; i < h->n; i++) {
        uint32_t *cell = cell_of(h, stem_hash(h, needle_of(&h->row[i])));
        h->row[i].next = *cell;
        *cell = i + 1;
    }
}

struct hidden_urls *hidden_urls_new(const struct hidden_url *rows, unsigned n)
{
    if (!n)
        return NULL;
    struct hidden_urls *h = xcalloc(1, sizeof(*h));
    h->row = xcalloc(n, sizeof(*h->row));
    for (unsigned i = 0; i < n; i++) {
        const char *address = strstr(rows[i].url, "://");
        /* an address alone reveals as much; a bare word may be any word */
        bool is_hidden = address && strpbrk(address + 3, ".:");
        if (rows[i].url[0]) /* it may have been emptied by hand */
            h->row[h->n++] = (struct row){rows[i].url, rows[i].name, is_hidden ? address + 3 : NULL, 0};
    }
    qsort(h->row, h->n, sizeof(*h->row), by_length);
    if (h->n)
        index_make(h);
    else
        hidden_urls_destroy(&h);
    return h;
}

void hidden_urls_destroy(struct hidden_urls **hp)
{
    if (*hp) {
        free((*hp)->row);
        free((*hp)->cell);
    }
    free(*hp);
    *hp = NULL;
}

static bool is_needle_at(const struct hidden_urls *h, uint32_t hash, const char *at)
{
    for (uint32_t i = *cell_of(h, hash); i; i = h->row[i - 1].next) {
        const char *needle = needle_of(&h->row[i - 1]);
        if (strncasecmp(at, needle, strlen(needle)) == 0)
            return true;
    }
    return false;
}

static bool has_any(const struct hidden_urls *h, const char *text)
{
    size_t len = strlen(text);
    if (len < h->stem)
        return false;
    uint32_t hash = stem_hash(h, text);
    for (const char *at = text, *end = text + h->stem;; at++, end++) {
        if (is_needle_at(h, hash, at))
            return true;
        if (end == text + len)
            return false;
        hash = (hash - folded(*at) * h->first_weight) * PRIME + folded(*end);
    }
}

static void replace_all(char *text, size_t room, const char *what, const char *with)
{
    size_t what_len = strlen(what), with_len = strlen(with);
    for (char *at = strcasestr(text, what); at; at = strcasestr(at + with_len, what)) {
        size_t before = (size_t)(at - text), tail = strlen(at + what_len);
        if (before + with_len + 1 > room) { /* not even the name fits */
            *at = 0;
            return;
        }
        if (before + with_len + tail + 1 > room)
            tail = room - 1 - with_len - before; /* cut */
        memmove(at + with_len, at + what_len, tail);
        at[with_len + tail] = 0;
        memcpy(at, with, with_len);
    }
}

void hidden_urls_replace(const struct hidden_urls *h, char *text, size_t room)
{
    if (!h || !has_any(h, text))
        return;
    for (unsigned i = 0; *text && i < h->n; i++) {
        const struct row *r = &h->row[i];
        replace_all(text, room, r->url, r->name);
        if (r->address)
            replace_all(text, room, r->address, r->name);
    }
}
