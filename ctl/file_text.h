/* SPDX-License-Identifier: MIT */
/* file_text.h - the text of a file: UTF-16 and byte order marks, as Windows writes them, made UTF-8 piece by piece. Pure. */
#ifndef CHASQUI_CTL_FILE_TEXT_H
#define CHASQUI_CTL_FILE_TEXT_H

#include "common/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum text_coding { TEXT_UNKNOWN, TEXT_BYTES, TEXT_UTF16LE, TEXT_UTF16BE };

struct file_text { /* zero-initialised */
    enum text_coding coding;
    const char *why;       /* set: it is no text, and what to do; nothing more is handed on */
    unsigned char head[4]; /* the first bytes, until it is known what they are */
    unsigned n_head;
    int half;      /* UTF-16: the first byte of two, + 1; 0 = none */
    uint32_t high; /* the first of two surrogates; 0 = none */
    struct buf out;
};

/* Takes a piece of text; borrowed during the call. */
typedef void text_fn(void *arg, const char *data, size_t len);
void text_feed(struct file_text *t, const char *data, size_t len, text_fn *fn, void *arg);
void text_end(struct file_text *t, text_fn *fn, void *arg);
void text_wipe(struct file_text *t);
/* Appends what these Windows-1252 bytes mean as UTF-8, with a NUL behind it; false when one of them means nothing. */
bool text_from_1252(const char *bytes, struct buf *out);

#endif
