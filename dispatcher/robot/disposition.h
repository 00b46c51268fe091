/* SPDX-License-Identifier: MIT */
/*
 * disposition.h - the file name of a robot's Content-Disposition header (RFC 6266, RFC 8187).
 */
#ifndef CHASQUI_DISPOSITION_H
#define CHASQUI_DISPOSITION_H

#include <stddef.h>

/* Reads the file name from the header's value (`len` bytes, anything may be in them); filename* wins over filename.
 * `out` gets valid UTF-8 without path, control or direction-changing characters and quotes, cut at a character so
 * that it fits `room` with its NUL; "" when there is no usable name. */
void disposition_name(const char *value, size_t len, char *out, size_t room);

#endif
