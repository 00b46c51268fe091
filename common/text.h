/* SPDX-License-Identifier: MIT */
/*
 * text.h - makes texts of robots and clients fit for a database column: valid UTF-8 (RFC 3629), no control
 * characters, cut at a character boundary. Pure.
 */
#ifndef CHASQUI_TEXT_H
#define CHASQUI_TEXT_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* Length of the UTF-8 sequence that begins at s, 0 when there is none. NUL, overlong forms and surrogates count as
 * none. */
size_t text_char(const char *s, size_t len);
/* Copies at most `most` characters that fit into `room` bytes (NUL included). Invalid UTF-8 becomes U+FFFD.
 * Control characters (C0, DEL, C1) are dropped. in NULL = "". */
void text_clean(char *out, size_t room, const char *in, size_t len, size_t most);
/* As text_clean, in place, for a NUL-terminated text. */
void text_clean_in_place(char *text, size_t room, size_t most);

#define TEXT_TOKEN_BYTES 65
/* Makes a token of a robot's name for something (its boot): 1-64 printable ASCII characters without a space at
 * either end. A text of that form stays unchanged. Any other text becomes "~" and a hash, so that different texts
 * never become equal. Bytes that are not UTF-8 are read as ISO 8859-1, the encoding of some robots' header lines.
 * "" stays "". */
void text_token(char out[TEXT_TOKEN_BYTES], const char *in, size_t len);
/* Whether it is acceptable as a session id of a robot: 1-100 printable ASCII characters without space and / \ % ?
 * #, not . or .. The id occurs in paths and in columns of any character set. */
bool text_session_id_ok(const char *id);

/* Repairs a JSON text whose only faults are in its strings or floats. Bytes that are not UTF-8 and escapes of lone
 * surrogates become U+FFFD. Raw control characters and \u0000 are dropped (tab, CR and LF become spaces). A byte
 * order mark is skipped. NaN and infinities, as Python writes them, become null. Programs that cut a text by bytes
 * or by UTF-16 units produce such texts. */
void text_mend_json(struct buf *out, const char *in, size_t len);

#endif
