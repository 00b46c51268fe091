/* SPDX-License-Identifier: MIT */
/* buf.c - a growing byte buffer. Grows by doubling. Running out of memory ends the process. */
#include "common/buf.h"

#include "common/check.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 64

/* Ensures room for `len` more bytes and the terminator. */
static void grow(struct buf *b, size_t len)
{
    CHECK(len < SIZE_MAX / 4 && b->len < SIZE_MAX / 4, "len=%zu more=%zu", b->len, len);
    size_t need = b->len + len + 1;
    if (need <= b->room)
        return;
    size_t room = b->room ? b->room : FIRST_ROOM;
    while (room < need)
        room *= 2;
    b->data = xrealloc(b->data, room);
    b->room = room;
}

char *buf_room(struct buf *b, size_t len)
{
    grow(b, len);
    b->data[b->len] = '\0';
    b->data[b->len + len] = '\0';
    return b->data + b->len;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
    grow(b, len);
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    grow(b, 0);
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(b->data + b->len, b->room - b->len, fmt, ap);
    va_end(ap);
    CHECK(n >= 0, "fmt=%s", fmt);
    if ((size_t)n >= b->room - b->len) {
        grow(b, (size_t)n);
        vsnprintf(b->data + b->len, b->room - b->len, fmt, again);
    }
    va_end(again);
    b->len += (size_t)n;
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    if (b->data)
        b->data[0] = '\0';
}

char *buf_take(struct buf *b, size_t *len)
{
    grow(b, 0);
    b->data[b->len] = '\0';
    char *data = b->data;
    if (len)
        *len = b->len;
    *b = (struct buf){0};
    return data;
}

void buf_wipe(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->room);
    buf_free(b);
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}
