/* SPDX-License-Identifier: MIT */
/* buf.h - a growing byte buffer. Zero-initialised is empty and valid. */
#ifndef CHASQUI_BUF_H
#define CHASQUI_BUF_H

#include <stdarg.h>
#include <stddef.h>

struct buf {
    char *data;  /* owned; always NUL-terminated once anything was added */
    size_t len;  /* bytes used, without the terminator */
    size_t room; /* bytes allocated */
};

void buf_add(struct buf *b, const void *data, size_t len);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Ensures room for `len` more bytes and returns the address to write them to; the caller then adds to b->len. */
char *buf_room(struct buf *b, size_t len);
/* Empties without freeing. */
void buf_clear(struct buf *b);
/* Passes ownership of the bytes to the caller (free()) and empties the buffer. Never NULL. */
char *buf_take(struct buf *b, size_t *len);
/* Overwrites the content (secrets) and frees it. */
void buf_wipe(struct buf *b);
void buf_free(struct buf *b);

#endif
