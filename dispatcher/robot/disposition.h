/* SPDX-License-Identifier: MIT */
/*
 * disposition.h - the file name of a robot's Content-Disposition header (RFC 6266, RFC 8187).
 */
#ifndef CHASQUI_DISPOSITION_H
#define CHASQUI_DISPOSITION_H

#include <stddef.h>

/* Reads the file name from the header's value (`len` arbitrary bytes); filename* wins over filename. `out`
 * receives valid UTF-8 without path, control or direction-changing characters and quotes. It is cut at a character
 * boundary to fit `room` with its NUL; "" when there is no usable name. */
void disposition_name(const char *value, size_t len, char *out, size_t room);

#endif
