/* SPDX-License-Identifier: MIT */
/*
 * zpl.h - a ZPL file (ZeroMQ RFC 4) as a tree that knows its lines. czmq's zconfig makes the tree; this adds line
 * numbers, stricter checks and reasons that people can act on.
 *
 *   section                # names: letters, digits, $ - _ @ . & + /
 *       key = value        # four spaces a level; quote values that hold '#'
 */
#ifndef CHASQUI_ZPL_H
#define CHASQUI_ZPL_H

#include "buf.h"
#include <stddef.h>

struct zpl {
    char *name;  /* NULL for the root */
    char *value; /* without quotes; NULL when the line has no '=' */
    unsigned line;
    struct zpl *child, *next;
};

#define ZPL_BYTES_MAX (256 * 1024)
#define ZPL_LINES_MAX 5000

/* Returns the root (free with zpl_free), or NULL with "file:line: reason\n" appended to `why`. `file` is only for
 * messages. */
struct zpl *zpl_parse(const char *file, const char *text, size_t len, struct buf *why);
void zpl_free(struct zpl *root);
/* The first child with that name, or NULL. */
const struct zpl *zpl_find(const struct zpl *parent, const char *name);
/* Appends "file:line: reason\n". */
void zpl_complain(struct buf *why, const char *file, unsigned line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
