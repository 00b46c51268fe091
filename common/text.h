/* SPDX-License-Identifier: MIT */
/*
 * text.h - texts of robots and clients, made fit for a database column: valid
 * UTF-8 (RFC 3629), no control characters, cut at a character. Pure.
 */
#ifndef CHASQUI_TEXT_H
#define CHASQUI_TEXT_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the UTF-8 sequence that begins at s, 0 when none does. NUL is none; overlong forms and surrogates are none. */
size_t text_char(const char *s, size_t len);
/* Copies at most `most` characters that fit into `room` bytes (NUL included). What is not UTF-8 becomes U+FFFD, control characters
 * (C0, DEL, C1) are dropped. in NULL = "". */
void text_clean(char *out, size_t room, const char *in, size_t len, size_t most);
/* The same in place, for a text that is NUL-terminated. */
void text_clean_in_place(char *text, size_t room, size_t most);

#define TEXT_TOKEN_BYTES 65
/* A robot's name for something (its boot), as 1-64 printable ASCII characters without a space at either end. One that is so already stays
 * as it is; of every other one "~" and a hash remains, so that two different ones never become equal. Bytes that are not UTF-8 are read as
 * ISO 8859-1, which is what header lines of some robots are in. "" stays "". */
void text_token(char out[TEXT_TOKEN_BYTES], const char *in, size_t len);
/* May it be a session id of a robot? 1-100 printable ASCII characters without space and / \ % ? #, not . or ..: it stands in paths and
 * in columns of any character set. */
bool text_session_id_ok(const char *id);

/* A JSON text whose only fault is in its strings, mended: bytes that are not UTF-8 and escapes of lone surrogates become U+FFFD, raw control
 * characters and \u0000 are dropped (tab, CR and LF become spaces), a byte order mark is skipped; NaN and infinities, as Python writes
 * them, are null. What cuts a text by bytes or by UTF-16
 * units makes such texts. */
void text_mend_json(struct buf *out, const char *in, size_t len);

#endif
